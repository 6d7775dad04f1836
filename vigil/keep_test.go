package vigil_test

import (
	"testing"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/vigil"
)

// A record is kept, but never over one that somebody else has kept since it was
// read, and never where the checkpoint has moved on, of which it says nothing.
func TestKeep(t *testing.T) {
	standby := testkit.StartEtcd(t).Client()
	put := func() kv.Revision {
		t.Helper()
		resp, err := standby.Put(t.Context(), sink.CheckpointKey, "{}")
		if err != nil {
			t.Fatal(err)
		}
		return kv.Revision(resp.Header.Revision)
	}
	checkpoint := put()
	keep := func(step string, through, want kv.Revision, modified int64) int64 {
		t.Helper()
		if err := vigil.Keep(t.Context(), standby, vigil.Record{Checkpoint: checkpoint, Through: through}, modified); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		record, modified, err := vigil.Read(t.Context(), standby, 0)
		if err != nil || record == nil || record.Through != want || record.Checkpoint != checkpoint {
			t.Fatalf("%s: %+v, %v, want one through %d", step, record, err, want)
		}
		return modified
	}
	first := keep("the first", 1, 1, 0)
	keep("somebody else was first", 2, 1, 0)
	second := keep("over the one that was read", 3, 3, first)
	put()
	keep("the checkpoint has moved on", 4, 3, second)
}
