package replica_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
)

// saveData copies an etcd's data directory, as an old backup would hold it.
func saveData(t *testing.T, e *testkit.Etcd) string {
	t.Helper()
	saved := filepath.Join(t.TempDir(), "saved")
	e.Kill()
	must(t, os.CopyFS(saved, os.DirFS(e.DataDir())))
	e.Restart()
	return saved
}

// rollBack puts an old data directory under an etcd: the same cluster, earlier.
func rollBack(t *testing.T, e *testkit.Etcd, saved string) {
	t.Helper()
	e.Kill()
	must(t, os.RemoveAll(e.DataDir()))
	must(t, os.CopyFS(e.DataDir(), os.DirFS(saved)))
	e.Restart()
}

// Fault 15: the primary is rolled back. The replica halts and names both
// revisions, the standby stays as it is, also when the daemon is started anew.
func TestPrimaryRolledBackHalts(t *testing.T) {
	slow(t)
	p := newPair(t)
	fill(t, p.primary.Client(), fixture.Options{Seed: 15, Objects: 200})
	saved := saveData(t, p.primary)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.write(t, 300)
	p.quiet(t)
	before := p.fingerprint(t)
	checkpoint := d.wait(t, "the checkpoint", streaming).Checkpoint.SourceRevision

	rollBack(t, p.primary, saved)
	at := revision(t, p.primary.Client())
	explains := func(err error) bool {
		return errors.Is(err, replica.ErrPrimaryRolledBack) && remedy.CodeOf(err) == remedy.Refused && remedy.Of(err) != "" &&
			strings.Contains(err.Error(), strconv.Itoa(int(at))) && strings.Contains(err.Error(), strconv.Itoa(int(checkpoint)))
	}
	s := d.wait(t, "the replica to halt", func(s replica.State) bool { return s.Phase == replica.Halted })
	if !explains(s.Err) {
		t.Errorf("halted with %v (code %d), which does not name revisions %d and %d", s.Err, remedy.CodeOf(s.Err), at, checkpoint)
	}
	if s.Lag.Known {
		t.Errorf("halted, and the lag is still said to be %+v", s.Lag)
	}
	d.stop(t)
	if err := p.new(t).Run(t.Context()); !explains(err) {
		t.Errorf("a new daemon ends with %v", err)
	}
	if _, err := p.new(t).Once(t.Context()); !explains(err) {
		t.Errorf("a single copy ends with %v", err)
	}
	if after := p.fingerprint(t); after != before {
		t.Errorf("the standby was at %v and is at %v", before, after)
	}
}

// The primary was rolled back and has been written past the checkpoint since:
// its revision alone tells nothing. Nor does it help that it was compacted.
func TestPrimaryRolledBackAndWrittenOnHalts(t *testing.T) {
	slow(t)
	for name, compacted := range map[string]bool{"as it was": false, "compacted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.write(t, 300)
			saved := saveData(t, p.primary)
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			put(t, p.primary.Client(), "/registry/configmaps/prod/w-0000", configMap(4711)) // lost by the restore
			p.quiet(t)
			d.stop(t)
			before := p.fingerprint(t)

			rollBack(t, p.primary, saved)
			for i := range 50 {
				put(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/after-%d", i), configMap(i))
			}
			if compacted {
				compact(t, p.primary.Client(), revision(t, p.primary.Client()))
			}
			_, err := p.new(t).Once(t.Context())
			if !errors.Is(err, replica.ErrPrimaryRolledBack) || remedy.CodeOf(err) != remedy.Refused || !strings.Contains(err.Error(), "w-0000") {
				t.Errorf("it goes on: %v", err)
			}
			if after := p.fingerprint(t); after != before {
				t.Errorf("the standby was at %v and is at %v", before, after)
			}
		})
	}
}

// The witness is a key that still stands: deletes and whatever follows them do no harm.
func TestWitnessDoesNotAccuseAnHonestPrimary(t *testing.T) {
	p := newPair(t)
	p.write(t, 50)
	d := p.start(t)
	for i := range 6 {
		d.wait(t, "streaming", streaming)
		switch i % 3 {
		case 0:
			p.write(t, 3)
			remove(t, p.primary.Client(), "/registry/configmaps/prod/w-0002") // the last one written
		case 1:
			remove(t, p.primary.Client(), "/registry/configmaps/prod/w-0001")
			put(t, p.primary.Client(), "/registry/configmaps/prod/w-0001", configMap(i))
		case 2:
			put(t, p.primary.Client(), "/registry/leases/kube-system/out-of-scope", configMap(i))
		}
		p.quiet(t)
		d.stop(t)
		if i >= 3 {
			p.write(t, 1)
			compact(t, p.primary.Client(), revision(t, p.primary.Client()))
		}
		d = p.start(t)
	}
	p.quiet(t)
	p.mustEqual(t)
}

// Fault 24: the standby is rolled back under a running daemon. The regression
// of the checkpoint is seen, and a resync makes both sides equal again.
func TestStandbyRolledBackIsResynced(t *testing.T) {
	slow(t)
	p := newPair(t)
	fill(t, p.primary.Client(), fixture.Options{Seed: 24, Objects: 200})
	p.write(t, 100)
	p.once(t)
	saved := saveData(t, p.standby)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	l := p.load(t)
	p.write(t, 200)
	for i := range 20 {
		remove(t, p.primary.Client(), "/registry/configmaps/prod/w-00"+strconv.Itoa(10+i))
	}
	p.quiet(t)

	rollBack(t, p.standby, saved)
	s := d.wait(t, "a resync", func(s replica.State) bool { return s.Phase == replica.Streaming && len(s.Resyncs) > 0 })
	if s.Resyncs[replica.ReasonRolledBack] != 1 {
		t.Errorf("resyncs %v, want one for %s", s.Resyncs, replica.ReasonRolledBack)
	}
	p.judge(t, l)
}

// Fault 24: the standby is rolled back while no daemon runs. Data and
// checkpoint went back together, so streaming from there is exact.
func TestStandbyRolledBackWhileStopped(t *testing.T) {
	p := newPair(t)
	p.write(t, 100)
	p.once(t)
	saved := saveData(t, p.standby)
	p.write(t, 250)
	remove(t, p.primary.Client(), "/registry/configmaps/prod/w-0001")
	p.once(t)
	rollBack(t, p.standby, saved)
	p.once(t)
	p.quiet(t)
	p.mustEqual(t)
}

// Fault 17: primary and standby are the same cluster, under whatever address.
// It is refused by the cluster's ID, and nothing is written.
func TestSameClusterIsRefused(t *testing.T) {
	p := newPair(t)
	_, url := p.primary.Proxy(0)
	p.config.Standby.Endpoints = []string{url}
	p.write(t, 3)
	before := revision(t, p.primary.Client())
	_, err := p.new(t).Once(t.Context())
	if !errors.Is(err, replica.ErrSameCluster) || remedy.CodeOf(err) != remedy.Refused || remedy.Of(err) == "" {
		t.Errorf("a copy onto itself: %v", err)
	}
	if err := p.new(t).Run(t.Context()); !errors.Is(err, replica.ErrSameCluster) {
		t.Errorf("a daemon between a cluster and itself: %v", err)
	}
	if after := revision(t, p.primary.Client()); after != before {
		t.Errorf("the cluster was at revision %d and is at %d", before, after)
	}
}

// Fault 17: a loop, where the standby is to be replicated back into the
// primary, and a chain into a third cluster, are refused by the roles.
func TestLoopAndChainAreRefused(t *testing.T) {
	p := newPair(t)
	p.write(t, 3)
	p.once(t)
	primary, third := revision(t, p.primary.Client()), testkit.StartEtcd(t)

	back := *p
	back.config.Primary, back.config.Standby = p.config.Standby, p.config.Primary
	chain := *p
	chain.config.Primary, chain.config.Standby.Endpoints = p.config.Standby, third.Endpoints()
	for name, refused := range map[string]*pair{"loop": &back, "chain": &chain} {
		if _, err := refused.new(t).Once(t.Context()); !errors.Is(err, replica.ErrPrimaryIsStandby) || remedy.CodeOf(err) != remedy.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := *p
	other.config.Primary.Endpoints = third.Endpoints()
	if _, err := other.new(t).Once(t.Context()); !errors.Is(err, replica.ErrOtherSource) {
		t.Errorf("a standby that was filled from another cluster: %v", err)
	}
	if now := revision(t, p.primary.Client()); now != primary {
		t.Errorf("the primary was at revision %d and is at %d", primary, now)
	}
	if n := count(t, third.Client(), "/"); n != 0 {
		t.Errorf("%d keys were written to the third cluster", n)
	}
}

// Fault 6: the primary's leader is killed. The replica goes on with another
// member where it knows one, reconnects where it does not, and there is no gap.
func TestLeaderOfPrimaryKilledLeavesNoGap(t *testing.T) {
	slow(t)
	t.Parallel()
	for name, onlyLeader := range map[string]bool{"knows all members": false, "knows only the leader": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, testkit.Members(3))
			leader := p.primary.LeaderIndex()
			if onlyLeader {
				p.config.Primary.Endpoints = p.primary.Endpoints()[leader : leader+1]
			}
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			l := p.load(t, func(w *checker.Workload) { w.Timeout = time.Second })
			testkit.Eventually(t, 10*time.Second, "writes", func() (bool, string) { return l.Last() > 100, "" })
			p.primary.KillMember(leader)
			reached := l.Last()
			testkit.Eventually(t, 30*time.Second, "writes under a new leader", func() (bool, string) { return l.Last() > reached+50, "" })
			if onlyLeader {
				d.wait(t, "the connection to be lost", func(s replica.State) bool { return s.Phase == replica.Connecting && s.Err != nil && !s.Lag.Known })
			} else {
				p.reach(t, kv.Revision(l.Last()))
			}
			p.primary.RestartMember(leader)
			p.judge(t, l)
			if s := d.State(); len(s.Resyncs) != 1 {
				t.Errorf("resyncs %v, want the first copy alone", s.Resyncs)
			}
		})
	}
}

// Fault 7: the members that the replica reaches have lost their quorum. It
// does not take their silence for quiet: the lag is unknown until they have a
// leader again, and then it goes on without a gap.
func TestPrimaryWithoutLeaderMakesLagUnknown(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t, testkit.Members(3))
	d := p.start(t)
	l := p.load(t)
	d.wait(t, "streaming", streaming)
	leader := p.primary.LeaderIndex()
	other := (leader + 1) % 3
	p.primary.PauseMember(leader)
	p.primary.PauseMember(other)
	frozen := time.Now()
	s := d.wait(t, "the lag to be unknown", func(s replica.State) bool { return !s.Lag.Known })
	t.Logf("unknown after %s: %s, %v", time.Since(frozen).Round(100*time.Millisecond), s.Phase, s.Err)
	d.wait(t, "the replica to say that it does not replicate", func(s replica.State) bool { return s.Phase != replica.Streaming && s.Err != nil })
	p.primary.ContinueMember(leader)
	p.primary.ContinueMember(other)
	d.wait(t, "streaming", streaming)
	p.judge(t, l)
	d.wait(t, "the lag to be known", func(s replica.State) bool { return s.Lag.Known && s.Err == nil })
	if s := d.State(); len(s.Resyncs) != 1 {
		t.Errorf("resyncs %v, want the first copy alone", s.Resyncs)
	}
}

// The primary is restored from a backup while the breaker waits, and written
// past the checkpoint: whatever the answer, the restored one is not followed.
func TestPrimaryRestoredWhileTheBreakerWaits(t *testing.T) {
	for name, accept := range map[string]bool{"accept": true, "resync": false} {
		t.Run(name, func(t *testing.T) {
			p := teams(t, 1, 100)
			saved := saveData(t, p.primary)
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			p.write(t, 30) // lost by the restore
			p.deleteTeam(t, 0, 0, 60)
			d.wait(t, "the breaker to trip", tripped)
			rollBack(t, p.primary, saved)
			for i := range 200 {
				put(t, p.primary.Client(), "/registry/leases/kube-node-lease/n1", configMap(i))
			}
			put(t, p.primary.Client(), "/registry/configmaps/prod/new-life", configMap(1))
			before := p.fingerprint(t)
			p.answer(t, p.standingTrip(t), accept)
			d.wait(t, "the replica to halt", func(s replica.State) bool {
				return s.Phase == replica.Halted && errors.Is(s.Err, replica.ErrPrimaryRolledBack)
			})
			if after := p.fingerprint(t); after != before {
				t.Errorf("the standby was at %v and is at %v", before, after)
			}
		})
	}
}

// A key that was put and deleted last leaves the witness before it in its place.
func TestPrimaryRestoredFromBeforeADeletedKeyHalts(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	p.write(t, 30)
	saved := saveData(t, p.primary)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	put(t, p.primary.Client(), "/registry/secrets/prod/precious", configMap(7)) // lost by the restore
	for _, key := range []string{"/registry/configmaps/prod/tmp-1", "/registry/configmaps/prod/tmp-2"} {
		put(t, p.primary.Client(), key, configMap(1))
		p.quiet(t)
		remove(t, p.primary.Client(), key)
		p.quiet(t)
	}
	d.stop(t)
	rollBack(t, p.primary, saved)
	for i := range 60 {
		put(t, p.primary.Client(), "/registry/leases/kube-node-lease/n1", configMap(i))
	}
	_, err := p.new(t).Once(t.Context())
	if !errors.Is(err, replica.ErrPrimaryRolledBack) || !strings.Contains(err.Error(), "precious") {
		t.Errorf("it goes on: %v", err)
	}
	if _, there := get(t, p.standby.Client(), "/registry/secrets/prod/precious"); !there {
		t.Error("the standby has lost the only copy")
	}
}
