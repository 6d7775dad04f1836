package acceptance_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/internal/testkit/toolchain"
)

const (
	owners     = 500 // of each family
	dependents = 4   // of each owner
	// watched is how long the garbage collector has to find something.
	watched = 2 * time.Minute
)

// families of objects whose dependents' keys sort before their owners' keys,
// so that whoever copies in key order brings the dependents first.
var families = []family{
	{
		name:       "already", // the standby has the definitions, its own ones
		owner:      kind{claimSets, "ClaimSet", "set"},
		dependents: [dependents]kind{{claims, "Claim", "a"}, {claims, "Claim", "b"}, {configMaps, "ConfigMap", "first"}, {configMaps, "ConfigMap", "second"}},
	},
	{
		name:       "built-in",
		owner:      kind{configMaps, "ConfigMap", "zz-owner"},
		dependents: [dependents]kind{{configMaps, "ConfigMap", "aa"}, {configMaps, "ConfigMap", "ab"}, {secrets, "Secret", "ac"}, {configMaps, "ConfigMap", "ad"}},
	},
	{
		name:       "coming", // the definitions come along
		owner:      kind{machineSets, "MachineSet", "set"},
		dependents: [dependents]kind{{machines, "Machine", "a"}, {machines, "Machine", "b"}, {configMaps, "ConfigMap", "first"}, {configMaps, "ConfigMap", "second"}},
	},
}

// A first copy into a standby whose controllers run must not let the garbage
// collector see a dependent without its owner: not of built-in kinds, not
// of a kind that the standby knows, and not of one whose definition comes
// along. Nor does it find a reference to take away from an object that has
// other owners. etcdctl make-mirror on the same data shows that the garbage
// collector does look.
func TestGarbageCollectorSparesWhatACopyBrings(t *testing.T) {
	if testing.Short() {
		t.Skip("watches three control planes for two minutes")
	}
	collecting := testkit.ControlPlaneOptions{ControllerManager: true,
		// It looks at some thousand objects at once, not at 20 a second.
		ControllerManagerFlags: []string{"--kube-api-qps=1000", "--kube-api-burst=2000"}}
	primary := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	standby := testkit.StartControlPlane(t, collecting)
	mirrored := testkit.StartControlPlane(t, collecting)
	define(t, primary, "ClaimSet", "Claim", "MachineSet", "Machine")
	define(t, standby, "ClaimSet", "Claim")
	define(t, mirrored, "ClaimSet", "Claim")
	made := census{}
	for _, f := range families {
		made.add(f.create(t, primary))
	}
	// No standby gets a Lease, and the object has another owner that it gets.
	api := newAPI(t, primary)
	lease := api.create(t, reference("coordination.k8s.io/v1", "Lease", "built-in", "held"))
	shared := reference("v1", "ConfigMap", "built-in", "ae-shared")
	shared.SetOwnerReferences([]metav1.OwnerReference{
		{APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Name: lease.GetName()},
		{APIVersion: "v1", Kind: "ConfigMap", Name: "zz-owner-000"}})
	shared = api.create(t, shared)
	sharedKey := objectKey(configMaps, shared)
	made[sharedKey] = shared.GetUID()
	for _, c := range []*testkit.ControlPlane{standby, mirrored} {
		collects(t, c, kind{configMaps, "ConfigMap", "before"})
		collects(t, c, kind{claims, "Claim", "before"})
	}
	losses := watchWrites(t, standby, made)
	mirrorLosses := watchWrites(t, mirrored, made)

	// The other site is far away: what is written in the wrong order stays
	// wrong long enough for the garbage collector to see it.
	far, url := standby.Etcd().Proxy(0)
	far.Delay(100 * time.Millisecond)
	p := newPair(t, side{Etcd: primary.Etcd()}, side{Etcd: standby.Etcd(), Through: url}, "  replace: [{resources: [customresourcedefinitions.apiextensions.k8s.io]}]")
	p.sync(t)
	p.reaches(t, 1)
	mirror(t, primary.Etcd(), mirrored.Etcd().Endpoints()[0])

	holdsFor(t, watched, "every object is there with its UID", func() (bool, string) {
		if deleted := losses.deleted(); len(deleted) > 0 {
			return false, fmt.Sprintf("deleted: %s, such as %v", deleted.tally(), first(deleted))
		}
		there, err := count(t.Context(), standby)
		if err != nil {
			return false, err.Error()
		}
		wrong := made.missingFrom(there)
		return len(wrong) == 0, fmt.Sprintf("missing or with another UID: %s, such as %v", wrong.tally(), first(wrong))
	})

	// It was looking at all these kinds all the time.
	collects(t, standby, kind{configMaps, "ConfigMap", "after"})
	collects(t, standby, kind{claims, "Claim", "after"})
	collects(t, standby, kind{machines, "Machine", "after"})
	p.consistent(t, int64(len(made)))
	if n := versions(t, standby, sharedKey); n != 1 {
		t.Errorf("%s was written %d times on the standby, want once: the garbage collector has edited it", sharedKey, n)
	}
	// Whether make-mirror's does depends on which owner it looks for first.
	t.Logf("after make-mirror it was written %d times", versions(t, mirrored, sharedKey))

	if missing := len(made) - mirrorLosses.arrived(); missing > 0 {
		t.Fatalf("make-mirror has not brought %d of %d objects within %s", missing, len(made), watched)
	}
	there, err := count(t.Context(), mirrored)
	if err != nil {
		t.Fatal(err)
	}
	lost := made.missingFrom(there)
	t.Logf("after etcdctl make-mirror the garbage collector has deleted dependents: %s", lost.tally())
	if len(lost) == 0 {
		t.Error("make-mirror lost nothing: this data does not tempt the garbage collector, the test proves nothing")
	}
}

// collects fails unless the garbage collector deletes a dependent of an owner
// that never was. It is in a namespace that no copy touches.
func collects(t *testing.T, c *testkit.ControlPlane, k kind) {
	t.Helper()
	absent := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "never-was", UID: "00000000-0000-4000-8000-000000000000"}
	client := c.Dynamic().Resource(k.resource).Namespace("kube-public")
	if _, err := client.Create(t.Context(), k.object("kube-public", k.name, absent), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, "the garbage collector to delete a "+k.kind+" without an owner", func() (bool, string) {
		_, err := client.Get(t.Context(), k.name, metav1.GetOptions{})
		return isNotFound(err), fmt.Sprintf("Get: %v", err)
	})
}

// versions is how often an object has been written since it was created.
func versions(t *testing.T, c *testkit.ControlPlane, key string) int64 {
	t.Helper()
	resp, err := c.Etcd().Client().Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return 0
	}
	return resp.Kvs[0].Version
}

// mirror runs etcdctl make-mirror to the etcd at url until the test ends.
func mirror(t *testing.T, primary *testkit.Etcd, url string) {
	t.Helper()
	etcdctl, err := toolchain.Path(context.WithoutCancel(t.Context()), "etcdctl@3.6")
	if err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(proc.Spec{Path: etcdctl, Log: t.TempDir() + "/make-mirror.log",
		Args: []string{"make-mirror", "--prefix=/registry/", "--endpoints=" + primary.Endpoints()[0], url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.Kill(); t.Failed() {
			t.Logf("end of make-mirror's log:\n%s", p.LogTail(5))
		}
	})
}
