package verify

import (
	"context"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
)

const (
	// retryAfter is the pause after a single comparison that was not possible.
	retryAfter = time.Second
	// againEvery is how often some of the keys that differ are compared again,
	// and againAtMost how many.
	againEvery  = 5 * time.Second
	againAtMost = 8 * keysAtOnce
)

// Run compares the keys of foreign writes one by one until ctx ends.
func (a *Account) Run(ctx context.Context, sides Sides, view *scope.View) {
	again := time.NewTicker(againEvery)
	defer again.Stop()
	for {
		wake := a.wake
		var retry <-chan time.Time
		switch left, err := a.settle(ctx, sides, view, a.someOpen()); {
		case err != nil:
			wake, retry = nil, time.After(retryAfter)
		case left > 0:
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-retry:
		case <-again.C:
			_, _ = a.settle(ctx, sides, view, a.someEntries()) // the next time will do
		}
	}
}

// settle compares keys that are open or differ, and says how many are left open.
func (a *Account) settle(ctx context.Context, sides Sides, view *scope.View, keys []string) (left int, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	var point Point
	var results []Result
	point, err = Pin(ctx, sides, view)
	if err == nil {
		results, err = CompareKeys(ctx, sides, view, keys, point.Source, point.Standby)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trouble = err
	if err != nil {
		return 0, err
	}
	for _, r := range results {
		a.found(r, point.Standby)
	}
	return len(a.open), nil
}

// found takes the outcome of a single comparison at a revision of the standby,
// unless the key was written again since.
func (a *Account) found(r Result, at kv.Revision) {
	told, isOpen := a.open[r.Key]
	known, differs := a.entries[r.Key]
	switch {
	case !isOpen && !differs, isOpen && told > at, differs && known.at > at:
		return
	}
	delete(a.open, r.Key)
	if r.Kind == "" {
		delete(a.entries, r.Key)
		return
	}
	e := entry{kind: r.Kind, at: at}
	if r.Why != nil {
		e.why = reason(r.Key, r.Why)
	}
	a.entries[r.Key] = e
}

func (a *Account) someOpen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return some(a.open, keysAtOnce)
}

func (a *Account) someEntries() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return some(a.entries, againAtMost)
}

func some[V any](m map[string]V, atMost int) []string {
	keys := make([]string, 0, min(len(m), atMost))
	for key := range m {
		if len(keys) == atMost {
			break
		}
		keys = append(keys, key)
	}
	return keys
}
