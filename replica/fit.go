package replica

import (
	"context"
	"errors"
	"fmt"

	"slices"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// withRecord puts beside a change of an object what the record of its original
// needs, where objects of its kind are held.
func (s *stream) withRecord(c kv.Change, want scope.Wanted) []kv.Change {
	if !s.view.MayBeHeld(c.Key) {
		return []kv.Change{c}
	}
	if want.Kept != nil {
		s.originals.kept(c.Key)
	} else if !s.view.HeldByKind(c.Key) && !s.originals.may(c.Key) {
		return []kv.Change{c}
	}
	return []kv.Change{c, heldChange(c.Key, want, c.Revision)}
}

// write applies a batch as it fits what stands on the standby. Where an object
// there is not as it was thought to be, it is read, and the batch fitted again.
//
// It gives what was written of the batch: without what is spared.
func (s *stream) write(ctx context.Context, batch []kv.Change, next sink.Checkpoint) ([]kv.Change, error) {
	doubted := map[string]struct{}{}
	for attempt := 1; ; attempt++ {
		f, err := s.fit(ctx, batch, doubted)
		if err != nil {
			return nil, err
		}
		err = s.sink.Apply(ctx, slices.Concat(f.writes, f.records), next, f.unchanged...)
		if err == nil {
			s.remember(f)
			return f.writes, nil
		}
		var changed *sink.ChangedError
		if !errors.As(err, &changed) || attempt == fitAttempts {
			return nil, err
		}
		for _, key := range changed.Keys {
			doubted[key] = struct{}{}
		}
	}
}

// fitAttempts bounds how often one batch is fitted before the session begins
// again; the standby's controllers write an object a few times at most.
const fitAttempts = 50

// fitted is a batch as the standby should apply it.
type fitted struct {
	writes    []kv.Change          // of the batch
	records   []kv.Change          // beside them, of our own
	unchanged []sink.Unchanged     // what was thought to stand there
	own       map[string]scope.Own // what is written of objects with local fields
	adopted   []string             // keys that were recorded as somebody else's
	conflicts map[string]sink.Conflict
	settled   []string // keys that were in conflict
}

// remember keeps for the next batch how this one left what has local fields,
// and what is the primary's now.
func (s *stream) remember(f fitted) {
	revision := s.sink.Last().Revision
	for _, c := range f.writes {
		if own, ok := f.own[c.Key]; ok {
			s.standing.put(c.Key, stood{revision, own})
		} else if c.Delete {
			s.standing.forget(c.Key, revision)
		}
	}
	for _, key := range f.adopted {
		s.adopt(key)
	}
	for key, record := range f.conflicts {
		s.standing.forget(key, revision)
		s.conflicted(key, record, revision)
	}
	for _, key := range f.settled {
		s.conflicts.remove(key)
	}
}

// write adds a change, and takes its key off the record of somebody else's.
func (f *fitted) write(c kv.Change, recorded bool) {
	f.writes = append(f.writes, c)
	if recorded {
		f.records = append(f.records, kv.Change{Key: surplusKey(c.Key), Delete: true, Revision: c.Revision})
		f.adopted = append(f.adopted, c.Key)
	}
}

// fit looks at what stands on the standby. It gives objects their local fields,
// and says at which revision those were read; and it leaves out deletes that
// would hit an object of the standby's own: one that is out of scope, under a
// name that the primary used for one in scope, or the other way round.
//
// What the stream wrote itself, and what the primary has just created, is taken
// to stand there as it was left, unless it is doubted.
func (s *stream) fit(ctx context.Context, batch []kv.Change, doubted map[string]struct{}) (fitted, error) {
	var toRead []string
	known := map[string]stood{}
	for _, c := range batch {
		if !s.concerns(c) {
			continue
		}
		object, remembered := s.standing.get(c.Key)
		if _, doubt := doubted[c.Key]; doubt || !remembered && !c.Created || s.conflicts.has(c.Key) {
			toRead = append(toRead, c.Key)
			continue
		}
		known[c.Key] = object
	}
	there, err := s.readStanding(ctx, toRead)
	if err != nil {
		return fitted{}, err
	}
	f := fitted{writes: make([]kv.Change, 0, len(batch)), own: map[string]scope.Own{}, conflicts: map[string]sink.Conflict{}}
	spared := map[string]bool{}
	for _, c := range batch {
		if spared[c.Key] {
			continue
		}
		spare, err := s.spares(ctx, c)
		if err != nil {
			return fitted{}, err
		}
		if spare {
			spared[scope.HeldKey(c.Key)] = true
			if c.Delete { // a mark ends no conflict: the primary still has its own
				s.settle(&f, c)
			}
			continue
		}
		if !s.concerns(c) {
			f.write(c, s.recorded(c.Key))
			continue
		}
		object, remembered := known[c.Key]
		have := there[c.Key]
		if !remembered {
			object = stood{have.ModRevision, s.view.Own(c.Key, have.Value)}
		}
		if record, ok, err := s.conflicting(ctx, c, have); err != nil {
			return fitted{}, err
		} else if ok {
			spared[scope.HeldKey(c.Key)] = true
			s.passOver(&f, c, have, record)
			continue
		}
		s.settle(&f, c)
		switch {
		case c.Delete:
			if object.revision != 0 && !remembered && s.isOutOfScope(have) {
				spared[scope.HeldKey(c.Key)] = true
				continue // never was the primary's: what it deletes there is out of scope
			}
		case object.own != (scope.Own{}):
			if c.Value, f.own[c.Key], err = s.view.Keep(c.Key, c.Value, object.own); err != nil {
				return fitted{}, unreadable(s.view, c.Key, err)
			}
		default:
			f.own[c.Key] = s.view.Own(c.Key, c.Value)
		}
		f.unchanged = append(f.unchanged, sink.Unchanged{Key: c.Key, Revision: object.revision})
		f.write(c, s.recorded(c.Key))
	}
	return f, nil
}

// spares reports whether a change would delete, or mark for deletion, an object
// that stands on the standby as its own, or that was kept there when the primary
// lost it; see Decision.Keep. What the record says of its original stays as well.
func (s *stream) spares(ctx context.Context, c kv.Change) (bool, error) {
	if !s.recorded(c.Key) {
		return false, nil
	}
	if !c.Delete {
		if object, err := s.view.InStandby(c.Key, c.Value); err != nil || !object.Meta.Deleting {
			return false, nil //nolint:nilerr // it is no object that could be marked
		}
	}
	return s.apart(ctx, c.Key)
}

// settle ends a conflict at the key of a change that is applied, or spared.
func (s *stream) settle(f *fitted, c kv.Change) {
	if s.conflicts.has(c.Key) {
		f.records = append(f.records, kv.Change{Key: conflictKey(c.Key), Delete: true, Revision: c.Revision})
		f.settled = append(f.settled, c.Key)
	}
}

// concerns reports whether a change depends on what stands on the standby.
func (s *stream) concerns(c kv.Change) bool {
	if c.Delete {
		return s.view.Scope.Key(c.Key) != scope.Out
	}
	return s.view.HasLocal(c.Key) || s.view.MayConflict(c.Key)
}

// isOutOfScope reports whether an object of the standby is.
func (s *stream) isOutOfScope(have kv.Pair) bool {
	object, err := s.view.InStandby(have.Key, have.Value)
	return err == nil && !object.In
}

// readStanding reads what stands on the standby now.
func (s *stream) readStanding(ctx context.Context, keys []string) (map[string]kv.Pair, error) {
	there := map[string]kv.Pair{}
	for part := range slices.Chunk(keys, readAgainMax) {
		pairs, err := source.Get(ctx, s.standby, part, 0)
		if err != nil {
			return nil, fmt.Errorf("read what is to be written over on the standby: %w", err)
		}
		for _, p := range pairs {
			there[p.Key] = p
		}
	}
	return there, nil
}
