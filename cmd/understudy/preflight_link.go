package main

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/console"
)

const (
	// roundTrips are measured one after the other; the shortest counts, which
	// waited for nothing but the link.
	roundTrips = 5
	// sampleKeys are read at a time, and at most sampleBytes and sampleTime altogether.
	sampleKeys  = 1000
	sampleBytes = 16 << 20
	sampleTime  = 3 * time.Second
)

// link measures how far an etcd is from here, and how fast it can be read. What is
// measured while nothing else is read is what a copy will find.
func (e *etcdSide) link(ctx context.Context) {
	if e.err != nil {
		e.facts.Link = console.NotFound[console.LinkFacts](oneLine(e.err))
		return
	}
	var l console.LinkFacts
	begin, end := e.preflight.view.Range()
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	for range roundTrips {
		asked := time.Now()
		if _, err := e.cluster.Client.Get(ctx, begin, clientv3.WithKeysOnly(), clientv3.WithSerializable()); err != nil {
			e.facts.Link = console.NotFound[console.LinkFacts](oneLine(err))
			return
		}
		if took := time.Since(asked); l.RoundTrip == 0 || took < l.RoundTrip {
			l.RoundTrip = took
		}
	}
	began := time.Now()
	for next := begin; l.SampleBytes < sampleBytes && l.SampleTime < sampleTime; {
		resp, err := e.cluster.Client.Get(ctx, next, clientv3.WithRange(end), clientv3.WithLimit(sampleKeys))
		if err != nil {
			if l.SampleBytes == 0 { // nothing to go by: slower than anything that could be measured
				e.facts.Link = console.NotFound[console.LinkFacts]("no page of keys came in time: " + oneLine(err))
				return
			}
			break // a page larger than what etcd's client takes; what is there will do
		}
		for _, kv := range resp.Kvs {
			l.SampleBytes += int64(len(kv.Key) + len(kv.Value))
		}
		l.SampleTime = time.Since(began)
		if !resp.More {
			break
		}
		next = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	e.facts.Link = console.FoundIf(l, nil)
}
