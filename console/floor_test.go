package console

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestFloorInStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Facts)
		line   string
		warns  bool
	}{
		"high":                {func(*Facts) {}, "the standby is 1,000,000,000 revisions above the primary", false},
		"low":                 {func(f *Facts) { f.Standby.Revision = f.Primary.Revision + LowFloor - 1 }, "the standby is 999,999 revisions above the primary", true},
		"below":               {func(f *Facts) { f.Standby.Revision = 10 }, "none: the standby is 1,000 revisions below the primary", true},
		"primary unreachable": {func(f *Facts) { f.Primary.Reachable = false }, "unknown", false},
		"standby unreachable": {func(f *Facts) { f.Standby.Reachable = false }, "unknown", false},
		"revision unknown":    {func(f *Facts) { f.Primary.Revision = 0 }, "unknown", false},
		"promoted":            {func(f *Facts) { f.Standby.Role, f.Standby.Revision = "primary", 10 }, "none: the standby is 1,000 revisions below the primary", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := protected()
			f.Standby.Revision = f.Primary.Revision + 1_000_000_000
			tc.change(&f)
			s := Judge(f)
			if got := s.Floor.Text(); got != tc.line {
				t.Errorf("%q, want %q", got, tc.line)
			}
			warns := false
			for _, w := range s.Warnings {
				warns = warns || strings.Contains(w, "floor raise")
			}
			if warns != tc.warns {
				t.Errorf("warnings %q", s.Warnings)
			}
		})
	}
}

// The metric is left out where a side does not answer.
func TestFloorMetric(t *testing.T) {
	r := *protected().Report
	m := NewMetrics("moscow-spb", func() Report { return r })
	if n := testutil.CollectAndCount(m, "understudy_floor_margin_revisions"); n != 1 {
		t.Errorf("%d times, want once", n)
	}
	if got := r.floor(); !got.Known || *got.Revisions != 4990-1010 {
		t.Errorf("%s", got.Text())
	}
	r.Lag = Lag{}
	if n := testutil.CollectAndCount(m, "understudy_floor_margin_revisions"); n != 0 {
		t.Errorf("%d times while unknown", n)
	}
}
