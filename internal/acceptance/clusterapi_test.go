package acceptance_test

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
)

// Beside a primary that is alive, Cluster API and a provider run on the standby
// and act on nothing. 120 Machines in 12 Clusters; UNDERSTUDY_CLUSTERS says
// how many Clusters instead.
func TestClusterAPIActsOnNothingThatIsHeld(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Cluster API on two control planes")
	}
	n := 12
	if text := os.Getenv("UNDERSTUDY_CLUSTERS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 10 {
			t.Fatalf("UNDERSTUDY_CLUSTERS=%s: it must be a number from 10 on", text)
		}
	}
	actsOnNothing(t, n, 12*time.Second)
}

// TestSoakClusterAPI is the same with 2,000 Machines in 200 Clusters.
func TestSoakClusterAPI(t *testing.T) {
	if os.Getenv("UNDERSTUDY_SOAK") == "" {
		t.Log("nothing to do without UNDERSTUDY_SOAK")
		return
	}
	actsOnNothing(t, 200, 2*time.Minute)
}

// actsOnNothing takes a pair with n Clusters through its life, and watches the
// standby for as long as idle after each event.
func actsOnNothing(t *testing.T, n int, idle time.Duration) {
	m := managed(t, n)
	m.sync(t)
	m.holds(t, "the first copy", idle)

	m.churn(t, 0)
	m.holds(t, "streaming", idle)

	m.daemon.Kill()
	m.churn(t, 1)
	m.sync(t)
	m.holds(t, "a crash of the daemon", idle)

	m.daemon.Stop()
	m.churn(t, 2)
	if _, err := m.primary.Client().Compact(t.Context(), now(t, m.fleet.ControlPlane)); err != nil {
		t.Fatal(err)
	}
	m.sync(t)
	m.holds(t, "a resync", idle)
	if !m.logged(t, "reason=checkpoint-compacted") {
		t.Error("the daemon did not resync after the compaction")
	}

	m.manager.Restart()
	m.stopProvider()
	m.provider, m.stopProvider = startProvider(t, "spb", m.spb, m.cloud)
	m.holds(t, "a restart of the controllers", idle)
	reports, finalizers := m.strangers.reported()
	t.Logf("the standby's manager has said that it has seen the pause: %v, and put its finalizer on new objects: %v; the garbage collector was first to delete %v", reports, finalizers, m.strangers.gone())

	m.isServedByItsOwnWebhook(t)
	m.release(t)
}

// site is a pair whose two sides run Cluster API and the same provider.
type site struct {
	*pair
	fleet        *fleet
	cloud        *cloud
	spb          *testkit.ControlPlane
	manager      *testkit.ClusterAPI // of the standby
	provider     *provider
	stopProvider func()
	stopPrimary  func()
	strangers    *strangers
	daemon       *proc.Process
}

// managed starts both sides and lets the primary make its Machines.
func managed(t *testing.T, n int) *site {
	t.Helper()
	port, err := proc.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.ReleasePorts(port...) })
	collecting := testkit.ControlPlaneOptions{ControllerManager: true}
	moscow := testkit.StartControlPlane(t, collecting)
	spb := testkit.StartControlPlane(t, collecting)
	there := testkit.StartClusterAPI(t, moscow, testkit.ClusterAPIAddress{IP: "127.0.0.2", Port: port[0]})
	here := testkit.StartClusterAPI(t, spb, testkit.ClusterAPIAddress{IP: "127.0.0.3", Port: port[0]})
	defineInfrastructure(t, moscow)
	defineInfrastructure(t, spb)

	m := &site{cloud: newCloud(), spb: spb, manager: here}
	_, stop := startProvider(t, "moscow", moscow, m.cloud)
	m.provider, m.stopProvider = startProvider(t, "spb", spb, m.cloud)
	m.strangers = watchStrangers(t, spb)
	m.stopPrimary = func() {
		stop()
		there.Kill()
		moscow.StopControllerManager()
		moscow.KillAPIServer()
		moscow.Etcd().Kill()
	}
	m.fleet = &fleet{ControlPlane: moscow, cloud: m.cloud, want: map[types.NamespacedName]int64{},
		patience: 2*time.Minute + time.Duration(n)*5*time.Second}
	began := time.Now()
	m.fleet.add(t, 0, n-1)
	machines, _ := m.fleet.settled(t)
	t.Logf("the primary has made %d Machines in %d Clusters within %s", len(machines), n, time.Since(began).Round(time.Second))

	// Each side has installed Cluster API by itself.
	m.pair = newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd()}, "  exclude: [{namespaces: [capi-system]}]", "  replace: [{resources: [customresourcedefinitions.apiextensions.k8s.io]}]")
	return m
}

func (m *site) sync(t *testing.T) { m.daemon = m.pair.sync(t) }

// now is an etcd's revision.
func now(t *testing.T, c *testkit.ControlPlane) int64 {
	t.Helper()
	resp, err := c.Etcd().Client().Get(t.Context(), "/registry/")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// mark writes to the primary, and gives the revision.
func (m *site) mark(t *testing.T) int64 {
	t.Helper()
	marker := kind{configMaps, "ConfigMap", ""}.object(nth(0).Namespace, "")
	marker.SetGenerateName("marker-")
	made, err := m.fleet.Dynamic().Resource(configMaps).Namespace(nth(0).Namespace).Create(t.Context(), marker, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return revisionOf(t, made)
}

// churn is what happens on the primary: Machines come and go, a Cluster comes
// and another one goes.
func (m *site) churn(t *testing.T, round int) {
	t.Helper()
	began, before := time.Now(), len(m.cloud.of("moscow"))
	f := m.fleet
	i := 3 * round
	f.scale(t, i, machinesEach+3)
	f.replace(t, i+1, 2)
	f.drop(t, i+2)
	added := len(f.want) + round + 1
	f.add(t, added, added)
	f.settled(t)
	t.Logf("round %d on the primary took %s, its provider acted %d times", round, time.Since(began).Round(time.Second), len(m.cloud.of("moscow"))-before)
}

// holds demands, once the standby has everything, that it is consistent, and
// that nothing acts on it while it is watched.
func (m *site) holds(t *testing.T, event string, idle time.Duration) {
	t.Helper()
	m.reaches(t, m.mark(t))
	what := "nothing acts on the standby after " + event
	holdsFor(t, idle, what, func() (bool, string) {
		acts, changes := m.cloud.of("spb"), m.strangers.acted()
		return len(acts) == 0 && len(changes) == 0 && len(m.provider.looked()) == 0,
			fmt.Sprintf("the provider acted %d times, such as %v; it looked at %d machines; other writes %d, such as %v",
				len(acts), first(acts), len(m.provider.looked()), len(changes), first(changes))
	})
	m.consistent(t, 7*int64(len(m.fleet.want)))
	for _, key := range m.strangers.gone() {
		if resp, err := m.primary.Client().Get(t.Context(), key); err != nil || resp.Count > 0 {
			t.Errorf("after %s: something deleted %s on the standby, and the primary has it (%v)", event, key, err)
		}
	}
	machines, _ := m.fleet.settled(t)
	if there := m.of(t, capiMachines, ""); !maps.Equal(there, machines) {
		t.Errorf("after %s the standby has %d Machines, the primary %d, or others", event, len(there), len(machines))
	}
}

// of are the UIDs and names of the standby's objects, of one Cluster or all.
func (m *site) of(t *testing.T, r schema.GroupVersionResource, cluster string) map[types.UID]string {
	t.Helper()
	options := metav1.ListOptions{}
	if cluster != "" {
		options.LabelSelector = clusterName + "=" + cluster
	}
	out := map[types.UID]string{}
	for _, u := range m.list(t, r, options) {
		if r != infraMachines || ofMachine(&u) {
			out[u.GetUID()] = u.GetName()
		}
	}
	return out
}

// list asks the standby's API server, whose cache may be filling still.
func (m *site) list(t *testing.T, r schema.GroupVersionResource, options metav1.ListOptions) []unstructured.Unstructured {
	t.Helper()
	var list *unstructured.UnstructuredList
	testkit.Eventually(t, m.fleet.patience, "a list of "+r.Resource, func() (bool, string) {
		var err error
		list, err = m.spb.Dynamic().Resource(r).List(t.Context(), options)
		return err == nil, fmt.Sprint(err)
	})
	return list.Items
}

// isServedByItsOwnWebhook reads an older version, which the API server has its
// own manager convert: the definitions came from the primary, what they are
// to trust did not.
func (m *site) isServedByItsOwnWebhook(t *testing.T) {
	t.Helper()
	older := clusters
	older.Version = "v1beta1"
	if _, err := m.spb.Dynamic().Resource(older).Namespace(nth(0).Namespace).Get(t.Context(), nth(0).Name, metav1.GetOptions{}); err != nil {
		t.Errorf("read a Cluster as v1beta1 on the standby: %v", err)
	}
}

// release loses the primary, and brings the standby to life: a canary, then all.
func (m *site) release(t *testing.T) {
	t.Helper()
	machines, infrastructure := m.fleet.settled(t)
	m.reaches(t, m.mark(t))
	m.consistent(t, 7*int64(len(m.fleet.want)))
	m.must(t, 0, "pause", "--reason", "moscow is lost")
	m.daemon.Stop()
	m.stopPrimary()

	const canary = 9
	m.must(t, 0, "hold", "release", "--yes", "--cluster", nth(canary).String())
	m.awake(t, "the canary's machines", m.of(t, capiMachines, nth(canary).Name), m.of(t, infraMachines, nth(canary).Name))

	m.must(t, 0, "hold", "release", "--yes")
	m.awake(t, "all machines", machines, infrastructure)
	m.must(t, 0, "hold", "list")

	if acts := m.cloud.of("spb"); len(acts) > 0 || !m.cloud.has(infrastructure) {
		t.Errorf("after the release the provider acted %d times, such as %v", len(acts), first(acts))
	}
	if there := m.of(t, capiMachines, ""); !maps.Equal(there, machines) {
		t.Errorf("after the release there are %d Machines, want the primary's %d", len(there), len(machines))
	}
}

// awake waits until exactly these machines are looked at by the provider and
// by Cluster API, and then for a while that no other one is.
func (m *site) awake(t *testing.T, what string, machines, infrastructure map[types.UID]string) {
	t.Helper()
	state := func() (bool, string) {
		live := map[types.UID]string{}
		for _, u := range m.list(t, capiMachines, metav1.ListOptions{}) {
			if condition(&u, "Paused") == "False" {
				live[u.GetUID()] = u.GetName()
			}
		}
		looked := m.provider.looked()
		return maps.Equal(live, machines) && maps.Equal(looked, infrastructure),
			fmt.Sprintf("Cluster API is at %d of %d Machines, the provider at %d of %d", len(live), len(machines), len(looked), len(infrastructure))
	}
	testkit.Eventually(t, m.fleet.patience, what+" to be reconciled", state)
	holdsFor(t, 10*time.Second, what+" and no others are reconciled", state)
}

// condition is the status of a condition.
func condition(u *unstructured.Unstructured, kind string) string {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range list {
		if c, ok := c.(map[string]any); ok && c["type"] == kind {
			status, _ := c["status"].(string)
			return status
		}
	}
	return ""
}
