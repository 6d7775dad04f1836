package kube

import (
	"testing"
	"time"
)

// A date has whole seconds. Where a second passes between two answers, the clock
// is known to a fraction of one; where nothing fits, two clocks answer.
func TestClockOf(t *testing.T) {
	base := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	answer := func(ahead time.Duration, before, after int) clockAnswer {
		middle := at((before + after) / 2).Add(ahead)
		return clockAnswer{middle.Truncate(time.Second), at(before), at(after)}
	}
	var steady []clockAnswer
	for ms := 100; ms < 1500; ms += 60 {
		steady = append(steady, answer(2500*time.Millisecond, ms, ms+10))
	}
	if c := clockOf(steady); (c.Ahead-2500*time.Millisecond).Abs() > c.Slack || c.Slack > 50*time.Millisecond || c.Apart != 0 {
		t.Errorf("%+v", c)
	}
	if c := clockOf(steady[:1]); c.Slack < 500*time.Millisecond || (c.Ahead-2500*time.Millisecond).Abs() > c.Slack {
		t.Errorf("one look cannot tell: %+v", c)
	}
	if c := clockOf(append(steady, answer(-20*time.Second, 2000, 2010))); c.Apart < 21*time.Second || c.Apart > 23*time.Second {
		t.Errorf("two clocks: %+v", c)
	}
}
