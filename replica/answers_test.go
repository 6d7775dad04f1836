package replica_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/replica"
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

// Beside a Namespace that is deleted too the answers end as well.
func TestAnswersBesideANamespaceComeToAnEnd(t *testing.T) {
	p := teams(t, 3, 400)
	p.deleteTeam(t, 0, 0, 400)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "400 of 1,200 "+teamMachines)
	p.answer(t, p.standingTrip(t), true)
	p.markTeams(t, 1, 2)
	_, err = p.new(t).Once(t.Context())
	mustTripOn(t, err, "Namespace team-1 is being deleted")
	trip := p.standingTrip(t)
	p.deleteTeam(t, 1, 0, 400) // as its primary does
	p.answer(t, trip, true)
	p.answersEnd(t, 0)
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
	mustTripOn(t, err, "750 of 1,000 "+teamMachines)
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
	lose(0, 3)
	p.answer(t, trip, true)
	p.write(t, 2)
	_, err = p.new(t).Once(t.Context())
	mustTripOn(t, err, "7 of 10 clusters.cluster.x-k8s.io")
	if n := count(t, p.standby.Client(), dir); n != 10 {
		t.Errorf("%d of 10 are left", n)
	}
}

// What the stream had shown, and a resync shows again, is accepted once.
func TestAnAnswerToWhatWasShownTwiceCountsOnce(t *testing.T) {
	p := teams(t, 1, 1000)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.deleteTeam(t, 0, 0, 100)
	p.quiet(t) // reaches the standby
	p.deleteTeam(t, 0, 100, 400)
	mustTripOn(t, d.wait(t, "the breaker to trip", tripped).Err, "400 of 1,000 "+teamMachines)
	d.stop(t)
	p.answer(t, p.standingTrip(t), true)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "300 of 900 "+teamMachines)
	trip := p.standingTrip(t)
	p.deleteTeam(t, 0, 400, 740)
	p.answer(t, trip, true)
	p.write(t, 2)
	_, err = p.new(t).Once(t.Context())
	mustTripOn(t, err, "640 of 900 "+teamMachines)
}
