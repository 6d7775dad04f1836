package verify

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

const (
	// A batch is what one goroutine compares at a time.
	batchKeys  = 256
	batchBytes = 1 << 20
)

// twin is one key as both sides have it.
type twin struct {
	primary, standby     kv.Pair
	onPrimary, onStandby bool
}

// batch is a run of keys in order and what the comparison found.
type batch struct {
	twins []twin
	bytes int
	done  chan struct{} // closed when the fields below are final

	compared, opaque int64
	different        []difference
	resources        []tally // in key order; a resource may stand in it twice
}

type difference struct {
	key, resource string
	kind          Kind
	why           error
}

type tally struct {
	resource string
	Resource
}

// join walks both streams, lets several goroutines compare, and adds what they
// found to the report in key order.
func join(ctx context.Context, primary, standby kv.Stream, view *scope.View, report *Report, opts Options) error {
	workers := min(runtime.GOMAXPROCS(0), 8)
	work := make(chan *batch, workers)
	order := make(chan *batch, 2*workers) // bounds what is in memory

	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for b := range work {
				b.compare(view, opts.records)
				close(b.done)
			}
		})
	}
	var err error
	running.Go(func() {
		err = splitBatches(ctx, primary, standby, work, order)
		close(work)
		close(order)
	})

	var seen int64
	for b := range order {
		<-b.done
		seen += int64(len(b.twins))
		b.addTo(report, opts.Limit)
		if opts.Progress != nil {
			opts.Progress(seen)
		}
	}
	running.Wait()
	if err == nil {
		err = ctx.Err() // a stream that was cancelled may look as if it had ended
	}
	return err
}

func splitBatches(ctx context.Context, primary, standby kv.Stream, work, order chan<- *batch) error {
	var b *batch
	send := func() error {
		select {
		case order <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case work <- b:
		case <-ctx.Done():
			close(b.done) // nobody compares it, and nobody may wait for it
			return ctx.Err()
		}
		b = nil
		return nil
	}
	err := kv.Join(primary, standby, func(p, s *kv.Pair) error {
		if b == nil {
			b = &batch{twins: make([]twin, 0, batchKeys), done: make(chan struct{})}
		}
		var t twin
		if p != nil {
			t.primary, t.onPrimary = *p, true
			b.bytes += len(p.Value)
		}
		if s != nil {
			t.standby, t.onStandby = *s, true
			b.bytes += len(s.Value)
		}
		b.twins = append(b.twins, t)
		if len(b.twins) == batchKeys || b.bytes >= batchBytes {
			return send()
		}
		return nil
	})
	if err == nil && b != nil {
		err = send()
	}
	return err
}

func (b *batch) compare(view *scope.View, records scope.Records) {
	directory := "" // of the resource that the last tally counts
	for i := range b.twins {
		t := &b.twins[i]
		key := t.primary.Key
		var primary, standby *kv.Pair
		if t.onPrimary {
			primary = &t.primary
		}
		if t.onStandby {
			standby, key = &t.standby, t.standby.Key
		}
		found := compare(view, records, primary, standby)
		if !found.out {
			b.compared++
			if found.opaque {
				b.opaque++
			}
			if found.kind != "" {
				resource, _ := resourceOf(view, key)
				b.different = append(b.different, difference{key, resource, found.kind, found.why})
			}
		}
		if !t.onPrimary {
			continue
		}
		if directory == "" || !strings.HasPrefix(key, directory) {
			var resource string
			resource, directory = resourceOf(view, key)
			b.resources = append(b.resources, tally{resource: resource})
		}
		last := &b.resources[len(b.resources)-1]
		last.add(found.counts())
	}
	clear(b.twins) // lets go of the values before the batch's turn comes
}

// Raw is what keys that belong to no resource are counted under.
const Raw = "(raw)"

func resourceOf(view *scope.View, key string) (resource, directory string) {
	prefix := view.Scope.RegistryPrefix()
	parsed, ok := registry.ParseKey(prefix, key)
	if !ok {
		return Raw, ""
	}
	resource = parsed.GroupResource()
	return resource, registry.ResourcePrefix(prefix, resource)
}

func (b *batch) addTo(r *Report, limit int) {
	r.Compared += b.compared
	r.Opaque += b.opaque
	for _, d := range b.different {
		r.add(d.key, d.kind, d.why, limit)
		r.count(d.resource, d.kind)
	}
	for _, t := range b.resources {
		sum := r.Scope[t.resource]
		sum.add(t.Resource)
		r.Scope[t.resource] = sum
	}
}
