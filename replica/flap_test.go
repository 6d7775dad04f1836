package replica

import (
	"testing"
	"time"
)

func TestFlaps(t *testing.T) {
	const key = "k"
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	type step struct {
		after   time.Duration // since the step before
		allowed bool
		stops   bool
	}
	for name, steps := range map[string][]step{
		"three within a minute": {{0, true, false}, {20 * time.Second, true, false}, {20 * time.Second, true, false}, {19 * time.Second, false, true}, {time.Second, false, false}},
		"slowly":                {{0, true, false}, {31 * time.Second, true, false}, {31 * time.Second, true, false}, {31 * time.Second, true, false}, {31 * time.Second, true, false}},
		"six within an hour":    {{0, true, false}, {9 * time.Minute, true, false}, {9 * time.Minute, true, false}, {9 * time.Minute, true, false}, {9 * time.Minute, true, false}, {9 * time.Minute, true, false}, {9 * time.Minute, false, true}},
		"eleven minutes apart":  {{0, true, false}, {11 * time.Minute, true, false}, {11 * time.Minute, true, false}, {11 * time.Minute, true, false}, {11 * time.Minute, true, false}, {11 * time.Minute, true, false}, {11 * time.Minute, true, false}},
		"faster and faster":     {{0, true, false}, {59 * time.Second, true, false}, {time.Second, true, false}, {time.Second, true, false}, {time.Second, false, true}},
		"rested":                {{0, true, false}, {0, true, false}, {0, true, false}, {0, false, true}, {flapRest, true, false}},
		"harmed on and on":      {{0, true, false}, {0, true, false}, {0, true, false}, {0, false, true}, {flapRest - time.Second, false, false}, {flapRest - time.Second, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			f, now := flaps{}, start
			for i, s := range steps {
				now = now.Add(s.after)
				f.rested(now)
				f.touch(key, now)
				ok, stops := f.allows(&wound{key: key}, now)
				if ok != s.allowed || stops != s.stops {
					t.Fatalf("step %d: allowed %v, stops %v; want %v, %v", i, ok, stops, s.allowed, s.stops)
				}
				if ok {
					f.repaired(key, now)
				}
			}
		})
	}
}

func TestFlapsAreLookedAtAgainAndForgotten(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := flaps{}
	w := &wound{key: "a"}
	for range flapRepairs {
		f.repaired("a", now)
	}
	f.repaired("b", now)
	f.allows(w, now)
	if all := f.stopped(); len(all) != 1 || all[0].wound != w {
		t.Errorf("stopped: %+v", all)
	}
	if again := f.rested(now.Add(flapRest - 1)); len(again) != 0 || len(f) != 2 {
		t.Errorf("too early: %+v, %d known", again, len(f))
	}
	if again := f.rested(now.Add(flapRest)); len(again) != 1 || again[0] != w || len(f) != 1 {
		t.Errorf("rested: %+v, %d known", again, len(f))
	}
	if f.rested(now.Add(slowWithin + 1)); len(f) != 0 {
		t.Errorf("%d are remembered for ever", len(f))
	}
	for range flapRepairs {
		f.repaired("a", now)
	}
	f.allows(w, now)
	f.forget("a")
	if ok, _ := f.allows(w, now); !ok || len(f.stopped()) != 0 {
		t.Error("what an operator took care of is still left alone")
	}
}
