package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

// FillerKey is the one key that Lift writes. It lies outside every scope and
// is gone when Lift has ended well.
const FillerKey = "/understudy/filler"

const (
	// fillersInFlight is how many filler writes are under way at once. Each
	// revision of etcd is a transaction of its own, so throughput comes from
	// writes that share a raft round, not from larger transactions.
	fillersInFlight = 256
	// fillerHistory is after how many revisions the fillers' history is dropped,
	// so that it never takes more than some 100 MB of etcd's quota.
	fillerHistory = 200_000
)

// ErrRefused means that the condition of Lift.While no longer held.
var ErrRefused = errors.New("the cluster's role has changed")

// Lift says how far a cluster's revision is lifted by filler writes.
type Lift struct {
	To kv.Revision
	// Rate is the most writes per second; 0 = as fast as they go.
	Rate int
	// While is compared by each write; where it does not hold, Lift ends with
	// ErrRefused and has written nothing more.
	While []clientv3.Cmp
	// Progress is told the revision that is reached, from one goroutine at a
	// time and about twice a second; may be nil.
	Progress func(kv.Revision)
}

// Lifted is what Lift did, also where it ended with an error.
type Lifted struct {
	From, To  kv.Revision // the cluster's revision before and after
	Writes    int64
	Compacted kv.Revision // up to here the history was dropped; 0 = it was not
	Took      time.Duration
}

// Lift raises the cluster's revision to l.To at least by writing FillerKey
// again and again, drops the history that this makes, and deletes the key. It
// touches no other key. It retries nothing: after an error the cluster stands
// somewhere between From and To, and calling it again goes on from there.
//
// Dropping the history makes every revision before the end unreadable, as the
// API servers' own compaction does every five minutes.
func (c *Cluster) Lift(ctx context.Context, l Lift) (done Lifted, err error) {
	started := time.Now()
	defer func() { done.Took = time.Since(started) }()
	resp, err := c.Client.Get(ctx, FillerKey, clientv3.WithKeysOnly())
	if err != nil {
		return done, c.explain(err)
	}
	f := &filler{cluster: c, lift: l, limit: rate.NewLimiter(rate.Inf, 0)}
	if l.Rate > 0 {
		f.limit = rate.NewLimiter(rate.Limit(l.Rate), max(l.Rate/20, 1))
	}
	done.From, done.To = kv.Revision(resp.Header.Revision), kv.Revision(resp.Header.Revision)
	f.reached.Store(resp.Header.Revision)
	if done.From >= l.To {
		return done, nil
	}
	for err == nil && f.reached.Load() < int64(l.To) {
		before := f.reached.Load()
		if err = f.run(ctx, min(int64(l.To), before+fillerHistory)); err == nil && f.reached.Load() < int64(l.To) {
			// One stretch behind, for those who read at a recent revision.
			done.Compacted, err = f.compact(ctx, before)
		}
		f.tell(true)
	}
	done.Writes, done.To = f.writes.Load(), kv.Revision(f.reached.Load())
	if err == nil {
		err = f.finish(ctx, &done)
	}
	if err != nil {
		return done, f.explain(err, done)
	}
	return done, nil
}

// filler is a lift under way.
type filler struct {
	cluster *Cluster
	lift    Lift
	limit   *rate.Limiter
	writes  atomic.Int64
	reached atomic.Int64 // the highest revision seen
	pending atomic.Int64

	mu   sync.Mutex
	told time.Time
}

// run writes until the revision is to at least.
func (f *filler) run(ctx context.Context, to int64) error {
	group, working := errgroup.WithContext(ctx)
	for range fillersInFlight {
		group.Go(func() error {
			for {
				// What is under way counts, so that the target is not overshot by much.
				if f.reached.Load()+f.pending.Add(1) > to {
					f.pending.Add(-1)
					return nil
				}
				err := f.write(working)
				f.pending.Add(-1)
				if err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for f.reached.Load() < to { // workers that left together may have left a rest
		if err := f.write(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) write(ctx context.Context) error {
	if err := f.limit.Wait(ctx); err != nil {
		return err
	}
	resp, err := f.cluster.Client.Txn(ctx).If(f.lift.While...).Then(clientv3.OpPut(FillerKey, "")).Commit()
	switch {
	case err != nil:
		return err
	case !resp.Succeeded:
		return ErrRefused
	}
	f.writes.Add(1)
	for at := f.reached.Load(); resp.Header.Revision > at && !f.reached.CompareAndSwap(at, resp.Header.Revision); {
		at = f.reached.Load()
	}
	f.tell(false)
	return nil
}

func (f *filler) tell(now bool) {
	if f.lift.Progress == nil || !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if now || time.Since(f.told) > 500*time.Millisecond {
		f.told = time.Now()
		f.lift.Progress(kv.Revision(f.reached.Load()))
	}
}

// compact drops the history before rev. Somebody else may have done so already.
func (f *filler) compact(ctx context.Context, rev int64) (kv.Revision, error) {
	_, err := f.cluster.Client.Compact(ctx, rev)
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return 0, fmt.Errorf("drop the history of the filler writes: %w", err)
	}
	return kv.Revision(rev), nil
}

// finish takes the filler away and drops all of its history.
func (f *filler) finish(ctx context.Context, done *Lifted) error {
	resp, err := f.cluster.Client.Txn(ctx).If(f.lift.While...).Then(clientv3.OpDelete(FillerKey)).Commit()
	switch {
	case err != nil:
		return fmt.Errorf("delete %s: %w", FillerKey, err)
	case !resp.Succeeded:
		return ErrRefused
	}
	done.To = kv.Revision(resp.Header.Revision)
	done.Compacted, err = f.compact(ctx, resp.Header.Revision)
	return err
}

func (f *filler) explain(err error, done Lifted) error {
	e := &remedy.Error{Op: fmt.Sprintf("lift the revision of %s, now %d of %d", f.cluster.Name, done.To, f.lift.To), Err: err,
		Remedy: "run it again: it goes on from there"}
	switch {
	case errors.Is(err, ErrRefused):
		e.Remedy, e.Code = "see who is what: understudy status", remedy.Refused
	case errors.Is(err, rpctypes.ErrNoSpace):
		e.Remedy = "make space: understudy preflight names the full members, with the commands; then run it again: it goes on from there"
	case IsDenied(err):
		e.Remedy, e.Code = "grant the user readwrite on /understudy/; compaction needs the role root", remedy.Auth
	}
	return e
}
