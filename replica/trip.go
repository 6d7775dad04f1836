package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// ErrTripped means that the breaker stopped replication before deletions of the
// primary were applied.
var ErrTripped = errors.New("the breaker stopped replication")

// tripped is what the breaker saw.
type tripped struct{ trip role.Trip }

func (t *tripped) Error() string { return fmt.Sprintf("%v: %s", ErrTripped, t.trip) }
func (t *tripped) Unwrap() error { return ErrTripped }

func refuseTrip(t role.Trip) error {
	return &remedy.Error{Op: "replicate", Err: &tripped{t}, Code: remedy.Refused,
		Remedy: "if this was meant: understudy resume --accept-deletes; if it was not, the standby still has the objects: " +
			"see what the primary lost, and go on without deleting them with understudy resume --resync"}
}

// record leaves the trip in the standby's etcd, where it stands until somebody
// answers it, also for other daemons and after a restart.
func (s *session) record(ctx context.Context, t role.Trip) error {
	t.SourceClusterID, t.At = s.id, time.Now().UTC()
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := s.sink.Put(ctx, role.TripKey, string(raw)); err != nil {
		return fmt.Errorf("record why the breaker stopped replication: %w", err)
	}
	return nil
}

// onTrip records a trip, and says from where to go on when it is answered. Any
// other error it gives back.
func (s *session) onTrip(ctx context.Context, d Decision, err error) (Decision, error) {
	var t *tripped
	if !errors.As(err, &t) {
		return d, err
	}
	if err := s.record(ctx, t.trip); err != nil {
		return d, err
	}
	if err := s.sink.Reload(ctx); err != nil {
		return d, err
	}
	if c := s.sink.Last(); c.Exists() && c.Phase != sink.Streaming { // a copy had begun to write
		d.Copy, d.Interrupted = ReasonInterrupted, interrupted(c.Checkpoint)
	}
	return d, nil
}

// untilAnswered waits while a trip stands that nobody has answered, and says
// how to go on.
func (s *session) untilAnswered(ctx context.Context, d Decision) (Decision, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for said := false; ; {
		trip, err := role.ReadTrip(ctx, s.standby)
		switch {
		case err != nil:
			return d, err
		case !trip.Concerns(s.id, completeTo(d)):
			s.accepted = 0
			return d, nil
		case trip.Answer != nil && trip.Answer.Accept:
			s.accepted = trip.Answer.Through
			return d, nil
		case trip.Answer != nil:
			return Decision{Copy: ReasonOrdered}, nil
		}
		refused := refuseTrip(*trip)
		if s.until != 0 {
			return d, refused
		}
		s.account.enter(Halted, refused)
		if !said {
			said = true
			s.account.update(func(st *State) { st.Errors["breaker"]++ })
			s.Log.Error("halted; nothing was skipped", "error", refused, "remedy", remedy.Of(refused))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return d, ctx.Err()
		}
	}
}

// completeTo is the primary's revision that the standby was complete at last.
func completeTo(d Decision) kv.Revision {
	if d.Base == nil {
		return 0
	}
	return d.Base.SourceRevision
}

// pass says how far the stream may go now. Where the breaker trips it returns
// why.
func (s *stream) pass(ctx context.Context) (gate, error) {
	for {
		g := s.breaker.gate(s.sink.Last().SourceRevision, time.Now())
		for _, w := range g.weigh {
			if err := s.weigh(ctx, w); err != nil {
				return g, err
			}
		}
		if len(g.weigh) == 0 {
			return g, nil
		}
	}
}

// weigh compares what is about to be deleted with what is there.
func (s *stream) weigh(ctx context.Context, w weight) error {
	trip := role.Trip{From: w.from, Through: w.through, Within: w.within}
	var of int64
	if w.resource != "" {
		there, _, err := s.census.of(ctx, w.resource, "")
		if err != nil {
			return err
		}
		of = there + w.applied
		trip.Losses = []role.Loss{{Resource: w.resource, Deleted: w.deleted, Of: of, Applied: w.applied}}
	} else {
		taken, err := s.census.taken(ctx, w.doom.key)
		if err != nil {
			return err
		}
		k, _ := registry.ParseKey(s.view.Scope.RegistryPrefix(), w.doom.key)
		trip.Cause, trip.Losses = registry.Kind(k.GroupResource())+" "+k.Name, taken
	}
	if trip.Losses = s.breaker.limits.worst(trip.Losses); len(trip.Losses) > 0 {
		return &tripped{trip}
	}
	s.breaker.judged(w, of, time.Now())
	return nil
}

// count tells the breaker of a change in scope.
func (s *stream) count(ctx context.Context, c kv.Change, deleting bool) error {
	if s.breaker.limits.off() {
		return nil
	}
	k, ok := registry.ParseKey(s.view.Scope.RegistryPrefix(), c.Key)
	if !ok {
		return nil
	}
	resource, now := k.GroupResource(), time.Now()
	switch {
	case c.Delete:
		s.breaker.lost(resource, c.Key, c.Revision, now)
	case deleting:
		// An object with finalizers: what is marked will be deleted, and nobody can take it back.
		marked, err := s.markedBefore(ctx, c)
		if err != nil || marked {
			return err
		}
		s.breaker.lost(resource, c.Key, c.Revision, now)
		if takesAlong(s.view.Scope.RegistryPrefix(), c.Key) {
			s.breaker.doomed(c.Key, c.Revision, now)
		}
	case c.Created:
		s.breaker.created(resource, c.Key)
	}
	return nil
}

// markedBefore reports whether an object was being deleted before the change.
func (s *stream) markedBefore(ctx context.Context, c kv.Change) (bool, error) {
	if _, known := s.marked[c.Key]; known {
		return true, nil
	}
	if len(s.marked) >= maxOutside {
		clear(s.marked)
	}
	s.marked[c.Key] = struct{}{}
	attempt, cancel := context.WithTimeout(ctx, lookBack)
	defer cancel()
	before, err := source.Get(attempt, s.primary, []string{c.Key}, c.Revision-1)
	if err != nil || len(before) == 0 {
		return false, ctx.Err() // nobody can tell any more: then it counts
	}
	object, err := s.view.InPrimary(c.Key, before[0].Value)
	return err == nil && object.Meta.Deleting, nil
}
