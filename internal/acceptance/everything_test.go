package acceptance_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// Deployments, their ReplicaSets and their Pods arrive together, so that the
// standby's live controllers find nothing to do: without any hold, in a first copy,
// in a resync that brings whole new trees, and through a crash between them. Not
// one object of the primary goes, and not one is made. etcdctl make-mirror on
// the same data loses every Pod.
//
// What the primary's controllers do while replication streams is another
// matter: the standby's see a Pod too few as soon as they do, and are as fast.
// That is what holds are for; see TestHeldDeploymentsHaveNoPods.
func TestEverythingWithoutHoldsArrivesWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("watches three control planes for two minutes")
	}
	const count, each, later = 30, 5, 10
	// The controllers are as fast as they can be, and the other site is far away.
	collecting := testkit.ControlPlaneOptions{ControllerManager: true,
		ControllerManagerFlags: []string{"--kube-api-qps=1000", "--kube-api-burst=2000"}}
	const distance = 20 * time.Millisecond
	moscow := testkit.StartControlPlane(t, collecting)
	spb := testkit.StartControlPlane(t, collecting)
	mirrored := testkit.StartControlPlane(t, collecting)
	primary := newAPI(t, moscow)
	primary.create(t, reference("v1", "Namespace", "", ours))
	for i := range count {
		primary.create(t, deployment(fmt.Sprintf("web-%02d", i), each))
	}
	pods(t, moscow, count*each)
	acts := watchWorkloads(t, spb)

	far, url := spb.Etcd().Proxy(0)
	far.Delay(distance)
	asFar, mirrorURL := mirrored.Etcd().Proxy(0)
	asFar.Delay(distance)
	p := newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd(), Through: url}, "  profile: everything", `  replace: [{resources: ["*", "*.*"]}]`)
	daemon := p.sync(t)
	p.reaches(t, 1)
	mirror(t, moscow.Etcd(), mirrorURL)
	began := time.Now()
	original := workloads(t, moscow)

	note := func(value string) {
		t.Helper()
		for i := range count {
			primary.change(t, "apps/v1", "Deployment", fmt.Sprintf("web-%02d", i), setField(t, value, "metadata", "annotations", "note"))
		}
		primary.create(t, kind{configMaps, "ConfigMap", ""}.object(ours, value))
	}
	catchUp := func() {
		t.Helper()
		p.reaches(t, now(t, moscow))
	}
	note("streamed")
	catchUp()

	daemon.Kill()
	note("crashed")
	daemon = p.sync(t)
	catchUp()

	daemon.Stop()
	for i := range later {
		primary.create(t, deployment(fmt.Sprintf("later-%02d", i), each))
	}
	pods(t, moscow, (count+later)*each)
	if _, err := moscow.Etcd().Client().Compact(t.Context(), now(t, moscow)); err != nil {
		t.Fatal(err)
	}
	p.sync(t)
	catchUp()
	if !p.logged(t, "reason=checkpoint-compacted") {
		t.Error("the daemon did not resync after the compaction")
	}

	made := workloads(t, moscow)
	if want := (count + later) * (each + 2); len(made) != want {
		t.Fatalf("the primary has %d objects, want %d", len(made), want)
	}
	holdsFor(t, max(30*time.Second, watched-time.Since(began)), "every object is there with its UID, and the controllers have made and deleted none", func() (bool, string) {
		wrong, done := made.missingFrom(workloads(t, spb)), acts()
		return len(wrong) == 0 && len(done) == 0, fmt.Sprintf("missing or with another UID: %d, such as %v; the controllers acted %d times, such as %v",
			len(wrong), first(wrong), len(done), first(done))
	})
	if checked, _ := p.check(t); checked.Missed.Count != 0 {
		t.Errorf("understudy check: %+v", checked.Missed)
	}

	lost := keys{}
	for _, key := range original.missingFrom(workloads(t, mirrored)) {
		if strings.HasPrefix(key, "/registry/pods/") {
			lost = append(lost, key)
		}
	}
	t.Logf("after etcdctl make-mirror %d of %d Pods are lost", len(lost), count*each)
	if len(lost) == 0 {
		t.Error("make-mirror lost nothing: this data does not tempt the controllers, the test proves nothing")
	}
}

// workloads are our Deployments, ReplicaSets and Pods.
func workloads(t *testing.T, c *testkit.ControlPlane) census {
	t.Helper()
	there := census{}
	for _, r := range []schema.GroupVersionResource{deployments, {Group: "apps", Version: "v1", Resource: "replicasets"}, {Version: "v1", Resource: "pods"}} {
		list, err := c.Dynamic().Resource(r).Namespace(ours).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			there[objectKey(r, &list.Items[i])] = list.Items[i].GetUID()
		}
	}
	return there
}

// watchWorkloads notes what others than understudy create and delete of our
// Deployments, ReplicaSets and Pods.
func watchWorkloads(t *testing.T, c *testkit.ControlPlane) func() []string {
	t.Helper()
	var mu sync.Mutex
	var acts []string
	add := func(act string) {
		mu.Lock()
		defer mu.Unlock()
		acts = append(acts, act)
	}
	watchOthers(t, c, func(e *clientv3.Event) {
		key := string(e.Kv.Key)
		path := strings.Split(strings.TrimPrefix(key, "/registry/"), "/")
		if len(path) != 3 || path[1] != ours || !slices.Contains([]string{"deployments", "replicasets", "pods"}, path[0]) {
			return
		}
		if e.Type == clientv3.EventTypeDelete {
			add("delete " + key)
		} else if e.IsCreate() {
			add("create " + key)
		}
	}, add)
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(acts)
	}
}
