package replica

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/understudy-dr/understudy/kv"
)

// What the meter is told, by the second, and what it says then. Unknown is
// never nothing.
func TestLag(t *testing.T) {
	type step struct {
		at  int // seconds
		saw kv.Revision
		has kv.Revision
	}
	for name, tc := range map[string]struct {
		steps []step
		at    int
		want  Lag
	}{
		"never looked":                   {at: 5},
		"only what the standby has":      {steps: []step{{has: 7}}, at: 1},
		"in step":                        {steps: []step{{saw: 7, has: 7}}, at: 3, want: Lag{Known: true}},
		"behind since the first look":    {steps: []step{{saw: 7, has: 5}, {at: 1, saw: 8}, {at: 2, saw: 9}}, at: 4, want: Lag{true, 4, 4}},
		"caught up with the first looks": {steps: []step{{saw: 7, has: 5}, {at: 1, saw: 8}, {at: 2, saw: 9}, {at: 3, has: 8}}, at: 4, want: Lag{true, 2, 1}},
		"caught up":                      {steps: []step{{saw: 7, has: 5}, {at: 2, saw: 9}, {at: 3, has: 9}}, at: 4, want: Lag{Known: true}},
		"ahead of the last look":         {steps: []step{{saw: 7, has: 9}}, at: 1, want: Lag{Known: true}},
		"looked 10 seconds ago":          {steps: []step{{saw: 7, has: 5}}, at: 10, want: Lag{true, 10, 2}},
		"looked 11 seconds ago":          {steps: []step{{saw: 7, has: 5}}, at: 11},
		"in step, 11 seconds ago":        {steps: []step{{saw: 7, has: 7}}, at: 11},
		"known again":                    {steps: []step{{saw: 7, has: 5}, {at: 30, saw: 9}}, at: 31, want: Lag{true, 31, 4}},
		"the standby was rolled back":    {steps: []step{{saw: 7, has: 7}, {at: 1, has: 3}}, at: 3, want: Lag{true, 3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
			var m lagMeter
			for _, s := range tc.steps {
				if s.saw != 0 {
					m.saw(began.Add(time.Duration(s.at)*time.Second), s.saw)
				}
				if s.has != 0 {
					m.has(s.has)
				}
			}
			if got := m.lag(began.Add(time.Duration(tc.at) * time.Second)); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

// Whatever happens: the lag is 0 exactly when the standby has all that the
// last look saw, it is as old as the oldest look above what the standby has,
// and the memory is bounded.
func TestLagAgainstItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		now := began
		var m lagMeter
		var looks []look
		primary, standby := kv.Revision(1), kv.Revision(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			if rapid.Bool().Draw(t, "look") {
				primary += kv.Revision(rapid.IntRange(0, 5).Draw(t, "writes"))
				looks = append(looks, look{now, primary})
				m.saw(now, primary)
			} else {
				standby += kv.Revision(rapid.IntRange(0, int(primary-standby)).Draw(t, "applied"))
				m.has(standby)
			}
			got := m.lag(now)
			if len(looks) == 0 {
				if got != (Lag{}) {
					t.Fatalf("%+v without a look", got)
				}
				continue
			}
			want := Lag{Known: now.Sub(looks[len(looks)-1].at) <= lookValid}
			if want.Known {
				want.Revisions = int64(max(0, looks[len(looks)-1].revision-standby))
				for _, l := range looks {
					if l.revision > standby {
						want.Seconds = now.Sub(l.at).Seconds()
						break
					}
				}
			}
			if got != want {
				t.Fatalf("%+v, want %+v", got, want)
			}
		}
	})
}

func TestLagMemoryIsBounded(t *testing.T) {
	var m lagMeter
	began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 5 * maxLooks {
		m.saw(began.Add(time.Duration(i)*time.Second), kv.Revision(i+1))
	}
	if len(m.looks) > maxLooks {
		t.Errorf("%d looks are kept", len(m.looks))
	}
	now := began.Add(5 * maxLooks * time.Second)
	if l := m.lag(now); !l.Known || l.Seconds != 5*maxLooks || l.Revisions != 5*maxLooks {
		t.Errorf("%+v", l)
	}
	m.has(kv.Revision(5*maxLooks - 1))
	if l := m.lag(now); !l.Known || l.Seconds != 1 || l.Revisions != 1 {
		t.Errorf("with one revision left: %+v", l)
	}
}
