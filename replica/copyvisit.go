package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// judged is what can be said of a key without regard to any other.
type judged struct {
	want             scope.Wanted
	worth            scope.Worth // of what is left out
	have             scope.Object
	wantErr, haveErr error
	sealed           string // a value of the standby's own, out of scope: what it is sealed with
	sealedErr        error  // why its key does not open it
	same             bool   // the standby has what it should
}

func (j *copyJob) judge(p, s *kv.Pair) (t judged) {
	if p != nil {
		if t.want, t.wantErr = j.view.Want(p.Key, p.Value); !t.want.In {
			t.worth = j.view.LeftOut(p.Key, p.Value)
		}
	}
	if s != nil {
		t.have, t.haveErr = j.view.InStandby(s.Key, s.Value)
		t.sealed, t.sealedErr = j.unseal(s)
	}
	if p != nil && s != nil && t.want.In && t.wantErr == nil && t.haveErr == nil {
		t.same = j.view.Same(p.Key, t.want.Object, t.have, p.Value, s.Value)
	}
	return t
}

// unseal: what the standby's API servers wrote out of scope proves the key that
// it will be written with, where both have one name.
func (j *copyJob) unseal(s *kv.Pair) (sealed string, err error) {
	k, ok := j.view.Scope.Parse(s.Key)
	if !ok || j.view.Scope.Key(s.Key) != scope.Out {
		return "", nil
	}
	if sealed = registry.SealedWith(s.Value); sealed == "" {
		return "", nil
	}
	sealed = k.GroupResource() + " " + sealed // each resource may have keys of its own
	if _, err := j.view.Recoder.PlainOfStandby(k.GroupResource(), s.Key, s.Value); errors.Is(err, registry.ErrWrongKey) {
		return sealed, fmt.Errorf("%s (%s): %w", s.Key, k, err)
	}
	return sealed, nil
}

// keysFit demands, before anything is written, that of the values with one seal
// some can be read: one alone may be damaged.
func (j *copyJob) keysFit() error {
	for _, err := range j.sealed {
		if err != nil {
			return unreadableThere(err)
		}
	}
	return nil
}

// proven reports whether the key that a value is sealed with has opened one of the
// standby's own; until then it waits.
func (j *copyJob) proven(gr string, value []byte) bool {
	sealed := registry.SealedWith(value)
	why, seen := j.sealed[gr+" "+sealed]
	return sealed == "" || seen && why == nil
}

// visit looks at one key of the two sides.
func (j *copyJob) visit(ctx context.Context, p, s *kv.Pair, t judged, known surplusSet) error {
	if was, seen := j.sealed[t.sealed]; t.sealed != "" && (!seen || was != nil) {
		j.sealed[t.sealed] = t.sealedErr
	}
	if p == nil {
		return j.onlyStandby(s, t, known)
	}
	j.progress.Read++
	j.progress.BytesRead += int64(len(p.Value))
	if j.progress.Read%1000 == 0 {
		j.report(j.now())
	}
	if t.wantErr != nil {
		return unreadable(j.view, p.Key, t.wantErr)
	}
	want := t.want
	gr := j.table.count(p.Key, want.Object, t.worth)
	if !want.In {
		if s != nil {
			return j.onlyStandby(s, t, known)
		}
		return nil
	}
	if s != nil {
		if stays, err := j.staysOwn(ctx, p, s, t); stays || err != nil {
			return err
		}
	}
	if _, recorded := known[p.Key]; recorded {
		j.adopted = append(j.adopted, p.Key)
	}
	if j.witness == nil || p.ModRevision > j.witness.Revision {
		j.witness = &sink.Witness{Key: p.Key, Revision: p.ModRevision}
	}
	kept := j.records.Fit(p.Key, want.Object)
	_, wasHeld := j.records[p.Key]
	if want.Kept != nil {
		delete(j.records, p.Key) // what is left over in the end is no longer held
	}
	value, marked := want.Value, false
	if s != nil {
		if t.haveErr != nil && isKeyProblem(t.haveErr) && !j.fromPrimary(s) {
			return unreadableThere(t.haveErr)
		}
		// Other values that cannot be read there are replaced by what can be.
		if t.same && (kept || want.Kept == nil && !wasHeld) {
			return nil
		}
		marked = t.haveErr == nil && want.Meta.Deleting && !t.have.Meta.Deleting
		if marked && (j.keep || known.has(s)) {
			j.adopted = slices.DeleteFunc(j.adopted, func(key string) bool { return key == p.Key })
			delete(j.records, p.Key)
			if j.keptThere[p.Key] == sink.SurplusReleased {
				j.released = append(j.released, p.Key)
				return nil
			}
			j.surplus = append(j.surplus, kv.Pair{Key: s.Key, CreateRevision: s.CreateRevision})
			return nil
		}
		own := j.view.Own(p.Key, s.Value)
		if wasHeld && want.Kept == nil {
			own = own.Said()
		}
		var err error
		if value, _, err = j.view.Keep(p.Key, value, own); err != nil {
			return unreadable(j.view, p.Key, err)
		}
	}
	it := newItem(p.Key, value, gr, want.Meta)
	it.fresh, it.marked = s == nil, marked
	it.loose = it.loose && !marked && j.proven(gr, value)
	if want.Kept != nil {
		it.held, it.kept = true, want.Kept
		it.size += len(want.Kept) + len(scope.HeldPrefix) + len(p.Key)
	}
	return j.addPut(it)
}

// fromPrimary reports whether a value on the standby is encrypted with the
// primary's keys, as a raw copy leaves it.
func (j *copyJob) fromPrimary(s *kv.Pair) bool {
	_, err := j.view.InPrimary(s.Key, s.Value)
	return err == nil
}

// onlyStandby looks at a key that the primary does not have in scope. It is
// deleted only where it provably came from the primary: it was created up to
// the last complete checkpoint, and not by somebody else, as far as the record
// of those goes; or an unfinished copy wrote it. Whether somebody has changed
// it on the standby since does not matter.
func (j *copyJob) onlyStandby(s *kv.Pair, t judged, known surplusSet) error {
	have, err := t.have, t.haveErr
	if !have.In {
		delete(j.records, s.Key) // nor is its original
		if j.view.Scope.Key(s.Key) != scope.Out && !known.has(s) {
			j.outside = append(j.outside, s.Key) // it may come into scope one day
		}
		return nil // out of scope is never touched
	}
	if j.conflicts.has(s.Key) {
		j.surplus = append(j.surplus, kv.Pair{Key: s.Key, CreateRevision: s.CreateRevision})
		return nil // the primary has lost its own: not this one
	}
	if err == nil && j.base != nil && s.CreateRevision <= min(j.base.StandbyRevision, j.template.Guarded) && !known.has(s) {
		j.deletes = append(j.deletes, itemToDelete(s.Key, s.CreateRevision, have.Meta))
		return nil
	}
	switch {
	case known.has(s):
		delete(j.records, s.Key)
		j.progress.Surplus++
		if j.keptThere[s.Key] == sink.SurplusReleased {
			j.released = append(j.released, s.Key)
		}
	case err == nil && isHerald(have.Meta):
		j.deletes = append(j.deletes, itemToDelete(s.Key, s.CreateRevision, have.Meta))
	case err == nil && len(j.interrupted) > 0:
		j.surplus = append(j.surplus, *s) // may be an unfinished copy's; see settleSurplus
	default:
		j.surplus = append(j.surplus, kv.Pair{Key: s.Key, CreateRevision: s.CreateRevision})
	}
	return nil
}

// staysOwn reports whether the standby has an object of its own at a key of the
// primary's, which stays: in a conflict, or as a twin, for which the copy will be
// refused. What would have been a conflict in the stream is one in a resync.
func (j *copyJob) staysOwn(ctx context.Context, p, s *kv.Pair, t judged) (bool, error) {
	if t.haveErr != nil && isKeyProblem(t.haveErr) && !j.fromPrimary(s) {
		return false, nil // the copy ends for that
	}
	if !j.twins.conflicting(p.Key, t.want.Object, t.have, t.haveErr) {
		return j.twins.note(ctx, p, s, t.want.Object, t.have, t.haveErr)
	}
	record, known := j.conflicts.get(p.Key)
	if !known {
		own, err := j.twins.own(ctx, p, s, t.want.Object, t.have, nil)
		if err != nil || !own {
			return false, err
		}
		record.Since = time.Now().UTC()
	}
	record.Standby, record.Primary = t.have.Meta.UID, t.want.Meta.UID
	j.stays[p.Key] = record
	j.progress.Conflicts++
	return true, nil
}

// settleConflicts brings the record of conflicts up to date.
func (j *copyJob) settleConflicts(ctx context.Context) error {
	var records []kv.Change
	for _, key := range j.conflicts.list() {
		if _, still := j.stays[key]; !still {
			records = append(records, kv.Change{Key: conflictKey(key), Delete: true, Revision: j.rev})
			j.settled = append(j.settled, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(j.stays)) {
		if was, known := j.conflicts.get(key); !known || was != j.stays[key] {
			records = append(records,
				kv.Change{Key: conflictKey(key), Value: encodeConflict(j.stays[key]), Revision: j.rev},
				kv.Change{Key: surplusKey(key), Value: []byte{}, Revision: j.rev})
		}
	}
	if len(records) == 0 {
		return nil
	}
	if err := j.announce(ctx); err != nil {
		return err
	}
	var n int64
	return j.applyAll(ctx, records, &n)
}
