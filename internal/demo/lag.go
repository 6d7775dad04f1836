package demo

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
)

// Meter measures from outside how long after its acknowledgement on the
// primary a write is readable on the standby: it watches the checkpoint there,
// which every transaction of the replication writes together with its data.
type Meter struct {
	mu      sync.Mutex
	reached []mark // ascending
	changed chan struct{}
}

type mark struct {
	source kv.Revision
	at     time.Time
}

// NewMeter watches the standby until ctx ends.
func NewMeter(ctx context.Context, standby *clientv3.Client) *Meter {
	m := &Meter{changed: make(chan struct{})}
	events := standby.Watch(ctx, sink.CheckpointKey)
	go func() {
		for resp := range events {
			now := time.Now()
			for _, e := range resp.Events {
				var c sink.Checkpoint
				if json.Unmarshal(e.Kv.Value, &c) == nil && c.Phase == sink.Streaming {
					m.saw(mark{c.SourceRevision, now})
				}
			}
		}
	}()
	return m
}

func (m *Meter) saw(x mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reached = append(m.reached, x)
	close(m.changed)
	m.changed = make(chan struct{})
}

var errBehind = errors.New("the standby does not catch up")

// Wait returns when the standby has reached a revision of the primary.
func (m *Meter) Wait(ctx context.Context, revision kv.Revision, patience time.Duration) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		m.mu.Lock()
		done := len(m.reached) > 0 && m.reached[len(m.reached)-1].source >= revision
		changed := m.changed
		m.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-late.C:
			return errBehind
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Lags are the times from acknowledgement to readable, ascending, of the
// writes that the standby has reached. A write that could be read on the
// standby before its own client had the answer has a lag of 0.
func (m *Meter) Lags(writes []Write) []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	lags := make([]time.Duration, 0, len(writes))
	for _, w := range writes {
		i, _ := slices.BinarySearchFunc(m.reached, w.Revision, func(x mark, r kv.Revision) int { return int(x.source - r) })
		if i < len(m.reached) {
			lags = append(lags, max(0, m.reached[i].at.Sub(w.Answered)))
		}
	}
	slices.Sort(lags)
	return lags
}

// Percentile of ascending durations; 0 where there are none.
func Percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*percent/100]
}
