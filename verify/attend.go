package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// silence is how long a side may not answer before whoever reads it gives up.
const silence = 20 * time.Second

// ErrSilent means that a side stopped answering while it was read.
var ErrSilent = errors.New("no answer")

// Attend gives a context that ends, with the cause, once a side has not
// answered for as long as patience (0 = silence): etcd's client would wait
// without end for one that dies while it is read. key is one that may be read
// on all sides, whether it is there or not. end must be called. Whoever gets an
// error while he reads asks context.Cause(ctx) for its reason first.
func Attend(ctx context.Context, patience time.Duration, key string, sides map[string]*clientv3.Client) (_ context.Context, end func()) {
	if patience == 0 {
		patience = silence
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	for name, client := range sides {
		asking.Go(func() {
			if err := untilSilent(ctx, patience, key, client); err != nil {
				giveUp(fmt.Errorf("read the %s: %w for %s: %w", name, ErrSilent, patience, err))
			}
		})
	}
	return ctx, func() {
		giveUp(nil)
		asking.Wait()
	}
}

// untilSilent asks for one key again and again. Any answer will do, also a refusal.
func untilSilent(ctx context.Context, patience time.Duration, key string, client *clientv3.Client) error {
	tick := time.NewTicker(patience / 4)
	defer tick.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, patience)
		_, err := client.Get(attempt, key, clientv3.WithKeysOnly())
		silent := attempt.Err() != nil && ctx.Err() == nil
		cancel()
		if silent {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
