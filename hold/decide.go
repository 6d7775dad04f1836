package hold

import (
	"encoding/json"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// judge says what has become of a held object. The replication writes object
// and record in one transaction; so an object that was written at the record's
// revision is what it wrote. One that was written later must equal the held
// form of the original, apart from local fields.
func judge(view *scope.View, gr string, original []byte, record, object *kv.Pair) (State, error) {
	switch {
	case object == nil:
		return Gone, nil
	case object.ModRevision == record.ModRevision:
		return Held, nil
	}
	now, err := plainOf(view, object.Key, object.Value)
	if err != nil {
		return Unreadable, err
	}
	held, _, err := view.Holds.Apply(gr, original)
	if err != nil {
		return Unreadable, err
	}
	switch view.Locals.Compare(gr, held, now, true) {
	case scope.Equal:
		return Held, nil
	case scope.OtherVersion:
		return OtherVersion, nil
	}
	return Changed, nil
}

// write is what one object comes to: nothing where it is as it should be, or
// a value to put at its key and what to do with its record.
type write struct {
	value  []byte // nil: nothing to do
	record []byte // to put; nil: delete it
	keep   bool   // leave the record as it is
	leave  string // why nothing is done although something should be
	// through: what is left may be released through the standby's API server.
	through bool
}

// release decides about one object that stands in records: its original goes
// back, with the local fields that the standby has now.
func release(view *scope.View, key string, record, object *kv.Pair) write {
	if record == nil {
		return write{} // somebody has released it meanwhile
	}
	item := newItem(view, record, object)
	switch item.State {
	case Held:
	case Changed:
		return write{leave: "changed on the standby since it was held"}
	case OtherVersion:
		return write{through: true, leave: "stored in another version of the API on the standby than its original (" + item.meta.APIVersion +
			"), and only its API server can tell whether it was changed: set standby.kubeconfig, then again"}
	case Gone:
		return write{leave: "deleted on the standby since it was held"}
	default:
		return write{leave: "cannot be read: " + item.Why}
	}
	value, _, err := view.Release(key, record.Value, view.Own(key, object.Value))
	if err != nil {
		return write{leave: "cannot be read: " + err.Error()}
	}
	return write{value: value}
}

// apply decides about one object that a hold is for. An object that is inert
// already stays as it is. A record that is there already stays: it is what the
// primary had.
func apply(view *scope.View, key string, record, object *kv.Pair) write {
	if object == nil {
		return write{}
	}
	if !view.MayBeHeld(key) {
		return write{}
	}
	seen, err := view.InStandby(key, object.Value)
	if err != nil {
		return write{leave: "cannot be read: " + err.Error()}
	}
	value, changed, err := view.Inert(key, seen, object.Value)
	if err != nil {
		return write{leave: err.Error()}
	}
	if !changed {
		return write{}
	}
	return write{value: value, record: object.Value, keep: record != nil && isOf(view, key, record, seen)}
}

// isOf reports whether a record is of this very object, and not of one that had
// its name before.
func isOf(view *scope.View, key string, record *kv.Pair, object scope.Object) bool {
	was, err := view.InStandby(key, record.Value)
	return err == nil && was.Meta.UID == object.Meta.UID
}

func checkpointTime(raw []byte) (time.Time, bool) {
	var c sink.Checkpoint
	if json.Unmarshal(raw, &c) != nil || c.Time.IsZero() {
		return time.Time{}, false
	}
	return c.Time, true
}
