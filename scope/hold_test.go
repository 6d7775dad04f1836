package scope_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

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
	kept, _, err := view.Keep(p.Key, want.Value, view.Own(p.Key, observed))
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
	for name, patch := range map[string]string{"a list": `[1]`, "metadata": `{"metadata":{"name":"x"}}`, "no JSON": `{`, "null": `null`, "another kind": `{"kind":"Secret"}`} {
		if _, err := scope.NewHolds([]scope.Hold{{Resources: []string{"a.b"}, Patch: json.RawMessage(patch)}}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for name, resources := range map[string][]string{"no group": {"deployments"}, "a pattern": {"*.apps"}, "nothing": nil} {
		_, err := scope.NewHolds(append(scope.DefaultHolds(scope.DefaultProfile), scope.Hold{Resources: resources, Patch: json.RawMessage(`{"spec":{}}`)}))
		var wrong *scope.RuleError
		if !errors.As(err, &wrong) || wrong.Field != "hold.objects[0].resources" {
			t.Errorf("%s: %v, want an error at hold.objects[0].resources", name, err)
		}
	}
	one, _ := scope.NewHolds(scope.DefaultHolds(scope.DefaultProfile))
	none, _ := scope.NewHolds(append(scope.DefaultHolds(scope.DefaultProfile), scope.Hold{Resources: []string{"deployments.apps"}, Patch: json.RawMessage(`{}`)}))
	if one.Hash() == none.Hash() || none.Concerns("deployments.apps") || !one.Concerns("deployments.apps") {
		t.Error("an empty patch does not take back the one before")
	}
}

func TestNewLocalsRefuses(t *testing.T) {
	for _, pointer := range []string{"status", "/", "", "/metadata", "/metadata/uid", "/metadata/ownerReferences", "/kind"} {
		if _, err := scope.NewLocals([]scope.Local{{Resources: []string{"a.b"}, Fields: []string{pointer}}}); err == nil {
			t.Errorf("%q was accepted", pointer)
		}
	}
}

// A ServiceAccount's token comes with the primary's certificate authority and
// keeps the one that the standby's token controller writes, also in the
// protobuf and the encryption in which it is stored. Of other Secrets nothing
// is local, not even a field of that name.
func TestTokensKeepTheStandbysCA(t *testing.T) {
	s, err := scope.New(scope.Config{TokensShared: true})
	if err != nil {
		t.Fatal(err)
	}
	locals, err := scope.NewLocals(scope.TokenLocals())
	if err != nil {
		t.Fatal(err)
	}
	box := encryption(t, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	view := &scope.View{Scope: s, Recoder: registry.NewRecoder(nil, box), Locals: locals}
	const key = "/registry/secrets/prod/agent"
	secret := func(kind corev1.SecretType, ca, token string) []byte {
		var out bytes.Buffer
		object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "agent", Namespace: "prod", UID: "u"}, Type: kind,
			Data: map[string][]byte{"ca.crt": []byte(ca), "token": []byte(token)}}
		object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		if err := protobuf.NewSerializer(nil, nil).Encode(object, &out); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for _, tc := range []struct {
		kind     corev1.SecretType
		ca, same bool // kept
	}{{scope.ServiceAccountToken, true, true}, {corev1.SecretTypeOpaque, false, false}} {
		primary := secret(tc.kind, "moscow", "t1")
		want, err := view.Want(key, primary)
		if err != nil || !want.In {
			t.Fatalf("%s: in %v, %v", tc.kind, want.In, err)
		}
		have, err := box.Encrypt("secrets", key, secret(tc.kind, "spb", "t0"))
		if err != nil {
			t.Fatal(err)
		}
		kept, _, err := view.Keep(key, want.Value, view.Own(key, have))
		if err != nil {
			t.Fatal(err)
		}
		standby, err := view.InStandby(key, kept)
		if err != nil {
			t.Fatal(err)
		}
		ca := map[bool]string{true: "spb", false: "moscow"}[tc.ca]
		if !bytes.Equal(standby.Plain, secret(tc.kind, ca, "t1")) {
			t.Errorf("%s: the standby gets %q, want the primary's token and the CA of %s", tc.kind, standby.Plain, ca)
		}
		for text, value := range map[string][]byte{"spb": secret(tc.kind, "spb", "t1"), "another token": secret(tc.kind, "moscow", "t2")} {
			object, err := view.InPrimary(key, primary)
			if err != nil {
				t.Fatal(err)
			}
			if same := view.Same(key, object, scope.Object{In: true, Plain: value}, primary, value); same != (tc.same && text == "spb") {
				t.Errorf("%s with %s: same = %v", tc.kind, text, same)
			}
		}
	}
	if system, err := view.Want("/registry/secrets/kube-system/agent", secret(scope.ServiceAccountToken, "a", "b")); err != nil || system.In {
		t.Errorf("a token of kube-system: in %v, %v", system.In, err)
	}
}

func encryption(t *testing.T, secret string) *registry.Encryption {
	t.Helper()
	e, err := registry.ParseEncryption([]byte(`{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration,
resources: [{resources: [secrets], providers: [{secretbox: {keys: [{name: k, secret: "` + secret + `"}]}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A field is held or local, not both: a release would take the held value for the
// standby's own.
func TestHoldsAndLocalsDoNotOverlap(t *testing.T) {
	holds, err := scope.NewHolds(scope.DefaultHolds(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	for field, wrong := range map[string]bool{"/spec/replicas": true, "/spec": true, "/spec/template": false, "/status": false, "/metadata/labels/a": false} {
		locals, err := scope.NewLocals([]scope.Local{{Resources: []string{"deployments.apps"}, Fields: []string{field}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := scope.Overlap(holds, locals); (err != nil) != wrong {
			t.Errorf("%s: %v", field, err)
		}
	}
	locals, err := scope.NewLocals(append(scope.DefaultLocals(scope.DefaultProfile), scope.TokenLocals()...))
	if err != nil {
		t.Fatal(err)
	}
	if err := scope.Overlap(holds, locals); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

// A patch of a field that a built-in kind does not have would hold nothing.
func TestMisspeltHoldIsRefused(t *testing.T) {
	for patch, field := range map[string]string{
		`{"spec":{"replica":0}}`:    "spec.replica",
		`{"sepc":{"replicas":0}}`:   "sepc",
		`{"spec":{"replicas":"0"}}`: "int32",
		`{"spec":{"paused":true}}`:  "",
	} {
		_, err := scope.NewHolds([]scope.Hold{{Resources: []string{"deployments.apps"}, Patch: json.RawMessage(patch)}})
		if field == "" && err != nil || field != "" && (err == nil || !strings.Contains(err.Error(), field)) {
			t.Errorf("%s: %v", patch, err)
		}
		if _, err := scope.NewHolds([]scope.Hold{{Resources: []string{"widgets.example.com"}, Patch: json.RawMessage(patch)}}); err != nil {
			t.Errorf("%s of a custom resource: %v", patch, err)
		}
	}
}

// So would a pointer to one, or to the place of an element in a list.
func TestMisspeltLocalFieldIsRefused(t *testing.T) {
	for pointer, wrong := range map[string]bool{
		"/spec/template/spec/containers/0/image":        true,
		"/spec/template/spec/containers/name=app/image": false,
		"/spec/template/spec/containers/nam=app/image":  true,
		"/spec/replica":                               true,
		"/spec/replicas/x":                            true,
		"/metadata/annotation/a":                      true,
		"/metadata/annotations/a":                     false,
		"/spec/template/metadata/creationTimestamp/x": true,
		"/spec/paused":                                false,
	} {
		_, err := scope.NewLocals([]scope.Local{{Resources: []string{"deployments.apps"}, Fields: []string{pointer}}})
		if (err != nil) != wrong {
			t.Errorf("%s: %v", pointer, err)
		}
		if _, err := scope.NewLocals([]scope.Local{{Resources: []string{"widgets.example.com"}, Fields: []string{pointer}}}); err != nil {
			t.Errorf("%s of a custom resource: %v", pointer, err)
		}
	}
}
