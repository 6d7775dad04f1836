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
	return []kv.Change{c, heldChange(c.Key, want, c.Revision)}
}

// write applies a batch as it fits what stands on the standby. Where an object
// with local fields changes there meanwhile, it is fitted again.
func (s *stream) write(ctx context.Context, batch []kv.Change, next sink.Checkpoint) error {
	for attempt := 1; ; attempt++ {
		writes, unchanged, err := s.fit(ctx, batch)
		if err != nil {
			return err
		}
		err = s.sink.Apply(ctx, writes, next, unchanged...)
		if !errors.Is(err, sink.ErrChanged) || attempt == fitAttempts {
			return err
		}
	}
}

// fitAttempts bounds how often one batch is fitted before the session begins
// again; the standby's controllers write an object a few times at most.
const fitAttempts = 50

// fit looks at what stands on the standby. It gives objects their local fields,
// and says at which revision those were read; and it leaves out deletes that
// would hit an object of the standby's own: one that is out of scope, under a
// name that the primary used for one in scope, or the other way round.
func (s *stream) fit(ctx context.Context, batch []kv.Change) (writes []kv.Change, unchanged []sink.Unchanged, err error) {
	var keys []string
	for _, c := range batch {
		if c.Delete && s.view.Scope.Key(c.Key) != scope.Out || !c.Delete && s.view.HasLocal(c.Key) {
			keys = append(keys, c.Key)
		}
	}
	if len(keys) == 0 {
		return batch, nil, nil
	}
	there := map[string]kv.Pair{}
	for part := range slices.Chunk(keys, readAgainMax) {
		pairs, err := source.Get(ctx, s.standby, part, 0)
		if err != nil {
			return nil, nil, fmt.Errorf("read what is to be written over on the standby: %w", err)
		}
		for _, p := range pairs {
			there[p.Key] = p
		}
	}
	for _, c := range batch {
		have, exists := there[c.Key]
		switch {
		case c.Delete && s.view.Scope.Key(c.Key) != scope.Out:
			if s.foreign(c.Key) {
				continue // never was the primary's: what it deletes there is out of scope
			}
			if object, err := s.view.InStandby(c.Key, have.Value); exists && err == nil && !object.In {
				continue
			}
			unchanged = append(unchanged, sink.Unchanged{Key: c.Key, Revision: have.ModRevision})
		case !c.Delete && s.view.HasLocal(c.Key):
			if exists {
				if c.Value, err = s.view.Keep(c.Key, c.Value, have.Value); err != nil {
					return nil, nil, unreadable(c.Key, err)
				}
			}
			unchanged = append(unchanged, sink.Unchanged{Key: c.Key, Revision: have.ModRevision})
		}
		writes = append(writes, c)
	}
	return writes, unchanged, nil
}
