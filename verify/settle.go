package verify

import (
	"context"
	"time"

	"github.com/understudy-dr/understudy/scope"
)

// retryAfter is the pause after a single comparison that was not possible.
const retryAfter = time.Second

// Run compares the keys of foreign writes one by one until ctx ends.
func (a *Account) Run(ctx context.Context, sides Sides, view *scope.View) {
	for {
		again := a.wake
		var retry <-chan time.Time
		if left, err := a.settle(ctx, sides, view); err != nil {
			retry = time.After(retryAfter)
			again = nil
		} else if left > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-retry:
		}
	}
}

// settle compares some open keys and says how many are left.
func (a *Account) settle(ctx context.Context, sides Sides, view *scope.View) (left int, err error) {
	keys := a.someOpen()
	if len(keys) == 0 {
		return 0, nil
	}
	defer func() {
		a.mu.Lock()
		a.trouble = err
		a.mu.Unlock()
	}()
	point, err := Pin(ctx, sides)
	if err != nil {
		return 0, err
	}
	results, err := CompareKeys(ctx, sides, view, keys, point.Source, point.Standby)
	if err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range results {
		told, ok := a.open[r.Key]
		if !ok || told > point.Standby {
			continue // written again since
		}
		delete(a.open, r.Key)
		if r.Kind == "" {
			delete(a.entries, r.Key)
			continue
		}
		e := entry{kind: r.Kind, at: point.Standby}
		if r.Why != nil {
			e.why = reason(r.Key, r.Why)
		}
		a.entries[r.Key] = e
	}
	return len(a.open), nil
}

func (a *Account) someOpen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys := make([]string, 0, keysAtOnce)
	for key := range a.open {
		if keys = append(keys, key); len(keys) == cap(keys) {
			break
		}
	}
	return keys
}
