package verify

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/sink"
)

func startWriters(t *testing.T, s *stage, n int) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range n {
		namespace := fmt.Sprintf("team-%d", i)
		w := checker.NewWriter(s.sides.Primary, checker.Workload{
			Seed: uint64(i), Keys: 300,
			Key: func(k int) string { return fmt.Sprintf("/registry/configmaps/%s/c-%04d", namespace, k) },
			Value: func(key, unique string) []byte {
				return object("ConfigMap", namespace, key[strings.LastIndexByte(key, '/')+1:], unique+strings.Repeat(".", 500))
			},
		})
		running.Go(func() { w.Run(ctx) })
	}
	return func() { cancel(); running.Wait() }
}

// Under full write load the check raises no false alarm, and the moment
// somebody changes the standby behind our back it names exactly those keys.
func TestRunIsExactUnderLoad(t *testing.T) {
	s := newStage(t)
	view := newView(t, nil, nil)
	s.put(s.sides.Primary, "/registry/leases/prod/l", []byte("out of scope, and no object"))
	s.put(s.sides.Standby, "/registry/leases/prod/own", []byte("x"))
	for i := range 300 {
		key, value := configMap(i)
		s.put(s.sides.Primary, key, value)
	}
	r := s.replicate(view)
	stop := startWriters(t, s, 4)
	defer stop()
	r.reached(300)

	for range 15 {
		report := s.check(view)
		if report.Verdict != Consistent || report.Compared < 300 {
			t.Fatalf("check under load: %+v", report)
		}
	}

	gone, _ := configMap(7)
	edited, value := configMap(8)
	s.remove(s.sides.Standby, gone)
	s.put(s.sides.Standby, edited, append([]byte(" "), value...))
	s.put(s.sides.Standby, "/registry/configmaps/prod/zz-own", object("ConfigMap", "prod", "zz-own", "x"))
	s.put(s.sides.Standby, "/registry/configmaps/prod/zz-torn", []byte(`{"kind":"ConfigMap"`))

	for range 5 {
		report := s.check(view)
		if report.Verdict != Inconsistent {
			t.Fatalf("check after edits: %+v", report)
		}
		for kind, want := range map[Kind]string{Missed: gone, Differing: edited,
			Surplus: "/registry/configmaps/prod/zz-own", Undecodable: "/registry/configmaps/prod/zz-torn"} {
			if diff := cmp.Diff(Keys{Count: 1, Keys: []string{want}}, *report.Of(kind)); diff != "" {
				t.Errorf("%s: %s", kind, diff)
			}
		}
	}
	if got := s.check(view).Scope["leases.coordination.k8s.io"]; got != (Resource{Excluded: 1}) {
		t.Errorf("leases are counted as %+v", got)
	}
}

// A change that the replication loses does not stay unseen.
func TestRunFindsALostEvent(t *testing.T) {
	s := newStage(t)
	view := newView(t, nil, nil)
	r := s.replicate(view)
	created, value := configMap(1)
	s.put(s.sides.Primary, created, value)
	updated, value := configMap(2)
	r.reached(s.put(s.sides.Primary, updated, value))
	if report := s.check(view); report.Verdict != Consistent {
		t.Fatalf("before anything is lost: %+v", report)
	}

	r.lose.Store(&updated)
	s.put(s.sides.Primary, updated, object("ConfigMap", "prod", "c-00002", "changed"))
	deleted := created
	r.reached(s.put(s.sides.Primary, "/registry/configmaps/prod/zz", value))
	r.lose.Store(&deleted)
	s.remove(s.sides.Primary, deleted)
	last, value := configMap(3)
	r.reached(s.put(s.sides.Primary, last, value))

	report := s.check(view)
	if diff := cmp.Diff([]string{updated}, report.Differing.Keys); diff != "" {
		t.Errorf("differing: %s", diff)
	}
	if diff := cmp.Diff([]string{deleted}, report.Surplus.Keys); diff != "" {
		t.Errorf("surplus: %s", diff)
	}
	if n := report.Differences(); n != 2 {
		t.Errorf("%d differences, want 2: %+v", n, report)
	}
}

// Compaction at the worst moment costs a second attempt, no more.
func TestRunBeginsAgainAfterCompaction(t *testing.T) {
	s := newStage(t)
	view := newView(t, nil, nil)
	at := s.fill(6000, 4096)
	r := s.replicate(view)
	r.reached(at)
	tick := startWriters(t, s, 1) // moves the checkpoint on
	defer tick()
	compactions := 0
	report, err := Run(t.Context(), s.sides, view, Options{Progress: func(keys int64) {
		if keys <= progressEvery && compactions == 0 {
			compactions++
			s.compact(s.sides.Primary)
			s.compact(s.sides.Standby)
		}
	}})
	if err != nil || report.Verdict != Consistent || compactions != 1 {
		t.Fatalf("verdict %q (%s), %d compactions, error %v", report.Verdict, report.Reason, compactions, err)
	}
}

func TestRunIsUnknown(t *testing.T) {
	s := newStage(t)
	view := newView(t, nil, nil)
	for i := range 10 {
		key, value := configMap(i)
		s.put(s.sides.Primary, key, value)
		s.put(s.sides.Standby, key, value)
	}
	for _, tc := range []struct {
		name, want string
		arrange    func()
	}{
		{"no checkpoint", "no checkpoint", func() {}},
		{"copy under way", "copy is under way", func() { s.checkpoint(func(c *sink.Checkpoint) { c.Phase = sink.Copying }) }},
		{"another primary", "filled from the cluster abc", func() { s.checkpoint(func(c *sink.Checkpoint) { c.SourceClusterID = "abc" }) }},
		{"primary rolled back", "rolled back", func() { s.checkpoint(func(c *sink.Checkpoint) { c.SourceRevision += 1000 }) }},
		{"no JSON", "holds no checkpoint", func() { s.put(s.sides.Standby, sink.CheckpointKey, []byte("{")) }},
		{"checkpoint compacted away", "no longer keeps revision", func() {
			s.checkpoint(nil)
			s.put(s.sides.Primary, "/registry/configmaps/prod/late", object("ConfigMap", "prod", "late", "x"))
			s.compact(s.sides.Primary)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.arrange()
			report, err := Run(t.Context(), s.sides, view, Options{patience: 50 * time.Millisecond})
			if err != nil || report.Verdict != Unknown || !strings.Contains(report.Reason, tc.want) {
				t.Errorf("verdict %q, reason %q, error %v; want unknown, %q", report.Verdict, report.Reason, err, tc.want)
			}
		})
	}
}

// A cancelled check must not look like one that came to its end.
// Where there is nothing to compare, nothing has been shown to be equal: a prefix
// that is not the API servers' looks like that.
func TestNothingInScopeIsUnknown(t *testing.T) {
	s := newStage(t)
	s.put(s.sides.Primary, "/elsewhere/a", []byte("1"))
	s.checkpoint(nil)
	if report := s.check(newView(t, nil, nil)); report.Verdict != Unknown || report.Reason == "" || report.Hint == "" {
		t.Errorf("%+v", report)
	}
}

func TestRunCancelled(t *testing.T) {
	s := newStage(t)
	view := newView(t, nil, nil)
	at := s.fill(3000, 4096)
	s.replicate(view).reached(at)
	ctx, cancel := context.WithCancel(t.Context())
	report, err := Run(ctx, s.sides, view, Options{Progress: func(int64) { cancel() }})
	if err == nil || report.Verdict != Unknown {
		t.Errorf("cancelled check: verdict %q, error %v", report.Verdict, err)
	}
}

// Different keys at rest are no difference; a key that does not fit is.
func TestRunWithEncryption(t *testing.T) {
	ctx := t.Context()
	ours, theirs, wrong := secretbox(t, "a", 'a'), secretbox(t, "b", 'b'), secretbox(t, "b", 'x')
	s := newStage(t)
	var keys []string
	for i := range 5 {
		name := fmt.Sprintf("s-%d", i)
		key := "/registry/secrets/prod/" + name
		plain := object("Secret", "prod", name, "v")
		for client, e := range map[kvClient]*registry.Encryption{s.sides.Primary: ours, s.sides.Standby: theirs} {
			stored, err := e.Encrypt("secrets", key, plain)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Put(ctx, key, string(stored)); err != nil {
				t.Fatal(err)
			}
		}
		keys = append(keys, key)
	}
	s.checkpoint(nil)
	if report := s.check(newView(t, ours, theirs)); report.Verdict != Consistent || report.Compared != 5 || report.Opaque != 0 {
		t.Errorf("with the right keys: %+v", report)
	}
	report := s.check(newView(t, ours, wrong))
	if diff := cmp.Diff(Keys{Count: 5, Keys: keys}, report.Undecodable); diff != "" || report.Verdict != Inconsistent {
		t.Errorf("with a wrong key: verdict %q, %s", report.Verdict, diff)
	}
	if n := report.ByResource["secrets"][Undecodable]; n != 5 || len(report.ByResource) != 1 {
		t.Errorf("%v", report.ByResource)
	}
	if why := report.Why[keys[0]]; !strings.Contains(why, registry.ErrWrongKey.Error()) || !strings.Contains(why, "on the standby") {
		t.Errorf("reason %q", why)
	}
}

func TestLimitCountsOn(t *testing.T) {
	s := newStage(t)
	s.fill(600, 10)
	s.checkpoint(nil)
	report, err := Run(t.Context(), s.sides, newView(t, nil, nil), Options{Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	if report.Missed.Count != 600 || len(report.Missed.Keys) != 3 {
		t.Errorf("missed: %d, listed: %v", report.Missed.Count, report.Missed.Keys)
	}
	for i, key := range report.Missed.Keys {
		if want, _ := configMap(i); key != want {
			t.Errorf("key %d is %s, want %s", i, key, want)
		}
	}
}

func TestKey(t *testing.T) {
	s := newStage(t)
	view := newView(t, nil, nil)
	key, value := configMap(1)
	before := s.put(s.sides.Primary, key, value)
	same := s.put(s.sides.Standby, key, value)
	removed := s.remove(s.sides.Standby, key)
	for _, tc := range []struct {
		primary, standby kv.Revision
		want             Kind
	}{{before, same, ""}, {before, removed, Missed}, {before - 1, same, Surplus}, {before - 1, removed, ""}} {
		got, err := Key(t.Context(), s.sides, view, key, tc.primary, tc.standby)
		if err != nil || got.Kind != tc.want {
			t.Errorf("at %d and %d: %q, %v; want %q", tc.primary, tc.standby, got.Kind, err, tc.want)
		}
	}
}
