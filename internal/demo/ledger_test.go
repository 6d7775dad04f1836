package demo

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/kv"
)

// A write counts as missing unless the standby holds what it wrote, or what a
// later write of the same key wrote.
func TestSettle(t *testing.T) {
	one, two, three := DigestOf([]byte("1")), DigestOf([]byte("2")), DigestOf([]byte("3"))
	none := Digest{}
	const unanswered = 0
	for name, tc := range map[string]struct {
		writes  []Write
		standby map[string]Digest
		missing []kv.Revision
		strange []string
	}{
		"all there": {
			writes:  []Write{{Key: "a", Object: one, Revision: 1}, {Key: "b", Object: two, Revision: 2}},
			standby: map[string]Digest{"a": one, "b": two},
		},
		"never arrived": {
			writes:  []Write{{Key: "a", Object: one, Revision: 1}, {Key: "b", Object: two, Revision: 2}},
			standby: map[string]Digest{"b": two},
			missing: []kv.Revision{1},
		},
		"an older version": {
			writes:  []Write{{Key: "a", Object: one, Revision: 1}, {Key: "a", Object: two, Revision: 2}, {Key: "a", Object: three, Revision: 3}},
			standby: map[string]Digest{"a": one},
			missing: []kv.Revision{2, 3},
		},
		"a delete is missing": {
			writes:  []Write{{Key: "a", Object: one, Revision: 1}, {Key: "a", Object: none, Revision: 2}},
			standby: map[string]Digest{"a": one},
			missing: []kv.Revision{2},
		},
		"deleted": {
			writes:  []Write{{Key: "a", Object: one, Revision: 1}, {Key: "a", Object: none, Revision: 2}},
			standby: map[string]Digest{},
		},
		"the unanswered write did happen": {
			writes:  []Write{{Key: "a", Object: one, Revision: 1}, {Key: "a", Object: two, Revision: unanswered}},
			standby: map[string]Digest{"a": two},
		},
		"the unanswered write did not": {
			writes:  []Write{{Key: "a", Object: one, Revision: 1}, {Key: "a", Object: two, Revision: unanswered}},
			standby: map[string]Digest{"a": one},
		},
		"nobody wrote that": {
			writes:  []Write{{Key: "a", Object: one, Revision: 1}},
			standby: map[string]Digest{"a": three},
			missing: []kv.Revision{1},
			strange: []string{"a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLedger()
			answered := 0
			for _, w := range tc.writes {
				if w.Revision == unanswered {
					l.Unanswered(w)
					continue
				}
				answered++
				l.Acknowledged(w)
			}
			got := l.Settle(tc.standby)
			var missing []kv.Revision
			for _, w := range got.Missing {
				missing = append(missing, w.Revision)
			}
			if !slices.Equal(missing, tc.missing) || !slices.Equal(got.Strange, tc.strange) {
				t.Errorf("missing %v, strange %v; want %v, %v", missing, got.Strange, tc.missing, tc.strange)
			}
			if got.Acknowledged != answered || got.Unanswered != len(tc.writes)-answered {
				t.Errorf("%d acknowledged, %d unanswered", got.Acknowledged, got.Unanswered)
			}
		})
	}
}

// A write is readable from the first checkpoint on that is not below it.
func TestLags(t *testing.T) {
	began := time.Now()
	m := &Meter{changed: make(chan struct{})}
	m.saw(mark{10, began.Add(5 * time.Millisecond)})
	m.saw(mark{20, began.Add(9 * time.Millisecond)})
	got := m.Lags([]Write{
		{Revision: 8, Answered: began},
		{Revision: 10, Answered: began.Add(7 * time.Millisecond)}, // its client was slower than the standby
		{Revision: 11, Answered: began},
		{Revision: 21, Answered: began}, // not there yet
	})
	want := []time.Duration{0, 5 * time.Millisecond, 9 * time.Millisecond}
	if !slices.Equal(got, want) {
		t.Errorf("lags %v, want %v", got, want)
	}
	if p := Percentile(got, 50); p != want[1] {
		t.Errorf("p50 %v, want %v", p, want[1])
	}
	if p := Percentile(nil, 99); p != 0 {
		t.Errorf("p99 of nothing is %v", p)
	}
}
