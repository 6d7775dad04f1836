package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// What is said of a held object is said of its original: that stands there after
// the release.
func TestSimulateOriginals(t *testing.T) {
	held := func(o thing, change func(*thing)) thing {
		original := o
		change(&original)
		o.original = &original
		return o
	}
	inert := service1("prod", "app", `{"type":"ClusterIP","clusterIP":"None"}`)
	ours := aesgcm(t, "k", 'a', `,{"identity":{}}`)
	web := thing{key: "deployments/prod/web", kind: "apps/v1 Deployment", uid: "w"}
	sealed := func(e *registry.Encryption) func(*thing) {
		return func(o *thing) {
			stored, err := e.Encrypt("secrets", "/registry/"+o.key, o.pair(t).Value)
			if err != nil {
				t.Fatal(err)
			}
			o.raw = string(stored)
		}
	}
	for name, tc := range map[string]struct {
		things []thing
		want   []string
	}{
		"a node port that comes back": {things: []thing{
			held(inert, func(o *thing) { o.body = `{"spec":{"ports":[{"port":80,"protocol":"TCP","nodePort":30080}]}}` }),
			service1("kube-system", "lb", `{"ports":[{"port":80,"protocol":"TCP","nodePort":30080}]}`), {key: "namespaces/kube-system", kind: "v1 Namespace"}},
			want: []string{
				"red own nodeport-collision Service kube-system/lb: TCP 30080 is that of Service prod/app as well",
				"red nodeport-collision Service prod/app: TCP 30080 is that of Service kube-system/lb as well",
				"info held Service prod/app: ",
			}},
		"marked for deletion since": {things: []thing{held(deleting(web, "example.com/f"), func(o *thing) { o.deleting, o.finalizers = false, nil })},
			want: []string{"red being-deleted Deployment prod/web: finalizers: example.com/f", "info held Deployment prod/web: "}},
		"of another object": {things: []thing{held(web, func(o *thing) { o.uid = "old" })},
			want: []string{"red original-of-another Deployment prod/web: the original has uid old, the object w", "info held Deployment prod/web: "}},
		"torn": {things: []thing{held(web, func(o *thing) { o.raw = `{"apiVersion":"apps/v1","ki` })},
			want: []string{"red original-undecodable Deployment prod/web: its original /understudy/held/registry/deployments/prod/web: not a whole Kubernetes object: JSON broken at byte 27: it ends in the middle: want the end of the string", "info held Deployment prod/web: "}},
		"with a key that is gone": {things: []thing{held(secret("s"), sealed(aesgcm(t, "old", 'b', "")))},
			want: []string{`red original-undecryptable Secret prod/s: its original /understudy/held/registry/secrets/prod/s: no such encryption key: no provider for secrets has aesgcm key "old"`, "info held Secret prod/s: "}},
		"with the key": {things: []thing{held(secret("s"), sealed(ours))}, want: []string{"info held Secret prod/s: "}},
		"whose object nobody can read": {things: []thing{held(with(secret("s"), func(o *thing) { o.raw = "k8s:enc:aesgcm:v1:k:xyz" }), func(o *thing) { *o = secret("s", "v1 Secret gone x") })},
			want: []string{
				"red garbage-collected Secret prod/s: owner Secret gone (uid x) is not there",
				`red undecryptable Secret prod/s: the encryption key does not fit: aesgcm key "k": the stored data was shorter than the required size`,
				"info held Secret prod/s: ",
			}},
	} {
		t.Run(name, func(t *testing.T) { compareFindings(t, tc.things, ours, tc.want) })
	}
}

// The key of a held object's original is rotated away: the API server's own
// rewriting of all Secrets does not reach the original, and the release would be
// the first to notice.
func TestSimulateAfterTheKeyOfAnOriginalWasRotatedAway(t *testing.T) {
	s := &stage{t, Sides{Standby: testkit.StartEtcd(t).Client()}}
	const key = "/registry/secrets/prod/s"
	before, after := aesgcm(t, "old", 'a', `,{"identity":{}}`), aesgcm(t, "new", 'b', `,{"identity":{}}`)
	seal := func(e *registry.Encryption) []byte {
		stored, err := e.Encrypt("secrets", key, object("Secret", "prod", "s", "1"))
		if err != nil {
			t.Fatal(err)
		}
		return stored
	}
	s.put(s.sides.Standby, "/registry/namespaces/prod", object("Namespace", "", "prod", ""))
	s.put(s.sides.Standby, key, seal(before))
	s.put(s.sides.Standby, scope.HeldKey(key), seal(before))
	view := newView(t, nil, nil)
	simulate := func(standby *registry.Encryption, want ...string) {
		t.Helper()
		s.putCheckpoint(sink.Checkpoint{SourceRevision: 1, Phase: sink.Streaming, ScopeHash: view.Scope.Hash()})
		sim, err := Simulate(t.Context(), s.sides.Standby, view.Scope, SimulateOptions{Standby: standby})
		if err != nil {
			t.Fatal(err)
		}
		if got := sim.summary(); !slices.Equal(got, want) {
			t.Errorf("%s, want %s", strings.Join(got, ", "), strings.Join(want, ", "))
		}
	}
	simulate(before, "info held 1")
	s.put(s.sides.Standby, key, seal(after)) // kubectl get secrets -A -o json | kubectl replace -f -
	simulate(after, "red original-undecryptable 1", "info held 1")
	s.put(s.sides.Standby, scope.HeldKey(key), seal(after))
	simulate(after, "info held 1")
}
