package replica_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

const (
	appOwner  = `{"apiVersion":"v1","kind":"ConfigMap","name":"app","uid":"00000000-0000-4000-8000-00000000000a"}`
	podOwner  = `{"apiVersion":"v1","kind":"Pod","name":"web-0","uid":"00000000-0000-4000-8000-00000000000b"}`
	sharedKey = "/registry/configmaps/prod/shared"
)

// shared is a ConfigMap with these owners, as the API server writes it.
func shared(data string, owners ...string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","data":{"n":%q},"kind":"ConfigMap","metadata":{"name":"shared","namespace":"prod","ownerReferences":[%s],"uid":"00000000-0000-4000-8000-00000000000c"}}`+"\n",
		data, strings.Join(owners, ","))
}

func owned(owners ...string) string {
	return `,"ownerReferences":[` + strings.Join(owners, ",") + `]`
}

// At no moment does an object on the standby refer to an owner that the scope
// leaves out, nor does the original beside a held one: after a first copy, in
// the stream, after a resync. The others stay. Both are counted.
func TestReferencesToOwnersOutOfScopeAreDropped(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	primary := p.primary.Client()
	stands := func(when, key, want string) {
		t.Helper()
		if now, _ := get(t, p.standby.Client(), key); now != want {
			t.Errorf("%s: the standby has\n%s, want\n%s", when, now, want)
		}
	}
	p.write(t, 20)
	put(t, primary, sharedKey, shared("1", podOwner, appOwner))
	put(t, primary, "/registry/configmaps/prod/orphan", shared("1", podOwner))
	put(t, primary, webKey, deployment(3, owned(appOwner, podOwner)))

	d := p.start(t)
	s := d.wait(t, "streaming", streaming)
	stands("after the first copy", sharedKey, shared("1", appOwner))
	p.mustHoldWithout(t, "after the first copy", 3)
	p.consistent(t, "after the first copy", 22)
	if got, want := s.Scope["configmaps"], (replica.ResourceCount{Replicated: 21, Excluded: 1, OwnersLeftOut: 1, ReferencesDropped: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}

	put(t, primary, sharedKey, shared("2", podOwner, appOwner, podOwner))
	put(t, primary, webKey, deployment(5, owned(podOwner, appOwner)))
	p.quiet(t)
	stands("in the stream", sharedKey, shared("2", appOwner))
	p.mustHoldWithout(t, "in the stream", 5)
	p.consistent(t, "in the stream", 22)

	// Its last owner in scope goes, and with it the object; and the other way round.
	put(t, primary, sharedKey, shared("3", podOwner))
	p.quiet(t)
	stands("with no owner left", sharedKey, "")
	put(t, primary, sharedKey, shared("4", podOwner, appOwner))
	p.quiet(t)
	stands("with an owner again", sharedKey, shared("4", appOwner))

	d.stop(t)
	put(t, primary, sharedKey, shared("5", appOwner, podOwner))
	put(t, primary, webKey, deployment(7, owned(podOwner, appOwner)))
	compact(t, primary, revision(t, primary))
	d = p.start(t)
	d.wait(t, "a resync", func(s replica.State) bool { return s.Resyncs[replica.ReasonCompacted] == 1 && streaming(s) })
	stands("after a resync", sharedKey, shared("5", appOwner))
	p.mustHoldWithout(t, "after a resync", 7)
	p.consistent(t, "after a resync", 22)
	d.stop(t)

	for _, key := range []string{sharedKey, webKey, scope.HeldKey(webKey)} {
		for _, value := range versions(t, p.standby.Client(), key) {
			if strings.Contains(value, "Pod") {
				t.Errorf("%s: the standby had %s for a moment", key, value)
			}
		}
	}
	if again := p.once(t); again.Copy.Written != 0 {
		t.Errorf("once more, %d keys were written", again.Copy.Written)
	}
}

// mustHoldWithout demands that the Deployment stands held, and beside it an
// original with so many replicas, both with the owner in scope only.
func (p *pair) mustHoldWithout(t *testing.T, when string, replicas int) {
	t.Helper()
	for key, replicas := range map[string]int{webKey: 0, scope.HeldKey(webKey): replicas} {
		now, _ := get(t, p.standby.Client(), key)
		if !strings.Contains(now, "app") || strings.Contains(now, "Pod") || !strings.Contains(now, fmt.Sprintf(`"replicas":%d`, replicas)) {
			t.Errorf("%s: %s is %s", when, key, now)
		}
	}
}

// A standby that was filled before references were dropped is compared in full
// once, and what the primary deleted meanwhile is still known to come from it.
func TestReferencesOfAnOlderStandbyAreDropped(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	primary, standby := p.primary.Client(), p.standby.Client()
	p.write(t, 20)
	put(t, primary, sharedKey, shared("1", podOwner, appOwner))
	put(t, primary, webKey, deployment(3, owned(appOwner, podOwner)))
	p.once(t)

	// As the older version left it, in one transaction as it wrote.
	raw, _ := get(t, standby, sink.CheckpointKey)
	var c sink.Checkpoint
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		t.Fatal(err)
	}
	now := c.HoldsHash
	if _, c.HoldsHash, _ = strings.Cut(now, "+"); c.HoldsHash == "" {
		t.Fatalf("the checkpoint says %q, as the older version did", now)
	}
	older, err := json.Marshal(c)
	must(t, err)
	_, err = standby.Txn(t.Context()).Then(clientv3.OpPut(sink.CheckpointKey, string(older)),
		clientv3.OpPut(sharedKey, shared("1", podOwner, appOwner)),
		clientv3.OpPut(webKey, deployment(0, owned(appOwner, podOwner))),
		clientv3.OpPut(scope.HeldKey(webKey), deployment(3, owned(appOwner, podOwner)))).Commit()
	must(t, err)
	remove(t, primary, "/registry/configmaps/prod/w-0003")

	d := p.start(t)
	s := d.wait(t, "a resync", func(s replica.State) bool { return s.Resyncs[replica.ReasonHolds] == 1 && streaming(s) })
	if s.Copy.Written != 2 || s.Copy.Deleted != 1 || s.Copy.Surplus != 0 {
		t.Errorf("written %d, deleted %d, surplus %d; want 2, 1, 0", s.Copy.Written, s.Copy.Deleted, s.Copy.Surplus)
	}
	if now, _ := get(t, standby, sharedKey); now != shared("1", appOwner) {
		t.Errorf("the standby has %s", now)
	}
	p.mustHoldWithout(t, "after the upgrade", 3)
	p.consistent(t, "after the upgrade", 21)
}

// An owner's kind has the plural that its definition says, wherever that lies:
// the copy reads a route before the definition of the switches that own it, the
// stream brings a definition of its own, and a check that begins later sees the
// same.
func TestOwnersHaveThePluralOfTheirDefinition(t *testing.T) {
	p := newPair(t)
	view := func() *scope.View {
		s, err := scope.New(scope.Config{Exclude: []scope.Rule{{Resources: []string{"switches.example.com", "matrices.example.com"}}}})
		if err != nil {
			t.Fatal(err)
		}
		return &scope.View{Scope: s, Recoder: registry.NewRecoder(nil, nil)}
	}
	p.config.View = view()
	primary := p.primary.Client()
	define := func(kind, plural string) {
		put(t, primary, "/registry/apiextensions.k8s.io/customresourcedefinitions/"+plural+".example.com",
			fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"%s.example.com","uid":%q},"spec":{"group":"example.com","names":{"kind":%q,"plural":%q}}}`, plural, plural, kind, plural))
	}
	route := func(name, kind string) string {
		key := "/registry/a.example.com/routes/prod/" + name
		put(t, primary, key, fmt.Sprintf(`{"apiVersion":"a.example.com/v1","kind":"Route","metadata":{"name":%q,"namespace":"prod","uid":%q,"ownerReferences":[{"apiVersion":"example.com/v1","kind":%q,"name":"x","uid":"1"}]}}`, name, name, kind))
		return key
	}
	p.write(t, 5)
	first := route("first", "Switch")
	define("Switch", "switches")
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	define("Matrix", "matrices")
	second := route("second", "Matrix")
	p.quiet(t)
	for _, key := range []string{first, second} {
		if has, ok := get(t, p.standby.Client(), key); ok {
			t.Errorf("%s, whose only owner is out of scope, is on the standby: %s", key, has)
		}
	}
	report, err := verify.Run(t.Context(), verify.Sides{Primary: primary, Standby: p.standby.Client()}, view(), verify.Options{})
	if err != nil || report.Verdict != verify.Consistent {
		t.Errorf("%s %s, %v", report.Verdict, report.Reason, err)
	}
}
