package replica_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// The primary has lost ten Deployments, the standby keeps them, and they were
// released: the next copy holds them again.

func releasedOnes(t *testing.T) *pair {
	t.Helper()
	p, d := keeps(t, numbered)
	p.loseNumbered(t, d)
	d.stop(t)
	p.release(t)
	return p
}

func TestReleasedIsHeldAgainAlsoWhereTheBreakerWaits(t *testing.T) {
	p := releasedOnes(t)
	for i := range 15 { // of 20
		remove(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/w-%04d", i))
	}
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "configmaps")
	for i := range 10 {
		key, original := numbered(i)
		p.standsHeld(t, "while the breaker waits", key, `"replicas":0`, original)
	}
}

func TestReleasedAndLargeIsHeldAgain(t *testing.T) {
	large := func(i int) (key, value string) {
		key, value = numbered(i)
		if i == 4 {
			value = strings.Replace(value, `"uid"`, `"annotations":{"a":"`+strings.Repeat("x", 900<<10)+`"},"uid"`, 1)
		}
		return key, value
	}
	p, d := keeps(t, large)
	p.loseNumbered(t, d)
	d.stop(t)
	p.release(t)
	p.once(t)
	key, original := large(4)
	p.standsHeld(t, "after the next sync", key, `"replicas":0`, original)
}

// T: one that cannot be held again goes on counting as acting.
func TestReleasedAndUnreadableStillCounts(t *testing.T) {
	p := releasedOnes(t)
	key, _ := numbered(4)
	put(t, p.standby.Client(), key, "k8s\x00nothing that can be read")
	p.once(t)
	if r, err := role.ReadRelease(t.Context(), p.standby.Client()); err != nil || r.Objects != 1 {
		t.Errorf("what counts as released: %+v, %v; want the one that was not held", r, err)
	}
	if _, there := get(t, p.standby.Client(), role.ReleasedKey(key)); !there {
		t.Errorf("no record of %s", key)
	}
}

// One that needs no hold for a while is not forgotten.
func TestReleasedIsHeldAgainLater(t *testing.T) {
	for name, without := range map[string]func(t *testing.T, p *pair, key, original string) (back func()){
		"a configuration without holds": func(t *testing.T, p *pair, _, _ string) func() {
			view := *p.config.View
			none, err := scope.NewHolds(nil)
			must(t, err)
			view.Holds = none
			p.config.View = &view
			return func() { p.hold(t) }
		},
		"at zero": func(t *testing.T, p *pair, key, original string) func() {
			put(t, p.standby.Client(), key, strings.Replace(original, `"replicas":3`, `"replicas":0`, 1))
			return func() { put(t, p.standby.Client(), key, original) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := releasedOnes(t)
			key, original := numbered(4)
			back := without(t, p, key, original)
			p.once(t)
			back()
			p.holdAgain(t)
			p.standsHeld(t, "after hold apply", key, `"replicas":0`, original)
			p.release(t)
			p.once(t)
			p.standsHeld(t, "after the next sync", key, `"replicas":0`, original)
		})
	}
}

// What somebody made on the standby in its place is his.
func TestOwnObjectInThePlaceOfAReleasedOneStays(t *testing.T) {
	p := releasedOnes(t)
	key, original := numbered(4)
	mine := strings.Replace(original, "00000000-0000-4000-8000-0000000001", "99999999-0000-4000-8000-0000000001", 1)
	for i := range 3000 { // the standby's nodes say that they live: the guard looks back at a thousand writes
		put(t, p.standby.Client(), "/registry/leases/kube-node-lease/n", fmt.Sprint(i))
	}
	remove(t, p.standby.Client(), key)
	put(t, p.standby.Client(), key, mine)
	for range 2 {
		p.once(t)
		p.compactAll(t)
	}
	if now, _ := get(t, p.standby.Client(), key); now != mine {
		t.Errorf("after two resyncs: %s", now)
	}
	if record, _ := get(t, p.standby.Client(), sink.SurplusPrefix+key); record != "" {
		t.Errorf("the record takes it for the primary's: %q", record)
	}
}

func TestOwnObjectThatComesWhileACopyReadsStays(t *testing.T) {
	p := releasedOnes(t)
	for i := range 1500 {
		put(t, p.primary.Client(), fmt.Sprintf("/registry/secrets/prod/s-%04d", i), fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s-%04d","namespace":"prod","uid":"s-%d"}}`, i, i))
	}
	key, original := numbered(4)
	mine := strings.Replace(original, "00000000-0000-4000-8000-0000000001", "99999999-0000-4000-8000-0000000001", 1)
	var created sync.Once
	p.config.Hooks.Copying = func(c replica.CopyProgress) {
		if c.Read >= 1000 && !c.Done {
			created.Do(func() {
				remove(t, p.standby.Client(), key)
				put(t, p.standby.Client(), key, mine)
			})
		}
	}
	p.once(t)
	if now, _ := get(t, p.standby.Client(), key); now != mine {
		t.Errorf("his own object: %s", now)
	}
}

// The guard, which reads what a copy writes, does not take it off the record: the
// next resync would delete the last copies.
func TestReleasedIsHeldAgainBesideTheGuard(t *testing.T) {
	p := releasedOnes(t)
	for i := range 10 { // stored with a key that nobody gave us
		key, _ := numbered(i)
		put(t, p.standby.Client(), key, "k8s:enc:secretbox:v1:key1:sealed")
	}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.write(t, 3)
	p.quiet(t)
	for i := range 10 { // and in the clear again
		key, value := numbered(i)
		put(t, p.standby.Client(), key, value)
	}
	p.write(t, 3)
	p.quiet(t)
	put(t, p.primary.Client(), "/registry/configmaps/prod/w-0001", "{") // broken, and mended before anybody looks: a copy in this session
	p.write(t, 3)
	d.wait(t, "a resync in the session", func(s replica.State) bool { return s.Resyncs[replica.ReasonMended] > 0 && s.Phase == replica.Streaming })
	p.quiet(t)
	d.stop(t)
	for i := range 10 {
		key, original := numbered(i)
		p.standsHeld(t, "then", key, `"replicas":0`, original)
		if _, there := get(t, p.standby.Client(), sink.SurplusPrefix+key); !there {
			t.Errorf("%s is off the record", key)
		}
	}
	p.config.Breaker = replica.Breaker{Share: 30, Floor: 20, Window: time.Minute} // ten are never too many
	p.compactAll(t)
	p.once(t)
	if n := count(t, p.standby.Client(), "/registry/deployments/prod/"); n != 10 {
		t.Errorf("%d of 10 last copies are left", n)
	}
}
