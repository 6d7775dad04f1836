package source

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
)

const (
	// windowSize is how many revisions are read by one watch. It must be below
	// the 1,000 that etcd puts into one batch for a watch that has to catch up
	// (watchBatchMaxRevs in mvcc/watcher_group.go): the first batch then holds
	// the whole window. etcd sends one batch about every 100 ms, and reads
	// everything up to the newest revision for it.
	windowSize = 900
	// windowsAhead is how many windows are read at once. Each holds up to two
	// messages of about 2 MiB until its turn comes. They are opened by halves,
	// since etcd reads all that is left of the history whenever there is a new one.
	windowsAhead = 8
)

// Follow is Watch for a span that may begin long ago. One watch catches up by
// windowSize revisions at a time, however fast both sides are; so while it is
// far behind, Follow opens several, each for a window of its own, and delivers
// them in order.
func Follow(ctx context.Context, client *clientv3.Client, span Span, deliver func(Events) error) error {
	for !span.IgnoreProgress {
		resp, err := client.Get(ctx, span.Begin, clientv3.WithKeysOnly())
		if err != nil {
			return watchError(ctx, err)
		}
		behind := (kv.Revision(resp.Header.Revision) - span.From) / windowSize
		if behind < 2 {
			break
		}
		if err := catchUp(ctx, client, span, int(behind), deliver); err != nil {
			return err
		}
		span.From += behind * windowSize
	}
	return Watch(ctx, client, span, deliver)
}

// window is a part of a span that is being read.
type window struct {
	events chan Events
	err    error // set before events is closed
}

// catchUp delivers n whole windows from the beginning of the span on.
func catchUp(ctx context.Context, client *clientv3.Client, span Span, n int, deliver func(Events) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var open []*window
	defer func() {
		cancel()
		for _, w := range open {
			for range w.events { //nolint:revive // waits for its reader
			}
		}
	}()
	started := 0
	for range n {
		for refill := len(open) <= windowsAhead/2; refill && started < n && len(open) < windowsAhead; {
			part := span
			part.From += kv.Revision(started) * windowSize
			open = append(open, startWindow(ctx, client, part))
			started++
		}
		for e := range open[0].events {
			if err := deliver(e); err != nil {
				return err
			}
		}
		if err := open[0].err; err != nil {
			return err
		}
		open = open[1:]
	}
	return nil
}

var errWindowEnd = errors.New("the window has been read")

// reaches reports whether everything up to a revision has been delivered. A
// batch says so only where the member that sent it knew of the revision: it may
// lag behind the one that told the newest.
func (e Events) reaches(revision kv.Revision) bool {
	return e.Through >= revision || e.whole && e.known >= revision
}

// startWindow reads windowSize revisions from the span's beginning on.
func startWindow(ctx context.Context, client *clientv3.Client, span Span) *window {
	w := &window{events: make(chan Events)}
	end := span.From + windowSize // the first revision after it
	go func() {
		defer close(w.events)
		err := watch(ctx, client, span, end-1, func(e Events) error {
			beyond := e.reaches(end - 1)
			n := len(e.Changes)
			for n > 0 && e.Changes[n-1].Revision >= end {
				n--
			}
			e.Changes = e.Changes[:n]
			if e.Through = min(e.Through, end-1); beyond {
				e.Through = end - 1
			}
			select {
			case w.events <- e:
			case <-ctx.Done():
				return ctx.Err()
			}
			if beyond {
				return errWindowEnd
			}
			return nil
		})
		if !errors.Is(err, errWindowEnd) {
			w.err = fmt.Errorf("catch up from revision %d: %w", span.From, err)
		}
	}()
	return w
}
