package replica_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// Fault 4: the checkpoint was compacted away while nobody replicated. The
// resync includes deletes, and spares what somebody else created on the
// standby, however often it is repeated.
func TestResyncDeletesOursAndSparesForeignKeys(t *testing.T) {
	p := newPair(t)
	fill(t, p.primary.Client(), fixture.Options{Seed: 4, Objects: 300})
	p.write(t, 100)
	foreign := map[string]bool{}
	create := func(when string) {
		key := "/registry/configmaps/prod/foreign-" + when
		put(t, p.standby.Client(), key, configMap(len(foreign)))
		foreign[key] = true
	}
	create("before-the-first-copy")
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	create("while-streaming")
	p.write(t, 10)
	p.quiet(t)

	for round := range 3 {
		testkit.Eventually(t, 10*time.Second, "the foreign keys to be known", func() (bool, string) {
			n := count(t, p.standby.Client(), "/understudy/surplus/")
			return n == len(foreign), fmt.Sprintf("%d of %d", n, len(foreign))
		})
		d.stop(t)
		create(fmt.Sprintf("while-stopped-%d", round))
		// One of those to be deleted has been changed on the standby.
		put(t, p.standby.Client(), fmt.Sprintf("/registry/configmaps/prod/w-%04d", round*5), configMap(7))
		for i := range 5 {
			remove(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/w-%04d", round*5+i))
		}
		put(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/new-%d", round), configMap(round))
		compact(t, p.primary.Client(), revision(t, p.primary.Client()))

		d = p.start(t)
		p.quiet(t)
		s := d.wait(t, "streaming", streaming)
		if s.Resyncs[replica.ReasonCompacted] != 1 || s.Copy.Deleted != 5 || s.Copy.Written != 1 || s.Copy.Surplus != int64(len(foreign)) {
			t.Errorf("round %d: resyncs %v, deleted %d, written %d, surplus %d; want one for %s, 5, 1, %d", round,
				s.Resyncs, s.Copy.Deleted, s.Copy.Written, s.Copy.Surplus, replica.ReasonCompacted, len(foreign))
		}
		p.mustEqualBut(t, foreign)
		create(fmt.Sprintf("while-running-%d", round))
		p.write(t, 3)
		p.quiet(t)
	}
	p.mustEqualBut(t, foreign)
}

// Fault 4: a key that somebody creates on the standby while a copy is under
// way is as foreign as one created at any other time.
func TestResyncSparesKeyCreatedDuringCopy(t *testing.T) {
	p := newPair(t)
	fill(t, p.primary.Client(), fixture.Options{Seed: 4, Objects: 2500})
	const key = "/registry/configmaps/prod/foreign-during-copy"
	var created sync.Once
	p.config.Hooks.Copying = func(c replica.CopyProgress) {
		if !c.Done { // both sides are pinned: the copy will not see it
			created.Do(func() { put(t, p.standby.Client(), key, configMap(1)) })
		}
	}
	for round := range 3 {
		d := p.start(t)
		d.wait(t, "streaming", streaming)
		p.write(t, 5)
		p.quiet(t)
		d.stop(t)
		remove(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/w-%04d", round))
		compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	}
	p.once(t)
	p.mustEqualBut(t, map[string]bool{key: true})
}

// unfinish makes the checkpoint that of a first copy that was killed before its end.
func (p *pair) unfinish(t *testing.T) (was sink.Stored) {
	t.Helper()
	was, err := sink.ReadCheckpoint(t.Context(), p.standby.Client())
	must(t, err)
	put(t, p.standby.Client(), sink.CheckpointKey, fmt.Sprintf(`{"sourceClusterID":%q,"sourceRevision":%d,"time":"2026-01-01T00:00:00Z","scopeHash":%q,"holdsHash":%q,"phase":"copying"}`,
		was.SourceClusterID, was.SourceRevision, was.ScopeHash, was.HoldsHash))
	return was
}

// What a first copy wrote that was killed, and the primary has deleted since, is known
// from the standby where the primary has compacted it; what others created stays.
func TestUnfinishedFirstCopyLeavesNothingBehind(t *testing.T) {
	p := newPair(t)
	p.write(t, 20)
	p.once(t)
	p.unfinish(t)
	const foreign = "/registry/configmaps/prod/foreign"
	put(t, p.standby.Client(), foreign, configMap(1))
	for i := range 5 {
		remove(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/w-%04d", i))
	}
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	p.once(t)
	p.mustEqualBut(t, map[string]bool{foreign: true})
}

// What the stream created before is no unfinished copy's: it may be the last copy, of
// what a primary has lost that was restored from a backup.
func TestUnfinishedCopyDeletesNothingThatTheStreamCreated(t *testing.T) {
	p := newPair(t)
	p.write(t, 20)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	const last = "/registry/configmaps/prod/last"
	put(t, p.primary.Client(), last, configMap(1))
	p.quiet(t)
	d.stop(t)
	p.unfinish(t)
	remove(t, p.primary.Client(), last)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	p.once(t)
	p.mustEqualBut(t, map[string]bool{last: true})
}

// Fault 4: a daemon that is killed right after somebody created a key on the
// standby had no time to record that; its successor does.
func TestResyncSparesKeyCreatedBeforeCrash(t *testing.T) {
	slow(t)
	p := newPair(t)
	proxy, url := p.primary.Proxy(0)
	p.config.Primary.Endpoints = []string{url}
	fill(t, p.primary.Client(), fixture.Options{Seed: 4, Objects: 100})
	foreign := map[string]bool{}
	l := p.load(t)
	for round := range 3 {
		c := p.spawn(t, fmt.Sprintf("daemon-%d", round))
		c.says(t, "msg=streaming", 0)
		key := fmt.Sprintf("/registry/configmaps/prod/foreign-%d", round)
		proxy.Delay(100 * time.Millisecond) // asking the primary about the key takes time
		at := put(t, p.standby.Client(), key, configMap(round))
		foreign[key] = true
		testkit.Eventually(t, 10*time.Second, "a transaction after it", func() (bool, string) {
			cp, err := checker.ReadCheckpoint(t.Context(), p.standby.Client())
			return err == nil && cp.ModRevision > int64(at), ""
		})
		c.Kill()
		must(t, proxy.Restore())
		p.write(t, 3)
		compact(t, p.primary.Client(), revision(t, p.primary.Client()))
		if s := p.once(t); s.Copy.Reason != replica.ReasonCompacted {
			t.Errorf("copied for the reason %q", s.Copy.Reason)
		}
		p.mustEqualBut(t, foreign)
	}
	l.end()
}

// mustEqualBut is mustEqual with keys that only the standby has, and must have.
func (p *pair) mustEqualBut(t *testing.T, foreign map[string]bool) {
	t.Helper()
	_, differences, err := checker.EqualAtCheckpoint(t.Context(), p.primary.Client(), p.standby.Client(), "/registry/",
		checker.Options{Ignore: func(key string) bool { return foreign[key] || p.config.View.Scope.Key(key) == scope.Out }, Out: p.out})
	must(t, err)
	for i, d := range differences {
		if i < 10 {
			t.Errorf("%v", d)
		}
	}
	for key := range foreign {
		if _, there := get(t, p.standby.Client(), key); !there {
			t.Errorf("%s was created on the standby by somebody else, and is gone", key)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// Fault 13: leases end while the link is cut. A key neither goes before the
// primary's lease ends nor stays as a ghost after it.
func TestLeasesEndingWhileCutLeaveNoGhosts(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	proxy, url := p.primary.Proxy(0)
	p.config.Primary.Endpoints = []string{url}
	client := p.primary.Client()
	short, err := client.Grant(t.Context(), 2)
	must(t, err)
	long, err := client.Grant(t.Context(), 2)
	must(t, err)
	alive, err := client.KeepAlive(t.Context(), long.ID)
	must(t, err)
	go func() {
		for range alive { //nolint:revive // drained until the test ends
		}
	}()
	leased := func(kind string, id clientv3.LeaseID) {
		for i := range 5 {
			_, err := client.Put(t.Context(), fmt.Sprintf("/registry/configmaps/prod/%s-%d", kind, i), configMap(i), clientv3.WithLease(id))
			must(t, err)
		}
	}
	leased("short", short.ID)
	leased("long", long.ID)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	on := func(e *testkit.Etcd, kind string) int {
		return count(t, e.Client(), "/registry/configmaps/prod/"+kind+"-")
	}
	proxy.Cut()
	testkit.Eventually(t, 20*time.Second, "the lease to end on the primary", func() (bool, string) {
		n := on(p.primary, "short")
		return n == 0, fmt.Sprintf("%d keys", n)
	})
	if short, long := on(p.standby, "short"), on(p.standby, "long"); short != 5 || long != 5 {
		t.Errorf("while cut, the standby has %d and %d keys, want 5 and 5: nobody has told it of the end", short, long)
	}
	resp, err := p.standby.Client().Get(t.Context(), "/registry/configmaps/prod/", clientv3.WithPrefix())
	must(t, err)
	for _, kv := range resp.Kvs {
		if kv.Lease != 0 {
			t.Errorf("%s has a lease of its own on the standby", kv.Key)
		}
	}
	must(t, proxy.Restore())
	p.write(t, 1)
	p.quiet(t)
	p.mustEqual(t)
	if short, long := on(p.standby, "short"), on(p.standby, "long"); short != 0 || long != 5 {
		t.Errorf("after the cut, the standby has %d and %d keys, want 0 and 5", short, long)
	}
}

// Fault 14: keys are deleted and created again while the link is cut.
func TestDeleteAndCreateAgainWhileCut(t *testing.T) {
	p := newPair(t)
	proxy, url := p.primary.Proxy(0)
	p.config.Primary.Endpoints = []string{url}
	client := p.primary.Client()
	key := func(name string) string { return "/registry/configmaps/prod/" + name }
	for i, name := range []string{"same", "other", "gone", "back", "moved"} {
		put(t, client, key(name), configMap(i))
	}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)

	proxy.Cut()
	remove(t, client, key("same"))
	put(t, client, key("same"), configMap(0))
	remove(t, client, key("other"))
	put(t, client, key("other"), configMap(11))
	remove(t, client, key("gone"))
	put(t, client, key("gone"), configMap(12))
	remove(t, client, key("gone"))
	put(t, client, key("shadow"), configMap(13))
	remove(t, client, key("shadow"))
	for i := range 20 { // deleted and created in one transaction with others
		_, err := client.Txn(t.Context()).Then(clientv3.OpDelete(key("moved")), clientv3.OpPut(key("back"), configMap(100+i))).Commit()
		must(t, err)
		_, err = client.Txn(t.Context()).Then(clientv3.OpPut(key("moved"), configMap(200+i)), clientv3.OpDelete(key("back"))).Commit()
		must(t, err)
	}
	began := revision(t, p.standby.Client())
	must(t, proxy.Restore())
	p.quiet(t)
	p.mustEqual(t)
	if resyncs := d.State().Resyncs; len(resyncs) != 1 {
		t.Errorf("resyncs %v, want the first copy alone", resyncs)
	}
	for name, want := range map[string]int{"same": 2, "gone": 3, "shadow": 2, "moved": 40} {
		events := 0
		p.history(t, key(name), began, revision(t, p.standby.Client()), func(*clientv3.Event) { events++ })
		if events != want {
			t.Errorf("%s: %d events on the standby, want every one of the primary's %d", name, events, want)
		}
	}
}

// A controller of the standby that writes an object while a resync runs does not
// save it from the primary's deletion: it is still the same object.
func TestResyncDeletesWhatIsTouchedMeanwhile(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	fill(t, p.primary.Client(), fixture.Options{Seed: 4, Objects: 2500})
	key, value := numbered(4)
	put(t, p.primary.Client(), key, value)
	p.once(t)
	remove(t, p.primary.Client(), key)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	var touch sync.Once
	p.config.Hooks.Copying = func(c replica.CopyProgress) {
		if !c.Done {
			touch.Do(func() {
				now, _ := get(t, p.standby.Client(), key)
				put(t, p.standby.Client(), key, strings.TrimSuffix(strings.TrimSpace(now), "}")+`,"status":{"observedGeneration":7}}`)
			})
		}
	}
	s := p.once(t)
	if now, there := get(t, p.standby.Client(), key); there || s.Copy.Deleted != 1 {
		t.Errorf("%d deleted, the standby has %s", s.Copy.Deleted, now)
	}
	p.standsHeld(t, "deleted", key, "", "")
}

// An object of the standby's own that stood there before the first copy, out of
// scope by its owners, may lose them: it never was the primary's.
func TestResyncSparesWhatEntersTheScope(t *testing.T) {
	p := newPair(t)
	p.write(t, 20)
	const own = "/registry/configmaps/prod/shared"
	put(t, p.standby.Client(), own, shared("1", podOwner))
	p.once(t)
	put(t, p.standby.Client(), own, shared("1")) // kubectl delete --cascade=orphan of its owner
	for range 2 {
		p.write(t, 5)
		compact(t, p.primary.Client(), revision(t, p.primary.Client()))
		p.once(t)
		if _, there := get(t, p.standby.Client(), own); !there {
			t.Fatal("it was deleted")
		}
	}
}
