package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// progressEvery is how often the checkpoint moves while nothing in scope
// changes. API servers compact every 5 minutes; the checkpoint must stay ahead.
const progressEvery = 15 * time.Second

// stream applies the primary's changes in their own order from the sink's
// checkpoint on.
type stream struct {
	primary, standby *clientv3.Client
	view             *scope.View
	sink             *sink.Sink
	distrust         bool        // the primary's progress notifications
	until            kv.Revision // end when the checkpoint has reached it; 0 = never
	observe          func(applied)
	adopt            func(key string) bool // see foreignKeys.adopt
	recorded         func(key string) bool // as somebody else's; see apart
	// apart reports whether key stands on the standby as somebody else's; see session.standsApart.
	apart      func(ctx context.Context, key string) (bool, error)
	guarded    func() kv.Revision // see foreignKeys.complete
	standing   *standing
	originals  *originals
	conflicts  *conflicts
	replicated func(ctx context.Context, have kv.Pair) (bool, error) // see session.replicated
	conflicted func(key string, record sink.Conflict, at kv.Revision)
	outside    map[string]struct{} // keys that only their metadata leaves out
	heard      func(kv.Revision)   // the watch has delivered everything through this revision
	breaker    *breaker
	census     census
	marked     map[string]struct{}                          // objects known to be marked for deletion
	before     map[source.At]bool                           // see lookUpMarks
	ahead      bool                                         // this is a scout; see push
	settled    func(kv.Revision)                            // nothing in scope is outstanding up to this revision
	mend       func(context.Context) (time.Duration, error) // see mender.mend; nil = nothing is repaired
	wounded    <-chan struct{}                              // there is something to mend
	stands     bool                                         // the breaker holds it back until somebody answers

	goesAlong func(causes []string, along tolls) // what the breaker has let through with these
}

// applied is one transaction that went through.
type applied struct {
	changes []kv.Change
	reached kv.Revision
	standby kv.Revision
	took    time.Duration
}

func (s *stream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	s.outside, s.marked = map[string]struct{}{}, map[string]struct{}{}
	from := s.sink.Last().SourceRevision
	s.breaker.heard(from)
	q := newQueue(from)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		begin, end := s.view.Range()
		span := source.Span{Begin: begin, End: end, From: from + 1, IgnoreProgress: s.distrust}
		s.askHead(ctx, span)
		q.close(source.Follow(ctx, s.primary, span, func(e source.Events) error {
			wanted, err := s.wanted(ctx, e.Changes)
			if err != nil {
				if n := len(wanted); n > 0 && q.push(ctx, wanted, wanted[n-1].Revision) != nil {
					return ctx.Err()
				}
				return err
			}
			s.breaker.heard(e.Through)
			s.heard(e.Through)
			return s.push(ctx, q, span, wanted, e.Through)
		}))
	}()
	err := s.drain(ctx, q)
	cancel()
	<-watching
	return err
}

// wanted turns the primary's changes into the standby's: those in scope, with
// the bytes that the standby should store. With an error it returns those of
// the whole revisions before it.
func (s *stream) wanted(ctx context.Context, changes []kv.Change) ([]kv.Change, error) {
	var out []kv.Change
	sights := s.sight(changes)
	s.lookUpMarks(ctx, changes, sights)
	for i, c := range changes {
		if c.Delete {
			in, err := s.deleteInScope(ctx, c)
			if err != nil {
				return wholeBefore(out, c.Revision), err
			}
			if in {
				if err := s.count(ctx, c, true); err != nil {
					return wholeBefore(out, c.Revision), err
				}
				out = append(out, s.withRecord(c, scope.Wanted{})...)
			}
			continue
		}
		want, err := sights[i].want, sights[i].err
		if err != nil {
			return wholeBefore(out, c.Revision), unreadable(s.view, c.Key, fmt.Errorf("revision %d: %w", c.Revision, err))
		}
		if !want.In {
			left, err := s.leftScope(ctx, c)
			if err != nil {
				return wholeBefore(out, c.Revision), err
			}
			if left {
				gone := kv.Change{Key: c.Key, Delete: true, Revision: c.Revision}
				if err := s.count(ctx, gone, true); err != nil {
					return wholeBefore(out, c.Revision), err
				}
				out = append(out, s.withRecord(gone, scope.Wanted{})...)
			}
			continue
		}
		if err := s.count(ctx, c, want.Meta.Deleting); err != nil {
			return wholeBefore(out, c.Revision), err
		}
		delete(s.outside, c.Key)
		c.Value = want.Value
		out = append(out, s.withRecord(c, want)...)
		if (want.Meta.Deleting || s.view.MayConflict(c.Key)) && s.recorded(c.Key) {
			continue // it may be kept on the standby; see spares, and conflicting
		}
		if s.adopt(c.Key) {
			out = append(out, kv.Change{Key: surplusKey(c.Key), Delete: true, Revision: c.Revision})
		}
	}
	return out, nil
}

// sight is what the standby should hold after a put.
type sight struct {
	want scope.Wanted
	err  error
}

func (s *stream) sight(changes []kv.Change) []sight {
	sights := make([]sight, len(changes))
	for i, c := range changes {
		if !c.Delete {
			sights[i].want, sights[i].err = s.view.Want(c.Key, c.Value)
		}
	}
	return sights
}

// wholeBefore leaves out the changes of revision, the last ones.
func wholeBefore(changes []kv.Change, revision kv.Revision) []kv.Change {
	n := len(changes)
	for n > 0 && changes[n-1].Revision == revision {
		n--
	}
	return changes[:n]
}

// leftScope reports whether a put that is out of scope replaced an object that
// was in scope: its owners or its type have changed, and the standby must not
// keep it.
func (s *stream) leftScope(ctx context.Context, c kv.Change) (bool, error) {
	if c.Created || s.view.Scope.Key(c.Key) == scope.Out {
		return false, nil
	}
	if _, known := s.outside[c.Key]; known {
		return false, nil
	}
	if len(s.outside) >= maxOutside {
		clear(s.outside)
	}
	s.outside[c.Key] = struct{}{}
	return s.wasIn(ctx, c)
}

// maxOutside bounds what is remembered of objects that only their metadata
// leaves out, so that each of their updates need not be looked up.
const maxOutside = 50_000

// deleteInScope decides about a deleted key. Where only the object can tell,
// it is read as it was just before its deletion.
func (s *stream) deleteInScope(ctx context.Context, c kv.Change) (bool, error) {
	switch s.view.Scope.Key(c.Key) {
	case scope.Out:
		return false, nil
	case scope.In:
		return true, nil
	}
	return s.wasIn(ctx, c)
}

// lookBack bounds the question how a key was before. etcd's client would wait
// for a dead primary without end.
const lookBack = 3 * time.Second

// wasIn reports whether a key was in scope on the primary just before a change.
func (s *stream) wasIn(ctx context.Context, c kv.Change) (bool, error) {
	attempt, cancel := context.WithTimeout(ctx, lookBack)
	defer cancel()
	before, err := source.Get(attempt, s.primary, []string{c.Key}, c.Revision-1)
	if err != nil && ctx.Err() == nil && !errors.Is(err, source.ErrCompacted) {
		// The primary has died behind its last words. They still count; sparing
		// looks at what the standby has.
		return true, nil
	}
	if err != nil || len(before) == 0 {
		return false, err // nothing there before: deleted twice in one transaction, or created and deleted
	}
	object, err := s.view.InPrimary(c.Key, before[0].Value)
	if err != nil {
		return false, unreadable(s.view, c.Key, err)
	}
	return object.In, nil
}

// drain applies what the queue holds, as much at a time as has arrived.
func (s *stream) drain(ctx context.Context, q *queue) error {
	room := s.sink.Room()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	idle := false // nothing but progress for a whole tick
	for {
		reached := s.sink.Last().SourceRevision
		if s.until != 0 && reached >= s.until {
			return nil
		}
		changed, ready, err := q.wait(reached)
		if err != nil {
			return err
		}
		var later, mend <-chan time.Time
		if s.mend != nil {
			again, err := s.mend(ctx)
			if err != nil {
				return err
			}
			if again != 0 {
				mend = time.After(again)
			}
		}
		if ready {
			counted := q.end() // what comes later has not been looked at
			gate, err := s.pass(ctx)
			if err != nil {
				return err
			}
			if gate.again != 0 {
				later = time.After(gate.again)
			}
			batch, through := q.head(room, min(gate.through, counted))
			if len(batch) > 0 || idle || (s.until != 0 && through >= s.until) {
				idle = false
				room, err = s.apply(ctx, q, batch, through, room)
				if err != nil {
					return err
				}
				continue
			}
			s.settled(through)
		}
		select {
		case <-changed:
		case <-later:
		case <-mend:
		case <-s.wounded:
		case <-tick.C:
			idle = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// apply writes one batch. Where the standby's limits refuse it, the next
// attempt is with half the room, down to a single revision of the primary.
func (s *stream) apply(ctx context.Context, q *queue, batch []kv.Change, reached kv.Revision, room sink.Room) (sink.Room, error) {
	next := s.sink.Last().Checkpoint
	next.SourceRevision, next.Time, next.Guarded = reached, time.Now().UTC(), s.guarded()
	next.Witness, next.Spares = witnessesOf(next, batch)
	began := time.Now()
	written, err := s.write(ctx, batch, next)
	switch {
	case err == nil:
		q.drop(len(batch))
		s.observe(applied{written, reached, s.sink.Last().Revision, time.Since(began)})
		return room, nil
	case errors.Is(err, sink.ErrTooLarge) && len(batch) > 0 && batch[0].Revision != batch[len(batch)-1].Revision:
		return sink.Room{Ops: max(1, len(batch)/2), Bytes: max(1, sink.Cost(batch)/2)}, nil
	case errors.Is(err, sink.ErrTooLarge):
		return room, tooLarge(batch, err)
	}
	return room, err
}
