package replica

import (
	"context"
	"fmt"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// What replication does to an object of the standby that somebody may miss.
const (
	HoldsAgain = "hold again" // it acts, and becomes inert
	WritesOver = "write over" // somebody has written it there since the checkpoint
	BringsBack = "bring back" // somebody has deleted it there since the checkpoint
	Deletes    = "delete"     // or marks for it, as the primary does
)

// Effect is what replication would do to one object of the standby. By key and UID
// it is the same one tomorrow.
type Effect struct {
	What     string
	Key, UID string
}

// Preview is what replication would do first, if it went on now.
type Preview struct {
	Effects []Effect
	New     int64 // objects that the standby gets, or gets anew, and that nobody wrote there
	Stays   int64 // objects in scope that only the standby has, and that stay
}

// Foretell compares both sides as they are now, as a resync would, and writes
// nothing. What cannot be read on the primary is an error: nobody could say then.
// What only the primary changes is counted; every object of which something that was
// done on the standby would be lost is listed.
func Foretell(ctx context.Context, primary, standby *cluster.Cluster, view *scope.View) (out Preview, err error) {
	r := &Replica{Config: Config{View: view}}
	facts, err := r.facts(ctx, primary, standby)
	if err != nil {
		return out, err
	}
	decision, err := Decide(facts)
	if err != nil {
		return out, explain(err)
	}
	begin, end := view.Range()
	reading, stop := context.WithCancel(ctx)
	defer stop()
	src, err := source.Open(reading, primary.Client, begin, end, 0)
	if err != nil {
		return out, fmt.Errorf("read the primary: %w", err)
	}
	defer src.Close()
	dst, err := source.Open(reading, standby.Client, begin, end, 0)
	if err != nil {
		return out, fmt.Errorf("read the standby: %w", err)
	}
	defer dst.Close()
	f := foretold{view: view, checkpoint: facts.Checkpoint, base: decision.Base, released: map[string]kv.Revision{}}
	if f.surplus, _, err = readSurplus(ctx, standby.Client); err != nil {
		return out, err
	}
	dir := role.ReleasedDir + "/"
	err = source.Each(ctx, standby.Client, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
		f.released[p.Key[len(role.ReleasedDir):]] = p.ModRevision
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("read what was released: %w", err)
	}
	err = kv.JoinAhead(ctx, stop, src, dst, f.judge, func(p, s *kv.Pair, t judged) error { return f.visit(p, s, t) })
	return f.out, err
}

// foretold is what a resync would do, key by key.
type foretold struct {
	view       *scope.View
	checkpoint sink.Stored
	base       *sink.Base
	surplus    surplusSet
	released   map[string]kv.Revision // and the standby's revision of that
	out        Preview
}

func (f *foretold) judge(p, s *kv.Pair) (t judged) {
	if p != nil {
		t.want, t.wantErr = f.view.Want(p.Key, p.Value)
	}
	if s != nil {
		t.have, t.haveErr = f.view.InStandby(s.Key, s.Value)
	}
	if p != nil && s != nil && t.want.In && t.wantErr == nil && t.haveErr == nil {
		t.same = f.view.Same(p.Key, t.want.Object, t.have, p.Value, s.Value)
	}
	return t
}

func (f *foretold) visit(p, s *kv.Pair, t judged) error {
	if t.wantErr != nil {
		return unreadable(f.view, p.Key, t.wantErr)
	}
	note := func(what, key, uid string) { f.out.Effects = append(f.out.Effects, Effect{what, key, uid}) }
	switch {
	case p == nil || !t.want.In:
		if s == nil || !t.have.In {
			return nil
		}
		if f.base == nil || s.CreateRevision > f.base.StandbyRevision || f.surplus.has(s) {
			f.out.Stays++
			return nil
		}
		note(Deletes, s.Key, t.have.Meta.UID)
	case s == nil && f.checkpoint.Exists() && p.CreateRevision <= f.checkpoint.SourceRevision:
		note(BringsBack, p.Key, t.want.Meta.UID)
	case s == nil:
		f.out.New++
	case t.same:
	case t.want.Meta.Deleting && !t.have.Meta.Deleting:
		note(Deletes, s.Key, t.have.Meta.UID)
	default:
		return f.differs(p, s, t, note)
	}
	return nil
}

// differs looks at an object that both sides have, and not alike.
func (f *foretold) differs(p, s *kv.Pair, t judged, note func(what, key, uid string)) error {
	have, inert := t.have, s.Value // as it would stand if it were held alone
	if t.want.Kept != nil && t.haveErr == nil {
		value, changed, err := f.view.Inert(s.Key, t.have, s.Value)
		if err == nil && changed {
			note(HoldsAgain, s.Key, t.have.Meta.UID)
			inert = value
			if have, err = f.view.InStandby(s.Key, value); err != nil {
				return fmt.Errorf("hold %s: %w", s.Key, err)
			}
		}
	}
	switch {
	case t.haveErr == nil && f.view.Same(p.Key, t.want.Object, have, p.Value, inert):
	case s.ModRevision <= f.checkpoint.Revision || s.ModRevision == f.released[s.Key]: // as replication wrote it, or the release
		f.out.New++
	default:
		note(WritesOver, s.Key, t.have.Meta.UID)
	}
	return nil
}
