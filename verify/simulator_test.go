package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// thing is an object on the standby of a test, written briefly.
type thing struct {
	key        string // below /registry/
	kind       string // "apps/v1 Deployment"
	uid        string
	owners     []string // "apps/v1 Deployment name uid"
	finalizers []string
	deleting   bool
	body       string // further fields, as JSON
	raw        string // the whole value instead
	original   *thing // from which it is held
}

func (o thing) pair(t tester) kv.Pair {
	t.Helper()
	if o.raw != "" {
		return kv.Pair{Key: "/registry/" + o.key, Value: []byte(o.raw)}
	}
	k, ok := registry.ParseKey("/registry/", "/registry/"+o.key)
	if !ok {
		t.Fatalf("no key: %s", o.key)
	}
	apiVersion, kind, _ := strings.Cut(o.kind, " ")
	metadata := map[string]any{"name": k.Name, "namespace": k.Namespace, "uid": o.uid, "finalizers": o.finalizers}
	if o.deleting {
		metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
	}
	var owners []map[string]string
	for _, text := range o.owners {
		f := strings.Fields(text)
		owners = append(owners, map[string]string{"apiVersion": f[0], "kind": f[1], "name": f[2], "uid": f[3]})
	}
	metadata["ownerReferences"] = owners
	all := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": metadata}
	if o.body != "" {
		var body map[string]any
		if err := json.Unmarshal([]byte(o.body), &body); err != nil {
			t.Fatalf("%s: %v", o.key, err)
		}
		if labels, ok := body["labels"]; ok {
			metadata["labels"] = labels
		}
		maps.Copy(all, body)
	}
	value, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return kv.Pair{Key: "/registry/" + o.key, Value: value}
}

// tester is what testing.T and rapid.T share.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// simulateThings is a simulation of some objects, without any I/O.
func simulateThings(t tester, standby *registry.Encryption, things ...thing) *simulator {
	t.Helper()
	sc, err := scope.New(scope.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := newSimulator(sc, standby, 0)
	pairs, originals := []kv.Pair{}, map[string]*kv.Pair{}
	for _, o := range things {
		p := o.pair(t)
		pairs = append(pairs, p)
		if o.original != nil {
			original := o.original.pair(t)
			originals[p.Key] = &original
		}
	}
	slices.SortFunc(pairs, func(a, b kv.Pair) int { return strings.Compare(a.Key, b.Key) })
	for _, p := range pairs {
		s.add(p, originals[p.Key])
	}
	again := func(_ context.Context, begin, end string, visit func(kv.Pair) error) error {
		for _, p := range pairs {
			if begin <= p.Key && p.Key < end {
				if err := visit(p); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := s.conclude(context.Background(), again); err != nil {
		t.Fatal(err)
	}
	return s
}

// lines are the findings, each item in a line of its own.
func (s *simulator) lines() []string {
	lines := []string{}
	for _, f := range s.findings.sorted() {
		for _, item := range f.Items {
			own := ""
			if item.Own {
				own = " own"
			}
			lines = append(lines, fmt.Sprintf("%s%s %s %s: %s", f.Severity, own, f.Problem, item.Object, item.Why))
		}
	}
	return lines
}

// The objects that most cases need.
var (
	prod = thing{key: "namespaces/prod", kind: "v1 Namespace", uid: "ns"}
	// Machines of Cluster API, in two versions.
	machines = thing{key: "apiextensions.k8s.io/customresourcedefinitions/machines.cluster.x-k8s.io", kind: "apiextensions.k8s.io/v1 CustomResourceDefinition", uid: "crd",
		body: definitionBody(`{"name":"v1beta1","served":true,"storage":true},{"name":"v1beta2","served":false,"storage":false}`, `"v1beta1"`, "")}
)

func definitionBody(versions, stored, more string) string {
	return `{"spec":{"group":"cluster.x-k8s.io","scope":"Namespaced","names":{"kind":"Machine","plural":"machines"},"versions":[` + versions + `]` + more +
		`},"status":{"storedVersions":[` + stored + `]}}`
}

func machine(name string, owners ...string) thing {
	return thing{key: "cluster.x-k8s.io/machines/prod/" + name, kind: "cluster.x-k8s.io/v1beta1 Machine", uid: "m-" + name, owners: owners}
}

func secret(name string, owners ...string) thing {
	return thing{key: "secrets/prod/" + name, kind: "v1 Secret", uid: "s-" + name, owners: owners}
}

func aMachine(name string) string {
	return "cluster.x-k8s.io/v1beta1 Machine " + name + " m-" + name
}

func with(o thing, change func(*thing)) thing {
	change(&o)
	return o
}

func deleting(o thing, finalizers ...string) thing {
	o.deleting, o.finalizers = true, finalizers
	return o
}

func TestSimulateDeletions(t *testing.T) {
	for name, tc := range map[string]struct {
		things []thing
		want   []string
	}{
		"nothing is wrong": {things: []thing{machines, machine("a"), secret("b", aMachine("a"))}},
		"no owner is there": {things: []thing{machines, secret("b", aMachine("gone"))},
			want: []string{"red garbage-collected Secret prod/b: owner Machine gone (uid m-gone) is not there"}},
		"the owner has another uid": {things: []thing{machines, machine("a"), secret("b", "cluster.x-k8s.io/v1beta1 Machine a other")},
			want: []string{"red garbage-collected Secret prod/b: owner Machine a has another uid than other"}},
		"the owner lies in another namespace": {things: []thing{machines, machine("a"),
			{key: "namespaces/test", kind: "v1 Namespace", uid: "ns2"},
			{key: "secrets/test/b", kind: "v1 Secret", uid: "b", owners: []string{aMachine("a")}}},
			want: []string{"red garbage-collected Secret test/b: owner Machine a (uid m-a) is not there"}},
		"the owner is cluster-scoped": {things: []thing{{key: "minions/n", kind: "v1 Node", uid: "n"},
			{key: "configmaps/prod/c", kind: "v1 ConfigMap", owners: []string{"v1 Node n n", "v1 Namespace prod ns"}}}},
		"the dependents of what is deleted": {things: []thing{machines, secret("b", aMachine("gone")), secret("c", "v1 Secret b s-b"), secret("d", "v1 Secret c s-c")},
			want: []string{
				"red garbage-collected Secret prod/b: owner Machine gone (uid m-gone) is not there",
				"red garbage-collected Secret prod/c: owner Secret b would be deleted",
				"red garbage-collected Secret prod/d: owner Secret c would be deleted",
			}},
		"one solid owner is left": {things: []thing{machines, machine("a"), secret("b", aMachine("gone"), aMachine("a"))},
			want: []string{"info owner-dropped Secret prod/b: owner Machine gone (uid m-gone) is not there"}},
		"all of several are gone": {things: []thing{machines, secret("b", aMachine("gone"), aMachine("too"))},
			want: []string{"red garbage-collected Secret prod/b: owner Machine gone (uid m-gone) is not there, and so with 1 more"}},
		"an unknown kind stops the garbage collector": {things: []thing{machines, secret("b", aMachine("gone"), "example.com/v1 Widget w w")},
			want: []string{"yellow owner-kind-unknown Secret prod/b: owner Widget w of example.com/v1: the standby has no such kind"}},
		"a version that is not served": {things: []thing{machines, machine("a"), secret("b", "cluster.x-k8s.io/v1beta2 Machine a m-a"), secret("c", "cluster.x-k8s.io/v1alpha3 Machine a m-a")},
			want: []string{
				"yellow owner-kind-unknown Secret prod/b: owner Machine a of cluster.x-k8s.io/v1beta2: its CustomResourceDefinition does not serve the version v1beta2",
				"yellow owner-kind-unknown Secret prod/c: owner Machine a of cluster.x-k8s.io/v1alpha3: its CustomResourceDefinition does not serve the version v1alpha3",
			}},
		"a built-in version that the API server does not announce": {things: []thing{
			{key: "apiregistration.k8s.io/apiservices/v1.apps", kind: "apiregistration.k8s.io/v1 APIService", body: `{"spec":{"group":"apps","version":"v1"}}`},
			secret("b", "apps/v1beta1 Deployment gone x"), secret("c", "apps/v1 Deployment gone x")},
			want: []string{
				"red garbage-collected Secret prod/c: owner Deployment gone (uid x) is not there",
				"yellow owner-kind-unknown Secret prod/b: owner Deployment gone of apps/v1beta1: the API server does not serve apps/v1beta1",
			}},
		"cluster-scoped with an owner in a namespace": {things: []thing{machines, {key: "clusterroles/r", kind: "rbac.authorization.k8s.io/v1 ClusterRole", owners: []string{aMachine("gone")}}},
			want: []string{"yellow owner-misplaced ClusterRole r: owner Machine gone lies in a namespace"}},
		"an owner that nobody can read": {things: []thing{{key: "secrets/prod/a", raw: "k8s:enc:aescbc:v1:key1:xyz"}, secret("b", "v1 Secret a s-a")},
			want: []string{
				"yellow opaque Secret prod/a: k8s:enc:aescbc:v1:key1",
				"yellow owner-unreadable Secret prod/b: owner Secret a cannot be read",
			}},
		"a deletion in flight": {things: []thing{machines, deleting(machine("a"), "machine.cluster.x-k8s.io"), secret("b", aMachine("a")), secret("c", aMachine("a"), aMachine("d")), machine("d")},
			want: []string{
				"red garbage-collected Secret prod/b: owner Machine a is being deleted",
				"red being-deleted Machine prod/a: finalizers: machine.cluster.x-k8s.io",
				"info owner-dropped Secret prod/c: owner Machine a is being deleted",
			}},
		"a deletion without finalizers": {things: []thing{machines, deleting(machine("a")), deleting(secret("b"))},
			want: []string{"red being-deleted Machine prod/a: no finalizers", "yellow being-deleted Secret prod/b: no finalizers"}},
		"a deletion that orphans": {things: []thing{machines, deleting(machine("a"), "orphan"), secret("b", aMachine("a"))},
			want: []string{"red being-deleted Machine prod/a: finalizers: orphan"}},
		"what would be deleted orphans": {things: []thing{machines, with(secret("a", aMachine("gone")), func(o *thing) { o.finalizers = []string{"orphan"} }), secret("b", "v1 Secret a s-a")},
			want: []string{"red garbage-collected Secret prod/a: owner Machine gone (uid m-gone) is not there"}},
		"a Namespace is deleted": {things: []thing{machines, deleting(prod), machine("a"), {key: "events/prod/e", kind: "v1 Event"}},
			want: []string{
				"red being-deleted Namespace prod: finalizers: kubernetes",
				"red deleted-with-namespace Machine prod/a: with Namespace prod",
			}},
		"a definition is deleted": {things: []thing{deleting(machines, "customresourcecleanup.apiextensions.k8s.io"), machine("a"), secret("b", aMachine("a"))},
			want: []string{
				"red garbage-collected Secret prod/b: owner Machine a would be deleted",
				"red being-deleted CustomResourceDefinition machines.cluster.x-k8s.io: finalizers: customresourcecleanup.apiextensions.k8s.io",
				"red deleted-with-definition Machine prod/a: with CustomResourceDefinition machines.cluster.x-k8s.io",
			}},
		"a Namespace would be deleted": {things: []thing{with(prod, func(o *thing) { o.owners = []string{"v1 PersistentVolume gone x"} }), secret("a")},
			want: []string{
				"red garbage-collected Namespace prod: owner PersistentVolume gone (uid x) is not there",
				"red deleted-with-namespace Secret prod/a: with Namespace prod",
			}},
		"the standby's own business": {things: []thing{{key: "namespaces/kube-system", kind: "v1 Namespace"},
			{key: "pods/kube-system/p", kind: "v1 Pod", owners: []string{"apps/v1 ReplicaSet gone x"}},
			deleting(thing{key: "pods/kube-system/q", kind: "v1 Pod"}, "example.com/f"),
			{key: "events/prod/e", kind: "v1 Event", owners: []string{"v1 Pod gone x"}}},
			want: []string{
				"yellow own garbage-collected Pod kube-system/p: owner ReplicaSet gone (uid x) is not there",
				"info own being-deleted Pod kube-system/q: finalizers: example.com/f",
			}},
		"owners in a circle stay": {things: []thing{secret("a", "v1 Secret b s-b"), secret("b", "v1 Secret a s-a")}},
		"a Namespace is missing": {things: []thing{{key: "secrets/else/x", kind: "v1 Secret"}},
			want: []string{"yellow namespace-missing Secret else/x: Namespace else is not there"}},
	} {
		t.Run(name, func(t *testing.T) {
			compareFindings(t, tc.things, nil, tc.want)
		})
	}
}

// compareFindings simulates the things, in a Namespace prod unless they bring one.
func compareFindings(t *testing.T, things []thing, standby *registry.Encryption, want []string) {
	t.Helper()
	if !slices.ContainsFunc(things, func(o thing) bool { return o.key == prod.key }) {
		things = append(things, prod)
	}
	if got := simulateThings(t, standby, things...).lines(); !slices.Equal(got, want) {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}
