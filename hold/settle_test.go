package hold

import (
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

// What was released and is gone, or was made inert by hand, does not count as
// acting once the holds were applied; what still acts does.
func TestApplyForgetsWhatActsNoLonger(t *testing.T) {
	s := newStage(t, newView(t, nil))
	gone, inert, acts := object("deployments.apps", "a", "gone", `{"replicas":5}`),
		object("deployments.apps", "a", "inert", `{"replicas":5}`), object("deployments.apps", "a", "acts", `{"replicas":5}`)
	s.replicate(gone, inert, acts)
	s.release("")
	count := func() int64 {
		t.Helper()
		r, err := role.ReadRelease(t.Context(), s.Client)
		if err != nil {
			t.Fatal(err)
		}
		return r.Objects
	}
	if n := count(); n != 3 {
		t.Fatalf("%d objects are released, want 3", n)
	}
	if _, err := s.Client.Delete(t.Context(), gone.Key); err != nil {
		t.Fatal(err)
	}
	s.edit(inert.Key, int64(0), "spec", "replicas")
	if _, err := Apply(t.Context(), s.Client, s.view, nil, sink.Limits{}); err != nil { // nothing was found to hold
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d objects count as acting, want the one that does", n)
	}
	if out := s.apply(); out.Done != 1 || count() != 0 {
		t.Errorf("applied %+v, and %d still count as acting", out, count())
	}
	if got := s.plain(acts.Key); !strings.Contains(got, `"replicas":0`) {
		t.Errorf("held again as %s", got)
	}
}
