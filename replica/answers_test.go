package replica_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
)

// An answer is for what was shown. Here the primary goes on deleting before it comes.

// answersEnd demands that a resync goes on after at most so many answers.
func (p *pair) answersEnd(t *testing.T, most int) {
	t.Helper()
	for range most {
		_, err := p.new(t).Once(t.Context())
		if err == nil {
			return
		}
		mustTripOn(t, err)
		p.answer(t, p.standingTrip(t), true)
	}
	if _, err := p.new(t).Once(t.Context()); err != nil {
		t.Errorf("%d answers, and it still stands: %v", most, err)
	}
}

func TestAnswersToAResyncComeToAnEnd(t *testing.T) {
	p := teams(t, 1, 1000)
	p.deleteTeam(t, 0, 0, 400)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "400 of 1,000 "+teamMachines)
	p.answer(t, p.standingTrip(t), true)
	p.deleteTeam(t, 0, 400, 750)
	p.answersEnd(t, 1)
}

func TestAnswersToTheStreamAndAResyncComeToAnEnd(t *testing.T) {
	p := teams(t, 1, 1000)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.deleteTeam(t, 0, 0, 400)
	d.wait(t, "the breaker to trip", tripped)
	d.stop(t)
	trip := p.standingTrip(t)
	p.deleteTeam(t, 0, 400, 1000)
	p.answer(t, trip, true)
	p.compactAll(t)
	p.answersEnd(t, 1)
}

// Beside Namespaces that are deleted too the answers end as well, and one covers
// nothing in others.
func TestAnswersBesideANamespaceComeToAnEnd(t *testing.T) {
	p := teams(t, 4, 300)
	p.deleteTeam(t, 0, 0, 300)
	p.deleteTeam(t, 3, 0, 100)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "400 of 1,200 "+teamMachines)
	p.answer(t, p.standingTrip(t), true)
	p.markTeams(t, 0, 2)
	p.deleteTeam(t, 2, 0, 100)
	_, err = p.new(t).Once(t.Context())
	mustTripOn(t, err, "Namespace team-1 is being deleted", "400 of 800 "+teamMachines)
	trip := p.standingTrip(t)
	p.deleteTeam(t, 1, 0, 300) // as its primary does
	p.answer(t, trip, true)
	p.answersEnd(t, 0)
}

func TestAnAnswerForANamespaceCoversNoOther(t *testing.T) {
	p := teams(t, 3, 1000)
	p.markTeams(t, 0, 1)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "1,000 of 3,000 "+teamMachines)
	trip := p.standingTrip(t)
	p.deleteTeam(t, 0, 0, 1000)
	p.deleteTeam(t, 1, 0, 950)
	p.answer(t, trip, true)
	_, err = p.new(t).Once(t.Context())
	mustTripOn(t, err, "950 of 2,000 "+teamMachines)
	if n := count(t, p.standby.Client(), machineDir+"team-1/"); n != 1000 {
		t.Errorf("%d Machines of another Namespace are left", n)
	}
}

// An accepted Namespace takes its Machines along whenever the primary deletes them,
// and one of its name that comes later does not.
func TestAnAnswerForANamespaceIsForAllOfIt(t *testing.T) {
	p := teams(t, 3, 400)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.markTeams(t, 0, 1)
	mustTripOn(t, d.wait(t, "the breaker to trip", tripped).Err, "Namespace team-0")
	p.answer(t, p.standingTrip(t), true)
	p.quiet(t)
	p.deleteTeam(t, 0, 0, 400)
	remove(t, p.primary.Client(), teamKey(0))
	p.quiet(t)
	if s := d.State(); tripped(s) {
		t.Fatal(s.Err)
	}
	put(t, p.primary.Client(), teamKey(0), namespace("team-0", false))
	p.putTeam(t, 0, 1000, 1700)
	p.quiet(t)
	p.deleteTeam(t, 0, 1000, 1700)
	mustTripOn(t, d.wait(t, "the breaker to trip", tripped).Err, teamMachines)
}

// Nor one that comes after a resync has deleted the accepted one.
func TestAnAnswerForANamespaceEndsWithItInAResync(t *testing.T) {
	p := teams(t, 3, 400)
	p.markTeams(t, 0, 1)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "Namespace team-0")
	trip := p.standingTrip(t)
	p.deleteTeam(t, 0, 0, 400)
	remove(t, p.primary.Client(), teamKey(0))
	p.answer(t, trip, true)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	put(t, p.primary.Client(), teamKey(0), namespace("team-0", false))
	p.putTeam(t, 0, 1000, 1700)
	p.quiet(t)
	p.deleteTeam(t, 0, 1000, 1700)
	p.nextTrip(t, d, teamMachines)
}

// Objects of finalizers that were marked, shown and accepted, and are gone by then.
func TestAnAnswerForMarksIsForTheDeletionsToo(t *testing.T) {
	p := teams(t, 1, 3000)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.eachOfTeam(t, 0, 0, 2000, func(key, value string) clientv3.Op {
		return clientv3.OpPut(key, strings.Replace(value, `"metadata":{`, `"metadata":{"deletionTimestamp":"2026-01-02T03:04:05Z","finalizers":["x"],`, 1))
	})
	trip := p.nextTrip(t, d, "2,000 of 3,000")
	p.deleteTeam(t, 0, 0, 2000)
	p.answer(t, trip, true)
	p.quiet(t)
	if n := count(t, p.standby.Client(), machineDir); n != 1000 {
		t.Errorf("%d Machines are left: %v", n, d.State().Err)
	}
}

// A few that go every minute anyway do not make an answer worthless.
func TestAnswersBesideUsualDeletionsComeToAnEnd(t *testing.T) {
	p := teams(t, 1, 1000)
	p.deleteTeam(t, 0, 0, 400)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "400 of 1,000 "+teamMachines)
	trip := p.standingTrip(t)
	p.deleteTeam(t, 0, 400, 410)
	p.answer(t, trip, true)
	p.answersEnd(t, 0)
}

// nextTrip waits for one that nobody has answered yet.
func (p *pair) nextTrip(t *testing.T, d *daemon, says string) (next role.Trip) {
	t.Helper()
	s := d.wait(t, "the breaker to trip", func(s replica.State) bool {
		if !tripped(s) {
			return false
		}
		next = p.standingTrip(t)
		return next.Answer == nil && strings.Contains(s.Err.Error(), next.What())
	})
	mustTripOn(t, s.Err, says)
	return next
}

// What the stream has shown is what goes: nothing that the primary deletes between
// that and the answer, however many were accepted before.
func TestAnswersToTheStreamCoverNothingElse(t *testing.T) {
	p := teams(t, 1, 2000)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	for _, step := range []struct {
		first, end, next int
		says             string
	}{{0, 700, 1300, "700 of 2,000"}, {700, 1300, 1900, "600 of 1,300"}} {
		if step.first == 0 {
			p.deleteTeam(t, 0, step.first, step.end)
		}
		trip := p.nextTrip(t, d, step.says)
		p.deleteTeam(t, 0, step.end, step.next)
		p.answer(t, trip, true)
	}
	p.nextTrip(t, d, "600 of 700")
	if n := count(t, p.standby.Client(), machineDir); n < 700 { // what was accepted may wait with the rest
		t.Errorf("%d of 700 are left", n)
	}
}

// Nor does a resync find more of it than the stream has shown and the standby has not.
func TestAnswersThatWereFollowedCoverNothingElse(t *testing.T) {
	p := teams(t, 1, 3000)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.deleteTeam(t, 0, 0, 1000)
	trip := p.nextTrip(t, d, "1,000 of 3,000")
	p.deleteTeam(t, 0, 1000, 1700)
	p.answer(t, trip, true)
	trip = p.nextTrip(t, d, "700 of 2,000")
	d.stop(t)
	p.deleteTeam(t, 0, 1700, 2600)
	p.answer(t, trip, true)
	p.hold(t) // what is held has changed: a resync
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "900 of 1,300 "+teamMachines)
}

func TestAnAnswerToAResyncNamesWhatNobodyHasSeen(t *testing.T) {
	p := teams(t, 1, 1000)
	p.deleteTeam(t, 0, 600, 1000)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "400 of 1,000 "+teamMachines)
	trip := p.standingTrip(t)
	p.deleteTeam(t, 0, 0, 350)
	p.answer(t, trip, true)
	p.write(t, 2)
	_, err = p.new(t).Once(t.Context())
	mustTripOn(t, err, "350 of 600 "+teamMachines)
	if unseen, _ := teamMachine(0, 7); !slices.Contains(p.standingTrip(t).Losses[0].Keys, unseen) {
		t.Errorf("it does not name %s", unseen)
	}
}

func TestAnAnswerForSomeClustersCoversNoOthers(t *testing.T) {
	slow(t)
	p := newPair(t)
	p.config.Breaker = replica.Breaker{Share: 30, Floor: 3, Window: 10 * time.Minute}
	const dir = "/registry/cluster.x-k8s.io/clusters/prod/"
	for i := range 10 {
		put(t, p.primary.Client(), fmt.Sprintf("%sc-%d", dir, i), fmt.Sprintf(`{"apiVersion":"cluster.x-k8s.io/v1beta1","kind":"Cluster","metadata":{"name":"c","namespace":"prod","uid":"c-%d"}}`, i))
	}
	p.once(t)
	lose := func(first, end int) {
		for i := first; i < end; i++ {
			remove(t, p.primary.Client(), fmt.Sprintf("%sc-%d", dir, i))
		}
	}
	lose(6, 10)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "4 of 10 clusters.cluster.x-k8s.io")
	trip := p.standingTrip(t)
	lose(0, 4)
	p.answer(t, trip, true)
	p.write(t, 2)
	_, err = p.new(t).Once(t.Context())
	mustTripOn(t, err, "4 of 6 clusters.cluster.x-k8s.io")
	if n := count(t, p.standby.Client(), dir); n != 10 {
		t.Errorf("%d of 10 are left", n)
	}
}

// What the stream has shown is accepted in a resync too, and nothing else.
func TestAnAnswerToTheStreamHoldsInAResync(t *testing.T) {
	p := teams(t, 1, 1000)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.deleteTeam(t, 0, 0, 400)
	p.nextTrip(t, d, "400 of 1,000 "+teamMachines)
	d.stop(t)
	p.answer(t, p.standingTrip(t), true)
	p.compactAll(t)
	p.answersEnd(t, 0)
	p.deleteTeam(t, 0, 400, 740)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "340 of 600 "+teamMachines)
}

// S: an answer accepts nothing where no record says what was shown, as an older
// version leaves it: the breaker asks again.
func TestAnAnswerWithoutARecordOfWhatWasShownAcceptsNothing(t *testing.T) {
	p := teams(t, 1, 100)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.deleteTeam(t, 0, 0, 60)
	p.nextTrip(t, d, "60 of 100 "+teamMachines)
	d.stop(t)
	_, err := p.standby.Client().Delete(t.Context(), role.ShownDir+"/", clientv3.WithPrefix())
	must(t, err)
	first := p.standingTrip(t)
	p.answer(t, first, true)
	var log lockedBuffer
	p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
	_, err = p.new(t).Once(t.Context())
	mustTripOn(t, err, "60 of 100 "+teamMachines)
	if second := p.standingTrip(t); second.At.Equal(first.At) || second.Answer != nil {
		t.Errorf("it does not ask again: %+v", second)
	}
	if !strings.Contains(log.String(), "no record of which they were") {
		t.Error("nothing says why it asks again")
	}
}
