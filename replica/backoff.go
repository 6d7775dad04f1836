package replica

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff waits longer each time, with jitter, up to a maximum.
type backoff struct{ next, first, max time.Duration }

func newBackoff(first, max time.Duration) *backoff {
	return &backoff{next: first, first: first, max: max}
}

// sleep waits, and returns early with the context's error.
func (b *backoff) sleep(ctx context.Context) error {
	d := b.next/2 + rand.N(b.next/2+1)
	b.next = min(b.max, 2*b.next)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *backoff) reset() { b.next = b.first }
