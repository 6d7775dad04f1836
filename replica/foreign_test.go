package replica_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

// Somebody creates a key on the standby, deletes it and creates it again: the
// new one is not ours either, and a resync spares it.
func TestResyncSparesAForeignKeyThatWasCreatedAgain(t *testing.T) {
	slow(t)
	p := newPair(t)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	const key = "/registry/configmaps/prod/foreign"
	for round := range 2 {
		created := put(t, p.standby.Client(), key, configMap(round))
		testkit.Eventually(t, 20*time.Second, "the guard to have looked at it", func() (bool, string) {
			p.write(t, 1) // every transaction says how far the guard is
			c, err := sink.ReadCheckpoint(t.Context(), p.standby.Client())
			return err == nil && c.Guarded >= created, fmt.Sprintf("guarded to %d, created at %d, %v", c.Guarded, created, err)
		})
		if round == 0 {
			remove(t, p.standby.Client(), key)
		}
	}
	d.stop(t)
	p.write(t, 1)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	d = p.start(t)
	p.quiet(t)
	d.wait(t, "streaming", streaming)
	if value, there := get(t, p.standby.Client(), key); !there || value != configMap(1) {
		t.Errorf("the key is %q, %v", value, there)
	}
}

// Somebody created keys on the standby, the primary then created them too, and
// another daemon made them its own. A daemon that led before and sees all of that
// late does not take them for somebody's: when the primary deletes them, they go.
func TestAdoptedKeysStayAdopted(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	p.config.LeaseTTL = 4 * time.Second
	first := p.spawn(t, "first")
	first.says(t, "msg=streaming", 0)
	second := p.spawn(t, "second")
	second.says(t, "waiting for the lead", 0)
	must(t, first.Pause())
	second.says(t, "msg=streaming", 0)

	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("/registry/configmaps/prod/both-%02d", i))
		put(t, p.standby.Client(), keys[i], configMap(i))
		put(t, p.primary.Client(), keys[i], configMap(1000+i))
	}
	p.quiet(t)
	p.mustEqual(t)
	waiting := first.logged(t, "waiting for the lead")
	must(t, first.Continue())
	first.says(t, "waiting for the lead", waiting)

	streaming := first.logged(t, "msg=streaming")
	must(t, second.Pause())
	p.write(t, 2000) // there is time to look at the standby's history
	for _, key := range keys {
		remove(t, p.primary.Client(), key)
	}
	first.says(t, "msg=streaming", streaming)
	p.quiet(t)
	p.mustEqual(t)
	must(t, second.Continue())
}

// What a repair wrote is the primary's, and goes when the primary deletes it.
func TestRepairedKeyGoesWithThePrimarys(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	const key = "/registry/configmaps/prod/repaired"
	put(t, p.primary.Client(), key, configMap(1))
	p.quiet(t)
	d.stop(t)
	remove(t, p.standby.Client(), key)
	sides := verify.Sides{Primary: p.primary.Client(), Standby: p.standby.Client()}
	found, err := verify.Run(t.Context(), sides, p.config.View, verify.Options{})
	must(t, err)
	plan, err := verify.MakePlan(t.Context(), sides, p.config.View, found)
	must(t, err)
	_, err = verify.Repair(t.Context(), sides, p.config.View, plan, sink.Limits{})
	must(t, err)
	if _, there := get(t, p.standby.Client(), key); !there {
		t.Fatal("the repair has written nothing")
	}
	p.write(t, 3000) // the guard is ahead of the stream
	remove(t, p.primary.Client(), key)
	p.start(t)
	p.quiet(t)
	p.mustEqual(t)
}

// A check finds keys that only the standby has, and which came from the primary: it
// was rolled back, and no witness could tell. A resync spares the last copies.
func TestResyncSparesWhatACheckFound(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	p.write(t, 300)
	saved := saveData(t, p.primary)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	only := func(i int) string { return fmt.Sprintf("/registry/configmaps/prod/only-%d", i) }
	for i := range 3 {
		put(t, p.primary.Client(), only(i), configMap(i))
	}
	for i := range 4 { // the witness and its spares
		put(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/witness-%d", i), configMap(9))
	}
	p.quiet(t)
	for i := range 4 {
		remove(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/witness-%d", i))
	}
	p.quiet(t)
	d.stop(t)
	rollBack(t, p.primary, saved)
	p.write(t, 50)
	d = p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	found, err := verify.Run(t.Context(), verify.Sides{Primary: p.primary.Client(), Standby: p.standby.Client()}, p.config.View, verify.Options{})
	must(t, err)
	if len(found.Surplus.Keys) != 3 {
		t.Fatalf("the check found %v, want three keys that only the standby has", found.Surplus.Keys)
	}
	must(t, d.RememberSurplus(t.Context(), found.Surplus.Keys, found.StandbyRevision, true))
	d.stop(t)
	p.write(t, 5)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	d = p.start(t)
	p.quiet(t)
	d.wait(t, "streaming", streaming)
	for i := range 3 {
		if _, there := get(t, p.standby.Client(), only(i)); !there {
			t.Errorf("%s, the last copy, was deleted by the resync", only(i))
		}
	}
}

// What a copy takes over from others is the primary's in the same session: it is
// put back, and it goes when the primary deletes it.
func TestCopyAdoptsForTheSessionToo(t *testing.T) {
	p := newPair(t)
	p.write(t, 20)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	const harmed, goes = "/registry/configmaps/prod/x-harmed", "/registry/configmaps/prod/x-goes"
	put(t, p.standby.Client(), harmed, configMap(1))
	put(t, p.standby.Client(), goes, configMap(2))
	testkit.Eventually(t, 10*time.Second, "the records", func() (bool, string) {
		n := count(t, p.standby.Client(), sink.SurplusPrefix)
		return n == 2, fmt.Sprint(n)
	})
	d.stop(t)
	put(t, p.primary.Client(), harmed, configMap(1)) // the same bytes: nothing is written
	put(t, p.primary.Client(), goes, configMap(2))
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	d = p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	p.guarded(t, revision(t, p.standby.Client()))
	remove(t, p.standby.Client(), harmed)
	p.back(t, harmed)
	compact(t, p.standby.Client(), revision(t, p.standby.Client()))
	remove(t, p.primary.Client(), goes)
	p.quiet(t)
	p.mustEqual(t)
}
