package verify

import (
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// Under another scope than the daemon's, the standby's own objects would look
// surplus, and repair would delete them: nobody can tell, so nobody may act.
func TestAnotherScopeIsUnknown(t *testing.T) {
	view := &scope.View{Scope: newScope(t)}
	for name, tc := range map[string]struct {
		checkpoint sink.Checkpoint
		want       bool
	}{
		"this scope":    {sink.Checkpoint{ScopeHash: view.Scope.Hash(), HoldsHash: view.HoldsHash()}, true},
		"another scope": {sink.Checkpoint{ScopeHash: "other"}, false},
		"other holds":   {sink.Checkpoint{ScopeHash: view.Scope.Hash(), HoldsHash: "other"}, false},
	} {
		err := Point{Checkpoint: tc.checkpoint}.fits(view)
		if (err == nil) != tc.want || err != nil && !strings.Contains(err.Error(), "another scope") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func newScope(t *testing.T) *scope.Scope {
	t.Helper()
	s, err := scope.New(scope.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
