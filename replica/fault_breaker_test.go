package replica_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

func (p *pair) markMachines(t *testing.T, n int) {
	t.Helper()
	p.forMachines(t, n, func(i int) clientv3.Op { return clientv3.OpPut(machineKey(i), machine(i, true)) })
}

func (p *pair) mustStreamWithoutTrip(t *testing.T, d *daemon) {
	t.Helper()
	p.quiet(t)
	s := d.wait(t, "the end", func(s replica.State) bool { return s.Phase == replica.Streaming || s.Phase == replica.Halted })
	if s.Phase == replica.Halted {
		t.Errorf("halted: %v", s.Err)
	}
}

// The answer resync brings no mark to the standby either: its own controllers
// would act on it. Nor does what the primary does to these objects later.
func TestOrderedResyncKeepsWhatWasMarked(t *testing.T) {
	p, d := fleet(t)
	p.markMachines(t, 1000)
	put(t, p.primary.Client(), "/registry/namespaces/team-1", namespace("team-1", true))
	put(t, p.primary.Client(), machinesCRD, definition(true))
	trip := p.mustTrip(t, d, "machines.cluster.x-k8s.io")
	p.answer(t, trip, false)
	p.quiet(t)
	kept := func() {
		t.Helper()
		p.mustHaveMachines(t, 1000) // none of them marked
		for key, value := range map[string]string{"/registry/namespaces/team-1": namespace("team-1", false), machinesCRD: definition(false)} {
			if now, _ := get(t, p.standby.Client(), key); now != value {
				t.Errorf("%s is now %s", key, now)
			}
		}
	}
	kept()
	p.markMachines(t, 10) // their finalizers run: they are written again
	p.deleteMachines(t, 500)
	p.mustStreamWithoutTrip(t, d)
	kept()
	d.stop(t)
	p.write(t, 5)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	d = p.start(t)
	p.mustStreamWithoutTrip(t, d)
	kept()
	put(t, p.primary.Client(), machineKey(3), machine(7000, false)) // brought back
	p.quiet(t)
	if now, _ := get(t, p.standby.Client(), machineKey(3)); now != machine(7000, false) {
		t.Errorf("what was brought back is %s", now)
	}
}

// Marks that were compacted away before anybody saw them stop the resync as
// deletions do.
func TestMarksStopAResync(t *testing.T) {
	for name, mark := range map[string]func(p *pair, t *testing.T){
		"objects": func(p *pair, t *testing.T) { p.markMachines(t, 1000) },
		"CRD":     func(p *pair, t *testing.T) { put(t, p.primary.Client(), machinesCRD, definition(true)) },
		"namespace": func(p *pair, t *testing.T) {
			put(t, p.primary.Client(), "/registry/namespaces/team-1", namespace("team-1", true))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, d := fleet(t)
			d.stop(t)
			mark(p, t)
			p.write(t, 5)
			compact(t, p.primary.Client(), revision(t, p.primary.Client()))
			d = p.start(t)
			trip := p.mustTrip(t, d, "machines.cluster.x-k8s.io")
			p.answer(t, trip, true)
			p.quiet(t)
			p.mustEqual(t)
		})
	}
}

// A namespace of the same name may be deleted twice.
func TestSecondDeletionOfANameTripsToo(t *testing.T) {
	p, d := fleet(t)
	const key = "/registry/namespaces/team-9"
	for _, value := range []string{namespace("team-9", false), namespace("team-9", true)} {
		put(t, p.primary.Client(), key, value)
	}
	remove(t, p.primary.Client(), key)
	put(t, p.primary.Client(), key, namespace("team-9", false))
	for i := range 800 {
		put(t, p.primary.Client(), machineDir+fmt.Sprintf("team-9/n-%04d", i), machine(i+2000, false))
	}
	p.quiet(t)
	put(t, p.primary.Client(), key, namespace("team-9", true))
	d.wait(t, "the breaker to trip", func(s replica.State) bool { return errors.Is(s.Err, replica.ErrTripped) })
	if now, _ := get(t, p.standby.Client(), key); now != namespace("team-9", false) {
		t.Errorf("the mark has reached the standby: %s", now)
	}
}

// What was accepted when it was marked is no news when it goes.
func TestAcceptedMarksGoWithoutAnotherTrip(t *testing.T) {
	p, d := fleet(t)
	p.markMachines(t, 1000)
	p.answer(t, p.mustTrip(t, d, "1,000 of 1,000"), true)
	p.quiet(t)
	p.deleteMachines(t, 1000)
	p.mustStreamWithoutTrip(t, d)
	p.mustEqual(t)
}

// Objects that come and go are no loss: the standby never had them.
func TestShortLivedObjectsDoNotTrip(t *testing.T) {
	p, d := fleet(t)
	for i := range 100 {
		key := fmt.Sprintf("/registry/acme.cert-manager.io/challenges/prod/c-%d", i)
		put(t, p.primary.Client(), key, configMap(i))
		remove(t, p.primary.Client(), key)
	}
	p.mustStreamWithoutTrip(t, d)
	p.mustEqual(t)
}

// All objects of a definition are too many even where they are few.
func TestDefinitionOfFewObjectsTrips(t *testing.T) {
	p, d := fleet(t)
	for i := range 10 {
		put(t, p.primary.Client(), fmt.Sprintf("/registry/cluster.x-k8s.io/clusters/prod/c-%d", i), configMap(i))
	}
	p.quiet(t)
	put(t, p.primary.Client(), "/registry/apiextensions.k8s.io/customresourcedefinitions/clusters.cluster.x-k8s.io",
		`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"deletionTimestamp":"2026-01-02T03:04:05Z","name":"clusters.cluster.x-k8s.io","uid":"d"}}`)
	p.mustTrip(t, d, "10 of 10 clusters.cluster.x-k8s.io")
}

// An answer is for what the operator saw: neither for more of it, nor for
// anything else.
func TestAcceptanceCoversWhatWasShown(t *testing.T) {
	for name, compacted := range map[string]bool{"stream": false, "resync": true} {
		t.Run(name, func(t *testing.T) {
			p, d := fleet(t)
			p.deleteMachines(t, 400)
			trip := p.mustTrip(t, d, "400 of 1,000")
			d.stop(t)
			for i := 400; i < 1000; i++ {
				remove(t, p.primary.Client(), machineKey(i))
			}
			p.answer(t, trip, true)
			if compacted {
				p.write(t, 5)
				compact(t, p.primary.Client(), revision(t, p.primary.Client()))
			}
			d = p.start(t)
			s := d.wait(t, "the breaker to trip again", func(s replica.State) bool { return errors.Is(s.Err, replica.ErrTripped) })
			if n := count(t, p.standby.Client(), machineDir); n < 600 {
				t.Errorf("%d Machines are left: %v", n, s.Err)
			}
			again, err := role.ReadTrip(t.Context(), p.standby.Client())
			must(t, err)
			p.answer(t, *again, true)
			p.quiet(t)
			p.mustEqual(t)
		})
	}
}

// Two resources that are deleted in turns trip one after the other; an answer
// to the second does not take back the one to the first.
func TestAnswersAddUp(t *testing.T) {
	p, d := fleet(t)
	for i := range 100 {
		put(t, p.primary.Client(), fmt.Sprintf("/registry/secrets/team-1/s-%03d", i), configMap(i))
	}
	p.quiet(t)
	d.stop(t)
	for i := range 100 {
		remove(t, p.primary.Client(), fmt.Sprintf("/registry/secrets/team-1/s-%03d", i))
		for n := range 8 {
			remove(t, p.primary.Client(), machineKey(8*i+n))
		}
	}
	d = p.start(t)
	var last time.Time
	for range 3 {
		trip := role.Trip{}
		testkit.Eventually(t, 30*time.Second, "a trip, or the end", func() (bool, string) {
			stands, err := role.ReadTrip(t.Context(), p.standby.Client())
			must(t, err)
			if stands != nil {
				trip = *stands
			}
			c, err := sink.ReadCheckpoint(t.Context(), p.standby.Client())
			must(t, err)
			done := int64(c.SourceRevision) >= int64(revision(t, p.primary.Client()))
			return done || stands != nil && stands.Answer == nil && stands.At.After(last), fmt.Sprintf("%v", d.State().Err)
		})
		if trip.Answer != nil || trip.At.IsZero() {
			break
		}
		last = trip.At
		p.answer(t, trip, true)
	}
	p.quiet(t)
	p.mustEqual(t)
}

// What was marked before the answer and not shown trips as well: its objects
// would go on the standby as soon as its own controllers see the mark.
func TestAnswerDoesNotCoverANamespaceThatWasNotShown(t *testing.T) {
	p, d := fleet(t)
	for i := range 100 {
		put(t, p.primary.Client(), fmt.Sprintf("/registry/secrets/other/s-%03d", i), configMap(i))
	}
	put(t, p.primary.Client(), "/registry/namespaces/other", namespace("other", false))
	p.quiet(t)
	p.deleteMachines(t, 400)
	trip := p.mustTrip(t, d, "400 of 1,000")
	put(t, p.primary.Client(), "/registry/namespaces/other", namespace("other", true))
	p.answer(t, trip, true)
	d.wait(t, "the second trip", func(s replica.State) bool {
		return errors.Is(s.Err, replica.ErrTripped) && strings.Contains(s.Err.Error(), "Namespace other")
	})
	if now, _ := get(t, p.standby.Client(), "/registry/namespaces/other"); now != namespace("other", false) {
		t.Errorf("the mark has reached the standby: %s", now)
	}
}

// The way out after a restore of the primary: the standby forgets the
// checkpoint. The trip does not stand in the way of a copy that deletes nothing.
func TestTripEndsWithACheckpointThatIsForgotten(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 1000)
	p.mustTrip(t, d, "1,000 of 1,000")
	d.stop(t)
	remove(t, p.standby.Client(), sink.CheckpointKey)
	d = p.start(t)
	p.mustStreamWithoutTrip(t, d)
	p.mustHaveMachines(t, 1000)
	if trip, err := role.ReadTrip(t.Context(), p.standby.Client()); err != nil || trip != nil {
		t.Errorf("the record stands: %v, %v", trip, err)
	}
}

// While the breaker waits for an answer the standby is still guarded, also by a
// daemon that was started anew.
func TestStandbyIsGuardedWhileTheBreakerWaits(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 900)
	p.mustTrip(t, d, "900 of 1,000")
	for range 2 {
		remove(t, p.standby.Client(), machineKey(950))
		testkit.Eventually(t, 10*time.Second, "the Machine to be put back", func() (bool, string) {
			_, there := get(t, p.standby.Client(), machineKey(950))
			return there, ""
		})
		d.stop(t)
		d = p.start(t)
		d.wait(t, "the trip", func(s replica.State) bool { return errors.Is(s.Err, replica.ErrTripped) })
	}
	p.mustHaveMachines(t, 1000)
}

// What the breaker holds back is what the standby has to have: the primary as it is
// now has lost it, or changed it, and the stream stands still.
func TestWhatTheBreakerHoldsBackIsGuarded(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 900)
	p.mustTrip(t, d, "900 of 1,000")
	put(t, p.primary.Client(), machineKey(950), machine(950, true))
	for _, key := range []string{machineKey(3), machineKey(950)} {
		before, _ := get(t, p.standby.Client(), key)
		remove(t, p.standby.Client(), key)
		testkit.Eventually(t, 10*time.Second, key+" to be put back", func() (bool, string) {
			now, _ := get(t, p.standby.Client(), key)
			return now == before, now
		})
	}
	// Where the primary no longer keeps the checkpoint's revision, it is told at least.
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	remove(t, p.standby.Client(), machineKey(4))
	d.wait(t, "a report", func(s replica.State) bool {
		return s.Drift.Deleted == 3 && s.Drift.Recent[0].Key == machineKey(4) && s.Drift.Recent[0].Outcome == replica.Reported
	})
}

// What a resync was told to keep stands on the standby alone: nobody can put it back,
// so at least it is told when somebody deletes it, also by the daemon after this one.
func TestDeletionOfWhatAResyncKeptIsTold(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 900)
	p.answer(t, p.mustTrip(t, d, "900 of 1,000"), false)
	d.wait(t, "the resync", func(s replica.State) bool {
		return s.Phase == replica.Streaming && s.Resyncs[replica.ReasonOrdered] == 1
	})
	p.quiet(t)
	told := func(key string, deleted int64) {
		t.Helper()
		remove(t, p.standby.Client(), key)
		d.wait(t, "a report of "+key, func(s replica.State) bool {
			return s.Drift.Deleted == deleted && s.Drift.Recent[0].Key == key && s.Drift.Recent[0].Outcome == replica.Reported
		})
	}
	told(machineKey(3), 1)
	p.guarded(t, revision(t, p.standby.Client()))
	d.stop(t)
	p.write(t, 10)
	compact(t, p.primary.Client(), revision(t, p.primary.Client())) // another copy, which keeps what is on record
	d = p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	told(machineKey(4), 1)

	// What somebody else creates, even under such a name, is theirs.
	for _, key := range []string{machineKey(4), machineKey(5000)} {
		put(t, p.standby.Client(), key, machine(4, false))
		p.guarded(t, revision(t, p.standby.Client()))
		remove(t, p.standby.Client(), key)
	}
	p.guarded(t, revision(t, p.standby.Client()))
	if now := d.State().Drift; now.Deleted != 1 || now.Created != 2 {
		t.Errorf("%+v", now)
	}
}

// A first copy that was killed has no complete checkpoint to count from.
func TestMassDeleteAfterAnUnfinishedFirstCopy(t *testing.T) {
	p, d := fleet(t)
	d.stop(t)
	c := p.unfinish(t)
	p.deleteMachines(t, 900)
	d = p.start(t)
	trip := p.mustTrip(t, d, "900 of 1,000")
	if trip.From == 0 || trip.From > trip.Through || trip.Through < kv.Revision(c.SourceRevision) {
		t.Errorf("revisions %d to %d", trip.From, trip.Through)
	}
}
