package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// fillFixture writes the objects of a management cluster.
func (s *stage) fillFixture(client *clientv3.Client, opts fixture.Options) (keys []string) {
	s.t.Helper()
	fillWith(s.t, client, opts, func(p kv.Pair) { keys = append(keys, p.Key) })
	return keys
}

func fillWith(t testing.TB, client *clientv3.Client, opts fixture.Options, each func(kv.Pair)) {
	t.Helper()
	var ops []clientv3.Op
	flush := func() {
		if _, err := client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		ops = nil
	}
	for p := range fixture.Generate(opts) {
		ops = append(ops, clientv3.OpPut(p.Key, string(p.Value)))
		each(p)
		if len(ops) == 100 {
			flush()
		}
	}
	flush()
}

func (s *stage) putCheckpoint(c sink.Checkpoint) kv.Revision {
	s.t.Helper()
	raw, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.put(s.sides.Standby, sink.CheckpointKey, raw)
}

func (s *stage) simulate(view *scope.View) Simulation {
	s.t.Helper()
	sim, err := Simulate(s.t.Context(), s.sides.Standby, view.Scope, SimulateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return sim
}

// summary counts the findings: "red garbage-collected 3".
func (s *Simulation) summary() []string {
	lines := []string{}
	for _, f := range s.Findings {
		lines = append(lines, fmt.Sprintf("%s %s %d", f.Severity, f.Problem, f.Count))
	}
	return lines
}

func keyBelow(t *testing.T, keys []string, prefix string) string {
	t.Helper()
	i := slices.IndexFunc(keys, func(key string) bool { return strings.HasPrefix(key, prefix) })
	if i < 0 {
		t.Fatalf("nothing below %s", prefix)
	}
	return keys[i]
}

// On a real etcd with a management cluster in it, as Kubernetes encodes it:
// nothing is found where nothing is wrong, and then what was done to it.
func TestSimulateAManagementCluster(t *testing.T) {
	s := &stage{t, Sides{Standby: testkit.StartEtcd(t).Client()}}
	view := newView(t, nil, nil)
	keys := s.fillFixture(s.sides.Standby, fixture.Options{Seed: 3, Objects: 700})
	want := func(step string, lines ...string) Simulation {
		t.Helper()
		sim := s.simulate(view)
		if got := sim.summary(); !slices.Equal(got, lines) {
			t.Fatalf("%s:\n got %q\nwant %q", step, got, lines)
		}
		return sim
	}

	want("before any copy", "red no-checkpoint 1")
	s.putCheckpoint(sink.Checkpoint{SourceRevision: 5, Phase: sink.Copying, ScopeHash: "another"})
	want("while copying", "red copy-under-way 1", "yellow scope-changed 1")
	s.put(s.sides.Standby, sink.CheckpointKey, []byte("torn"))
	want("a torn checkpoint", "red no-checkpoint 1")
	s.putCheckpoint(sink.Checkpoint{SourceRevision: 1_000_000, Phase: sink.Streaming})
	want("no floor", "yellow revision-floor-missing 1")
	s.putCheckpoint(sink.Checkpoint{SourceRevision: 5, Phase: sink.Streaming, ScopeHash: view.Scope.Hash()})
	sim := want("all is well")
	if sim.Worst() != "" || sim.Objects != 700 || sim.Replicated == 0 || sim.Replicated >= 700 || sim.Checkpoint == nil || sim.ClusterID == "" {
		t.Errorf("%+v", sim)
	}
	if again := s.simulate(view); !reflect.DeepEqual(sim.Findings, again.Findings) || again.Revision != sim.Revision {
		t.Error("two simulations of one revision differ")
	}

	held := keyBelow(t, keys, "/registry/cluster.x-k8s.io/clusters/")
	stored, err := s.sides.Standby.Get(t.Context(), held)
	if err != nil {
		t.Fatal(err)
	}
	s.put(s.sides.Standby, scope.HeldKey(held), stored.Kvs[0].Value)
	set := keyBelow(t, keys, "/registry/cluster.x-k8s.io/machinesets/")
	s.remove(s.sides.Standby, set)
	s.put(s.sides.Standby, keyBelow(t, keys, "/registry/configmaps/clusters-"), []byte(`{"apiVersion":"v1","kind":"Con`))
	s.put(s.sides.Standby, keyBelow(t, keys, "/registry/secrets/clusters-"), []byte("k8s:enc:aescbc:v1:k:xyz"))
	s.remove(s.sides.Standby, keyBelow(t, keys, "/registry/apiextensions.k8s.io/customresourcedefinitions/vspherec"))
	s.putCheckpoint(sink.Checkpoint{SourceRevision: 5, Phase: sink.Streaming, ScopeHash: view.Scope.Hash()})
	sim = s.simulate(view)
	collected := sim.Findings[0]
	if collected.Problem != GarbageCollected || collected.Resources["machines.cluster.x-k8s.io"] < 2 || collected.Resources["vspheremachines.infrastructure.cluster.x-k8s.io"] < 2 || collected.Own != 0 {
		t.Errorf("the MachineSet %s is gone: %+v", set, collected)
	}
	if got := sim.summary()[1:]; len(got) != 4 || got[0] != "red undecodable 1" || !strings.HasPrefix(got[1], "red definition-missing ") ||
		got[2] != "yellow opaque 1" || got[3] != "info held 1" {
		t.Errorf("%q", got)
	}

	limited, err := Simulate(t.Context(), s.sides.Standby, view.Scope, SimulateOptions{Limit: 1})
	if err != nil || len(limited.Findings[0].Items) != 1 || limited.Findings[0].Count != collected.Count || limited.Findings[0].Items[0] != collected.Items[0] {
		t.Errorf("limited: %+v, %v", limited.Findings, err)
	}
}

func TestSimulateWithoutAStandby(t *testing.T) {
	s := &stage{t, Sides{Standby: testkit.StartEtcd(t).Client()}}
	s.sides.Standby.Close()
	if sim, err := Simulate(t.Context(), s.sides.Standby, newView(t, nil, nil).Scope, SimulateOptions{}); err == nil {
		t.Errorf("no error, but %+v", sim)
	}
}

// A standby that has a checkpoint and lacks what it stands for, all of it or an
// object whose original is kept, is no standby: that is red, never green.
func TestSimulateFindsThatNothingIsThere(t *testing.T) {
	s := &stage{t, Sides{Standby: testkit.StartEtcd(t).Client()}}
	view := newView(t, nil, nil)
	s.putCheckpoint(sink.Checkpoint{SourceClusterID: "abc", SourceRevision: 7, Phase: sink.Streaming, ScopeHash: view.Scope.Hash()})
	low := func(kv.Revision, kv.Revision) bool { return false }
	for _, want := range [][]string{{"red nothing-replicated 1"}, {"red held-missing 1", "info held 1"}} {
		sim, err := Simulate(t.Context(), s.sides.Standby, view.Scope, SimulateOptions{LowFloor: low})
		if err != nil {
			t.Fatal(err)
		}
		if got := sim.summary(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		key, value := configMap(1)
		s.put(s.sides.Standby, "/registry/namespaces/prod", object("Namespace", "", "prod", ""))
		s.put(s.sides.Standby, key, value)
		s.put(s.sides.Standby, scope.HeldPrefix+"/registry/deployments/prod/web", object("Deployment", "prod", "web", ""))
	}
}

// The primary may add which objects the scope leaves out for their owners, and
// must not hold the simulation up when it falls silent.
func TestFindLeftOut(t *testing.T) {
	s := &stage{t, Sides{Primary: testkit.StartEtcd(t).Client()}}
	view := newView(t, nil, nil)
	for _, o := range []thing{
		secret("all", "v1 Pod p p", "v1 Node n n"), secret("some", "v1 Pod p p", "v1 ConfigMap c c"), secret("none", "v1 ConfigMap c c"),
		{key: "pods/prod/p", kind: "v1 Pod", owners: []string{"v1 Node n n"}},
	} {
		p := o.pair(t)
		s.put(s.sides.Primary, p.Key, p.Value)
	}
	left, err := FindLeftOut(t.Context(), s.sides.Primary, view, 0, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	sim := Simulation{Findings: []Finding{{Problem: GarbageCollected, Severity: Red}, {Problem: Held, Severity: Info}}}
	sim.Merge(left.Findings)
	if got, want := sim.summary(), []string{"red garbage-collected 0", "yellow owners-left-out 1", "info owner-left-out 1", "info held 0"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	if item := left.Findings[0].Items[0]; item.Object != "Secret prod/all" || item.Why != "owners Pod p, Node n are out of scope" {
		t.Errorf("%+v", item)
	}
	if item := left.Findings[1].Items[0]; item.Object != "Secret prod/some" || item.Why != "owner Pod p is out of scope" {
		t.Errorf("%+v", item)
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{silent.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := FindLeftOut(t.Context(), client, view, 0, 200*time.Millisecond); err == nil || !strings.Contains(err.Error(), "it sent nothing for 200ms") {
		t.Errorf("a silent primary: %v", err)
	}
}

func TestEveryFindingIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/simulate.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.Contains(string(doc), "| `"+string(p.Problem)+"` |") {
			t.Errorf("docs/simulate.md has no row for %s", p.Problem)
		}
	}
}

// BenchmarkSimulate reads 200,000 objects of 2 KiB from a real etcd. It states
// the largest heap; the target is 10 s and 512 MiB.
func BenchmarkSimulate(b *testing.B) {
	client := testkit.StartEtcd(b, testkit.Flags("--quota-backend-bytes=8000000000")).Client()
	fillWith(b, client, fixture.Options{Seed: 1, Objects: 200_000, ValueBytes: 2048}, func(kv.Pair) {})
	sc, err := scope.New(scope.Config{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		runtime.GC()
		done := make(chan struct{})
		var peak uint64
		var watching sync.WaitGroup
		watching.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.Sys-m.HeapReleased)
				select {
				case <-done:
					return
				case <-tick.C:
				}
			}
		})
		sim, err := Simulate(b.Context(), client, sc, SimulateOptions{Limit: 100})
		close(done)
		watching.Wait()
		if err := errors.Join(err, b.Context().Err()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		b.ReportMetric(float64(sim.Objects), "objects")
		b.Log(sim.summary(), sim.Took)
	}
}
