package replica_test

import (
	"slices"
	"testing"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/vigil"
)

// While the primary is dead somebody goes on watching the standby: what others
// delete is remembered beyond the compaction of the standby's history and the
// end of the daemon, waits, and is put back when the primary is there again.
func TestTheStandbyIsWatchedWhileThePrimaryIsDead(t *testing.T) {
	slow(t)
	p := newPair(t)
	p.write(t, 20)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	p.primary.Kill()
	d.wait(t, "the primary to be missed", func(s replica.State) bool { return s.Phase == replica.Connecting })

	standby := p.standby.Client()
	const lost = "/registry/configmaps/prod/w-0001"
	had, _ := get(t, standby, lost)
	remembers := func(key string) (through kv.Revision) {
		t.Helper()
		d.wait(t, key+" to be remembered", func(replica.State) bool {
			record, _, err := vigil.Read(t.Context(), standby, revision(t, standby))
			if record != nil {
				through = record.Through
			}
			return err == nil && record != nil && record.Gap.IsZero() && slices.ContainsFunc(record.Lost, func(l vigil.Touched) bool { return l.Key == key })
		})
		return through
	}
	remove(t, standby, lost)
	through := remembers(lost)
	if drift := d.drift(t, "it to be pending", func(n replica.Drift) bool { return n.Pending == 1 }); drift.Recent[0].Key != lost || drift.Deleted != 0 {
		t.Errorf("drift %+v", drift)
	}
	d.stop(t)
	compact(t, standby, through)

	d = p.start(t) // on the day after
	const another = "/registry/configmaps/prod/w-0002"
	d.wait(t, "it to look", func(s replica.State) bool { return s.Phase == replica.Connecting })
	remove(t, standby, another)
	remembers(another)
	remembers(lost)

	p.primary.Restart()
	d.wait(t, "streaming", streaming)
	if has, _ := p.back(t, lost); has != had {
		t.Errorf("it is %s, was %s", has, had)
	}
	p.back(t, another)
	p.quiet(t)
	p.mustEqual(t)
}
