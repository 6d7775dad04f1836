package replica

import (
	"context"
	"sync"
)

// writers applies chains of transactions, several at a time, the transactions
// of one chain one after the other.
type writers struct {
	work   chan [][]item
	apply  func(ctx context.Context, txn []item) error
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	open   sync.WaitGroup // chains sent and not finished

	mu  sync.Mutex
	err error
}

func startWriters(ctx context.Context, n int, apply func(context.Context, []item) error) *writers {
	ctx, cancel := context.WithCancel(ctx)
	w := &writers{work: make(chan [][]item), apply: apply, ctx: ctx, cancel: cancel}
	for range n {
		w.wg.Add(1)
		go func() {
			defer w.wg.Done()
			for chain := range w.work {
				w.run(chain)
			}
		}()
	}
	return w
}

func (w *writers) run(chain [][]item) {
	defer w.open.Done()
	for _, txn := range chain {
		if w.failed() != nil {
			return
		}
		if err := w.apply(w.ctx, txn); err != nil {
			w.fail(err)
			return
		}
	}
}

func (w *writers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		w.cancel()
	}
}

// failed is the first error of any chain, also before it has been waited for.
func (w *writers) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// send hands over one chain; it blocks while all writers are busy.
func (w *writers) send(chain [][]item) error {
	w.open.Add(1)
	select {
	case w.work <- chain:
		return nil
	case <-w.ctx.Done():
		w.open.Done()
		if err := w.failed(); err != nil {
			return err
		}
		return w.ctx.Err()
	}
}

// wait returns when everything sent has been applied, or with the first error.
func (w *writers) wait() error {
	w.open.Wait()
	if err := w.failed(); err != nil {
		return err
	}
	return w.ctx.Err()
}

// stop ends the writers and waits for them. It is called once.
func (w *writers) stop() {
	w.cancel()
	close(w.work)
	w.wg.Wait()
}
