package hold

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
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
	if bytes.Equal(now, held) || view.Locals.Equal(gr, held, now, true) {
		return Held, nil
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

// differences says field by field what makes b out of a. Of a Secret it names
// the fields alone: what is in them, or in a copy of them in an annotation, is
// nobody's to read here.
func differences(gr string, a, b []byte) []string {
	before, err1 := registry.ReadFields(a)
	after, err2 := registry.ReadFields(b)
	if err1 != nil || err2 != nil {
		return []string{}
	}
	out := []string{}
	compare(&out, "", map[string]any(before), map[string]any(after))
	if gr == "secrets" {
		for i := range out {
			out[i], _, _ = strings.Cut(out[i], ": ")
		}
	}
	return out
}

func compare(out *[]string, path string, before, after map[string]any) {
	names := map[string]bool{}
	for _, m := range []map[string]any{before, after} {
		for name := range m {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := before[name], after[name]
		if reflect.DeepEqual(was, is) {
			continue
		}
		at := strings.TrimPrefix(path+"."+name, ".")
		a, aMap := was.(map[string]any)
		b, bMap := is.(map[string]any)
		if (aMap || was == nil) && (bMap || is == nil) && (aMap || bMap) {
			compare(out, at, a, b)
			continue
		}
		*out = append(*out, fmt.Sprintf("%s: %s → %s", at, short(was), short(is)))
	}
}

// short is a value on part of a line.
func short(v any) string {
	if v == nil {
		return "none"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	text := []rune(string(raw))
	if len(text) > 40 {
		return string(text[:39]) + "…"
	}
	return string(text)
}

func checkpointTime(raw []byte) (time.Time, bool) {
	var c sink.Checkpoint
	if json.Unmarshal(raw, &c) != nil || c.Time.IsZero() {
		return time.Time{}, false
	}
	return c.Time, true
}
