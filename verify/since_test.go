package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/vigil"
)

// With the primary dead, the standby alone tells what others have taken from it
// since the checkpoint; and where its history is compacted and nobody has
// watched, it says so.
func TestSimulateSinceTheCheckpoint(t *testing.T) {
	s := &stage{t, Sides{Standby: testkit.StartEtcd(t).Client()}}
	view := newView(t, nil, nil)
	s.put(s.sides.Standby, "/registry/namespaces/kube-system", object("Namespace", "", "kube-system", ""))
	s.put(s.sides.Standby, "/registry/namespaces/prod", object("Namespace", "", "prod", ""))
	var keys []string
	for i := range 6 {
		key, value := configMap(i)
		keys = append(keys, key)
		s.put(s.sides.Standby, key, value)
	}
	checkpoint := sink.Checkpoint{SourceRevision: 1, Phase: sink.Streaming, ScopeHash: view.Scope.Hash(), Time: time.Now()}
	s.putCheckpoint(checkpoint)
	want := func(step string, lines ...string) {
		t.Helper()
		sim := s.simulate(view)
		got := []string{}
		for _, f := range sim.Findings {
			for _, item := range f.Items {
				got = append(got, fmt.Sprintf("%s %s %s", f.Severity, f.Problem, strings.TrimPrefix(item.Key, "/registry/configmaps/prod/")))
			}
		}
		if !slices.Equal(got, lines) {
			t.Fatalf("%s:\n got %q\nwant %q", step, got, lines)
		}
	}
	want("nothing has happened")

	s.remove(s.sides.Standby, keys[0])
	s.remove(s.sides.Standby, keys[1])
	again := func(name, uid string) {
		s.put(s.sides.Standby, "/registry/configmaps/prod/"+name, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"prod","uid":%q}}`, name, uid))
	}
	again("c-00001", "another")                                                  // in its place
	again("c-00002", "prod-c-00002")                                             // changed
	s.put(s.sides.Standby, keys[3], object("ConfigMap", "prod", "c-00003", "1")) // as it was
	again("own", "own")                                                          // somebody's own, that goes
	s.remove(s.sides.Standby, "/registry/configmaps/prod/own")
	s.put(s.sides.Standby, "/registry/configmaps/kube-system/c", object("ConfigMap", "kube-system", "c", "1"))
	s.remove(s.sides.Standby, "/registry/configmaps/kube-system/c")
	if _, err := s.sides.Standby.Txn(t.Context()).Then(clientv3.OpDelete(keys[4]), clientv3.OpPut(sink.OperatorKey, "{}")).Commit(); err != nil { // a command of ours
		t.Fatal(err)
	}
	found := []string{"red missing-since-checkpoint c-00000", "red missing-since-checkpoint c-00001", "yellow changed-since-checkpoint c-00002"}
	want("others have written", found...)

	// A daemon that watches keeps it beyond the compaction.
	stored, err := sink.ReadCheckpoint(t.Context(), s.sides.Standby)
	if err != nil {
		t.Fatal(err)
	}
	keep := func() vigil.Record {
		t.Helper()
		at := s.put(s.sides.Standby, "/registry/configmaps/kube-system/x", object("ConfigMap", "kube-system", "x", ""))
		before, modified, err := vigil.Read(t.Context(), s.sides.Standby, at)
		if err != nil {
			t.Fatal(err)
		}
		record, err := vigil.Look(t.Context(), s.sides.Standby, view, stored, before, at, time.Now())
		if err == nil {
			err = vigil.Keep(t.Context(), s.sides.Standby, record, modified)
		}
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	if _, err := s.sides.Standby.Compact(t.Context(), int64(keep().Through)); err != nil { // as API servers do, up to some minutes ago
		t.Fatal(err)
	}
	want("watched, and compacted", found...)
	s.remove(s.sides.Standby, keys[5])
	want("one more", append([]string{found[0], found[1], "red missing-since-checkpoint c-00005"}, found[2])...)
	s.put(s.sides.Standby, keys[0], object("ConfigMap", "prod", "c-00000", "1"))
	s.put(s.sides.Standby, keys[5], object("ConfigMap", "prod", "c-00005", "1"))
	want("put back; what cannot be compared any more is to be looked at", found[1], "yellow changed-since-checkpoint c-00000", found[2])

	// And a time in which nobody watched is never well.
	s.compact(s.sides.Standby)
	gap := fmt.Sprintf("yellow unwatched %s", sink.CheckpointKey)
	want("a gap", found[1], "yellow changed-since-checkpoint c-00000", found[2], gap)
	if record := keep(); record.Gap.IsZero() {
		t.Error("the gap is not in the record")
	}
	want("a gap stays one", found[1], "yellow changed-since-checkpoint c-00000", found[2], gap)
	checkpoint.SourceRevision++
	s.putCheckpoint(checkpoint)
	want("the primary is back, and the replication has gone on")

	if sim, err := Simulate(t.Context(), s.sides.Standby, view.Scope, SimulateOptions{Locals: &scope.Locals{}}); err != nil || sim.Worst() != "" {
		t.Errorf("%v, %v", sim.Findings, err)
	}
}
