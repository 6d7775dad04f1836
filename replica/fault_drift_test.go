package replica_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

// drift waits until the account of drift satisfies the condition.
func (d *daemon) drift(t *testing.T, what string, ok func(replica.Drift) bool) replica.Drift {
	t.Helper()
	var now replica.Drift
	testkit.Eventually(t, 20*time.Second, what, func() (bool, string) {
		now = d.State().Drift
		return ok(now), fmt.Sprintf("%+v", now)
	})
	return now
}

// counts demands what has been counted once everybody has seen everything: the
// guard as well, which says so in the checkpoint.
func (d *daemon) counts(t *testing.T, p *pair, deleted, changed, created, repaired int64) replica.Drift {
	t.Helper()
	p.guarded(t, revision(t, p.standby.Client()))
	now := d.State().Drift
	if now.Deleted != deleted || now.Changed != changed || now.Created != created || now.Repaired != repaired || now.Pending != 0 {
		t.Errorf("drift %+v; want %d deleted, %d changed, %d created, %d repaired, nothing pending", now, deleted, changed, created, repaired)
	}
	return now
}

// guarded waits until the guard has judged the standby's writes up to a revision.
func (p *pair) guarded(t *testing.T, until kv.Revision) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, "the guard", func() (bool, string) {
		p.write(t, 1) // every transaction says how far the guard is
		c, err := sink.ReadCheckpoint(t.Context(), p.standby.Client())
		return err == nil && c.Guarded >= until, fmt.Sprintf("at %d of %d, %v", c.Guarded, until, err)
	})
}

// back waits until a key stands on the standby again, and says after how long.
func (p *pair) back(t *testing.T, key string) (value string, after time.Duration) {
	t.Helper()
	began := time.Now()
	testkit.Eventually(t, 20*time.Second, key+" to be put back", func() (there bool, _ string) {
		value, there = get(t, p.standby.Client(), key)
		return there, "it is not there"
	})
	return value, time.Since(began)
}

// Fault 21: what others delete on the standby is put back within a second with
// the same bytes, held objects and those with local fields too, while the
// primary is written at full speed.
func TestDeletionIsRepairedUnderLoad(t *testing.T) {
	slow(t)
	p := newPair(t)
	p.hold(t)
	put(t, p.primary.Client(), webKey, deployment(3, ""))
	put(t, p.primary.Client(), clusterKey, `{"apiVersion":"cluster.x-k8s.io/v1beta1","kind":"Cluster","metadata":{"name":"kazan","namespace":"prod","uid":"u"},"spec":{}}`)
	p.write(t, 200)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	l := p.load(t, func(w *checker.Workload) { w.Pace = 0 })
	testkit.Eventually(t, 10*time.Second, "writes", func() (bool, string) { return l.Last() > 500, "" })

	keys := []string{webKey, clusterKey}
	for i := range 10 {
		keys = append(keys, fmt.Sprintf("/registry/configmaps/prod/w-%04d", i))
	}
	slowest := time.Duration(0)
	for _, key := range keys {
		had, _ := get(t, p.standby.Client(), key)
		original, _ := get(t, p.standby.Client(), scope.HeldKey(key))
		_, err := p.standby.Client().Txn(t.Context()).Then(clientv3.OpDelete(key), clientv3.OpDelete(scope.HeldKey(key))).Commit()
		must(t, err)
		has, after := p.back(t, key)
		if has != had || had == "" {
			t.Errorf("%s was %s and is %s", key, had, has)
		}
		if now, _ := get(t, p.standby.Client(), scope.HeldKey(key)); now != original {
			t.Errorf("the original of %s was %q and is %q", key, original, now)
		}
		slowest = max(slowest, after)
	}
	if slowest > time.Second {
		t.Errorf("the slowest repair took %s", slowest)
	}
	t.Logf("the slowest of %d repairs took %s", len(keys), slowest)

	// Also what the primary is writing at that very moment.
	random := rand.New(rand.NewPCG(seed(t), 21))
	for range 100 {
		remove(t, p.standby.Client(), fmt.Sprintf("/registry/configmaps/prod/load-%03d", random.IntN(150)))
	}
	d.drift(t, "the repairs", func(n replica.Drift) bool { return n.Repaired >= int64(len(keys)) && n.Pending == 0 })
	l.end()
	p.quiet(t)
	p.mustEqualBut(t, map[string]bool{webKey: true, clusterKey: true}) // they stand held
	p.mustHaveLostNothing(t, l)
	if n := d.State(); len(n.Errors) > 0 || n.Drift.Changed+n.Drift.Created > 0 {
		t.Errorf("errors %v, drift %+v", n.Errors, n.Drift)
	}
	p.consistent(t, "in the end", int64(count(t, p.primary.Client(), "/registry/")))
}

// Fault 21: a change and a creation are reported, with object, time and author,
// and not touched. What changes local fields only, what the standby does with
// keys of its own, and what operators' commands write is no drift.
func TestChangesAndCreationsAreReported(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	put(t, p.primary.Client(), webKey, deployment(3, ""))
	p.write(t, 5)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	began := time.Now()

	const changed, created = "/registry/configmaps/prod/w-0001", "/registry/configmaps/prod/stranger"
	edited := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"w","namespace":"prod","uid":"00000000-0000-4000-8000-000000000001",` +
		`"managedFields":[{"manager":"kubectl-edit","operation":"Update","time":"2026-03-01T12:00:01Z"},{"manager":"helm","operation":"Update","time":"2026-03-01T12:00:00Z"}]},"data":{"n":"other"}}`
	put(t, p.standby.Client(), changed, edited)
	put(t, p.standby.Client(), created, edited)
	held, _ := get(t, p.standby.Client(), webKey)
	status := strings.Replace(held, `"spec"`, `"status":{"observedGeneration":1},"spec"`, 1)
	put(t, p.standby.Client(), webKey, status)
	put(t, p.standby.Client(), created, configMap(7))
	now := d.counts(t, p, 0, 1, 1, 0)
	if len(now.Recent) != 2 {
		t.Fatalf("recent: %+v", now.Recent)
	}
	for i, want := range []replica.Incident{
		{What: replica.Created, Key: created, Object: "stranger"},
		{What: replica.Changed, Key: changed, Object: "w-0001"},
	} {
		got := now.Recent[i]
		want.Kind, want.Resource, want.Namespace, want.By, want.Outcome, want.Seen = "ConfigMap", "configmaps", "prod", "kubectl-edit", replica.Reported, got.Seen
		if got != want || got.Seen.Before(began) || got.Seen.After(time.Now()) {
			t.Errorf("incident %+v, want %+v", got, want)
		}
	}
	for key, want := range map[string]string{changed: edited, created: configMap(7), webKey: status} {
		if has, _ := get(t, p.standby.Client(), key); has != want {
			t.Errorf("%s has been touched: %s", key, has)
		}
	}

	// What an operator's repair puts right is none.
	sides := verify.Sides{Primary: p.primary.Client(), Standby: p.standby.Client()}
	report, err := verify.Run(t.Context(), sides, p.config.View, verify.Options{})
	must(t, err)
	plan, err := verify.MakePlan(t.Context(), sides, p.config.View, report)
	must(t, err)
	if out, err := verify.Repair(t.Context(), sides, p.config.View, plan, p.config.Limits); err != nil || out.Written != 1 || out.Deleted != 1 {
		t.Fatalf("repair: %+v, %v", out, err)
	}
	d.counts(t, p, 0, 1, 1, 0)

	// Nothing is told twice by another session, nor by another process.
	lead, err := p.standby.Client().Get(t.Context(), role.LeaderDir+"/", clientv3.WithFirstCreate()...)
	must(t, err)
	_, err = p.standby.Client().Revoke(t.Context(), clientv3.LeaseID(lead.Kvs[0].Lease))
	must(t, err)
	p.write(t, 1)
	d.wait(t, "another session", func(s replica.State) bool { return streaming(s) && len(s.Errors) > 0 })
	d.counts(t, p, 0, 1, 1, 0)
	d.stop(t)
	d = p.start(t)
	d.wait(t, "streaming", streaming)
	d.counts(t, p, 0, 0, 0, 0)
}

// The policy may ask for changes to be taken back, and for deletions to be left.
func TestPolicyOfGuard(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	p.config.Guard = replica.Guard{ReportDeletions: true, RepairChanges: true}
	put(t, p.primary.Client(), webKey, deployment(3, ""))
	p.write(t, 5)
	d := p.start(t)
	d.wait(t, "streaming", streaming)

	const deleted, changed = "/registry/configmaps/prod/w-0001", "/registry/configmaps/prod/w-0002"
	had, _ := get(t, p.standby.Client(), changed)
	remove(t, p.standby.Client(), deleted)
	put(t, p.standby.Client(), changed, configMap(77))
	status := strings.Replace(deployment(4, ""), `"spec"`, `"status":{"observedGeneration":1},"spec"`, 1)
	put(t, p.standby.Client(), webKey, status)
	d.drift(t, "the changes to be taken back", func(n replica.Drift) bool { return n.Repaired == 2 && n.Pending == 0 })
	d.counts(t, p, 1, 2, 0, 2)
	if has, _ := get(t, p.standby.Client(), changed); has != had {
		t.Errorf("%s is %s, was %s", changed, has, had)
	}
	if has, _ := get(t, p.standby.Client(), webKey); !strings.Contains(has, `"replicas":0`) || !strings.Contains(has, `"observedGeneration":1`) {
		t.Errorf("the Deployment is %s, want it held, with its status on the standby", has)
	}
	if _, there := get(t, p.standby.Client(), deleted); there {
		t.Error("a deletion was repaired that is to be reported")
	}
}

// What was deleted and created anew as another object while nobody looked has
// changed, and is given the primary's value where the policy says so.
func TestReplacedObjectIsRepaired(t *testing.T) {
	p := newPair(t)
	p.config.Guard = replica.Guard{RepairChanges: true}
	p.write(t, 20)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	d.stop(t)
	const key = "/registry/configmaps/prod/w-0003"
	had, _ := get(t, p.standby.Client(), key)
	remove(t, p.standby.Client(), key)
	put(t, p.standby.Client(), key, configMap(5000))
	d = p.start(t)
	d.drift(t, "it to be repaired", func(n replica.Drift) bool { return n.Repaired == 1 && n.Pending == 0 })
	if now, _ := get(t, p.standby.Client(), key); now != had {
		t.Errorf("the standby has %s", now)
	}
}

// Fault 21: who deletes one key again and again is named after three repairs,
// and the key is left alone until an operator puts it back.
func TestFlappingKeyIsLeftAloneAndNamed(t *testing.T) {
	p := newPair(t)
	var log lockedBuffer
	p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
	const key = "/registry/secrets/prod/fought-over"
	put(t, p.primary.Client(), key, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"fought-over","namespace":"prod","uid":"s",`+
		`"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"boss","uid":"b"}]}}`)
	const boss = "/registry/configmaps/prod/boss"
	put(t, p.primary.Client(), boss, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"boss","namespace":"prod","uid":"b"}}`)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	harm := func() { // an owner, and what the garbage collector makes of it
		t.Helper()
		_, err := p.standby.Client().Txn(t.Context()).Then(clientv3.OpDelete(boss), clientv3.OpDelete(key)).Commit()
		must(t, err)
	}
	for range 3 {
		harm()
		p.back(t, boss)
		p.back(t, key)
	}
	harm()
	now := d.drift(t, "both to be given up", func(n replica.Drift) bool { return len(n.Flapping) == 2 })
	f := now.Flapping[1]
	if f.Key != key || f.Kind != "Secret" || f.By != "garbage collector (owner ConfigMap boss)" || f.Outcome != replica.Stopped {
		t.Errorf("flapping: %+v", f)
	}
	d.counts(t, p, 8, 0, 0, 6)
	if _, there := get(t, p.standby.Client(), key); there {
		t.Error("it was put back a fourth time")
	}
	put(t, p.standby.Client(), key, "{}")
	remove(t, p.standby.Client(), key) // it goes on
	d.drift(t, "the fifth", func(n replica.Drift) bool { return n.Deleted == 9 })
	if n := strings.Count(log.String(), "harmed again and again"); n != 2 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}

	sides := verify.Sides{Primary: p.primary.Client(), Standby: p.standby.Client()}
	report, err := verify.Run(t.Context(), sides, p.config.View, verify.Options{})
	must(t, err)
	if !slices.Equal(report.Missed.Keys, []string{boss, key}) {
		t.Fatalf("the check has found %+v", report)
	}
	plan, err := verify.MakePlan(t.Context(), sides, p.config.View, report)
	must(t, err)
	_, err = verify.Repair(t.Context(), sides, p.config.View, plan, p.config.Limits)
	must(t, err)
	d.drift(t, "the alarm to end", func(n replica.Drift) bool { return len(n.Flapping) == 0 })
	remove(t, p.standby.Client(), key)
	p.back(t, key)
}

// Fault 21: while the primary cannot be asked a deletion is pending; nobody
// knows whether it did the same.
func TestDeletionIsPendingWhilePrimaryIsAway(t *testing.T) {
	slow(t)
	p := newPair(t)
	proxy, url := p.primary.Proxy(0)
	p.config.Primary.Endpoints = []string{url}
	p.write(t, 20)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	proxy.Blackhole(faultproxy.ToServer)
	const ours, both = "/registry/configmaps/prod/w-0001", "/registry/configmaps/prod/w-0002"
	had, _ := get(t, p.standby.Client(), ours)
	// No transaction says how far the guard is, so the next session sees it again.
	put(t, p.standby.Client(), "/registry/configmaps/prod/w-0003", configMap(77))
	remove(t, p.standby.Client(), ours)
	remove(t, p.standby.Client(), both)
	remove(t, p.primary.Client(), both)
	now := d.drift(t, "them to be pending", func(n replica.Drift) bool { return n.Pending == 2 })
	if now.Deleted != 0 || len(now.Recent) != 3 || now.Recent[0].Outcome != replica.Pending {
		t.Errorf("drift %+v", now)
	}
	d.wait(t, "the connection to be given up", func(s replica.State) bool { return s.Phase == replica.Connecting })
	if n := d.State().Drift.Pending; n != 2 {
		t.Errorf("%d pending without a session", n)
	}
	must(t, proxy.Restore())
	if has, _ := p.back(t, ours); has != had {
		t.Errorf("it is %s, was %s", has, had)
	}
	d.counts(t, p, 1, 1, 0, 1) // nothing twice
	p.quiet(t)
	p.mustEqualBut(t, map[string]bool{"/registry/configmaps/prod/w-0003": true})
}

// A key that the primary has deleted as well is not brought back, not even for a
// moment, and is no drift.
func TestKeyDeletedOnBothSidesStaysDeleted(t *testing.T) {
	slow(t)
	p := newPair(t)
	proxy, url := p.primary.Proxy(0)
	p.config.Primary.Endpoints = []string{url}
	p.write(t, 50)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	proxy.Delay(100 * time.Millisecond) // the stream brings it later than the guard sees it
	began := revision(t, p.standby.Client())
	for i := range 20 {
		key := fmt.Sprintf("/registry/configmaps/prod/w-%04d", i)
		remove(t, p.primary.Client(), key)
		remove(t, p.standby.Client(), key)
	}
	p.quiet(t)
	p.mustEqual(t)
	must(t, proxy.Restore())
	d.counts(t, p, 0, 0, 0, 0)
	p.history(t, "/registry/configmaps/prod/w-000", began, revision(t, p.standby.Client()), func(e *clientv3.Event) {
		if e.Type == clientv3.EventTypePut && string(e.Kv.Key) != "/registry/configmaps/prod/w-0000" { // which p.write writes
			t.Errorf("%s was brought back", e.Kv.Key)
		}
	})
}

// The primary deletes a definition, and an owner in the foreground. The standby's
// controllers may be faster with what goes along; that is not put back only to be
// deleted again.
func TestWhatThePrimaryIsAboutToDeleteIsNotPutBack(t *testing.T) {
	p := newPair(t)
	const (
		owner, dependent = "/registry/configmaps/prod/owner", "/registry/secrets/prod/dependent"
		machine          = machineDir + "prod/m"
		owning           = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{%s"name":"owner","namespace":"prod","uid":"o"}}`
	)
	client := p.primary.Client()
	put(t, client, machinesCRD, definition(false))
	put(t, client, machine, `{"apiVersion":"cluster.x-k8s.io/v1beta1","kind":"Machine","metadata":{"name":"m","namespace":"prod","uid":"m"}}`)
	put(t, client, owner, fmt.Sprintf(owning, ""))
	put(t, client, dependent, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"dependent","namespace":"prod","uid":"d","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"o"}]}}`)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	put(t, client, machinesCRD, definition(true))
	put(t, client, owner, fmt.Sprintf(owning, `"deletionTimestamp":"2026-01-02T03:04:05Z","finalizers":["foregroundDeletion"],`))
	p.quiet(t)
	began := revision(t, p.standby.Client())
	remove(t, p.standby.Client(), machine)
	remove(t, p.standby.Client(), dependent)
	d.wait(t, "both to be judged", func(s replica.State) bool { return s.Drift.Pending == 2 || s.Drift.Repaired > 0 })
	remove(t, client, machine)
	remove(t, client, dependent)
	p.quiet(t)
	d.counts(t, p, 0, 0, 0, 0)
	for _, key := range []string{machine, dependent} {
		p.history(t, key, began+1, revision(t, p.standby.Client()), func(e *clientv3.Event) {
			if e.Type == clientv3.EventTypePut {
				t.Errorf("%s was brought back", e.Kv.Key)
			}
		})
	}
}

// The primary deletes a key at any moment of its repair: it is gone in the end.
func TestPrimaryDeletesWhileItIsRepaired(t *testing.T) {
	slow(t)
	p := newPair(t)
	p.write(t, 200)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	random := rand.New(rand.NewPCG(seed(t), 22))
	for i := range 200 {
		key := fmt.Sprintf("/registry/configmaps/prod/w-%04d", i)
		remove(t, p.standby.Client(), key)
		for until := time.Now().Add(time.Duration(random.IntN(3000)) * time.Microsecond); time.Now().Before(until); { //nolint:revive // the moment matters, not the load
		}
		remove(t, p.primary.Client(), key)
	}
	p.quiet(t)
	d.drift(t, "nothing to be pending", func(n replica.Drift) bool { return n.Pending == 0 })
	p.quiet(t)
	p.mustEqual(t)
	if n := count(t, p.standby.Client(), "/registry/configmaps/prod/w-"); n != 0 {
		t.Errorf("%d keys are there that the primary has deleted", n)
	}
	t.Logf("drift %+v", d.State().Drift)
}

// Deletions while no daemon runs, and many at once, are put back too, in the
// order in which they happened: owners came first.
func TestManyDeletionsAreRepairedInTheirOrder(t *testing.T) {
	slow(t)
	p := newPair(t)
	p.hold(t)
	const n = 600
	key := func(i int) string { return fmt.Sprintf("/registry/deployments/prod/d-%04d", n-i) }
	for i := range n {
		put(t, p.primary.Client(), key(i), deployment(i, ""))
	}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	d.stop(t)
	for i := range n {
		remove(t, p.standby.Client(), key(i))
	}
	gone := revision(t, p.standby.Client())
	d = p.start(t)
	began := time.Now()
	d.drift(t, "them to be put back", func(now replica.Drift) bool { return now.Repaired == n })
	t.Logf("%d put back after %s", n, time.Since(began))
	var order []string
	transactions := map[int64]bool{}
	p.history(t, "/registry/deployments/prod/", gone, revision(t, p.standby.Client()), func(e *clientv3.Event) {
		order = append(order, string(e.Kv.Key))
		transactions[e.Kv.ModRevision] = true
	})
	for i := range n {
		if len(order) != n || order[i] != key(i) {
			t.Fatalf("%d writes, not in the order of the deletions: %q", len(order), order)
		}
	}
	if len(transactions) > 15 {
		t.Errorf("%d transactions", len(transactions))
	}
	d.counts(t, p, n, 0, 0, n)
	p.consistent(t, "in the end", int64(count(t, p.primary.Client(), "/registry/")))
}
