package replica_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

// Fault 3: a daemon is frozen beyond its lease, a successor takes over, and
// the daemon wakes up with work at hand. The standby stays as the successor
// left it, and the daemon waits its turn.
func TestZombieIsRefusedAndWaits(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	p.config.LeaseTTL = 4 * time.Second
	l := p.load(t)
	first := p.spawn(t, "first")
	first.says(t, "msg=streaming", 0)
	second := p.spawn(t, "second")
	second.says(t, "waiting for the lead", 0)

	must(t, first.Pause())
	second.says(t, "msg=streaming", 0)
	p.reach(t, kv.Revision(l.Last()))

	// The successor is frozen too, for less than its lease: whatever is written
	// now comes from the first.
	must(t, second.Pause())
	l.end()
	p.settledCount(t)
	before := p.fingerprint(t)
	waiting := first.logged(t, "waiting for the lead")
	must(t, first.Continue())
	first.says(t, "waiting for the lead", waiting)
	if after := p.fingerprint(t); after != before {
		t.Errorf("the zombie has written: the standby was at %v and is at %v", before, after)
	}
	must(t, second.Continue())
	p.judge(t, l)

	// And when the successor is gone, the first goes on where that one was.
	streamed := first.logged(t, "msg=streaming")
	second.Kill()
	p.write(t, 50)
	first.says(t, "msg=streaming", streamed)
	p.quiet(t)
	p.mustEqual(t)
}

// fingerprint is the newest revision in scope on the standby, and its checkpoint's.
func (p *pair) fingerprint(t *testing.T) [2]int64 {
	t.Helper()
	resp, err := p.standby.Client().Get(t.Context(), "/registry/", clientv3.WithLastRev()...)
	if err != nil || len(resp.Kvs) == 0 {
		t.Fatalf("nothing on the standby (%v)", err)
	}
	c, err := checker.ReadCheckpoint(t.Context(), p.standby.Client())
	if err != nil {
		t.Fatal(err)
	}
	return [2]int64{resp.Kvs[0].ModRevision, c.ModRevision}
}

// Fault 3: the fence alone refuses a deposed leader, also where the successor
// has not written anything yet and the checkpoint is where the old one left it.
func TestFenceRefusesDeposedLeaderBeforeSuccessorWrites(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	state, err := role.EnsureStandby(t.Context(), client, "test", "peer", time.Now())
	must(t, err)
	old, err := role.Campaign(t.Context(), client, 2*time.Second, "old")
	must(t, err)
	s := sink.New(client, old.Fence(state), sink.Limits{}, sink.Stored{})
	next := sink.Checkpoint{SourceRevision: 7, Phase: sink.Copying}
	must(t, s.Apply(t.Context(), nil, next))

	elected := make(chan error, 1)
	go func() {
		successor, err := role.Campaign(t.Context(), client, 2*time.Second, "successor")
		if err == nil {
			err = successor.Resign(t.Context())
		}
		elected <- err
	}()
	must(t, s.Apply(t.Context(), nil, next)) // somebody waiting changes nothing
	resp, err := client.Get(t.Context(), role.LeaderDir+"/", clientv3.WithFirstCreate()...)
	must(t, err)
	_, err = client.Revoke(t.Context(), clientv3.LeaseID(resp.Kvs[0].Lease))
	must(t, err)
	must(t, <-elected)

	change := []kv.Change{{Key: "/registry/configmaps/prod/late", Value: []byte("late"), Revision: 8}}
	for what, write := range map[string]func() error{
		"Apply":     func() error { return s.Apply(t.Context(), change, next) },
		"ApplyCopy": func() error { return s.ApplyCopy(t.Context(), change) },
		"Put":       func() error { return s.Put(t.Context(), change[0].Key, "late") },
	} {
		if err := write(); !errors.Is(err, sink.ErrFenced) {
			t.Errorf("%s by a deposed leader: %v, want %v", what, err, sink.ErrFenced)
		}
	}
	if _, there := get(t, client, change[0].Key); there {
		t.Error("a deposed leader has written")
	}
	_ = old.Resign(context.WithoutCancel(t.Context()))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Fault 3: a daemon whose lease was revoked, and that does not know it yet, is
// refused by the compare at its next write. It makes way for its successor.
func TestDeposedDaemonIsRefusedByCompare(t *testing.T) {
	p := newPair(t)
	p.config.LeaseTTL = time.Minute // renewed every 20 s: the daemon cannot learn of it that way
	p.write(t, 3)
	var log lockedBuffer
	p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
	first := p.start(t)
	first.wait(t, "streaming", streaming)
	p.config.Log = slog.New(slog.DiscardHandler)
	second := p.start(t)
	second.wait(t, "to wait for the lead", func(s replica.State) bool { return s.Phase == replica.Waiting })

	resp, err := p.standby.Client().Get(t.Context(), role.LeaderDir+"/", clientv3.WithFirstCreate()...)
	must(t, err)
	_, err = p.standby.Client().Revoke(t.Context(), clientv3.LeaseID(resp.Kvs[0].Lease))
	must(t, err)
	l := p.load(t)
	second.wait(t, "streaming", streaming)
	first.wait(t, "to wait for the lead", func(s replica.State) bool { return s.Phase == replica.Waiting })
	p.judge(t, l)
	first.stop(t)
	if text := log.String(); !strings.Contains(text, sink.ErrFenced.Error()) && !strings.Contains(text, sink.ErrMoved.Error()) {
		t.Errorf("the compare has refused nothing:\n%s", text)
	}
}
