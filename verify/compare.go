package verify

import (
	"bytes"
	"fmt"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// finding is what one key turned out to be.
type finding struct {
	out    bool // does not take part, on either side
	opaque bool
	kind   Kind  // "" = equal
	why    error // for Undecodable

	orphaned bool // on the primary: see scope.Object
	dropped  int  // references on the primary to owners out of scope

	worth scope.Worth // of what the scope leaves out on the primary
}

// counts is what a key of the primary adds to those of its resource.
func (f *finding) counts() (r Resource) {
	if f.out {
		r.Excluded = 1
	} else {
		r.Replicated = 1
	}
	if f.orphaned {
		r.OwnersLeftOut = 1
	}
	r.ReferencesDropped = int64(f.dropped)
	return r
}

// compare looks at one key. A side that lacks it is nil.
func compare(view *scope.View, records scope.Records, primary, standby *kv.Pair) finding {
	if primary == nil {
		object, err := view.InStandby(standby.Key, standby.Value)
		switch {
		case err != nil:
			return undecodable("on the standby", err)
		case !object.In:
			return finding{out: true}
		}
		return finding{kind: Surplus, opaque: object.Opaque}
	}
	object, err := view.InPrimary(primary.Key, primary.Value)
	if err != nil {
		return undecodable("on the primary", err)
	}
	found := compareWith(view, records, object, primary, standby)
	found.orphaned, found.dropped = object.Orphaned, len(object.Dropped)
	if found.out {
		found.worth = view.LeftOut(primary.Key, primary.Value)
	}
	return found
}

// compareWith looks at one key that the primary has as object.
func compareWith(view *scope.View, records scope.Records, object scope.Object, primary, standby *kv.Pair) finding {
	switch {
	case standby == nil && !object.In:
		return finding{out: true}
	case standby == nil:
		return finding{kind: Missed, opaque: object.Opaque}
	case bytes.Equal(primary.Value, standby.Value) && object.AsStored():
		if !object.In {
			return finding{out: true}
		}
		if err := readable(view, standby, object); err != nil {
			return undecodable("on the standby", err)
		}
		if !records.Fit(primary.Key, object) {
			return finding{kind: Differing, opaque: object.Opaque}
		}
		return finding{opaque: object.Opaque}
	}
	other, err := view.InStandby(standby.Key, standby.Value)
	switch {
	case err != nil:
		return undecodable("on the standby", err)
	case !object.In && !other.In:
		return finding{out: true}
	case !object.In:
		return finding{kind: Surplus}
	case view.Conflicts(primary.Key, object, other):
		return finding{kind: Conflict}
	case !other.In:
		return finding{kind: Differing}
	}
	switch view.Compare(primary.Key, object, other, primary.Value, standby.Value) {
	case scope.Different:
		return finding{kind: Differing}
	case scope.OtherVersion:
		if !records.Fit(primary.Key, object) {
			return finding{kind: Differing}
		}
		return finding{kind: OtherVersion, why: versionsOf(object, other)}
	}
	switch {
	case !records.Fit(primary.Key, object):
		// It stands as it should, but a release would bring back another one.
		return finding{kind: Differing}
	}
	return finding{}
}

// versionsOf says how an object is stored on the two sides.
func versionsOf(primary, standby scope.Object) error {
	if primary.Meta.APIVersion == standby.Meta.APIVersion {
		return fmt.Errorf("stored as %s on both sides, which this version of understudy does not know", primary.Meta.APIVersion)
	}
	return fmt.Errorf("stored as %s on the primary, as %s on the standby", primary.Meta.APIVersion, standby.Meta.APIVersion)
}

// readable proves that the standby can read a value that has the same bytes on
// both sides and that the primary can read.
func readable(view *scope.View, standby *kv.Pair, primary scope.Object) error {
	if view.Recoder.Same() || primary.Opaque {
		return nil
	}
	key, ok := view.Scope.Parse(standby.Key)
	if !ok {
		return nil // raw
	}
	plain, err := view.Recoder.PlainOfStandby(key.GroupResource(), standby.Key, standby.Value)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", standby.Key, key, err)
	}
	if !bytes.Equal(plain, primary.Plain) {
		return fmt.Errorf("%s (%s): %w: it reads another object than the primary", standby.Key, key, registry.ErrWrongKey)
	}
	return nil
}

func undecodable(where string, err error) finding {
	return finding{kind: Undecodable, why: fmt.Errorf("%w, %s", err, where)}
}
