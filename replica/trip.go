package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// ErrTripped means that the breaker stopped replication before deletions of the
// primary were applied.
var ErrTripped = errors.New("the breaker stopped replication")

// errAnswered ends a session that has waited for an answer. The next one looks at
// both sides again: the primary may have been restored from a backup meanwhile.
var errAnswered = errors.New("the breaker was answered")

// tripped is what the breaker saw, and the objects that this shows.
type tripped struct {
	trip  role.Trip
	shown shown
}

func (t *tripped) Error() string { return fmt.Sprintf("%v: %s", ErrTripped, t.trip) }
func (t *tripped) Unwrap() error { return ErrTripped }

func refuseTrip(t role.Trip) error {
	return &remedy.Error{Op: "replicate", Err: &tripped{trip: t}, Code: remedy.Refused,
		Remedy: "understudy check names the objects; " + role.AnswerRemedy}
}

// TripOf is the trip that an error is about; nil = it is about none.
func TripOf(err error) *role.Trip {
	var t *tripped
	if !errors.As(err, &t) {
		return nil
	}
	return &t.trip
}

// keysRecorded is how many bytes of the record of a trip its keys may take, and
// less where the standby takes small requests only.
const keysRecorded = 64 << 10

// record leaves the trip in the standby's etcd, where it stands until somebody
// answers it, also for other daemons and after a restart.
func (s *session) record(ctx context.Context, t role.Trip, all shown) error {
	t.SourceClusterID, t.At, t.Resynced = s.id, time.Now().UTC(), s.trip.Resyncs()
	// What was accepted before stays so, where the standby does not have it yet.
	if err := s.forgetShown(ctx); err != nil {
		return err
	}
	if err := s.saveShown(ctx, t, all.with(s.accepted)); err != nil {
		return err
	}
	room := keysRecorded
	if s.Limits.MaxBytes > 0 {
		room = min(room, s.Limits.MaxBytes/4)
	}
	t.Shorten(room)
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := s.sink.Put(ctx, role.TripKey, string(raw)); err != nil {
		return fmt.Errorf("record why the breaker stopped replication: %w", err)
	}
	return nil
}

// closeTrip ends a trip: an old answer must not count for what comes. What a
// resync was told to keep stays on record.
func (s *session) closeTrip(ctx context.Context) error {
	value := ""
	if t := *s.trip; t.Kept() != "" && t.Answer != nil {
		answer := *t.Answer
		answer.Done, t.Answer = true, &answer
		raw, err := json.Marshal(t)
		if err != nil {
			return err
		}
		value = string(raw)
	}
	if err := s.sink.Put(ctx, role.TripKey, value); err != nil {
		return fmt.Errorf("record that the breaker's trip is over: %w", err)
	}
	return s.forgetShown(ctx)
}

// onTrip records a trip, and says from where to go on when it is answered. Any
// other error it gives back.
func (s *session) onTrip(ctx context.Context, d Decision, err error) (Decision, error) {
	var t *tripped
	if !errors.As(err, &t) {
		return d, err
	}
	if err := s.record(ctx, t.trip, t.shown); err != nil {
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

// untilAnswered says how to go on after a trip. It waits while one stands that
// nobody has answered, and then ends the session. What others harm on the standby meanwhile is still put back: it
// may hold the only copies.
func (s *session) untilAnswered(ctx context.Context, d Decision, guard func() error) (Decision, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	st := s.newStream()
	st.stands = true
	for said := false; ; {
		trip, err := role.ReadTrip(ctx, s.standby)
		s.trip = trip
		switch {
		case err != nil:
			return d, err
		case said && !trip.Stands(s.id, completeTo(d)):
			return d, errAnswered
		case !trip.Concerns(s.id, completeTo(d)):
			s.accepted, err = s.acceptedBy(ctx, trip)
			return d, err
		case d.endsTrips() && (trip.Answer == nil || !trip.Answer.Accept):
			return Decision{Copy: d.Copy, Keep: true}, nil // the trip ends with it
		case trip.Answer != nil && trip.Answer.Accept:
			if s.accepted, err = s.acceptedBy(ctx, trip); err != nil {
				return d, err
			}
			if len(s.accepted) == 0 { // an older version kept no record, or it was deleted
				s.Log.Warn("the deletions were accepted, and there is no record of which they were: the breaker asks again", "by", trip.Answer.By, "what", trip.String())
				return d, nil
			}
			s.Log.Info("the deletions that the breaker stopped were accepted", "by", trip.Answer.By, "what", trip.String())
			return d, nil
		case trip.Answer != nil:
			s.Log.Info("what the breaker stopped is kept on the standby", "by", trip.Answer.By, "what", trip.String())
			return Decision{Copy: ReasonOrdered, Keep: true}, nil
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
		if d.Copy == "" {
			if err := guard(); err != nil {
				return d, err
			}
			if _, err := st.mend(ctx); err != nil {
				return d, err
			}
		}
		select {
		case <-st.wounded:
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
	if len(w.dooms) > 0 {
		return s.weighDooms(ctx, w)
	}
	at := s.sink.Last().SourceRevision
	loss, noLoss, err := s.census.loss(ctx, w.resource, w.keys, at)
	if err != nil {
		return err
	}
	if len(s.breaker.limits.worst([]role.Loss{loss})) > 0 {
		return s.trips(ctx, role.Trip{From: w.from, Through: w.through, Within: w.within}, tolls{w.resource: {keys: w.keys}})
	}
	s.breaker.judged(w, loss.Of, noLoss, time.Now())
	return nil
}

// trips is the error of a trip: all that would go, what is deleted of other resources
// at the same time and what hangs on it included.
func (s *stream) trips(ctx context.Context, trip role.Trip, gone tolls) error {
	at := s.sink.Last().SourceRevision
	for resource, keys := range s.breaker.counted() {
		if gone[resource] == nil {
			keys = waiting(keys, at)
		}
		if len(keys) > 0 {
			gone.of(resource).add(keys)
		}
	}
	return s.census.trips(ctx, trip, gone, at)
}

// waiting are those of some deletions that have not been applied.
func waiting(keys map[string]kv.Revision, checkpoint kv.Revision) map[string]kv.Revision {
	out := map[string]kv.Revision{}
	for key, revision := range keys {
		if revision > checkpoint {
			out[key] = revision
		}
	}
	return out
}

// weighDooms compares what goes along with objects that are being deleted, and
// what is deleted of the same resources anyway, with what is there.
func (s *stream) weighDooms(ctx context.Context, w weight) error {
	along, causes := tolls{}, []string(nil)
	for _, d := range w.dooms {
		cause := describeDoom(s.view, d.key)
		any, err := s.census.taken(ctx, d, along)
		if err != nil {
			return err
		}
		if any {
			causes = append(causes, cause)
		}
	}
	beside := s.breaker.counted()
	for resource, t := range along {
		if len(t.keys) == 0 {
			continue // nothing is left to lose
		}
		t.add(beside[resource])
		for _, revision := range beside[resource] {
			w.through = max(w.through, revision)
		}
	}
	losses, err := s.census.weigh(ctx, along, s.sink.Last().SourceRevision)
	if err != nil {
		return err
	}
	if len(losses) > 0 {
		return s.trips(ctx, role.Trip{Cause: role.JoinCauses(causes), From: w.from, Through: w.through}, along)
	}
	s.breaker.let(w.dooms, along, time.Now())
	s.goesAlong(causes, along)
	return nil
}

// describeDoom names the object whose deletion takes others along.
func describeDoom(view *scope.View, key string) string {
	k, _ := view.Scope.Parse(key)
	return causeOf(k.GroupResource(), k.Name)
}

func causeOf(resource, name string) string { return registry.Kind(resource) + " " + name }

// count tells the breaker of a change in scope.
func (s *stream) count(ctx context.Context, c kv.Change, deleting bool) error {
	if s.breaker.limits.off() {
		return nil
	}
	k, ok := s.view.Scope.Parse(c.Key)
	if !ok {
		return nil
	}
	resource, now := k.GroupResource(), time.Now()
	takesAlong := takesAlong(s.view.Scope, c.Key)
	lost := func() { s.breaker.lost(resource, c.Key, c.Revision, now) }
	switch {
	case c.Delete:
		if _, marked := s.marked[c.Key]; !marked { // or its mark has counted, or was accepted
			lost()
		}
		delete(s.marked, c.Key) // another one may get its name
	case deleting:
		// An object with finalizers: what is marked will be deleted, and nobody can take it back.
		marked, err := s.markedBefore(ctx, c)
		if err != nil || marked {
			return err
		}
		lost()
		if takesAlong {
			s.breaker.doomed(c.Key, c.Revision, now)
		}
	case c.Created:
		delete(s.marked, c.Key)
		s.breaker.created(resource, c.Key)
	}
	return nil
}

// lookUpMarks asks for all marks among some changes at once how their objects
// were before: a mass deletion marks a thousand, and each question alone costs a
// round trip, which would look like a pause between them.
func (s *stream) lookUpMarks(ctx context.Context, changes []kv.Change, sights []sight) {
	s.before = map[source.At]bool{}
	if s.breaker.limits.off() {
		return
	}
	var asked []source.At
	first := map[string]bool{}
	for i, c := range changes {
		if _, marked := s.marked[c.Key]; marked || first[c.Key] || !sights[i].want.Meta.Deleting {
			continue
		}
		first[c.Key] = true
		at := source.At{Key: c.Key, Revision: c.Revision - 1}
		s.before[at] = false // where nobody can tell any more, it was not: then the mark counts
		asked = append(asked, at)
	}
	for part := range slices.Chunk(asked, readAgainMax) {
		if !s.lookUp(ctx, part) {
			return
		}
	}
}

// lookUp asks how some objects were. False: the primary does not answer.
func (s *stream) lookUp(ctx context.Context, asked []source.At) bool {
	attempt, cancel := context.WithTimeout(ctx, lookBack)
	defer cancel()
	pairs, err := source.GetAt(attempt, s.primary, asked)
	if half := len(asked) / 2; half > 0 && errors.Is(err, source.ErrCompacted) { // of the first perhaps, not of the last
		return s.lookUp(ctx, asked[:half]) && s.lookUp(ctx, asked[half:])
	}
	deleting := map[string]bool{}
	for _, p := range pairs {
		object, err := s.view.InPrimary(p.Key, p.Value)
		deleting[p.Key] = err == nil && object.Meta.Deleting
	}
	for _, a := range asked {
		s.before[a] = deleting[a.Key]
	}
	return err == nil || errors.Is(err, source.ErrCompacted)
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
	at := source.At{Key: c.Key, Revision: c.Revision - 1}
	if _, known := s.before[at]; !known { // marked anew within the same changes
		s.lookUp(ctx, []source.At{at})
	}
	return s.before[at], ctx.Err()
}
