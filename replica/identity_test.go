package replica

import (
	"log/slog"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// An answer is for the very objects that were shown: not for others of their names,
// also where no UID can be read.
func TestAnAnswerIsForTheVeryObjects(t *testing.T) {
	at := func(created kv.Revision) kv.Pair {
		return kv.Pair{Key: "/registry/secrets/a/b", CreateRevision: created}
	}
	with := func(uid string) scope.Object { return scope.Object{Meta: registry.Meta{UID: uid}} }
	all := shown{}.with(shown{shownAs(at(7).Key, identity(at(7), with("")))})
	if !all.has(at(7), with("")) || all.has(at(9), with("")) || all.has(at(7), with("f")) {
		t.Error("an object without a UID is not told from another one of its name")
	}
	all = shown{}.with(shown{shownAs(at(7).Key, identity(at(7), with("f")))})
	if !all.has(at(7), with("f")) || all.has(at(7), with("g")) || !all.has(at(9), with("f")) {
		t.Error("an object is not told by its UID")
	}
}

// The primary's has its place when the standby's own goes, also where the key waits
// to be looked at already.
func TestWhatReturnsIsNotForgottenBehindAnotherWound(t *testing.T) {
	l := newLedger(Guard{ReportDeletions: true}, slog.New(slog.DiscardHandler))
	now := time.Now()
	gone := Incident{Key: "/registry/deployments/shop/web", What: Deleted}
	l.note([]finding{{Incident: gone, revision: 5}}, 5, now)
	l.note([]finding{{Incident: gone, revision: 6, returns: true}}, 6, now)
	ready, _ := l.due(10, now)
	if len(ready) != 1 || !ready[0].returns {
		t.Fatalf("what waits: %+v", ready)
	}
	l.close(map[*wound]Outcome{ready[0]: Repaired}, now)
	if d := l.report(); d.Pending != 0 || d.Deleted != 0 {
		t.Errorf("afterwards: %+v", d)
	}
}
