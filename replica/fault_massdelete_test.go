package replica_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
)

const (
	machineDir  = "/registry/cluster.x-k8s.io/machines/"
	machinesCRD = "/registry/apiextensions.k8s.io/customresourcedefinitions/machines.cluster.x-k8s.io"
)

// machine is a Machine as the API server stores it; deleting = with finalizers,
// and marked for deletion.
func machine(i int, deleting bool) string {
	mark := ""
	if deleting {
		mark = `"deletionTimestamp":"2026-01-02T03:04:05Z","deletionGracePeriodSeconds":0,"finalizers":["machine.cluster.x-k8s.io"],`
	}
	return fmt.Sprintf(`{"apiVersion":"cluster.x-k8s.io/v1beta1","kind":"Machine","metadata":{%s"name":"m-%04d","namespace":"%s","uid":"00000000-0000-4000-8000-%012d"}}`,
		mark, i, machineNamespace(i), i)
}

func machineNamespace(i int) string { return fmt.Sprintf("team-%d", i%2) }

func machineKey(i int) string { return fmt.Sprintf("%s%s/m-%04d", machineDir, machineNamespace(i), i) }

func definition(deleting bool) string {
	mark := ""
	if deleting {
		mark = `"deletionTimestamp":"2026-01-02T03:04:05Z","finalizers":["customresourcecleanup.apiextensions.k8s.io"],`
	}
	return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{` + mark + `"name":"machines.cluster.x-k8s.io","uid":"c"},"spec":{}}`
}

func namespace(name string, deleting bool) string {
	mark := ""
	if deleting {
		mark = `"deletionTimestamp":"2026-01-02T03:04:05Z",`
	}
	return `{"apiVersion":"v1","kind":"Namespace","metadata":{` + mark + `"name":"` + name + `","uid":"n-` + name + `"}}`
}

// fleet is a pair with 1,000 Machines, their CRD and namespaces, in step.
func fleet(t *testing.T) (*pair, *daemon) {
	t.Helper()
	slow(t)
	t.Parallel()
	p := newPair(t)
	p.config.Breaker = replica.Breaker{Share: 30, Floor: 20, Window: time.Minute}
	client := p.primary.Client()
	put(t, client, machinesCRD, definition(false))
	for i := range 2 {
		put(t, client, "/registry/namespaces/"+machineNamespace(i), namespace(machineNamespace(i), false))
	}
	for i := range 1000 {
		put(t, client, machineKey(i), machine(i, false))
	}
	p.write(t, 100)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	return p, d
}

// mustTrip waits until the breaker has tripped, and returns what it says. All
// Machines must still be there, as they were.
func (p *pair) mustTrip(t *testing.T, d *daemon, says string) role.Trip {
	t.Helper()
	s := d.wait(t, "the breaker to trip", func(s replica.State) bool { return s.Phase == replica.Halted && errors.Is(s.Err, replica.ErrTripped) })
	if !strings.Contains(s.Err.Error(), says) || !strings.Contains(remedy.Of(s.Err), "resume --accept-deletes") || remedy.CodeOf(s.Err) != remedy.Refused {
		t.Errorf("it says %q (remedy %q), want %q", s.Err, remedy.Of(s.Err), says)
	}
	p.mustHaveMachines(t, 1000)
	trip, err := role.ReadTrip(t.Context(), p.standby.Client())
	if err != nil || trip == nil {
		t.Fatalf("the record: %v, %v", trip, err)
	}
	return *trip
}

func (p *pair) mustHaveMachines(t *testing.T, want int) {
	t.Helper()
	resp, err := p.standby.Client().Get(t.Context(), machineDir, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) != want {
		t.Fatalf("the standby has %d Machines, want %d", len(resp.Kvs), want)
	}
	for _, m := range resp.Kvs {
		if strings.Contains(string(m.Value), "deletionTimestamp") {
			t.Fatalf("%s is being deleted on the standby", m.Key)
		}
	}
}

func (p *pair) answer(t *testing.T, trip role.Trip, accept bool) {
	t.Helper()
	a := role.Answer{Accept: accept, Through: max(trip.Through, kv.Revision(revision(t, p.primary.Client()))), By: "test", At: time.Now()}
	if err := role.AnswerTrip(t.Context(), p.standby.Client(), trip, a); err != nil {
		t.Fatal(err)
	}
}

// deleteMachines deletes in few transactions: a slow disk that paused between
// one delete and the next would make two bursts of one.
func (p *pair) deleteMachines(t *testing.T, n int) {
	t.Helper()
	p.forMachines(t, n, func(i int) clientv3.Op { return clientv3.OpDelete(machineKey(i)) })
}

// forMachines does something with the first n Machines on the primary, in few
// transactions.
func (p *pair) forMachines(t *testing.T, n int, op func(i int) clientv3.Op) {
	t.Helper()
	const most = 50
	for first := 0; first < n; first += most {
		var ops []clientv3.Op
		for i := first; i < min(first+most, n); i++ {
			ops = append(ops, op(i))
		}
		_, err := p.primary.Client().Txn(t.Context()).Then(ops...).Commit()
		must(t, err)
	}
}

// Fault 16: all Machines are deleted. None of it reaches the standby before an
// operator has accepted it.
func TestMassDeleteStopsBeforeApplying(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 1000)
	trip := p.mustTrip(t, d, "1,000 of 1,000 machines.cluster.x-k8s.io were deleted within ")
	if l := trip.Losses[0]; l.Applied != 0 {
		t.Errorf("%d had been applied", l.Applied)
	}
	put(t, p.primary.Client(), "/registry/configmaps/prod/later", configMap(1))
	p.answer(t, trip, true)
	p.quiet(t)
	p.mustHaveMachines(t, 0)
	p.mustEqual(t)
}

// Neither a restart nor the primary's compaction lets the deletions through;
// nor does anybody's daemon but with an answer.
func TestTripStandsOverRestartsAndCompaction(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 400)
	p.mustTrip(t, d, "400 of 1,000 machines.cluster.x-k8s.io")
	d.stop(t)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	if _, err := p.new(t).Once(t.Context()); !errors.Is(err, replica.ErrTripped) || remedy.CodeOf(err) != remedy.Refused {
		t.Errorf("a single copy: %v", err)
	}
	d = p.start(t)
	trip := p.mustTrip(t, d, "400 of 1,000 machines.cluster.x-k8s.io")
	p.answer(t, trip, true)
	p.quiet(t)
	p.mustHaveMachines(t, 600)
	p.mustEqual(t)
}

// The deletions happened while nobody replicated and are compacted away: the
// resync stops before it deletes.
func TestMassDeleteStopsAResync(t *testing.T) {
	p, d := fleet(t)
	d.stop(t)
	p.deleteMachines(t, 1000)
	p.write(t, 10)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	d = p.start(t)
	trip := p.mustTrip(t, d, "1,000 of 1,000 machines.cluster.x-k8s.io are gone between the primary's revisions")
	p.answer(t, trip, true)
	p.quiet(t)
	p.mustHaveMachines(t, 0)
	p.mustEqual(t)
}

// The other answer: the standby keeps what the primary lost, for as long as
// nobody repairs it, and goes on with everything else.
func TestOrderedResyncKeepsWhatWasDeleted(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 1000)
	trip := p.mustTrip(t, d, "1,000 of 1,000")
	for i := range 100 { // brought back on the primary
		put(t, p.primary.Client(), machineKey(i), machine(5000+i, false))
	}
	p.answer(t, trip, false)
	p.quiet(t)
	s := d.wait(t, "streaming", streaming)
	if s.Resyncs[replica.ReasonOrdered] != 1 || s.Copy.Deleted != 0 || s.Copy.Surplus != 900 {
		t.Errorf("resyncs %v, deleted %d, surplus %d", s.Resyncs, s.Copy.Deleted, s.Copy.Surplus)
	}
	p.mustHaveMachines(t, 1000)
	// A later resync does not delete them either.
	d.stop(t)
	p.write(t, 10)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	d = p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	p.mustHaveMachines(t, 1000)
	_, differences, err := checker.EqualAtCheckpoint(t.Context(), p.primary.Client(), p.standby.Client(), "/registry/", checker.Options{})
	if err != nil || len(differences) != 900 {
		t.Errorf("%d differences, %v; want the 900 that are kept", len(differences), err)
	}
	// Nor does another trip make anybody forget what is kept, whatever its answer.
	put(t, p.primary.Client(), "/registry/namespaces/team-1", namespace("team-1", true))
	trip = p.mustTrip(t, d, "Namespace team-1")
	if trip.Kept() == "" {
		t.Errorf("another trip has made it forgotten what the resync kept: %+v", trip)
	}
	p.answer(t, trip, true)
	p.quiet(t)
	if after, err := role.ReadTrip(t.Context(), p.standby.Client()); err != nil || after.Kept() == "" {
		t.Errorf("its answer has made it forgotten what the resync kept: %+v, %v", after, err)
	}
}

// A dropped CRD takes its objects along, and a Namespace what is in it: the
// breaker trips on the mark, before the first of them is deleted.
func TestDroppedDefinitionAndNamespaceTripOnTheMark(t *testing.T) {
	for name, tc := range map[string]struct{ key, value, says string }{
		"CRD":       {machinesCRD, definition(true), "CustomResourceDefinition machines.cluster.x-k8s.io is being deleted since the primary's revision"},
		"namespace": {"/registry/namespaces/team-1", namespace("team-1", true), "Namespace team-1 is being deleted since the primary's revision"},
	} {
		t.Run(name, func(t *testing.T) {
			p, d := fleet(t)
			before, _ := get(t, p.standby.Client(), tc.key)
			put(t, p.primary.Client(), tc.key, tc.value)
			trip := p.mustTrip(t, d, tc.says)
			if l := trip.Losses[0]; len(trip.Losses) != 1 || l.Resource != "machines.cluster.x-k8s.io" || l.Of != 1000 || l.Deleted != map[string]int64{"CRD": 1000, "namespace": 500}[name] {
				t.Errorf("losses %+v", trip.Losses)
			}
			if now, _ := get(t, p.standby.Client(), tc.key); now != before {
				t.Errorf("the mark has reached the standby: %s", now)
			}
			p.answer(t, trip, true)
			p.quiet(t)
			p.mustEqual(t)
		})
	}
}

// Objects with finalizers are marked, not deleted; the mark counts as much.
func TestMarkedObjectsTrip(t *testing.T) {
	p, d := fleet(t)
	p.markMachines(t, 1000)
	trip := p.mustTrip(t, d, "1,000 of 1,000 machines.cluster.x-k8s.io")
	p.answer(t, trip, true)
	p.quiet(t)
	p.mustEqual(t)
	// The deletions of what was marked and accepted are no news.
	p.deleteMachines(t, 10)
	p.quiet(t)
	p.mustEqual(t)
}

// Deletions within the limits pass, and so does everything while they do.
func TestFewDeletionsPass(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 250)
	put(t, p.primary.Client(), "/registry/namespaces/empty", namespace("empty", false))
	put(t, p.primary.Client(), "/registry/namespaces/empty", namespace("empty", true))
	remove(t, p.primary.Client(), "/registry/namespaces/empty")
	p.quiet(t)
	p.mustHaveMachines(t, 750)
	p.mustEqual(t)
	if s := d.State(); s.Phase != replica.Streaming {
		t.Errorf("%s: %v", s.Phase, s.Err)
	}
}

// An answer to what has changed since is refused.
func TestAnswerToAnotherTripIsRefused(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 1000)
	trip := p.mustTrip(t, d, "1,000")
	old := trip
	old.At = old.At.Add(-time.Second)
	for _, client := range []*clientv3.Client{p.standby.Client()} {
		if err := role.AnswerTrip(t.Context(), client, old, role.Answer{Accept: true}); !errors.Is(err, role.ErrTripChanged) {
			t.Errorf("an answer to another trip: %v", err)
		}
	}
	p.answer(t, trip, true)
	if err := role.AnswerTrip(t.Context(), p.standby.Client(), trip, role.Answer{}); !errors.Is(err, role.ErrTripChanged) {
		t.Errorf("a second answer: %v", err)
	}
	testkit.Eventually(t, 10*time.Second, "the deletions to be applied", func() (bool, string) {
		n := count(t, p.standby.Client(), machineDir)
		return n == 0, fmt.Sprint(n)
	})
}
