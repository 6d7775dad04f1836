package kv

import (
	"context"
	"runtime"
	"sync"
)

const (
	// What one goroutine judges at a time.
	aheadKeys  = 256
	aheadBytes = 1 << 20
)

// JoinAhead is Join with a part of the work done ahead on several cores: judge is
// called for every key by several goroutines at once, in no order, and use by
// the caller's own, in key order. A few MiB wait in between.
//
// stop has to make both streams end, as the end of the context does; it is called
// where use returns an error, which ends the walk.
func JoinAhead[T any](ctx context.Context, stop func(), a, b Stream, judge func(a, b *Pair) T, use func(a, b *Pair, judged T) error) error {
	workers := min(runtime.GOMAXPROCS(0), 8)
	work := make(chan *run[T], workers)
	order := make(chan *run[T], workers)
	ended := make(chan struct{})
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for r := range work {
				r.judge(judge)
			}
		})
	}
	var err error
	running.Go(func() {
		err = splitRuns(ctx, ended, a, b, work, order)
		close(work)
		close(order)
	})

	var failed error
	for r := range order {
		<-r.judged
		if failed == nil {
			if failed = r.use(use); failed != nil {
				close(ended)
				stop()
			}
		}
	}
	running.Wait()
	switch {
	case failed != nil:
		return failed
	case err == nil: // a stream that was cancelled may look as if it had ended
		return ctx.Err()
	}
	return err
}

// run is some keys in order, and what was judged of each.
type run[T any] struct {
	keys   []both
	bytes  int
	of     []T
	judged chan struct{} // closed when of is final
}

// both is a key as both sides have it.
type both struct {
	a, b     Pair
	onA, onB bool
}

func (k *both) pairs() (a, b *Pair) {
	if k.onA {
		a = &k.a
	}
	if k.onB {
		b = &k.b
	}
	return a, b
}

func (r *run[T]) judge(judge func(a, b *Pair) T) {
	defer close(r.judged)
	r.of = make([]T, len(r.keys))
	for i := range r.keys {
		a, b := r.keys[i].pairs()
		r.of[i] = judge(a, b)
	}
}

// use hands the keys on, and lets go of each.
func (r *run[T]) use(use func(a, b *Pair, judged T) error) error {
	for i := range r.keys {
		a, b := r.keys[i].pairs()
		if err := use(a, b, r.of[i]); err != nil {
			return err
		}
		var none T
		r.keys[i], r.of[i] = both{}, none
	}
	return nil
}

// splitRuns joins the streams and hands what they have on, to be judged and, in
// order, to be used.
func splitRuns[T any](ctx context.Context, ended <-chan struct{}, a, b Stream, work, order chan<- *run[T]) error {
	var r *run[T]
	send := func() error {
		select {
		case <-ended:
			return context.Canceled
		case <-ctx.Done():
			return ctx.Err()
		case order <- r:
		}
		work <- r // its turn comes only after it was judged, so there is room
		r = nil
		return nil
	}
	err := Join(a, b, func(left, right *Pair) error {
		if r == nil {
			r = &run[T]{keys: make([]both, 0, aheadKeys), judged: make(chan struct{})}
		}
		var k both
		if left != nil {
			k.a, k.onA = *left, true
			r.bytes += len(left.Value)
		}
		if right != nil {
			k.b, k.onB = *right, true
			r.bytes += len(right.Value)
		}
		r.keys = append(r.keys, k)
		if len(r.keys) == aheadKeys || r.bytes >= aheadBytes {
			return send()
		}
		return nil
	})
	if err == nil && r != nil {
		err = send()
	}
	return err
}
