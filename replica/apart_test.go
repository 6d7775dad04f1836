package replica

import (
	"testing"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
)

// A key that was recorded stands apart until the replication writes it: the
// record may have been made while that write was under way.
func TestRecordEndsWithOurWrite(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	last, err := sink.ReadCheckpoint(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	ours := sink.New(client, nil, sink.Limits{}, last)
	const key = "/registry/configmaps/prod/a"
	write := func(value string) {
		change := kv.Change{Key: key, Value: []byte(value)}
		if err := ours.Apply(t.Context(), []kv.Change{change}, sink.Checkpoint{Phase: sink.Streaming}); err != nil {
			t.Fatal(err)
		}
	}
	foreign := func(value string) kv.Revision {
		resp, err := client.Put(t.Context(), key, value)
		if err != nil {
			t.Fatal(err)
		}
		return kv.Revision(resp.Header.Revision)
	}
	s := &session{standby: client}
	demand := func(when string, want bool) {
		t.Helper()
		if apart, err := s.standsApart(t.Context(), key); err != nil || apart != want {
			t.Errorf("%s: stands apart %v, %v; want %v", when, apart, err, want)
		}
	}

	created := foreign("1")
	demand("not recorded", false)
	s.foreign.keys = surplusSet{key: created}
	demand("recorded", true)
	changed := foreign("2")
	demand("changed by its creator", true)
	write("3")
	demand("written by us", false)
	foreign("4")
	demand("written by us and changed then", false)
	s.foreign.keys[key] = foreign("5")
	demand("recorded again since, such as by a resync that keeps it", true)

	// The guard sees such a write and ends the record, before history is compacted.
	record := func() bool {
		resp, err := client.Get(t.Context(), surplusKey(key))
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.Kvs) > 0
	}
	if _, err := client.Put(t.Context(), surplusKey(key), ""); err != nil {
		t.Fatal(err)
	}
	s.sink = ours
	at := s.foreign.keys[key]
	for _, w := range []Write{{Key: key, Revision: at}, {Key: key, Revision: at + 1, Foreign: true}, {Key: key, Revision: at + 1, Deleted: true}} {
		if err := s.endRecords(t.Context(), []Write{w}); err != nil || !record() || !s.foreign.has(key) {
			t.Errorf("%+v has ended the record, %v", w, err)
		}
	}
	if err := s.endRecords(t.Context(), []Write{{Key: key, Revision: at + 2}}); err != nil || record() || s.foreign.has(key) {
		t.Errorf("our write has not ended the record, %v", err)
	}

	if _, err := client.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	s.foreign.keys[key] = foreign("6")
	write("7")
	if past, err := pastOf(t.Context(), client, key, changed); err != nil || !past.ours {
		t.Errorf("created again and written by us: %+v, %v", past, err)
	}
	now := foreign("8")
	if _, err := client.Compact(t.Context(), int64(now)); err != nil {
		t.Fatal(err)
	}
	demand("nobody can tell any more", true)
	s.foreign.keys[key] = created
	demand("nobody can tell any more, but it is another one than was recorded", false)
}
