package replica_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

// What operators do by hand, hold and repair, one after the other.

// holdsWith changes the configuration of a pair that holds.
func (p *pair) holdsWith(t *testing.T, holds []scope.Hold, locals []scope.Local) {
	t.Helper()
	h, err := scope.NewHolds(append(scope.DefaultHolds(scope.DefaultProfile), holds...))
	must(t, err)
	l, err := scope.NewLocals(append(scope.DefaultLocals(scope.DefaultProfile), locals...))
	must(t, err)
	must(t, scope.Overlap(h, l))
	view := *p.config.View
	view.Holds, view.Locals = h, l
	p.config.View = &view
}

func (p *pair) sides() verify.Sides {
	return verify.Sides{Primary: p.primary.Client(), Standby: p.standby.Client()}
}

// plan is what a repair would do now.
func (p *pair) plan(t *testing.T) verify.Plan {
	t.Helper()
	found, err := verify.Run(t.Context(), p.sides(), p.config.View, verify.Options{})
	must(t, err)
	plan, err := verify.MakePlan(t.Context(), p.sides(), p.config.View, found)
	must(t, err)
	return plan
}

// holdAgain is hold apply.
func (p *pair) holdAgain(t *testing.T) {
	t.Helper()
	items, err := hold.Candidates(t.Context(), p.standby.Client(), p.config.View, "")
	must(t, err)
	_, err = hold.Apply(t.Context(), p.standby.Client(), p.config.View, items, sink.Limits{})
	must(t, err)
}

// A repair after a release leaves what moves, and the next sync holds it all the same.
func TestRepairHidesNoRelease(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	moving, original := numbered(4)
	still, other := numbered(5)
	put(t, p.primary.Client(), moving, original)
	put(t, p.primary.Client(), still, other)
	p.once(t)
	p.release(t)
	plan := p.plan(t)
	now, _ := get(t, p.standby.Client(), moving) // its Pods come up
	put(t, p.standby.Client(), moving, strings.TrimSuffix(strings.TrimSpace(now), "}")+`,"status":{"readyReplicas":1}}`)
	out, err := verify.Repair(t.Context(), p.sides(), p.config.View, plan, sink.Limits{})
	if err != nil || len(out.Left) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	p.once(t)
	p.standsHeld(t, "after the next sync", moving, `"replicas":0`, original)
}

// An original under an object that is inert on the primary is a difference, and no
// release brings it back.
func TestOriginalOfAnInertObjectIsADifference(t *testing.T) {
	for name, mend := range map[string]func(t *testing.T, p *pair){
		"by a repair": func(t *testing.T, p *pair) {
			out, err := verify.Repair(t.Context(), p.sides(), p.config.View, p.plan(t), sink.Limits{})
			if err != nil || out.Written != 1 {
				t.Errorf("%+v, %v", out, err)
			}
		},
		"by a sync": func(t *testing.T, p *pair) { p.once(t) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.hold(t)
			put(t, p.primary.Client(), webKey, deployment(0, ""))
			p.once(t)
			put(t, p.standby.Client(), webKey, deployment(5, "")) // kubectl scale
			p.holdAgain(t)
			found, err := verify.Run(t.Context(), p.sides(), p.config.View, verify.Options{})
			if err != nil || found.Verdict != verify.Inconsistent {
				t.Errorf("with an original that the primary knows nothing of: %s, %v", found.Verdict, err)
			}
			mend(t, p)
			p.consistent(t, name, 1)
			p.release(t)
			if now, _ := get(t, p.standby.Client(), webKey); !strings.Contains(now, `"replicas":0`) {
				t.Errorf("released: %s", now)
			}
		})
	}
}

// What stood there while it was held is the hold's, and not the standby's own.
func TestHeldFieldThatBecomesLocalIsThePrimarys(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	put(t, p.primary.Client(), webKey, deployment(3, ""))
	p.once(t)
	p.holdsWith(t, []scope.Hold{{Resources: []string{"deployments.apps"}, Patch: json.RawMessage(`{}`)}},
		[]scope.Local{{Resources: []string{"deployments.apps"}, Fields: []string{"/spec/replicas"}}})
	p.once(t)
	if now, _ := get(t, p.standby.Client(), webKey); !strings.Contains(now, `"replicas":3`) {
		t.Errorf("the standby has %s", now)
	}
	p.consistent(t, "then", 1)
}

// What was kept when the primary lost it, and released since, is held again: by
// hold apply and by the next sync.
func TestKeptObjectsAreHeldAgain(t *testing.T) {
	p, d := keeps(t, numbered)
	p.loseNumbered(t, d)
	d.stop(t)
	p.release(t)
	p.holdAgain(t)
	for i := range 10 {
		key, original := numbered(i)
		p.standsHeld(t, "after hold apply", key, `"replicas":0`, original)
	}
	p.release(t)
	p.once(t)
	for i := range 10 {
		key, original := numbered(i)
		p.standsHeld(t, "after the next sync", key, `"replicas":0`, original)
	}

	// Held again, its original stays, whatever somebody makes of it.
	key, original := numbered(4)
	put(t, p.standby.Client(), key, strings.Replace(original, `"replicas":3`, `"replicas":5`, 1))
	remove(t, p.standby.Client(), sink.CheckpointKey)
	p.once(t)
	if kept, _ := get(t, p.standby.Client(), scope.HeldKey(key)); kept != original {
		t.Errorf("the original is %s", kept)
	}
}

// An object of a held kind that nobody here can read is not copied: it would act.
func TestSealedObjectOfAHeldKindIsNotCopied(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	const key = "/registry/cluster.x-k8s.io/clusters/prod/kazan"
	put(t, p.primary.Client(), key, "k8s:enc:secretbox:v1:key1:sealed")
	_, err := p.new(t).Once(t.Context())
	if remedy.CodeOf(err) != remedy.Auth || !strings.Contains(fmt.Sprint(err), "prod/kazan") {
		t.Errorf("%v", err)
	}
	if _, there := get(t, p.standby.Client(), key); there {
		t.Error("the standby has it")
	}
	if found := p.plan(t).Report; found.Verdict == verify.Consistent {
		t.Errorf("check: %s", found.Verdict)
	}
}

// One value of the standby's own that is damaged proves no other key, where others can be read.
func TestDamagedValueOutOfScopeStopsNoCopy(t *testing.T) {
	p := newPair(t)
	enc := encryption(t, "secretbox", "key1", secretB)
	for i := range 5 {
		key := fmt.Sprintf("/registry/secrets/kube-system/own-%d", i)
		stored, err := enc.Encrypt("secrets", key, []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"own","namespace":"kube-system"}}`))
		must(t, err)
		if i == 2 {
			stored[len(stored)-3] ^= 1
		}
		put(t, p.standby.Client(), key, string(stored))
	}
	p.under(t, nil, enc)
	put(t, p.primary.Client(), "/registry/secrets/prod/a", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"prod","uid":"u"}}`)
	p.once(t)
	p.consistent(t, "beside a damaged value", 1)
}

// A caBundle that was injected on the primary while a resync was due comes with it.
func TestInjectedCABundleComesWithAResync(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	definition := func(ca string) string {
		return `{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition","metadata":{"name":"machines.cluster.x-k8s.io","uid":"00000000-0000-4000-8000-000000000001"},"spec":{"conversion":{"strategy":"Webhook","webhookClientConfig":{` + ca + `"service":{"name":"w"}}},"group":"cluster.x-k8s.io"}}` + "\n"
	}
	put(t, p.primary.Client(), machinesCRD, definition(""))
	p.once(t)
	put(t, p.primary.Client(), machinesCRD, definition(`"caBundle":"UFJJ",`))
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	p.once(t)
	if now, _ := get(t, p.standby.Client(), machinesCRD); !strings.Contains(now, "UFJJ") {
		t.Errorf("the standby has %s", now)
	}
	p.consistent(t, "then", 1)
}

// A standby that takes fewer operations than the configuration says never has a
// held object without its original.
func TestHeldObjectComesWithItsOriginal(t *testing.T) {
	p := newPair(t)
	p.standby = testkit.StartEtcd(t, testkit.Flags("--max-txn-ops=8"))
	p.config = p.defaults(t)
	p.hold(t)
	for i := range 40 {
		key, value := numbered(i)
		put(t, p.primary.Client(), key, value)
	}
	p.once(t)
	for i := range 40 {
		key, _ := numbered(i)
		object, err := p.standby.Client().Get(t.Context(), key)
		must(t, err)
		record, err := p.standby.Client().Get(t.Context(), scope.HeldKey(key), clientv3.WithRev(object.Kvs[0].ModRevision))
		must(t, err)
		if len(record.Kvs) == 0 {
			t.Errorf("at revision %d the standby has %s without its original", object.Kvs[0].ModRevision, key)
		}
	}
}

// So is what was kept unmarked while the primary still has it, marked; and a record
// of it stays one.
func TestObjectsKeptUnmarkedAreHeldAgain(t *testing.T) {
	p, d := keeps(t, func(i int) (key, value string) { return finalized(i, false, "") })
	for i := range 10 {
		key, value := finalized(i, true, "")
		put(t, p.primary.Client(), key, value)
	}
	p.tripAndKeep(t, d)
	d.stop(t)
	for _, when := range []string{"after the next sync", "after another release and sync"} {
		p.release(t)
		p.once(t)
		for i := range 10 {
			key, original := finalized(i, false, "")
			p.standsHeld(t, when, key, `"paused":true`, original)
		}
	}
	p.release(t)
	p.holdAgain(t)
	for i := range 10 {
		key, original := finalized(i, false, "")
		p.standsHeld(t, "after hold apply", key, `"paused":true`, original)
	}
}
