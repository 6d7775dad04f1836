package replica_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

// What stays on the standby when the primary has lost it may be the last copy, and
// so may be the original of a held object: without it nobody can release it.

// numbered is one of several Deployments.
func numbered(i int) (key, value string) {
	name := fmt.Sprintf("web-%02d", i)
	return "/registry/deployments/prod/" + name, fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"%s","namespace":"prod","uid":"00000000-0000-4000-8000-0000000001%02d"},"spec":{"replicas":3}}`, name, i)
}

// finalized is one of several Clusters with a finalizer.
func finalized(i int, marked bool, more string) (key, value string) {
	mark := ""
	if marked {
		mark = `"deletionTimestamp":"2026-01-02T03:04:05Z","deletionGracePeriodSeconds":0,`
	}
	return fmt.Sprintf("/registry/cluster.x-k8s.io/clusters/prod/c-%d", i),
		fmt.Sprintf(`{"apiVersion":"cluster.x-k8s.io/v1beta1","kind":"Cluster","metadata":{%s"finalizers":["cluster.cluster.x-k8s.io"],"name":"c-%d","namespace":"prod","uid":"00000000-0000-4000-8000-0000000002%02d"},"spec":{"x":1%s}}`, mark, i, i, more)
}

// keeps is a pair that holds, in step, with a breaker that trips at four objects of ten.
func keeps(t *testing.T, objects func(i int) (key, value string)) (*pair, *daemon) {
	t.Helper()
	p := newPair(t)
	p.hold(t)
	p.config.Breaker = replica.Breaker{Share: 30, Floor: 2, Window: time.Minute}
	for i := range 10 {
		key, value := objects(i)
		put(t, p.primary.Client(), key, value)
	}
	p.write(t, 20)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	return p, d
}

// tripAndKeep answers the breaker with a resync that deletes nothing.
func (p *pair) tripAndKeep(t *testing.T, d *daemon) {
	t.Helper()
	s := d.wait(t, "the breaker to trip", func(s replica.State) bool { return s.Phase == replica.Halted })
	trip, err := role.ReadTrip(t.Context(), p.standby.Client())
	if err != nil || trip == nil {
		t.Fatalf("%v: %v, %v", s.Err, trip, err)
	}
	p.answer(t, *trip, false)
	p.quiet(t)
	d.wait(t, "streaming", streaming)
}

// loseNumbered deletes the Deployments on the primary; the standby keeps them.
func (p *pair) loseNumbered(t *testing.T, d *daemon) {
	t.Helper()
	for i := range 10 {
		key, _ := numbered(i)
		remove(t, p.primary.Client(), key)
	}
	p.tripAndKeep(t, d)
}

func TestResyncThatKeepsObjectsKeepsTheirOriginals(t *testing.T) {
	p, d := keeps(t, numbered)
	p.loseNumbered(t, d)
	for i := range 10 {
		key, original := numbered(i)
		p.standsHeld(t, "after resume --resync", key, `"replicas":0`, original)
	}
	d.stop(t)
	items, err := hold.List(t.Context(), p.standby.Client(), p.config.View, "")
	must(t, err)
	_, err = hold.Release(t.Context(), p.standby.Client(), p.config.View, items, sink.Limits{})
	must(t, err)
	for i := range 10 {
		key, original := numbered(i)
		if now, _ := get(t, p.standby.Client(), key); now != original {
			t.Errorf("released: %s", now)
		}
	}
}

func TestObjectsOfARestoredPrimaryKeepTheirOriginals(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	p.write(t, 20)
	saved := saveData(t, p.primary)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	key, original := numbered(4)
	put(t, p.primary.Client(), key, original)
	p.quiet(t)
	d.stop(t)
	rollBack(t, p.primary, saved)
	remove(t, p.standby.Client(), sink.CheckpointKey) // as the refusal advises
	d = p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	p.standsHeld(t, "after following the restored primary", key, `"replicas":0`, original)
}

// The objects were marked and are kept unmarked; the primary's finalizers run, and
// then they are gone there.
func TestObjectsThatAreKeptUnmarkedKeepTheirOriginals(t *testing.T) {
	p, d := keeps(t, func(i int) (key, value string) { return finalized(i, false, "") })
	for i := range 10 {
		key, value := finalized(i, true, "")
		put(t, p.primary.Client(), key, value)
	}
	p.tripAndKeep(t, d)
	kept := func(when string) {
		t.Helper()
		for i := range 10 {
			key, original := finalized(i, false, "")
			p.standsHeld(t, when, key, `"paused":true`, original)
		}
	}
	kept("after resume --resync")
	key, value := finalized(9, true, `,"y":2`)
	put(t, p.primary.Client(), key, value) // the last to be written: it is the checkpoint's witness
	p.quiet(t)
	d.stop(t)
	d = p.start(t)
	if s := d.wait(t, "streaming, or not", func(s replica.State) bool { return s.Phase == replica.Streaming || s.Phase == replica.Halted }); s.Err != nil {
		t.Fatalf("after what the primary wrote to a kept object: %v", s.Err)
	}
	for i := range 10 {
		key, _ := finalized(i, true, "")
		remove(t, p.primary.Client(), key)
	}
	p.quiet(t)
	kept("after the primary's deletion")
}

// An operator who deletes what was kept deletes its original with it.
func TestRepairDeletesTheOriginalWithTheObject(t *testing.T) {
	p, d := keeps(t, numbered)
	p.loseNumbered(t, d)
	sides := verify.Sides{Primary: p.primary.Client(), Standby: p.standby.Client()}
	found, err := verify.Run(t.Context(), sides, p.config.View, verify.Options{})
	must(t, err)
	plan, err := verify.MakePlan(t.Context(), sides, p.config.View, found)
	must(t, err)
	out, err := verify.Repair(t.Context(), sides, p.config.View, plan, sink.Limits{})
	must(t, err)
	if left := count(t, p.standby.Client(), scope.HeldPrefix+"/"); out.Deleted != 10 || left != 0 {
		t.Errorf("%+v, %d originals are left", out, left)
	}
}
