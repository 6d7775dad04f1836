package sink_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
)

func at(revision kv.Revision, phase sink.Phase) sink.Checkpoint {
	return sink.Checkpoint{SourceClusterID: "abc", SourceRevision: revision, Time: time.Unix(1, 0).UTC(), Phase: phase}
}

func puts(revision kv.Revision, keys ...string) []kv.Change {
	var changes []kv.Change
	for _, key := range keys {
		changes = append(changes, kv.Change{Key: key, Value: []byte(fmt.Sprint(revision)), Revision: revision})
	}
	return changes
}

func newSink(t *testing.T, client *clientv3.Client, fence ...clientv3.Cmp) *sink.Sink {
	t.Helper()
	last, err := sink.ReadCheckpoint(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	return sink.New(client, fence, sink.Limits{}, last)
}

func value(t *testing.T, client *clientv3.Client, key string) string {
	t.Helper()
	resp, err := client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// Data and checkpoint become visible at the same revision of the standby.
func TestApplyWritesDataAndCheckpointAtOnce(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	s := newSink(t, client)
	if err := s.Apply(t.Context(), puts(7, "/registry/a", "/registry/b"), at(7, sink.Streaming)); err != nil {
		t.Fatal(err)
	}
	stored, err := sink.ReadCheckpoint(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(t.Context(), "/registry/a")
	if err != nil {
		t.Fatal(err)
	}
	if stored.SourceRevision != 7 || int64(stored.Revision) != resp.Kvs[0].ModRevision || s.Last().Revision != stored.Revision {
		t.Errorf("checkpoint %+v, data at %d, sink at %d", stored, resp.Kvs[0].ModRevision, s.Last().Revision)
	}
	changes := append(puts(8, "/registry/c"), kv.Change{Key: "/registry/a", Delete: true, Revision: 8})
	if err := s.Apply(t.Context(), changes, at(8, sink.Streaming)); err != nil {
		t.Fatal(err)
	}
	if a, c := value(t, client, "/registry/a"), value(t, client, "/registry/c"); a != "" || c != "8" {
		t.Errorf("a = %q, c = %q after the delete of a and the put of c", a, c)
	}
}

// A deposed daemon must not write, not even after the standby was killed and came back.
func TestApplyIsFencedAcrossRestart(t *testing.T) {
	etcd := testkit.StartEtcd(t)
	client := etcd.Client()
	if _, err := client.Put(t.Context(), "/understudy/role", "standby"); err != nil {
		t.Fatal(err)
	}
	s := newSink(t, client, clientv3.Compare(clientv3.Version("/understudy/role"), "=", 1))
	if err := s.Apply(t.Context(), puts(7, "/registry/a"), at(7, sink.Streaming)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), "/understudy/role", "primary"); err != nil {
		t.Fatal(err)
	}
	etcd.Kill()
	etcd.Restart()
	for name, write := range map[string]func() error{
		"Apply":     func() error { return s.Apply(t.Context(), puts(8, "/registry/a"), at(8, sink.Streaming)) },
		"ApplyCopy": func() error { return s.ApplyCopy(t.Context(), puts(8, "/registry/a")) },
		"Put":       func() error { return s.Put(t.Context(), "/understudy/x", "") },
	} {
		if err := write(); !errors.Is(err, sink.ErrFenced) {
			t.Errorf("%s after promotion: %v, want ErrFenced", name, err)
		}
	}
	if got := value(t, client, "/registry/a"); got != "7" {
		t.Errorf("a = %q, want the value from before the promotion", got)
	}
}

// Of two sinks that start from one checkpoint only one can go on.
func TestApplyNeedsTheCheckpointItKnows(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	one, two := newSink(t, client), newSink(t, client)
	if err := one.Apply(t.Context(), puts(7, "/registry/a"), at(7, sink.Streaming)); err != nil {
		t.Fatal(err)
	}
	if err := two.Apply(t.Context(), puts(6, "/registry/a"), at(6, sink.Streaming)); !errors.Is(err, sink.ErrMoved) {
		t.Errorf("second sink: %v, want ErrMoved", err)
	}
	if got := value(t, client, "/registry/a"); got != "7" {
		t.Errorf("a = %q", got)
	}
}

// A transaction of a copy that comes late, when streaming has begun, is refused.
func TestApplyCopyIsRefusedAfterTheCopy(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	s := newSink(t, client)
	if err := s.Apply(t.Context(), nil, at(7, sink.Copying)); err != nil {
		t.Fatal(err)
	}
	late := sink.New(client, nil, sink.Limits{}, s.Last())
	if err := s.ApplyCopy(t.Context(), puts(7, "/registry/a")); err != nil {
		t.Fatal(err)
	}
	if err := late.ApplyCopy(t.Context(), puts(7, "/registry/b")); err != nil {
		t.Fatalf("within the copy: %v", err)
	}
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), nil, at(7, sink.Streaming)); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), puts(8, "/registry/a"), at(8, sink.Streaming)); err != nil {
		t.Fatal(err)
	}
	if err := late.ApplyCopy(t.Context(), puts(7, "/registry/a")); !errors.Is(err, sink.ErrMoved) {
		t.Errorf("late transaction of the copy: %v, want ErrMoved", err)
	}
	if got := value(t, client, "/registry/a"); got != "8" {
		t.Errorf("a = %q, want the streamed value", got)
	}
}

// The standby's limits are named as such, and nothing is written.
func TestApplyTooLarge(t *testing.T) {
	client := testkit.StartEtcd(t, testkit.Flags("--max-txn-ops=4", "--max-request-bytes=10240")).Client()
	s := newSink(t, client)
	for name, changes := range map[string][]kv.Change{
		"operations": puts(7, "/registry/a", "/registry/b", "/registry/c", "/registry/d"),
		"bytes":      {{Key: "/registry/a", Value: []byte(strings.Repeat("x", 20<<10)), Revision: 7}},
		"far beyond": {{Key: "/registry/a", Value: []byte(strings.Repeat("x", 2<<20)), Revision: 7}},
	} {
		if err := s.Apply(t.Context(), changes, at(7, sink.Streaming)); !errors.Is(err, sink.ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
	}
	if value(t, client, "/registry/a") != "" || s.Last().Exists() {
		t.Error("something was written")
	}
	if err := s.Apply(t.Context(), puts(7, "/registry/a", "/registry/b", "/registry/c"), at(7, sink.Streaming)); err != nil {
		t.Errorf("within the limits: %v", err)
	}
}

func TestRoomLeavesSpaceForTheCheckpoint(t *testing.T) {
	fence := []clientv3.Cmp{clientv3.Compare(clientv3.Version("/a"), "=", 1), clientv3.Compare(clientv3.Version("/b"), "=", 1)}
	r := sink.New(&clientv3.Client{}, fence, sink.Limits{MaxOps: 16, MaxBytes: 10 << 10}, sink.Stored{}).Room()
	if r.Ops != 13 || r.Bytes >= 10<<10 {
		t.Errorf("room %+v", r)
	}
}

// A key that somebody has written since it was read refuses the transaction,
// and is told apart from a lost fence.
func TestApplyNeedsKeysUnchanged(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	s := newSink(t, client)
	put, err := client.Put(t.Context(), "/registry/a", "theirs")
	if err != nil {
		t.Fatal(err)
	}
	stale := sink.Unchanged{Key: "/registry/a", Revision: kv.Revision(put.Header.Revision) - 1}
	err = s.Apply(t.Context(), puts(7, "/registry/a"), at(7, sink.Streaming), stale)
	if !errors.Is(err, sink.ErrChanged) || errors.Is(err, sink.ErrFenced) {
		t.Fatalf("%v, want ErrChanged", err)
	}
	absent := sink.Unchanged{Key: "/registry/b"}
	stale.Revision++
	if err := s.Apply(t.Context(), puts(7, "/registry/a", "/registry/b"), at(7, sink.Streaming), stale, absent); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), puts(8, "/registry/b"), at(8, sink.Streaming), absent); !errors.Is(err, sink.ErrChanged) {
		t.Fatalf("%v, want ErrChanged for a key that exists by now", err)
	}
}

// A checkpoint that is not as it was written is refused, wherever it was
// damaged: with a wrong revision in it changes would be passed over.
func TestDamagedCheckpointIsRefused(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	s := newSink(t, client)
	next := at(1457, sink.Streaming)
	next.Witness = &sink.Witness{Key: "/registry/a", Revision: 1456}
	if err := s.Apply(t.Context(), nil, next); err != nil {
		t.Fatal(err)
	}
	whole := value(t, client, sink.CheckpointKey)
	if c, err := sink.ParseCheckpoint([]byte(whole)); err != nil || c.SourceRevision != 1457 || *c.Witness != *next.Witness {
		t.Fatalf("%s is read as %+v, %v", whole, c, err)
	}
	for i := range whole {
		damaged := []byte(whole)
		damaged[i] ^= 1
		c, err := sink.ParseCheckpoint(damaged)
		if err == nil && (c.SourceRevision != 1457 || c.Phase != sink.Streaming || *c.Witness != *next.Witness || c.SourceClusterID != "abc") {
			t.Errorf("%s is read as %+v", damaged, c)
		}
	}
	older := whole[:strings.LastIndex(whole, `,"sum"`)] + "}"
	if c, err := sink.ParseCheckpoint([]byte(older)); err != nil || c.SourceRevision != 1457 {
		t.Errorf("one without a sum: %+v, %v", c, err)
	}

	if _, err := client.Put(t.Context(), sink.CheckpointKey, strings.Replace(whole, "1457", "1957", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := sink.ReadCheckpoint(t.Context(), client); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a checkpoint ahead of itself is read with %v", err)
	}
}
