package replica

import (
	"fmt"
	"testing"
	"time"
)

// More than five deletions of a resource within a minute are one run; fewer are none.
func TestRunsOfDeletions(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	d := newDeletions()
	some := func(resource string, n int, apart time.Duration) {
		for i := range n {
			d.note(resource, fmt.Sprintf("/registry/%s/a/%d", resource, i), now)
			now = now.Add(apart)
		}
	}
	some("secrets", 30, 20*time.Second) // never six within a minute
	some("configmaps", 5, time.Second)
	if got := d.recent(now); len(got) != 0 {
		t.Fatalf("few deletions are a run: %+v", got)
	}
	some("secrets", 40, time.Second)
	now = now.Add(2 * time.Minute)
	some("secrets", 6, time.Second)
	got := d.recent(now)
	if len(got) != 2 || got[0].Deleted != 6 || got[1].Deleted < 40 || len(got[1].First) != 3 || d.all["secrets"] != 76 {
		t.Fatalf("%+v, %v", got, d.all)
	}
	if due := d.due(now, false); len(due) != 1 { // the last one goes on
		t.Errorf("%d are to be told", len(due))
	}
	now = now.Add(runQuiet)
	if due := d.due(now, false); len(due) != 2 {
		t.Errorf("%d are to be told", len(due))
	}
	for range 2 * runsKept {
		now = now.Add(2 * time.Minute)
		some("secrets", 6, 0)
	}
	if len(d.kept) != runsKept || len(d.recent(now.Add(25*time.Hour))) != 0 {
		t.Errorf("%d kept", len(d.kept))
	}
}

// T: never more is said to have gone than there was: what was created since a run was
// counted goes as well.
func TestNoMoreIsDeletedThanThereWas(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	d := newDeletions()
	for i := range 30 {
		d.note("secrets", fmt.Sprint(i), now)
		if i == 9 {
			d.kept[0].Of = 20 // counted
		}
	}
	if got := d.recent(now)[0]; got.Deleted != 30 || got.Of != 30 {
		t.Errorf("%d of %d", got.Deleted, got.Of)
	}
}
