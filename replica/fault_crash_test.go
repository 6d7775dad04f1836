package replica_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/sink"
)

// Fault 1: the daemon is killed in the first copy, at random keys. The next
// run writes only what is missing.
func TestKilledCopyIsContinuedNotRepeated(t *testing.T) {
	slow(t)
	p := newPair(t)
	fill(t, p.primary.Client(), fixture.Options{Seed: 1, Objects: 6000})
	_, inScope := p.inScope(t)
	proxy, url := p.standby.Proxy(0)
	p.config.Standby.Endpoints = []string{url}
	random := rand.New(rand.NewPCG(seed(t), 1))

	there := 0
	for round := range 2 {
		proxy.Throttle(3 << 20) // slow enough to be killed on the way
		target := there + 1 + random.IntN((inScope-there)/2)
		c := p.spawn(t, fmt.Sprintf("copy-%d", round), once)
		testkit.Eventually(t, 60*time.Second, "the copy to be on its way", func() (bool, string) {
			n := count(t, p.standby.Client(), "/registry/")
			return n >= target, fmt.Sprintf("%d of %d keys", n, target)
		})
		c.Kill()
		proxy.Reset()
		there = p.settledCount(t)
		t.Logf("killed with %d of %d keys written", there, inScope)
		if there >= inScope {
			t.Fatal("the copy was over before it could be killed")
		}
		if err := proxy.Restore(); err != nil {
			t.Fatal(err)
		}
	}
	state := p.once(t)
	if state.Copy.Reason != replica.ReasonInterrupted || state.Copy.Written != int64(inScope-there) || state.Copy.Deleted != 0 {
		t.Errorf("the last run, for the reason %q, wrote %d keys and deleted %d; %d were missing",
			state.Copy.Reason, state.Copy.Written, state.Copy.Deleted, inScope-there)
	}
	p.mustEqual(t)
}

// inScope counts the primary's keys: all, and those the standby should have.
func (p *pair) inScope(t *testing.T) (all, in int) {
	t.Helper()
	resp, err := p.primary.Client().Get(t.Context(), "/registry/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range resp.Kvs {
		want, err := p.config.View.Want(string(pair.Key), pair.Value)
		if err != nil {
			t.Fatal(err)
		}
		if want.In {
			in++
		}
	}
	return len(resp.Kvs), in
}

// settledCount counts the standby's keys when nothing is under way any more.
func (p *pair) settledCount(t *testing.T) (n int) {
	t.Helper()
	last := -1
	testkit.Eventually(t, 10*time.Second, "the standby to settle", func() (bool, string) {
		n = count(t, p.standby.Client(), "/registry/")
		same := n == last
		last = n
		return same, fmt.Sprint(n)
	})
	return n
}

// Fault 2: the daemon crashes before a transaction reaches the standby, and
// after it was applied but before anybody learned of it. Data and checkpoint
// agree after every crash, and going on from there neither skips nor repeats.
func TestCrashAroundApplyLeavesDataAndCheckpointAgreed(t *testing.T) {
	slow(t)
	p := newPair(t)
	proxy, url := p.standby.Proxy(0)
	p.config.Standby.Endpoints = []string{url}
	fill(t, p.primary.Client(), fixture.Options{Seed: 2, Objects: 200})
	p.once(t)
	began := revision(t, p.standby.Client())
	l := p.load(t)
	random := rand.New(rand.NewPCG(seed(t), 2))

	for round := range 6 {
		c := p.spawn(t, fmt.Sprintf("daemon-%d", round))
		p.reach(t, revision(t, p.primary.Client())+kv.Revision(random.IntN(100)))
		if round%2 == 0 {
			proxy.Blackhole(faultproxy.ToServer)
			sent := revision(t, p.primary.Client())
			testkit.Eventually(t, 10*time.Second, "a transaction to be swallowed", func() (bool, string) {
				return revision(t, p.primary.Client()) > sent+20, ""
			})
		} else {
			<-proxy.DropNextReply("/etcdserverpb.KV/Txn")
		}
		c.Kill()
		if err := proxy.Restore(); err != nil {
			t.Fatal(err)
		}
		p.mustEqual(t)
		p.mustHaveLostNothing(t, l)
	}
	p.spawn(t, "daemon-last")
	p.judge(t, l)
	p.mustHaveAppliedOnce(t, began)
}

// Fault 20: the reply to a commit is lost. The checkpoint is read again, and
// nothing is applied twice or left out.
func TestLostReplyOfCommitIsNeitherDoubleNorGap(t *testing.T) {
	slow(t)
	p := newPair(t)
	proxy, url := p.standby.Proxy(0)
	p.config.Standby.Endpoints = []string{url}
	p.once(t)
	began := revision(t, p.standby.Client())
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	l := p.load(t)
	random := rand.New(rand.NewPCG(seed(t), 20))
	for range 8 {
		p.reach(t, revision(t, p.primary.Client())+kv.Revision(random.IntN(40)))
		<-proxy.DropNextReply("/etcdserverpb.KV/Txn")
	}
	p.judge(t, l)
	p.mustHaveAppliedOnce(t, began)
	if resyncs := d.State().Resyncs; len(resyncs) != 0 {
		t.Errorf("a lost reply led to a resync: %v", resyncs)
	}
}

// mustHaveAppliedOnce reads all that happened on the standby since a revision:
// the checkpoint never went back, every change came with a checkpoint of its
// own, and no value was written to a key that held it already.
func (p *pair) mustHaveAppliedOnce(t *testing.T, since kv.Revision) {
	t.Helper()
	now := revision(t, p.standby.Client())
	checkpoints := map[int64]bool{}
	reached := int64(0)
	p.history(t, sink.CheckpointKey, since, now, func(e *clientv3.Event) {
		var c checker.Checkpoint
		if err := json.Unmarshal(e.Kv.Value, &c); err != nil {
			t.Fatal(err)
		}
		if c.SourceRevision < reached {
			t.Errorf("standby revision %d: the checkpoint went back from %d to %d", e.Kv.ModRevision, reached, c.SourceRevision)
		}
		reached = c.SourceRevision
		checkpoints[e.Kv.ModRevision] = true
	})
	changes := 0
	p.history(t, "/registry/", since, now, func(e *clientv3.Event) {
		changes++
		if !checkpoints[e.Kv.ModRevision] {
			t.Errorf("%s was written at standby revision %d without a checkpoint", e.Kv.Key, e.Kv.ModRevision)
		}
		if e.PrevKv != nil && e.Type == clientv3.EventTypePut && string(e.PrevKv.Value) == string(e.Kv.Value) {
			t.Errorf("%s was applied twice, at standby revision %d again", e.Kv.Key, e.Kv.ModRevision)
		}
	})
	if changes == 0 {
		t.Error("nothing was applied at all")
	}
}

// history calls visit for every event below a prefix in (since, until].
func (p *pair) history(t *testing.T, prefix string, since, until kv.Revision, visit func(*clientv3.Event)) {
	t.Helper()
	client := p.standby.Client()
	events := client.Watch(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(int64(since)+1))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case resp, open := <-events:
			if err := resp.Err(); err != nil || !open {
				t.Fatalf("watch ended: %v", err)
			}
			for _, e := range resp.Events {
				if e.Kv.ModRevision <= int64(until) {
					visit(e)
				}
			}
			if resp.IsProgressNotify() && resp.Header.Revision >= int64(until) {
				return
			}
		case <-tick.C:
			if err := client.RequestProgress(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}
