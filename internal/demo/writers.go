package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// lastAnswers is how long after the end the writers wait for answers that are
// still on their way.
const lastAnswers = 500 * time.Millisecond

// Writers are the controllers of the primary: each updates the objects it
// owns, and creates and deletes some. They begin with StartWriters and end
// with Stop.
type Writers struct {
	client   *clientv3.Client
	view     *scope.View
	fixture  fixture.Options
	ledger   *Ledger
	interval atomic.Int64 // between two writes of one writer

	ctx      context.Context
	cancel   context.CancelFunc
	stopping chan struct{}
	running  sync.WaitGroup

	mu  sync.Mutex
	err error
}

// writer is one of them. No object has two writers.
type writer struct {
	*Writers
	rng     *rand.Rand
	owned   []Object // on the primary from the beginning
	created []Object // by this writer
	spare   []Object // to be created
}

// StartWriters starts n writers that share the objects and each write once in
// an interval.
func StartWriters(ctx context.Context, client *clientv3.Client, n int, objects, spare []Object,
	encryption *registry.Encryption, view *scope.View, ledger *Ledger, interval time.Duration) *Writers {
	w := &Writers{client: client, view: view, fixture: fixture.Options{Encryption: encryption}, ledger: ledger, stopping: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.SetInterval(interval)
	each := make([]*writer, n)
	for i := range each {
		each[i] = &writer{Writers: w, rng: rand.New(rand.NewPCG(uint64(i), 1))}
	}
	for i, o := range objects {
		each[i%n].owned = append(each[i%n].owned, o)
	}
	for i, o := range spare {
		each[i%n].spare = append(each[i%n].spare, o)
	}
	for _, x := range each {
		w.running.Go(x.run)
	}
	return w
}

// SetInterval changes how often each writer writes; 0 = as fast as it can.
func (w *Writers) SetInterval(d time.Duration) { w.interval.Store(int64(d)) }

// Stop ends the writers and returns the first error of any. A write that is
// under way may still be answered; one that is not is recorded as such.
func (w *Writers) Stop() error {
	close(w.stopping)
	late := time.AfterFunc(lastAnswers, w.cancel)
	w.running.Wait()
	late.Stop()
	w.cancel()
	return w.Err()
}

// Err is why one of the writers has ended, nil while all are at it.
func (w *Writers) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *writer) run() {
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		// A late write does not make the following ones hurry.
		next = next.Add(time.Duration(w.interval.Load()))
		if now := time.Now(); next.Before(now) {
			next = now
		}
		timer.Reset(time.Until(next))
		select {
		case <-w.stopping:
			return
		case <-w.ctx.Done():
			return
		case <-timer.C:
		}
		if err := w.write(); err != nil {
			w.mu.Lock()
			if w.err == nil {
				w.err = err
			}
			w.mu.Unlock()
			return
		}
	}
}

// write does what a controller does most: it updates; now and then it creates
// an object or deletes one.
func (w *writer) write() error {
	switch dice := w.rng.IntN(100); {
	case dice == 0 && len(w.created) > 0:
		o := w.created[0]
		w.created = w.created[1:]
		return w.send(clientv3.OpDelete(o.Pair.Key), Write{Key: o.Pair.Key})
	case dice <= 1 && len(w.spare) > 0:
		o := w.spare[0]
		w.spare = w.spare[1:]
		w.created = append(w.created, o)
		return w.put(o)
	default:
		i := w.rng.IntN(len(w.owned))
		o, err := look(w.view, w.fixture.Mutate(w.rng, w.owned[i].Pair))
		if err != nil {
			return err
		}
		w.owned[i] = o
		return w.put(o)
	}
}

func (w *writer) put(o Object) error {
	return w.send(clientv3.OpPut(o.Pair.Key, string(o.Value)), Write{Key: o.Pair.Key, Object: o.digest})
}

func (w *writer) send(op clientv3.Op, write Write) error {
	resp, err := w.client.Do(w.ctx, op)
	if err != nil {
		w.ledger.Unanswered(write)
		return fmt.Errorf("write to the primary: %w", err)
	}
	write.Answered = time.Now()
	if op.IsDelete() {
		write.Revision = kv.Revision(resp.Del().Header.Revision)
	} else {
		write.Revision = kv.Revision(resp.Put().Header.Revision)
	}
	w.ledger.Acknowledged(write)
	return nil
}
