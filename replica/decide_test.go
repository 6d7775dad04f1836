package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

// settled are the facts of a pair that streams: the checkpoint is at revision
// 100 of primary aa, written at revision 50 of the standby.
func settledFacts() Facts {
	return Facts{
		Primary:     cluster.Identity{ID: 0xaa, Revision: 120},
		Standby:     cluster.Identity{ID: 0xbb, Revision: 60},
		StandbyRole: role.State{Role: role.Standby, Term: 1, Peer: "aa", Revision: 3},
		Checkpoint: sink.Stored{Revision: 50, Checkpoint: sink.Checkpoint{
			SourceClusterID: "aa", SourceRevision: 100, ScopeHash: "s", HoldsHash: "h", Phase: sink.Streaming}},
		ScopeHash: "s", HoldsHash: "h", Reached: 100,
	}
}

// Every outcome that Decide can have, by name.
func TestDecide(t *testing.T) {
	streamed := &sink.Base{SourceRevision: 100, StandbyRevision: 50}
	earlier := &sink.Base{SourceRevision: 70, StandbyRevision: 30}
	copying := func(f *Facts) {
		f.Checkpoint.Phase, f.Checkpoint.Base, f.Checkpoint.Interrupted = sink.Copying, earlier, []kv.Revision{80}
	}
	for name, tc := range map[string]struct {
		change      func(*Facts)
		copy        string
		base        *sink.Base
		interrupted []kv.Revision
		filled      []kv.Revision
	}{
		"goes on streaming":                        {base: streamed},
		"a new process goes on streaming":          {change: func(f *Facts) { f.Reached = 0 }, base: streamed},
		"the primary is exactly at the checkpoint": {change: func(f *Facts) { f.Primary.Revision = 100 }, base: streamed},
		"no checkpoint":                            {change: func(f *Facts) { f.Checkpoint = sink.Stored{} }, copy: ReasonFirstCopy},
		"no checkpoint and no role":                {change: func(f *Facts) { f.Checkpoint, f.StandbyRole = sink.Stored{}, role.State{} }, copy: ReasonFirstCopy},
		"no checkpoint any more":                   {change: func(f *Facts) { f.Checkpoint, f.Reached = sink.Stored{}, 100 }, copy: ReasonFirstCopy},
		"an interrupted copy":                      {change: copying, copy: ReasonInterrupted, base: earlier, interrupted: []kv.Revision{80, 100}, filled: []kv.Revision{80, 100, 70}},
		"an interrupted first copy":                {change: func(f *Facts) { f.Checkpoint.Phase = sink.Copying }, copy: ReasonInterrupted, interrupted: []kv.Revision{100}, filled: []kv.Revision{100}},
		"an unknown phase":                         {change: func(f *Facts) { f.Checkpoint.Phase = "resting" }, copy: ReasonInterrupted, interrupted: []kv.Revision{100}, filled: []kv.Revision{100}},
		"another scope":                            {change: func(f *Facts) { f.ScopeHash = "t" }, copy: ReasonScope, filled: []kv.Revision{100}},
		"other holds":                              {change: func(f *Facts) { f.HoldsHash = "i" }, copy: ReasonHolds, base: streamed},
		"other holds in a copy":                    {change: func(f *Facts) { copying(f); f.HoldsHash = "i" }, copy: ReasonInterrupted, base: earlier, interrupted: []kv.Revision{80, 100}, filled: []kv.Revision{80, 100, 70}},
		"other holds and another scope":            {change: func(f *Facts) { f.HoldsHash, f.ScopeHash = "i", "t" }, copy: ReasonScope, filled: []kv.Revision{100}},
		"another scope in a copy":                  {change: func(f *Facts) { copying(f); f.ScopeHash = "t" }, copy: ReasonScope, filled: []kv.Revision{80, 100, 70}},
		"the standby was rolled back":              {change: func(f *Facts) { f.Reached = 101 }, copy: ReasonRolledBack, base: streamed},
	} {
		t.Run(name, func(t *testing.T) {
			f := settledFacts()
			if tc.change != nil {
				tc.change(&f)
			}
			d, err := Decide(f)
			if err != nil {
				t.Fatal(err)
			}
			if d.Copy != tc.copy || !slices.Equal(d.Interrupted, tc.interrupted) ||
				(d.Base == nil) != (tc.base == nil) || (d.Base != nil && *d.Base != *tc.base) {
				t.Errorf("decided %q on base %+v after %v, want %q on %+v after %v", d.Copy, d.Base, d.Interrupted, tc.copy, tc.base, tc.interrupted)
			}
			if !slices.Equal(d.Filled, tc.filled) {
				t.Errorf("it was filled from %v, want %v", d.Filled, tc.filled)
			}
		})
	}
}

// Every refusal has its error, a remedy, the code, and what a person has to know.
func TestDecideRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Facts)
		is     error
		says   []string
	}{
		"the same cluster":            {func(f *Facts) { f.Standby.ID = 0xaa }, ErrSameCluster, []string{"aa"}},
		"the primary is a standby":    {func(f *Facts) { f.PrimaryRole = role.State{Role: role.Standby, Pair: "x", Term: 7} }, ErrPrimaryIsStandby, []string{`"x"`, "7"}},
		"another source":              {func(f *Facts) { f.Primary.ID = 0xcc }, ErrOtherSource, []string{"aa", "cc"}},
		"another source in a copy":    {func(f *Facts) { f.Primary.ID, f.Checkpoint.Phase = 0xcc, sink.Copying }, ErrOtherSource, []string{"aa", "cc"}},
		"the primary was rolled back": {func(f *Facts) { f.Primary.Revision = 99 }, ErrPrimaryRolledBack, []string{"99", "100"}},
		"rolled back within a copy":   {func(f *Facts) { f.Primary.Revision, f.Checkpoint.Phase = 99, sink.Copying }, ErrPrimaryRolledBack, []string{"99", "100"}},
		"rolled back, another scope":  {func(f *Facts) { f.Primary.Revision, f.ScopeHash = 99, "t" }, ErrPrimaryRolledBack, []string{"99", "100"}},
		"the standby is a primary":    {func(f *Facts) { f.StandbyRole.Role = role.Primary }, nil, []string{"primary of pair"}},
		"the standby of another":      {func(f *Facts) { f.StandbyRole.Peer = "dd" }, nil, []string{"dd", "aa"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := settledFacts()
			tc.change(&f)
			d, err := Decide(f)
			if err == nil {
				t.Fatalf("decided %+v", d)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %q", err, tc.is)
			}
			if remedy.CodeOf(err) != remedy.Refused || remedy.Of(err) == "" || cureOf(err) != byPerson {
				t.Errorf("%v: code %d, remedy %q, cure %d", err, remedy.CodeOf(err), remedy.Of(err), cureOf(err))
			}
			for _, text := range tc.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
		})
	}
}

// The list of interrupted copies is bounded, the newest stay.
func TestInterruptedIsBounded(t *testing.T) {
	c := sink.Checkpoint{}
	for i := range 3 * maxInterrupted {
		c.Interrupted, c.SourceRevision = interrupted(c), kv.Revision(i)
	}
	got := interrupted(c)
	if len(got) != maxInterrupted || got[len(got)-1] != 3*maxInterrupted-1 {
		t.Errorf("%d revisions up to %d", len(got), got[len(got)-1])
	}
}

// What needs a person halts, what time heals is retried, and the errors of
// leadership begin anew at once.
func TestCureOf(t *testing.T) {
	for want, errs := range map[cure][]error{
		atOnce:   {nil, sink.ErrFenced, fmt.Errorf("apply: %w", sink.ErrMoved), errLostLead},
		byTime:   {errors.New("connection refused"), sink.ErrNoSpace, explain(sink.ErrNoSpace)},
		byPerson: {&remedy.Error{Err: sink.ErrTooLarge, Code: remedy.Refused}, &remedy.Error{Err: errors.New("x"), Code: remedy.Auth}},
	} {
		for _, err := range errs {
			if got := cureOf(err); got != want {
				t.Errorf("cure of %v is %d, want %d", err, got, want)
			}
		}
	}
}
