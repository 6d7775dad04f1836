package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/kv"
)

// writesPerSecond is the steady rate.
const writesPerSecond = 1000

// steadyLag writes at a steady rate and looks when each write arrives.
func (b *bench) steadyLag(ctx context.Context, r *Result) error {
	keys := b.scaled(5_000)
	r.note("%d writes/s for %s to %d keys of %d bytes; from the primary's acknowledgement of a write until a watch on the standby delivers it",
		writesPerSecond, b.duration, keys, valueBytes)
	ours, err := b.measureLag(ctx, r, ourName, keys, func(primary, standby *etcdproc.Cluster) (*child, error) {
		return b.startSync(primary, standby, b.profile("lag"))
	})
	if err != nil {
		return err
	}
	mirror, err := b.measureLag(ctx, r, mirrorName, keys, func(primary, standby *etcdproc.Cluster) (*child, error) {
		return b.startMirror(primary, standby, 0)
	})
	if err != nil {
		return err
	}
	r.state("lag at 1,000 writes/s, median", ours[0], mirror[0])
	r.state("lag at 1,000 writes/s, 99th percentile", ours[1], mirror[1])
	return nil
}

// measureLag returns the median and the 99th percentile.
func (b *bench) measureLag(ctx context.Context, r *Result, name string, keys int, start func(primary, standby *etcdproc.Cluster) (*child, error)) ([]*Figure, error) {
	primary, _, err := b.startFilled(ctx, keys)
	if err != nil {
		return nil, err
	}
	defer primary.Stop()
	standby, err := startEtcd(ctx)
	if err != nil {
		return nil, err
	}
	defer standby.Stop()
	objects, err := b.plainObjects(keys)
	if err != nil {
		return nil, err
	}

	// Steady means that the first copy is over: a write has come through.
	marker := b.objects.options.Mutate(rand.New(rand.NewPCG(4, 0)), objects[0])
	arrived := expect(ctx, standby.Client(), marker.Key, string(marker.Value))
	c, err := start(primary, standby)
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	if _, err := primary.Client().Put(ctx, marker.Key, string(marker.Value)); err != nil {
		return nil, err
	}
	if _, err := arrived.wait(ctx, c, c.began); err != nil {
		return nil, err
	}
	if err := b.awaitCount(ctx, standby, keys); err != nil {
		return nil, err
	}

	w := newLagWriter(b, objects)
	lags, err := w.run(ctx, primary.Client(), standby.Client(), int(b.duration.Seconds()*writesPerSecond))
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, c.LogTail(10))
	}
	var figures []*Figure
	for _, p := range []struct {
		name string
		at   float64
	}{{"median", 0.5}, {"99th percentile", 0.99}, {"largest", 1}} {
		f := r.figure(fmt.Sprintf("%s, lag, %s", name, p.name), "ms")
		f.add(milliseconds(lags[int(p.at*float64(len(lags)-1))]))
		figures = append(figures, f)
	}
	r.figure(name+", writes acknowledged", "/s").add(rate(len(lags), w.took))
	b.say("  %s: %s median, %s 99th percentile", name, figures[0], figures[1])
	return figures, nil
}

// awaitCount waits until the first copy has brought all keys.
func (b *bench) awaitCount(ctx context.Context, e *etcdproc.Cluster, n int) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := count(ctx, e.Client())
		if err != nil || got >= n {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d keys, %d are there: %w", n, got, ctx.Err())
		}
	}
}

// plainObjects are the first n without the Secrets: each of their values is
// told apart by what Mutate puts into it.
func (b *bench) plainObjects(n int) ([]kv.Pair, error) {
	all, err := b.objects.slice(0, n)
	return slices.DeleteFunc(all, func(p kv.Pair) bool { return strings.HasPrefix(p.Key, prefix+"secrets/") }), err
}

// lagWriter writes on one side and watches the other.
type lagWriter struct {
	b       *bench
	objects []kv.Pair
	took    time.Duration

	mu      sync.Mutex
	seed    maphash.Seed
	acked   map[uint64]time.Time // by hash of the value
	arrived map[uint64]time.Time
	done    chan struct{} // closed when want values have arrived
	finish  sync.Once
	want    int
}

func newLagWriter(b *bench, objects []kv.Pair) *lagWriter {
	return &lagWriter{b: b, objects: objects, seed: maphash.MakeSeed(),
		acked: map[uint64]time.Time{}, arrived: map[uint64]time.Time{}, done: make(chan struct{})}
}

// run makes n writes at the steady rate and returns the sorted lags. A write
// that is late because an earlier one took long is made as soon as possible.
func (w *lagWriter) run(ctx context.Context, primary, standby *clientv3.Client, n int) ([]time.Duration, error) {
	w.want = n
	watching, stop := context.WithCancel(ctx)
	defer stop()
	events := standby.Watch(watching, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	go w.watch(events)

	writers := min(32, len(w.objects))
	turns := make(chan time.Time)
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		mine := slices.Collect(every(w.objects, i, writers))
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(5, uint64(i)))
			for turn := 0; ; turn++ {
				due, open := <-turns
				if !open {
					return
				}
				waitUntil(ctx, due)
				p := &mine[turn%len(mine)]
				*p = w.b.objects.options.Mutate(rng, *p)
				if _, err := primary.Put(ctx, p.Key, string(p.Value)); err != nil {
					errs[i] = err
				}
				w.note(w.acked, p.Value, time.Now())
			}
		})
	}
	began := time.Now()
	for i := range n {
		turns <- began.Add(time.Duration(i) * time.Second / writesPerSecond)
	}
	close(turns)
	wg.Wait()
	w.took = time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	patience, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	select {
	case <-w.done:
	case <-patience.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		return nil, fmt.Errorf("%d of %d writes arrived", len(w.arrived), n)
	}
	return w.lags(), nil
}

func (w *lagWriter) watch(events clientv3.WatchChan) {
	for resp := range events {
		now := time.Now()
		for _, e := range resp.Events {
			w.note(w.arrived, e.Kv.Value, now)
		}
	}
}

func (w *lagWriter) note(in map[uint64]time.Time, value []byte, at time.Time) {
	hash := maphash.Bytes(w.seed, value)
	w.mu.Lock()
	defer w.mu.Unlock()
	in[hash] = at
	if len(w.arrived) == w.want {
		w.finish.Do(func() { close(w.done) })
	}
}

func (w *lagWriter) lags() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []time.Duration
	for hash, at := range w.acked {
		all = append(all, w.arrived[hash].Sub(at))
	}
	slices.Sort(all)
	return all
}

func waitUntil(ctx context.Context, due time.Time) {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
