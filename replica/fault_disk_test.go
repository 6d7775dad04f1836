package replica_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/internal/testkit/slowdisk"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
)

// onDisk is a pair whose standby keeps its data on a disk that can be made to misbehave.
func onDisk(t *testing.T, options ...testkit.EtcdOption) (*pair, *slowdisk.Disk) {
	t.Helper()
	disk := testkit.SlowDisk(t)
	p := &pair{primary: testkit.StartEtcd(t),
		standby: testkit.StartEtcd(t, append(options, testkit.OnDisk(0, disk))...)}
	t.Cleanup(disk.Heal) // an etcd that hangs in the disk does not end
	p.config = p.defaults(t)
	return p, disk
}

// Fault 19: each fsync of the standby takes 300 ms, and the primary is written
// far faster than that allows. The lag that is said is the lag that there is,
// what waits does so on the primary and not in memory, and with a fast disk the
// standby catches up by itself.
func TestSlowStandbyDiskShowsLagAndIsBounded(t *testing.T) {
	slow(t)
	p, disk := onDisk(t)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	padding := strings.Repeat(".", 16<<10)
	l := p.load(t, func(w *checker.Workload) { // 200 transactions and 6 MB a second
		w.Keys, w.MaxOps = 1000, 3
		w.Value = func(key, unique string) []byte { return object(key, unique+padding) }
	})
	d.wait(t, "little lag", func(s replica.State) bool { return l.Last() > 100 && s.Lag.Known && s.Lag.Seconds < 1 })

	disk.Delay(slowdisk.Sync, 300*time.Millisecond)
	before, began := heap(), l.Last()
	w := p.witness(l)
	var most float64
	testkit.Eventually(t, 60*time.Second, "60 MB written behind a slow disk", func() (bool, string) {
		s := w.look(t, d)
		if s.Phase == replica.Streaming && !s.Lag.Known {
			t.Errorf("the lag is unknown while both sides answer: %+v", s)
		}
		most = max(most, s.Lag.Seconds)
		return l.Last()-began > 2000, fmt.Sprintf("%d", l.Last())
	})
	grown := int64(heap()) - int64(before)
	t.Logf("the lag grew to %.1f s, the heap by %d MiB; %d fsyncs were slow", most, grown>>20, disk.Hit())
	if most < 5 {
		t.Errorf("the lag grew to %.1f s only: the disk was not slow enough to prove anything", most)
	}
	if grown > 40<<20 {
		t.Errorf("the heap grew by %d MiB for a burst of 60 MB", grown>>20)
	}

	disk.Heal()
	d.wait(t, "the standby to catch up", func(s replica.State) bool { return streaming(s) && s.Lag.Known && s.Lag.Seconds < 1 })
	p.judge(t, l)
	d.wait(t, "no lag", func(s replica.State) bool { return s.Lag.Known && s.Lag.Seconds == 0 && s.Lag.Revisions == 0 })
}

// Fault 19: an fsync of the standby does not come back. Nobody says that the
// standby is in step, and when the disk answers again replication goes on by
// itself, whatever became of the transaction that hung.
func TestHangingStandbyDisk(t *testing.T) {
	slow(t)
	t.Parallel()
	p, disk := onDisk(t)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	l := p.load(t)
	d.wait(t, "little lag", func(s replica.State) bool { return l.Last() > 100 && s.Lag.Known && s.Lag.Seconds < 1 })

	disk.Delay(slowdisk.Sync, time.Hour)
	w := p.witness(l)
	testkit.Eventually(t, 60*time.Second, "the replica to give its transaction up", func() (bool, string) {
		s := w.look(t, d)
		return s.Phase == replica.Connecting && s.Err != nil, fmt.Sprintf("%s, lag %+v", s.Phase, s.Lag)
	})
	if w.behind < 3*time.Second {
		t.Errorf("it gave up after %s", w.behind)
	}
	disk.Heal()
	d.wait(t, "streaming", streaming)
	p.judge(t, l)
}

// Fault 19: the standby's disk fails, and its etcd ends itself, also when it is
// started again on the same disk. The replica says so once and never that
// nothing is behind. With the disk healed and etcd started on the same data, it
// goes on by itself.
func TestFailingStandbyDisk(t *testing.T) {
	slow(t)
	for name, op := range map[string]slowdisk.Op{"fsync": slowdisk.Sync, "write": slowdisk.Write} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, disk := onDisk(t)
			var log lockedBuffer
			p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			l := p.load(t)
			d.wait(t, "little lag", func(s replica.State) bool { return l.Last() > 100 && s.Lag.Known && s.Lag.Seconds < 1 })

			disk.Fail(op, syscall.EIO)
			w := p.witness(l)
			fail := func(attempts int64) {
				t.Helper()
				testkit.Eventually(t, 60*time.Second, "attempts", func() (bool, string) {
					s := w.look(t, d)
					if s.Phase == replica.Connecting && s.Lag.Known {
						t.Errorf("the lag is said to be known: %+v", s.Lag)
					}
					return s.Phase == replica.Connecting && s.Err != nil && s.Errors["connection"] >= attempts, fmt.Sprintf("%s, errors %v", s.Phase, s.Errors)
				})
			}
			fail(2)
			p.mustHaveEnded(t, 0)
			p.standby.Launch()
			fail(4)
			p.mustHaveEnded(t, 0)
			s := d.State()
			if remedy.CodeOf(s.Err) != remedy.Failed || !strings.Contains(s.Err.Error(), "standby") {
				t.Errorf("says %v, want one that names the standby", s.Err)
			}

			disk.Heal()
			p.standby.Restart()
			d.wait(t, "streaming", streaming)
			p.judge(t, l)
			text := log.String()
			if down, up := strings.Count(text, "not replicating"), strings.Count(text, "replication went on"); down != 1 || up != 1 {
				t.Errorf("said %d times that it does not replicate and %d times that it does again:\n%s", down, up, text)
			}
		})
	}
}

// Fault 19: one of the standby's three members, the one that leads, has the bad
// disk. Slow, it makes lag, which is said; failing, it drops out, and the other
// two take what comes without anybody's help.
func TestOneBadDiskOfThree(t *testing.T) {
	slow(t)
	t.Parallel()
	p, disk := onDisk(t, testkit.Members(3))
	p.lead(t, 0)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	l := p.load(t)
	d.wait(t, "little lag", func(s replica.State) bool { return l.Last() > 100 && s.Lag.Known && s.Lag.Seconds < 1 })

	disk.Delay(slowdisk.Sync, 300*time.Millisecond)
	w := p.witness(l)
	testkit.Eventually(t, 60*time.Second, "lag to be said", func() (bool, string) {
		s := w.look(t, d)
		return s.Lag.Known && s.Lag.Seconds > 3, fmt.Sprintf("%s, lag %+v", s.Phase, s.Lag)
	})
	disk.Fail(slowdisk.Sync, syscall.EIO)
	p.mustHaveEnded(t, 0)
	d.wait(t, "two members to be enough", func(s replica.State) bool { return streaming(s) && s.Lag.Known && s.Lag.Seconds < 1 })
	p.reach(t, kv.Revision(l.Last()))

	disk.Heal()
	p.standby.RestartMember(0)
	p.judge(t, l)
}

// witness looks at the lag from outside: at what the writer got acknowledged
// and at the checkpoint, which it reads by itself.
type witness struct {
	p      *pair
	l      *workload
	looks  []written     // what the primary had when, oldest first
	has    kv.Revision   // what the standby had at the last look, at least
	behind time.Duration // the longest time that the standby was behind
}

type written struct {
	at       time.Time
	revision kv.Revision
}

// looseness is how far what is said may be from what is: the replica looks
// once a second, and everybody here shares two cores.
const looseness = 2500 * time.Millisecond

func (p *pair) witness(l *workload) *witness {
	return &witness{p: p, l: l, looks: []written{{time.Now(), kv.Revision(l.Last())}}}
}

// look returns the replica's state, and fails the test where its lag says
// anything else than the witness saw.
func (w *witness) look(t *testing.T, d *daemon) replica.State {
	t.Helper()
	before := w.has
	s, now := d.State(), time.Now()
	w.looks = append(w.looks, written{now, kv.Revision(w.l.Last())})
	// The checkpoint is read afterwards, so the standby had no more than that.
	w.has = max(w.has, s.Checkpoint.SourceRevision)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if c, err := checker.ReadCheckpoint(ctx, w.p.standby.Client()); err == nil {
		w.has = kv.Revision(c.SourceRevision)
	}
	least := now.Sub(w.lacking(w.has, now))
	most := now.Sub(w.lacking(before, now))
	w.behind = max(w.behind, least)
	switch {
	case !s.Lag.Known:
	case least > looseness && (s.Lag.Revisions <= 0 || s.Lag.Seconds < (least-looseness).Seconds()):
		t.Errorf("%s, says lag %.1f s, %d revisions, while the standby has been behind for %s", s.Phase, s.Lag.Seconds, s.Lag.Revisions, least)
	case before != 0 && s.Lag.Seconds > (most+looseness).Seconds():
		t.Errorf("%s, says lag %.1f s, %d revisions, while the standby has been behind for %s only", s.Phase, s.Lag.Seconds, s.Lag.Revisions, most)
	}
	return s
}

// lacking is since when a standby that has everything up to a revision lacks
// something; now, where it lacks nothing.
func (w *witness) lacking(has kv.Revision, now time.Time) time.Time {
	for _, look := range w.looks {
		if look.revision > has {
			return look.at
		}
	}
	return now
}

// mustHaveEnded waits until the standby's etcd has ended by itself.
func (p *pair) mustHaveEnded(t *testing.T, member int) {
	t.Helper()
	testkit.Eventually(t, 30*time.Second, "the standby's etcd to end itself", func() (bool, string) {
		return !p.standby.Running(member), proc.Tail(p.standby.LogPath(member), 1)
	})
}

// lead makes a member of the standby the one that leads.
func (p *pair) lead(t *testing.T, member int) {
	t.Helper()
	if leader := p.standby.LeaderIndex(); leader != member {
		status, err := p.standby.Client().Status(t.Context(), p.standby.Endpoints()[member])
		must(t, err)
		client := p.standby.NewClient(clientv3.Config{Endpoints: p.standby.Endpoints()[leader : leader+1]})
		_, err = client.MoveLeader(t.Context(), status.Header.MemberId)
		must(t, err)
	}
	testkit.Eventually(t, 10*time.Second, "the lead to move", func() (bool, string) { return p.standby.LeaderIndex() == member, "" })
}
