package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// collectorModel is the garbage collector as Kubernetes has it, on a map of
// live objects: it looks at one object after the other and acts at once. It
// shares nothing with the simulator but the way objects are written down.
type collectorModel map[string]*thing // by key

// The kinds of the model: a Secret lies in a namespace, a PersistentVolume does
// not, and a Widget is a kind that nobody serves.
var modelKeys = map[string]string{"Secret": "secrets/%s/%s", "PersistentVolume": "persistentvolumes/%[2]s"}

// run acts until nothing changes, and gives the keys that are gone.
func (m collectorModel) run() []string {
	before := slices.Collect(maps.Keys(m))
	for m.step() {
	}
	return slices.DeleteFunc(before, func(key string) bool { return m[key] != nil })
}

func (m collectorModel) step() bool {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if o := m[key]; o.deleting && slices.Contains(o.finalizers, "orphan") {
			m.dropReferences(o.uid)
			delete(m, key)
			return true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if m.attemptToDelete(m[key], namespaceOf(key)) {
			return true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if m[key].deleting { // its finalizers come to their end
			delete(m, key)
			return true
		}
	}
	return false
}

func namespaceOf(key string) string {
	if parts := strings.Split(key, "/"); len(parts) == 3 {
		return parts[1]
	}
	return ""
}

func (m collectorModel) dropReferences(uid string) {
	for _, o := range m {
		o.owners = slices.DeleteFunc(slices.Clone(o.owners), func(owner string) bool { return strings.Fields(owner)[3] == uid })
	}
}

// attemptToDelete is attemptToDeleteItem, and tells whether it did something.
func (m collectorModel) attemptToDelete(o *thing, namespace string) bool {
	if o.deleting || len(o.owners) == 0 {
		return false
	}
	var solid []string
	for _, owner := range o.owners {
		f := strings.Fields(owner)
		layout, known := modelKeys[f[1]]
		if !known || f[1] == "Secret" && namespace == "" {
			return false // an error, whatever the others are
		}
		found := m[fmt.Sprintf(layout, namespace, f[2])]
		switch {
		case found == nil || found.uid != f[3]: // dangling
		case found.deleting && slices.Contains(found.finalizers, "foregroundDeletion"): // waiting
		default:
			solid = append(solid, owner)
		}
	}
	switch {
	case len(solid) == 0:
		o.deleting = true
		return true
	case len(solid) < len(o.owners):
		o.owners = solid
		return true
	}
	return false
}

// What the simulator says would be deleted is what the garbage collector
// deletes, however owners, namespaces, unknown kinds and deletions in flight mix.
func TestSimulatedGarbageIsWhatTheCollectorDeletes(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "c"})
	namespaces := rapid.SampledFrom([]string{"prod", "test"})
	kinds := rapid.SampledFrom([]string{"Secret", "Secret", "Secret", "PersistentVolume", "Widget"})
	rapid.Check(t, func(t *rapid.T) {
		things := map[string]thing{
			"namespaces/prod": {key: "namespaces/prod", kind: "v1 Namespace", uid: "ns-1"},
			"namespaces/test": {key: "namespaces/test", kind: "v1 Namespace", uid: "ns-2"},
		}
		uidOf := func(kind, namespace, name string) string {
			if kind != "Secret" {
				namespace = ""
			}
			return kind + namespace + name
		}
		for range rapid.IntRange(1, 8).Draw(t, "objects") {
			kind := rapid.SampledFrom([]string{"Secret", "Secret", "Secret", "PersistentVolume"}).Draw(t, "kind")
			namespace, name := namespaces.Draw(t, "namespace"), names.Draw(t, "name")
			o := thing{key: fmt.Sprintf(modelKeys[kind], namespace, name), kind: "v1 " + kind, uid: uidOf(kind, namespace, name)}
			for range rapid.IntRange(0, 3).Draw(t, "owners") {
				kind, name := kinds.Draw(t, "owner kind"), names.Draw(t, "owner name")
				uid := uidOf(kind, namespace, name)
				if rapid.IntRange(0, 5).Draw(t, "other uid") == 0 {
					uid = "other"
				}
				o.owners = append(o.owners, "v1 "+kind+" "+name+" "+uid)
			}
			if o.deleting = rapid.IntRange(0, 4).Draw(t, "deleting") == 0; o.deleting {
				o.finalizers = rapid.SampledFrom([][]string{nil, {"example.com/f"}, {"foregroundDeletion"}, {"orphan"}}).Draw(t, "finalizers")
			}
			things[o.key] = o
		}

		model := collectorModel{}
		for key, o := range things {
			model[key] = &o
		}
		s := simulateThings(t, nil, slices.Collect(maps.Values(things))...)
		got := []string{}
		for _, o := range s.objects {
			if o.doomed {
				got = append(got, strings.TrimPrefix(o.key, "/registry/"))
			}
		}
		want := slices.Sorted(slices.Values(model.run()))
		if !slices.Equal(got, want) {
			t.Fatalf("would be gone %q, the collector deletes %q, of %+v", got, want, things)
		}
	})
}
