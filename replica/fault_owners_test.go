package replica_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/replica"
)

// Deletions on the standby that somebody had a reason for: the garbage collector, a
// finalizer, the primary itself.

// What the primary is about to delete as well, because its owners are gone
// there, is left to it: the standby's garbage collector was only faster. A daemon
// that takes over knows of it.
func TestDeletionThatThePrimaryFollowsIsNone(t *testing.T) {
	p := newPair(t)
	const owner, dependent, other = "/registry/configmaps/prod/owner", "/registry/configmaps/prod/dependent", "/registry/configmaps/prod/other"
	owned := func(name, owner string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"prod","uid":%q,"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":%q,"uid":"uid-of-%s"}]}}`, name, name, owner, owner)
	}
	stays := strings.Replace(owned("stays", "nobody"), `"uid":"stays"`, `"uid":"uid-of-stays"`, 1)
	put(t, p.primary.Client(), owner, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owner","namespace":"prod","uid":"uid-of-owner"}}`)
	put(t, p.primary.Client(), dependent, owned("dependent", "owner"))
	put(t, p.primary.Client(), "/registry/configmaps/prod/stays", stays)
	put(t, p.primary.Client(), other, owned("other", "stays"))
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	remove(t, p.primary.Client(), owner)
	p.quiet(t)
	remove(t, p.standby.Client(), dependent)
	remove(t, p.standby.Client(), other)
	p.back(t, other)
	check := func() {
		t.Helper()
		d.drift(t, "it to wait", func(n replica.Drift) bool { return n.Pending == 1 })
		p.write(t, 20)
		p.quiet(t)
		if _, there := get(t, p.standby.Client(), dependent); there {
			t.Error("it was put back without its owner")
		}
	}
	check()
	d.stop(t)
	d = p.start(t)
	check()
	remove(t, p.primary.Client(), dependent)
	d.drift(t, "it to be over", func(n replica.Drift) bool { return n.Pending == 0 })
	if n := d.State().Drift; n.Deleted != 0 || len(n.Recent) != 0 {
		t.Errorf("drift %+v", n)
	}
}

// The garbage collector is named only where it had a reason: the owner was gone,
// or has been put back since.
func TestGarbageCollectorIsNotBlamedForWhatHasItsOwner(t *testing.T) {
	p := newPair(t)
	const owner = "/registry/configmaps/prod/owner"
	put(t, p.primary.Client(), owner, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owner","namespace":"prod","uid":"uid-of-owner"}}`)
	dependents := []string{"/registry/configmaps/prod/first", "/registry/configmaps/prod/second"}
	for _, key := range dependents {
		put(t, p.primary.Client(), key, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"dependent","namespace":"prod","uid":"u","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"uid-of-owner"}]}}`)
	}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	by := func(key string) string {
		t.Helper()
		for _, i := range d.State().Drift.Recent {
			if i.Key == key {
				return i.By
			}
		}
		t.Fatalf("%s is not named: %+v", key, d.State().Drift)
		return ""
	}
	remove(t, p.standby.Client(), dependents[0])
	p.back(t, dependents[0])
	if got := by(dependents[0]); got != "unknown" {
		t.Errorf("with its owner there, by %s", got)
	}
	remove(t, p.standby.Client(), owner)
	p.back(t, owner)
	remove(t, p.standby.Client(), dependents[1]) // late
	p.back(t, dependents[1])
	if got := by(dependents[1]); got != "garbage collector (owner ConfigMap owner)" {
		t.Errorf("after its owner went, by %s", got)
	}
}

// An object that is marked for deletion on the standby counts as deleted: its
// finalizers would run there.
func TestMarkForDeletionIsTakenBack(t *testing.T) {
	p := newPair(t)
	const key = "/registry/configmaps/prod/finalized"
	const object = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"finalized","namespace":"prod","uid":"f","finalizers":["example.com/x"]}}`
	put(t, p.primary.Client(), key, object)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	put(t, p.standby.Client(), key, strings.Replace(object, `"uid"`, `"deletionTimestamp":"2026-03-01T12:00:00Z","uid"`, 1))
	d.drift(t, "it to be taken back", func(n replica.Drift) bool { return n.Repaired == 1 })
	if has, _ := get(t, p.standby.Client(), key); has != object {
		t.Errorf("it is %s", has)
	}
	if i := d.State().Drift.Recent[0]; i.What != replica.Deleted || !i.Marked || i.Outcome != replica.Repaired {
		t.Errorf("incident %+v", i)
	}

	// One that the primary marks is not: a controller of the standby runs the
	// finalizer sooner than the primary's does.
	for i, key := range []string{key, "/registry/namespaces/ending"} {
		put(t, p.primary.Client(), key, strings.Replace(object, `"uid"`, `"deletionTimestamp":"2026-03-01T12:00:00Z","uid"`, 1))
		p.quiet(t)
		remove(t, p.standby.Client(), key)
		d.drift(t, "it to wait", func(n replica.Drift) bool { return n.Pending == 1 })
		p.write(t, 20)
		p.quiet(t)
		if _, there := get(t, p.standby.Client(), key); there {
			t.Errorf("%s was put back", key)
		}
		remove(t, p.primary.Client(), key)
		p.quiet(t)
		d.drift(t, "it to be over", func(n replica.Drift) bool { return n.Pending == 0 && n.Deleted == 1 })
		if n := d.State().Drift; n.Repaired != 1 || len(n.Recent) != 1 {
			t.Errorf("after deletion %d: drift %+v", i, n)
		}
	}
}
