package scope

import (
	"bytes"
	"errors"
	"reflect"
	"slices"

	"github.com/understudy-dr/understudy/registry"
)

// Likeness is how two objects of one key compare.
type Likeness uint8

// The likenesses. Only Equal is equal.
const (
	Different Likeness = iota
	Equal
	// OtherVersion: the sides store the object in two versions of the API, or in one
	// that nobody here knows; nothing that can be compared differs, and the rest
	// cannot be compared.
	OtherVersion
)

func (l Likeness) String() string { return [...]string{"different", "equal", "other version"}[l] }

// Equal reports whether Compare finds two objects equal.
func (l *Locals) Equal(groupResource string, a, b []byte, held bool) bool {
	return l.Compare(groupResource, a, b, held) == Equal
}

// Compare says how the object that the primary wants, a, and the standby's, b,
// compare apart from their local fields.
//
// A held object has lost the fields that this version does not know, and the
// standby's API server may have set them anew or stored it in another encoding:
// what is known of it counts, since the original beside it is whole.
//
// An object lies in the version in which it was written last. Where the standby's
// API server has written it in another one, both are compared in the newest shape.
// Two values of one field that differ make a difference then; what only the
// standby's has may be a default that its version sets, and nobody knows.
func (l *Locals) Compare(groupResource string, a, b []byte, held bool) Likeness {
	if bytes.Equal(a, b) {
		return Equal
	}
	metaA, errA := registry.ReadMeta(a)
	metaB, errB := registry.ReadMeta(b)
	if errA != nil || errB != nil {
		return Different
	}
	versions := metaA.APIVersion != metaB.APIVersion
	if !versions && !held && !l.Concerns(groupResource) {
		return Different
	}
	paths, err := l.paths(groupResource, a)
	if err != nil {
		return Different
	}
	left, errA := registry.ReadFields(a)
	right, errB := registry.ReadFields(b)
	switch {
	case errors.Is(errors.Join(errA, errB), registry.ErrNotEditable): // nobody here knows the version
		if metaA.UID != metaB.UID || !slices.Equal(metaA.Finalizers, metaB.Finalizers) || metaA.Deleting != metaB.Deleting {
			return Different
		}
		return OtherVersion
	case errA != nil || errB != nil:
		return Different
	}
	if endedJob(groupResource, left) {
		paths = apartFrom(paths, "status")
	}
	labelJob(groupResource, left)
	labelJob(groupResource, right)
	paths = slices.DeleteFunc(slices.Clone(paths), func(p registry.Path) bool { return !saidOfObject(p) && !hasPlace(right, left, p) })
	if versions {
		whole := held || registry.Lossless(a) && registry.Lossless(b)
		left, right = registry.ReplaceParts(left, nil, paths), registry.ReplaceParts(right, nil, paths)
		return acrossVersions(groupResource, left, right, whole)
	}
	write, like := registry.WriteFields, b
	if held {
		write, like = registry.WriteKnownFields, a
	}
	x, errX := write(registry.ReplaceParts(left, nil, paths), a)
	y, errY := write(registry.ReplaceParts(right, nil, paths), like)
	if errX == nil && errY == nil && bytes.Equal(x, y) {
		return Equal
	}
	return Different
}

// conversionData is what the webhooks of Cluster API leave in an object that they
// convert down: the fields that the older version lacks
// (sigs.k8s.io/cluster-api/util/conversion).
const conversionData = "cluster.x-k8s.io/conversion-data"

// acrossVersions compares two objects that are stored in two versions; whole says
// that everything in them has been read. Who manages fields is kept by version,
// and forgotten with a version that is gone.
func acrossVersions(groupResource string, a, b registry.Fields, whole bool) Likeness {
	stripConversion(a, b)
	if a["kind"] != b["kind"] || !sameIdentity(a, b) {
		return Different
	}
	x, convertsA := registry.Newest(groupResource, a)
	y, convertsB := registry.Newest(groupResource, b)
	converts := convertsA && convertsB
	if !converts { // by another conversion than None the rest may mean something else
		delete(a, "apiVersion")
		delete(b, "apiVersion")
		x, y = a, b
	}
	switch {
	case whole && reflect.DeepEqual(x, y):
		return Equal
	case converts && !within(map[string]any(x), map[string]any(y)):
		return Different
	}
	return OtherVersion
}

// stripConversion takes out of objects what a conversion leaves in them.
func stripConversion(objects ...registry.Fields) {
	for _, object := range objects {
		metadata, _ := object["metadata"].(map[string]any)
		delete(metadata, "managedFields")
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			if delete(annotations, conversionData); len(annotations) == 0 {
				delete(metadata, "annotations")
			}
		}
	}
}

// CompareServed says how the object that the primary wants and the standby's, as its
// API server serves it in the version of the first, compare apart from their local
// fields. What only the served one has may be a default.
func (l *Locals) CompareServed(groupResource string, want, served []byte) Likeness {
	paths, err := l.paths(groupResource, want)
	if err != nil {
		return OtherVersion
	}
	left, errA := registry.ReadFields(want)
	right, errB := registry.ReadFields(served)
	if errA != nil || errB != nil {
		return OtherVersion
	}
	metadata, _ := right["metadata"].(map[string]any)
	delete(metadata, "resourceVersion") // the etcd's, not the object's
	delete(metadata, "selfLink")
	if endedJob(groupResource, left) {
		paths = apartFrom(paths, "status")
	}
	labelJob(groupResource, left)
	labelJob(groupResource, right)
	left, right = registry.ReplaceParts(left, nil, paths), registry.ReplaceParts(right, nil, paths)
	stripConversion(left, right)
	switch {
	case left["apiVersion"] != right["apiVersion"] || left["kind"] != right["kind"] || !sameIdentity(left, right):
		return Different
	case reflect.DeepEqual(left, right) && registry.Lossless(want):
		return Equal
	case !within(map[string]any(left), map[string]any(right)):
		return Different
	}
	return OtherVersion
}

// Lies reports whether a merge patch would change nothing in an object.
func Lies(patch map[string]any, object registry.Fields) bool {
	return reflect.DeepEqual(merged(map[string]any(object), patch), any(map[string]any(object)))
}

// sameIdentity compares what no conversion touches.
func sameIdentity(a, b registry.Fields) bool {
	x, _ := a["metadata"].(map[string]any)
	y, _ := b["metadata"].(map[string]any)
	for _, field := range []string{"name", "namespace", "uid", "finalizers", "deletionTimestamp"} {
		if !reflect.DeepEqual(x[field], y[field]) {
			return false
		}
	}
	return true
}

// within reports whether everything that a has stands in b as well.
func within(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		other, ok := b.(map[string]any)
		for name, member := range a {
			if !ok || !within(member, other[name]) {
				return false
			}
		}
		return ok
	case []any:
		other, ok := b.([]any)
		if !ok || len(a) != len(other) {
			return false
		}
		for i := range a {
			if !within(a[i], other[i]) {
				return false
			}
		}
		return true
	case nil:
		return true
	}
	return reflect.DeepEqual(a, b)
}
