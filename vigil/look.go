// Package vigil says what others did to the standby since its checkpoint, by the
// standby alone: for the days on which no primary can be asked.
//
// Every transaction of the replication writes the checkpoint. So whatever was
// written in scope after it is somebody else's, and the standby's own history
// tells what stood there before. API servers compact that history after five
// minutes; so a daemon that cannot reach the primary looks again and again, and
// keeps what it has seen in a Record. Where the history is gone and no record
// covers it, that is a gap, and said: nobody knows what happened in it.
//
// It writes nothing but the Record, and repairs nothing. Of the keys that were
// touched it names a bounded number, and it never retries.
package vigil

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// touches bounds how many keys that others have written are looked at.
const touches = 100_000

var errEnough = errors.New("all has been delivered")

// Look says what has become of the standby at a revision since a checkpoint of
// it. before is the record that stands there; nil = none.
func Look(ctx context.Context, standby *clientv3.Client, view *scope.View, checkpoint sink.Stored, before *Record, at kv.Revision, now time.Time) (Record, error) {
	r := Record{Checkpoint: checkpoint.Revision, Through: checkpoint.Revision, Time: checkpoint.Time}
	if before != nil && before.Checkpoint == checkpoint.Revision && before.Through <= at {
		r = *before
		r.Lost, r.Changed = slices.Clone(before.Lost), slices.Clone(before.Changed)
	}
	seen := account{view: view, checkpoint: checkpoint.Revision, touched: map[string]Touched{}, restored: map[string]bool{}}
	for _, list := range [][]Touched{r.Lost, r.Changed} {
		for _, t := range list {
			seen.touched[t.Key] = t
		}
	}
	if r.Through < at {
		switch err := seen.read(ctx, standby, r.Through+1, at); {
		case errors.Is(err, source.ErrCompacted):
			if r.Gap.IsZero() {
				r.Gap = r.Time
			}
		case err != nil:
			return Record{}, err
		}
	}
	lost, changed, err := seen.settle(ctx, standby, at)
	if err != nil {
		return Record{}, err
	}
	r.Lost, r.Changed, r.Through, r.Time = lost, changed, at, now
	r.More = max(r.More, seen.more)
	r.bound()
	return r, nil
}

// account is which keys others have touched, and at which revision first.
type account struct {
	view       *scope.View
	checkpoint kv.Revision
	touched    map[string]Touched
	restored   map[string]bool // written by a command of ours
	more       int             // keys that found no room
	compacted  kv.Revision     // of the standby: nothing up to it can be read, as far as is known
}

// read takes in the writes in [from, through].
func (a *account) read(ctx context.Context, standby *clientv3.Client, from, through kv.Revision) error {
	begin, end := a.view.Range()
	begin, end = min(begin, sink.Root), max(end, kv.PrefixEnd(sink.Root))
	err := source.Follow(ctx, standby, source.Span{Begin: begin, End: end, From: from}, func(e source.Events) error {
		for rest := e.Changes; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].Revision == rest[0].Revision {
				n++
			}
			if rest[0].Revision <= through {
				a.take(rest[:n])
			}
			rest = rest[n:]
		}
		if e.Through >= through {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return fmt.Errorf("read what was written on the standby since revision %d: %w", from, err)
}

// take takes in the writes of one transaction. What a command of ours has
// written, a release among them, is as it should be.
func (a *account) take(writes []kv.Change) {
	has := func(key string) bool {
		return slices.ContainsFunc(writes, func(c kv.Change) bool { return c.Key == key })
	}
	ours := has(sink.OperatorKey) || has(sink.CheckpointKey)
	for _, c := range writes {
		switch _, known := a.touched[c.Key]; {
		case a.view.Scope.Key(c.Key) == scope.Out:
		case ours:
			delete(a.touched, c.Key)
			a.restored[c.Key] = !c.Delete
		case known || c.Created && !c.Delete: // its creator's own
		case len(a.touched) >= touches:
			a.more++
		default:
			a.touched[c.Key] = Touched{Key: c.Key, Revision: c.Revision}
		}
	}
}

// settle compares what was touched, as it stood before, with what stands there
// at a revision.
func (a *account) settle(ctx context.Context, standby *clientv3.Client, at kv.Revision) (lost, changed []Touched, err error) {
	surplus, err := a.surplus(ctx, standby, at)
	if err != nil {
		return nil, nil, err
	}
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(a.touched)), 100) {
		keys = slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return surplus[key] })
		now, err := pairs(source.Get(ctx, standby, keys, at))
		if err != nil {
			return nil, nil, fmt.Errorf("read what others have written on the standby: %w", err)
		}
		before, err := a.before(ctx, standby, keys)
		if err != nil {
			return nil, nil, err
		}
		for _, key := range keys {
			switch t, what := a.judge(a.touched[key], before[key], now[key]); what {
			case gone:
				lost = append(lost, t)
			case other:
				changed = append(changed, t)
			}
		}
	}
	return lost, changed, nil
}

// before reads what stood at some keys before they were touched. What is
// compacted is left out: an earlier look has seen it, or nobody has.
func (a *account) before(ctx context.Context, standby *clientv3.Client, keys []string) (map[string]kv.Pair, error) {
	asked := make([]source.At, 0, len(keys))
	for _, key := range keys {
		asked = append(asked, source.At{Key: key, Revision: a.touched[key].Revision - 1})
	}
	slices.SortFunc(asked, func(x, y source.At) int { return cmp.Compare(x.Revision, y.Revision) })
	for {
		asked = slices.DeleteFunc(asked, func(at source.At) bool { return at.Revision <= a.compacted })
		found, err := pairs(source.GetAt(ctx, standby, asked))
		switch {
		case err == nil:
			return found, nil
		case !errors.Is(err, source.ErrCompacted) || len(asked) == 0:
			return nil, fmt.Errorf("read what stood on the standby before others wrote: %w", err)
		}
		if err := a.findCompacted(ctx, standby, asked); err != nil {
			return nil, err
		}
	}
}

// findCompacted looks, by halves, for the last of some revisions that is compacted,
// as the first one is. They ascend.
func (a *account) findCompacted(ctx context.Context, standby *clientv3.Client, asked []source.At) (failed error) {
	readable := sort.Search(len(asked), func(i int) bool {
		_, err := source.GetAt(ctx, standby, asked[i:i+1])
		if err != nil && !errors.Is(err, source.ErrCompacted) {
			failed = fmt.Errorf("read what stood on the standby before others wrote: %w", err)
		}
		return err == nil
	})
	if failed == nil {
		a.compacted = asked[max(0, readable-1)].Revision
	}
	return failed
}

type outcome int

const (
	fine  outcome = iota
	gone          // it is not there, or another object of that name is
	other         // it differs
)

// judge is pure. was is the zero Pair where its revision is compacted; what an
// earlier look knew of the object then counts.
func (a *account) judge(t Touched, was, is kv.Pair) (Touched, outcome) {
	if was.CreateRevision > a.checkpoint && !a.restored[t.Key] {
		return t, fine // somebody else's, from its beginning
	}
	old, oldErr := a.view.InStandby(t.Key, was.Value)
	known := was.ModRevision > 0 && oldErr == nil
	if known && !old.In {
		return t, fine
	}
	if known {
		t.UID = old.Meta.UID
	}
	if is.ModRevision == 0 {
		return t, gone
	}
	now, nowErr := a.view.InStandby(t.Key, is.Value)
	switch {
	case nowErr == nil && !now.Opaque && t.UID != "" && now.Meta.UID != t.UID:
		return t, gone
	case nowErr == nil && now.Meta.Deleting: // a finding of its own
		return t, fine
	case known && nowErr == nil && a.view.Same(t.Key, old, now, was.Value, is.Value):
		return t, fine
	}
	return t, other
}

// surplus are the keys that the standby has of its own, as is recorded.
func (a *account) surplus(ctx context.Context, standby *clientv3.Client, at kv.Revision) (map[string]bool, error) {
	found := map[string]bool{}
	dir := sink.SurplusPrefix + "/"
	err := source.Each(ctx, standby, dir, kv.PrefixEnd(dir), at, func(p kv.Pair) error {
		if len(p.Value) == 0 { // others were the primary's
			found[strings.TrimPrefix(p.Key, sink.SurplusPrefix)] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which keys are the standby's own: %w", err)
	}
	return found, nil
}

func pairs(list []kv.Pair, err error) (map[string]kv.Pair, error) {
	out := make(map[string]kv.Pair, len(list))
	for _, p := range list {
		out[p.Key] = p
	}
	return out, err
}
