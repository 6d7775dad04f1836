package scope_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

func defaultView(t *testing.T) *scope.View {
	t.Helper()
	s, err := scope.New(scope.Config{})
	if err != nil {
		t.Fatal(err)
	}
	holds, err := scope.NewHolds(scope.DefaultHolds(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	locals, err := scope.NewLocals(scope.DefaultLocals(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	return &scope.View{Scope: s, Recoder: registry.NewRecoder(nil, nil), Holds: holds, Locals: locals}
}

// of returns the objects of one resource among realistic ones.
func of(t *testing.T, gr string) []kv.Pair {
	t.Helper()
	var found []kv.Pair
	for p := range fixture.Generate(fixture.Options{Seed: 4, Objects: 1500}) {
		if k, ok := registry.ParseKey(registry.DefaultPrefix, p.Key); ok && k.GroupResource() == gr && k.Namespace != "kube-system" {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		t.Fatalf("no %s among the objects", gr)
	}
	return found
}

func field(t *testing.T, value []byte, path ...string) any {
	t.Helper()
	fields, err := registry.ReadFields(value)
	if err != nil {
		t.Fatal(err)
	}
	var v any = map[string]any(fields)
	for _, step := range path {
		m, _ := v.(map[string]any)
		v = m[step]
	}
	return v
}

func edit(t *testing.T, value []byte, set any, path ...string) []byte {
	t.Helper()
	fields, err := registry.ReadFields(value)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any(fields)
	for _, step := range path[:len(path)-1] {
		next, ok := m[step].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[step] = next
		}
		m = next
	}
	m[path[len(path)-1]] = set
	out, err := registry.WriteFields(fields, value)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A held object is inert, still the same object, and its original is kept.
func TestHeldObjects(t *testing.T) {
	view := defaultView(t)
	for gr, tc := range map[string]struct {
		path []string
		want any
	}{
		"deployments.apps":          {[]string{"spec", "replicas"}, int64(0)},
		"clusters.cluster.x-k8s.io": {[]string{"spec", "paused"}, true},
	} {
		for _, p := range of(t, gr) {
			want, err := view.Want(p.Key, p.Value)
			if err != nil {
				t.Fatal(err)
			}
			if got := field(t, want.Value, tc.path...); got != tc.want {
				t.Errorf("%s: %v = %v, want %v", p.Key, tc.path, got, tc.want)
			}
			if !bytes.Equal(want.Kept, p.Value) {
				t.Errorf("%s: the original is not kept as it was", p.Key)
			}
			meta, err := registry.ReadMeta(want.Value)
			if err != nil || meta.UID != want.Meta.UID || meta.Name != want.Meta.Name {
				t.Errorf("%s: %+v, %v: another object", p.Key, meta, err)
			}
			again, err := view.Want(p.Key, p.Value)
			if err != nil || !bytes.Equal(again.Value, want.Value) {
				t.Errorf("%s: held in another way the second time", p.Key)
			}
			records := scope.Records{}
			if records.Fit(p.Key, want.Object) {
				t.Errorf("%s: fits without a record", p.Key)
			}
			records.Add(view, scope.HeldKey(p.Key), want.Kept)
			if !records.Fit(p.Key, want.Object) {
				t.Errorf("%s: does not fit its own record", p.Key)
			}
		}
	}
}

// What the primary has paused already is not ours to release.
func TestInertObjectsAreNotHeld(t *testing.T) {
	view := defaultView(t)
	p := of(t, "clusters.cluster.x-k8s.io")[0]
	paused := edit(t, p.Value, true, "spec", "paused")
	want, err := view.Want(p.Key, paused)
	if err != nil {
		t.Fatal(err)
	}
	if want.Kept != nil || want.Original != nil || !bytes.Equal(want.Value, paused) {
		t.Error("a Cluster that is paused on the primary is held")
	}
}

// Equal means equal apart from holds and local fields, and from nothing else.
func TestSameKnowsHoldsAndLocalFields(t *testing.T) {
	view := defaultView(t)
	p := of(t, "deployments.apps")[0]
	want, err := view.Want(p.Key, p.Value)
	if err != nil {
		t.Fatal(err)
	}
	same := func(standby []byte) bool {
		t.Helper()
		have, err := view.InStandby(p.Key, standby)
		if err != nil {
			t.Fatal(err)
		}
		primary, err := view.InPrimary(p.Key, p.Value)
		if err != nil {
			t.Fatal(err)
		}
		return view.Same(p.Key, primary, have, p.Value, standby)
	}
	observed := edit(t, want.Value, int64(41), "status", "observedGeneration")
	for name, tc := range map[string]struct {
		standby []byte
		want    bool
	}{
		"as written":                {want.Value, true},
		"its status is its own":     {observed, true},
		"not held":                  {p.Value, false},
		"an annotation more":        {edit(t, want.Value, "x", "metadata", "annotations", "y"), false},
		"another service account":   {edit(t, want.Value, "z", "spec", "template", "spec", "serviceAccountName"), false},
		"held and one replica more": {edit(t, want.Value, int64(1), "spec", "replicas"), false},
	} {
		if got := same(tc.standby); got != tc.want {
			t.Errorf("%s: same = %v, want %v", name, got, tc.want)
		}
	}
	kept, err := view.Keep(p.Key, want.Value, observed)
	if err != nil {
		t.Fatal(err)
	}
	if got := field(t, kept, "status", "observedGeneration"); got != int64(41) {
		t.Errorf("status.observedGeneration = %v, want the standby's", got)
	}
	if got := field(t, kept, "spec", "replicas"); got != int64(0) {
		t.Errorf("spec.replicas = %v after the local fields were kept", got)
	}
}

func TestNewHoldsRefuses(t *testing.T) {
	for name, patch := range map[string]string{"a list": `[1]`, "metadata": `{"metadata":{"name":"x"}}`, "no JSON": `{`, "null": `null`} {
		if _, err := scope.NewHolds([]scope.Hold{{Resources: []string{"a.b"}, Patch: json.RawMessage(patch)}}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	one, _ := scope.NewHolds(scope.DefaultHolds(scope.DefaultProfile))
	none, _ := scope.NewHolds(append(scope.DefaultHolds(scope.DefaultProfile), scope.Hold{Resources: []string{"deployments.apps"}, Patch: json.RawMessage(`{}`)}))
	if one.Hash() == none.Hash() || none.Concerns("deployments.apps") || !one.Concerns("deployments.apps") {
		t.Error("an empty patch does not take back the one before")
	}
}

func TestNewLocalsRefuses(t *testing.T) {
	for _, pointer := range []string{"status", "/", "", "/metadata", "/metadata/uid", "/metadata/ownerReferences"} {
		if _, err := scope.NewLocals([]scope.Local{{Resources: []string{"a.b"}, Fields: []string{pointer}}}); err == nil {
			t.Errorf("%q was accepted", pointer)
		}
	}
}
