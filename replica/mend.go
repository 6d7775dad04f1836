package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// mendPatience bounds how long the primary is asked: the stream waits
// meanwhile. mendAgain is the pause after an attempt in vain.
const (
	mendPatience = time.Second
	mendAgain    = 2 * time.Second
)

// mender repairs what others have done to the standby. It works between two
// transactions of the stream, in the same goroutine, so the checkpoint stands
// still: what the primary has not written since the checkpoint is what the
// standby should have at it.
type mender struct {
	*stream
	ledger *ledger
	log    *slog.Logger
	pause  time.Time // nothing is tried before
}

// mend looks at the wounds that wait, as many as fit into a transaction. It
// returns when it wants to be called again; 0 = when something new has happened.
func (m *mender) mend(ctx context.Context) (again time.Duration, _ error) {
	now := time.Now()
	room := m.sink.Room()
	wounds, wait := m.ledger.due(max(1, room.Ops/2), now) // an object and the record of its original
	if len(wounds) == 0 {
		return wait, nil
	}
	if left := m.pause.Sub(now); left > 0 {
		return left, nil
	}
	for attempt := 1; ; attempt++ {
		err := m.some(ctx, wounds, room)
		switch {
		case err == nil:
			return time.Nanosecond, nil // there may be more
		case errors.Is(err, sink.ErrChanged) && attempt < fitAttempts:
		case errors.Is(err, sink.ErrTooLarge) && len(wounds) > 1:
			wounds = wounds[:len(wounds)/2]
		case errors.Is(err, sink.ErrTooLarge):
			m.giveUp(wounds[0], err)
			return time.Nanosecond, nil
		case errors.Is(err, errPrimarySilent), errors.Is(err, sink.ErrChanged):
			m.log.Debug("cannot repair the standby for now", "error", err)
			m.pause = time.Now().Add(mendAgain)
			return mendAgain, nil
		default:
			return 0, err
		}
	}
}

// some compares some wounds with the primary and repairs them in one
// transaction, in their order: an owner was deleted before its dependents.
func (m *mender) some(ctx context.Context, wounds []*wound, room sink.Room) error {
	scenes, err := m.look(ctx, wounds)
	if err != nil {
		return err
	}
	now := time.Now()
	var left []*wound
	done := map[*wound]Outcome{}
	var changes []kv.Change
	var unchanged []sink.Unchanged
	size := 0
	for i, w := range wounds {
		verdict := scenes[i].verdict(m.view, w.incident.What, m.sink.Last().SourceRevision)
		if m.stands && scenes[i].have.ModRevision == 0 && (verdict == nothing || verdict == overtaken) {
			done[w] = Reported // no stream settles it, and it may have been the last copy
			continue
		}
		switch verdict {
		case waits:
			left = append(left, w)
			continue
		case nothing:
			done[w] = ""
			continue
		case overtaken:
			done[w] = Superseded
			continue
		}
		if !w.returns && !m.ledger.policy.repairs(w.incident.What) {
			done[w] = Reported
			continue
		}
		if !w.returns && !m.ledger.allows(w, now) {
			done[w] = Stopped
			continue
		}
		some, err := m.change(scenes[i])
		if err != nil {
			m.giveUp(w, err)
			continue
		}
		if len(changes) > 0 && (len(changes)+len(some) > room.Ops || size+sink.Cost(some) > room.Bytes) {
			break // the rest waits for the next transaction
		}
		changes, size = append(changes, some...), size+sink.Cost(some)
		unchanged = append(unchanged, sink.Unchanged{Key: w.key, Revision: scenes[i].have.ModRevision})
		done[w] = Repaired
	}
	if len(changes) > 0 {
		if err := m.write(ctx, changes, unchanged); err != nil {
			return err
		}
	}
	m.ledger.later(left, now.Add(mendAgain))
	m.ledger.close(done, time.Now())
	return nil
}

func (m *mender) write(ctx context.Context, changes []kv.Change, unchanged []sink.Unchanged) error {
	next := m.sink.Last().Checkpoint
	next.Time, next.Guarded = time.Now().UTC(), m.guarded()
	began := time.Now()
	if err := m.sink.Apply(ctx, changes, next, unchanged...); err != nil {
		return err
	}
	for _, c := range changes {
		if key, ok := strings.CutPrefix(c.Key, sink.ConflictPrefix); ok {
			m.conflicts.remove(key)
			m.adopt(key)
		}
	}
	m.observe(applied{changes, next.SourceRevision, m.sink.Last().Revision, time.Since(began)})
	return nil
}

func (m *mender) giveUp(w *wound, err error) {
	m.log.Warn("cannot repair a key of the standby", "key", w.key, "error", err)
	m.ledger.close(map[*wound]Outcome{w: Failed}, time.Now())
}

// scene is a wounded key on both sides, as they are now.
type scene struct {
	primary, have kv.Pair // ModRevision 0 = it is not there
	want          scope.Wanted
	wantErr       error
	dying         bool // the primary is about to delete it as well
}

func (m *mender) look(ctx context.Context, wounds []*wound) ([]scene, error) {
	keys := make([]string, len(wounds))
	for i, w := range wounds {
		keys[i] = w.key
	}
	primary, err := m.askPrimary(ctx, keys)
	if err != nil {
		return nil, err
	}
	standby, err := readKeys(ctx, m.standby, keys, 0)
	if err != nil {
		return nil, fmt.Errorf("read what is to be repaired on the standby: %w", err)
	}
	scenes := make([]scene, len(wounds))
	for i, key := range keys {
		l := &scenes[i]
		l.primary, l.have = primary[key], standby[key]
		if l.primary.ModRevision > 0 {
			l.want, l.wantErr = m.view.Want(key, l.primary.Value)
		}
	}
	return scenes, m.foresee(ctx, scenes)
}

// verdict is what a wound needs.
type verdict int

const (
	repair    verdict = iota
	nothing           // the primary does not have it either: nothing has drifted
	overtaken         // what the stream brings, or has brought, settles it
	waits             // the primary is about to delete it as well
)

// verdict decides about a wound. It is pure.
func (l *scene) verdict(view *scope.View, what Drifted, checkpoint kv.Revision) verdict {
	there := l.have.ModRevision > 0
	switch {
	case l.primary.ModRevision == 0, l.wantErr == nil && !l.want.In:
		if what == Deleted {
			return nothing
		}
		return overtaken
	case l.primary.ModRevision > checkpoint:
		return overtaken
	case what == Deleted && !there && l.dying:
		return waits
	case what == Deleted && !there:
		return repair
	case what == Changed && !there:
		return overtaken // deleted since, which is another wound
	}
	have, err := view.InStandby(l.have.Key, l.have.Value)
	if err == nil && view.Conflicts(l.have.Key, l.want.Object, have) {
		return overtaken // another object of the standby's own, which stays
	}
	switch {
	case err != nil && what == Deleted: // it is there again, though nobody can read it
		return overtaken
	case err != nil:
		return repair
	case what == Deleted && (!have.Meta.Deleting || l.want.Meta.Deleting):
		return overtaken
	case what == Deleted && l.dying:
		return waits
	case what == Changed && view.Compare(l.have.Key, l.want.Object, have, l.want.Value, l.have.Value) != scope.Different:
		return overtaken
	}
	return repair
}

// change writes what the primary has over what the standby has.
func (m *mender) change(l scene) ([]kv.Change, error) {
	if l.wantErr != nil {
		return nil, l.wantErr
	}
	value := l.want.Value
	if l.have.ModRevision > 0 {
		var err error
		if value, _, err = m.view.Keep(l.have.Key, value, m.view.Own(l.have.Key, l.have.Value)); err != nil {
			return nil, err
		}
	}
	changes := m.withRecord(kv.Change{Key: l.primary.Key, Value: value, Revision: l.primary.ModRevision}, l.want)
	if m.conflicts.has(l.primary.Key) { // whose object is gone
		changes = append(changes,
			kv.Change{Key: conflictKey(l.primary.Key), Delete: true, Revision: l.primary.ModRevision},
			kv.Change{Key: surplusKey(l.primary.Key), Delete: true, Revision: l.primary.ModRevision})
	}
	return changes, nil
}
