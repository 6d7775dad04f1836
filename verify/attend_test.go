package verify

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// A side that dies while it is read ends the comparison and the simulation,
// which name it; nothing is said about what was not read.
func TestASideThatDiesIsNotWaitedFor(t *testing.T) {
	standby := testkit.StartEtcd(t)
	s := &stage{t, Sides{Primary: testkit.StartEtcd(t).Client(), Standby: standby.Client()}}
	s.fill(100, 10)
	s.checkpoint(nil)
	view := newView(t, nil, nil)
	if report := s.check(view); report.Compared == 0 {
		t.Fatalf("nothing to compare: %+v", report)
	}
	standby.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	report, err := Run(ctx, s.sides, view, Options{silence: time.Second})
	if err == nil || !strings.Contains(err.Error(), "read the standby: no answer for 1s") || report.Verdict != Unknown {
		t.Errorf("check: %s, %v", report.Verdict, err)
	}
	if _, err := Simulate(ctx, s.sides.Standby, view.Scope, SimulateOptions{silence: time.Second}); err == nil || !strings.Contains(err.Error(), "read the standby: no answer for 1s") {
		t.Errorf("simulate: %v", err)
	}
	if ctx.Err() != nil {
		t.Error("it took too long")
	}
}
