package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
)

const machines = "machines.cluster.x-k8s.io"

// breakerTest is a breaker, a clock and a checkpoint.
type breakerTest struct {
	*testing.T
	*breaker
	now                  time.Time
	revision, checkpoint kv.Revision
}

func newBreakerTest(t *testing.T) *breakerTest {
	limits := Breaker{Share: 30, Floor: 20, Window: time.Minute, Rules: []BreakerRule{
		{Resources: []string{"*.cluster.x-k8s.io"}, Share: 10, Floor: 5},
		{Resources: []string{"secrets"}, Share: 100},
	}}
	return &breakerTest{T: t, breaker: newBreaker(limits, nil), now: time.Unix(1000, 0), revision: 100, checkpoint: 100}
}

// deleteSome deletes n objects of a resource, each the given time after the one before.
func (b *breakerTest) deleteSome(resource string, n int, every time.Duration) {
	for range n {
		b.now = b.now.Add(every)
		b.revision++
		b.lost(resource, fmt.Sprint(resource, b.revision), b.revision, b.now)
	}
}

// want says how far the stream may go, and how many deletions have to be weighed first.
func (b *breakerTest) want(through kv.Revision, weighs int64) weight {
	b.Helper()
	g := b.gate(b.checkpoint, b.now)
	var w weight
	if len(g.weigh) > 0 {
		w = g.weigh[0]
	}
	if g.through != through || w.deleted != weighs {
		b.Errorf("through %d, %d to be weighed; want through %d, %d to be weighed", g.through, w.deleted, through, weighs)
	}
	if waits := through != everything && weighs == 0; waits != (g.again > 0) {
		b.Errorf("asks again in %v", g.again)
	}
	return w
}

func TestBurstWaitsWholeAndIsWeighedWhenItHasEnded(t *testing.T) {
	b := newBreakerTest(t)
	b.deleteSome("configmaps", 1000, time.Millisecond)
	b.want(100, 0)
	b.now = b.now.Add(settle)
	w := b.want(100, 1000)
	if w.from != 101 || w.through != 1100 || w.applied != 0 || w.within != 999*time.Millisecond {
		t.Errorf("weighs %+v", w)
	}
	b.judged(w, 100_000, nil, b.now)
	b.want(everything, 0)
}

// S: a pause of the way ends no burst: as long as the primary is known to have written
// more, it waits, but not without end.
func TestBurstThatComesSlowlyIsWeighedWhole(t *testing.T) {
	b := newBreakerTest(t)
	b.expects(300)
	b.deleteSome("configmaps", 100, time.Millisecond)
	b.heard(200)
	b.now = b.now.Add(2 * settle)
	b.want(100, 0)
	b.deleteSome("configmaps", 100, time.Millisecond)
	b.heard(300)
	b.now = b.now.Add(settle)
	b.want(100, 200)

	b = newBreakerTest(t)
	b.expects(300)
	b.deleteSome("configmaps", 100, time.Millisecond)
	b.heard(200)
	b.now = b.now.Add(patience)
	b.want(100, 100)
}

func TestFewDeletionsPassAfterAMoment(t *testing.T) {
	b := newBreakerTest(t)
	b.deleteSome("configmaps", 20, time.Millisecond)
	b.want(100, 0)
	b.now = b.now.Add(settle)
	b.want(everything, 0)
}

// One deletion is held up for a moment only, two wait for a third.
func TestSingleDeletionWaitsLess(t *testing.T) {
	b := newBreakerTest(t)
	b.deleteSome("configmaps", 1, 0)
	b.want(100, 0)
	b.now = b.now.Add(alone)
	b.want(everything, 0)
	b.checkpoint = b.revision
	b.deleteSome("configmaps", 2, time.Second)
	b.now = b.now.Add(alone)
	b.want(101, 0)
	b.now = b.now.Add(settle)
	b.want(everything, 0)
}

// What never ends is not held up for ever, but counted all the same.
func TestSteadyDeletionsFlowUntilTheyAreTooMany(t *testing.T) {
	b := newBreakerTest(t)
	b.deleteSome("configmaps", 15, 10*time.Millisecond)
	b.want(100, 0)
	b.deleteSome("configmaps", 24, 205*time.Millisecond) // 5 s after the first
	w := b.want(100, 39)
	b.judged(w, 150, nil, b.now) // 30 % are 45
	b.checkpoint = b.revision
	for range 6 {
		b.want(everything, 0)
		b.checkpoint = b.revision
		b.deleteSome("configmaps", 1, 200*time.Millisecond)
	}
	b.want(everything, 0)
	b.deleteSome("configmaps", 1, 200*time.Millisecond)
	w = b.want(b.revision-1, 46)
	if w.applied != 44 {
		t.Errorf("%d had been applied, want 44", w.applied)
	}
}

func TestDeletionsOutsideTheWindowAreForgotten(t *testing.T) {
	b := newBreakerTest(t)
	for range 10 {
		b.deleteSome("configmaps", 20, time.Millisecond)
		b.now = b.now.Add(settle)
		b.want(everything, 0)
		b.checkpoint = b.revision
		b.now = b.now.Add(time.Minute)
	}
	if b.want(everything, 0); len(b.bursts) != 0 {
		t.Error("nothing is forgotten")
	}
}

// A deletion that has not been applied counts, however long it has waited.
func TestWaitingDeletionsAreNotForgotten(t *testing.T) {
	b := newBreakerTest(t)
	b.deleteSome("configmaps", 21, time.Millisecond)
	b.now = b.now.Add(time.Hour)
	b.want(100, 21)
}

func TestRecreatedObjectsDoNotCount(t *testing.T) {
	b := newBreakerTest(t)
	b.deleteSome("configmaps", 30, time.Millisecond)
	for r := kv.Revision(101); r <= 115; r++ {
		b.created("configmaps", fmt.Sprint("configmaps", r))
	}
	b.now = b.now.Add(settle)
	b.want(everything, 0)
}

// An object with finalizers is marked first and deleted later.
func TestMarkedAndDeletedCountsOnce(t *testing.T) {
	b := newBreakerTest(t)
	b.deleteSome("configmaps", 20, time.Millisecond)
	b.lost("configmaps", "configmaps101", 121, b.now)
	b.now = b.now.Add(settle)
	b.want(everything, 0)
}

func TestDoomIsWeighedBeforeItIsApplied(t *testing.T) {
	b := newBreakerTest(t)
	b.doomed("/registry/namespaces/prod", 140, b.now)
	g := b.gate(b.checkpoint, b.now)
	if g.through != 139 || len(g.weigh) != 1 || g.weigh[0].dooms[0].revision != 140 {
		t.Fatalf("%+v", g)
	}
	b.let(g.weigh[0].dooms, tolls{}, b.now)
	b.want(everything, 0)
}

// A scout tells of dooms before their turn; then they come once more.
func TestDoomsAreWeighedOnceAndInOrder(t *testing.T) {
	b := newBreakerTest(t)
	for _, revision := range []kv.Revision{150, 140, 150} {
		b.doomed(fmt.Sprint("/registry/namespaces/", revision), revision, b.now)
	}
	g := b.gate(b.checkpoint, b.now)
	if len(g.weigh) != 1 || len(g.weigh[0].dooms) != 2 || g.through != 139 || g.weigh[0].from != 140 || g.weigh[0].through != 150 {
		t.Errorf("%+v", g)
	}
}

func TestLimits(t *testing.T) {
	limits := newBreakerTest(t).limits
	for _, tc := range []struct {
		loss    role.Loss
		tooMany bool
	}{
		{role.Loss{Resource: "configmaps", Deleted: 20, Of: 20}, false}, // not more than the floor
		{role.Loss{Resource: "configmaps", Deleted: 21, Of: 21}, true},
		{role.Loss{Resource: "configmaps", Deleted: 30, Of: 100}, false}, // not more than the share
		{role.Loss{Resource: "configmaps", Deleted: 31, Of: 100}, true},
		{role.Loss{Resource: machines, Deleted: 6, Of: 50}, true},
		{role.Loss{Resource: machines, Deleted: 5, Of: 5}, false},
		{role.Loss{Resource: "secrets", Deleted: 1000, Of: 1000}, false}, // switched off
	} {
		if got := limits.tooMany(tc.loss); got != tc.tooMany {
			t.Errorf("%+v: %v", tc.loss, got)
		}
	}
	if (Breaker{}).tooMany(role.Loss{Resource: machines, Deleted: 1000, Of: 1000}) {
		t.Error("the zero value trips")
	}
	worst := limits.worst([]role.Loss{{Resource: "configmaps", Deleted: 40, Of: 100}, {Resource: machines, Deleted: 2000, Of: 2000}, {Resource: "jobs.batch", Deleted: 3, Of: 3}})
	if len(worst) != 2 || worst[0].Resource != machines {
		t.Errorf("the worst are %+v", worst)
	}
}
