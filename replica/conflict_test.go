package replica_test

import (
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
)

// conflicting is a pair that streams, with a Deployment of the standby's own
// under the name of a later one of the primary's.
func conflicting(t *testing.T) (p *pair, d *daemon, kept string) {
	t.Helper()
	p = newPair(t)
	put(t, p.primary.Client(), shop, stored("Namespace", "", "shop", ours, ""))
	d = p.start(t)
	d.wait(t, "the daemon to stream", streaming)
	put(t, p.standby.Client(), web, stored("Deployment", "shop", "web", theirs, `,"status":{"readyReplicas":1}`))
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, ""))
	recorded(t, p, web, true)
	kept, _ = get(t, p.standby.Client(), web)
	return p, d, kept
}

func (p *pair) stays(t *testing.T, kept, after string) {
	t.Helper()
	if now, _ := get(t, p.standby.Client(), web); now != kept {
		t.Fatalf("after %s the standby's own is no longer what it was: %s", after, now)
	}
}

// S: a Deployment of the standby's own is never replaced by a later one of the
// primary's; everything else goes on, over restarts and resyncs.
func TestLateTwinStays(t *testing.T) {
	p, d, kept := conflicting(t)
	p.write(t, 10)
	p.quiet(t)
	p.stays(t, kept, "the stream")
	if value, there := get(t, p.standby.Client(), "/registry/configmaps/prod/w-0009"); !there {
		t.Errorf("the rest does not go on: %s", value)
	}
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, `,"spec":{"replicas":3}`))
	p.write(t, 1)
	p.quiet(t)
	p.stays(t, kept, "another change of the primary's")

	kept = stored("Deployment", "shop", "web", theirs, `,"status":{"readyReplicas":2}`)
	put(t, p.standby.Client(), web, kept) // its controllers are at work
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, `,"spec":{"replicas":4}`))
	p.write(t, 1)
	p.quiet(t)
	p.stays(t, kept, "a write to both")
	if drift := d.State().Drift; drift.Changed+drift.Deleted > 0 {
		t.Errorf("what the standby does with its own counts as drift: %+v", drift)
	}

	d.stop(t)
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, `,"spec":{"replicas":5}`))
	p.once(t)
	p.stays(t, kept, "a restart")
	forget(t, p.primary.Client())
	p.write(t, 1)
	forget(t, p.primary.Client())
	if s := p.once(t); s.Copy.Conflicts != 1 {
		t.Errorf("a resync says %d conflicts, want 1", s.Copy.Conflicts)
	}
	p.stays(t, kept, "a resync")
	recorded(t, p, web, true)
}

// The primary's comes when the standby's own goes, also where nobody looked.
func TestConflictEndsWithTheStandbysOwn(t *testing.T) {
	p, d, _ := conflicting(t)
	remove(t, p.standby.Client(), web)
	recorded(t, p, web, false)
	p.quiet(t)
	p.mustEqual(t)
	if drift := d.State().Drift; drift.Changed+drift.Deleted > 0 {
		t.Errorf("it counts as drift: %+v", drift)
	}

	p, d, _ = conflicting(t)
	d.stop(t)
	remove(t, p.standby.Client(), web)
	p.once(t)
	recorded(t, p, web, false)
	p.mustEqual(t)
}

// The standby's own stays when the primary's goes.
func TestConflictEndsWithThePrimarys(t *testing.T) {
	p, d, kept := conflicting(t)
	remove(t, p.primary.Client(), web)
	recorded(t, p, web, false)
	p.quiet(t)
	p.stays(t, kept, "the deletion of the primary's")
	if n := d.State().Deletes; n != 0 {
		t.Errorf("%d deletions count as applied, and nothing was deleted", n)
	}

	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", "f"+ours[1:], ""))
	recorded(t, p, web, true)
	p.stays(t, kept, "another of the primary's")
	d.stop(t)
	remove(t, p.primary.Client(), web)
	forget(t, p.primary.Client())
	p.once(t)
	recorded(t, p, web, false)
	p.stays(t, kept, "a resync without the primary's")
}

// A rule ends it.
func TestConflictEndsWithARule(t *testing.T) {
	p, d, kept := conflicting(t)
	d.stop(t)
	p.rules(t, scope.Config{Exclude: []scope.Rule{{Namespaces: []string{"shop"}, Names: []string{"web"}}}})
	p.once(t)
	recorded(t, p, web, false)
	p.stays(t, kept, "sync.exclude")

	p, d, _ = conflicting(t)
	d.stop(t)
	p.rules(t, scope.Config{Replace: []scope.Rule{{Namespaces: []string{"shop"}, Names: []string{"web"}}}})
	p.once(t)
	recorded(t, p, web, false)
	p.mustEqual(t)
}

// What somebody makes on the standby in the place of the primary's is a conflict
// from then on: the guard does not replace it, however it repairs.
func TestPlaceTakenOnTheStandbyIsAConflict(t *testing.T) {
	p := newPair(t)
	p.config.Guard = replica.Guard{RepairChanges: true, ReportDeletions: true}
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, ""))
	d := p.start(t)
	d.wait(t, "the daemon to stream", streaming)
	remove(t, p.standby.Client(), web)
	kept := stored("Deployment", "shop", "web", theirs, "")
	put(t, p.standby.Client(), web, kept)
	recorded(t, p, web, true)
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, `,"spec":{"replicas":3}`))
	p.write(t, 1)
	p.quiet(t)
	p.stays(t, kept, "a change of the primary's")
}

// S: what a hold is for acts, so the standby's own is never replaced either: nobody
// would care for its machines any more.
func TestLateTwinThatActsStays(t *testing.T) {
	p := newPair(t)
	p.holdsWith(t, nil, nil)
	d := p.start(t)
	d.wait(t, "the daemon to stream", streaming)
	const key = "/registry/cluster.x-k8s.io/clusters/shop/prod"
	cluster := func(uid string) string {
		return strings.Replace(stored("Cluster", "shop", "prod", uid, ""), "apps/v1", "cluster.x-k8s.io/v1beta2", 1)
	}
	put(t, p.standby.Client(), key, cluster(theirs))
	put(t, p.primary.Client(), key, cluster(ours))
	recorded(t, p, key, true)
	p.quiet(t)
	if now, _ := get(t, p.standby.Client(), key); now != cluster(theirs) {
		t.Errorf("the standby's own is no longer what it was: %s", now)
	}
}

// A mark ends no conflict: the primary has its own until that is gone.
func TestConflictStandsWhileThePrimarysIsBeingDeleted(t *testing.T) {
	p, _, kept := conflicting(t)
	put(t, p.primary.Client(), web, strings.Replace(stored("Deployment", "shop", "web", ours, ""), `"uid"`, `"deletionTimestamp":"2026-03-01T03:00:00Z","uid"`, 1))
	p.write(t, 1)
	p.quiet(t)
	recorded(t, p, web, true)
	p.stays(t, kept, "a mark of the primary's")
	remove(t, p.primary.Client(), web)
	recorded(t, p, web, false)
	p.stays(t, kept, "the deletion of the primary's")
}

// All else of the primary's replaces what the standby's controllers have made.
func TestLateTwinOfNothingThatRunsIsReplaced(t *testing.T) {
	p := newPair(t)
	d := p.start(t)
	d.wait(t, "the daemon to stream", streaming)
	const key = "/registry/configmaps/shop/settings"
	put(t, p.standby.Client(), key, strings.Replace(configMap(1), "00000000-", "00000009-", 1))
	put(t, p.primary.Client(), key, configMap(1))
	p.quiet(t)
	p.mustEqual(t)
}
