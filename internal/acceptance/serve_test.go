package acceptance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// The standby's API server serves what the primary's serves: the same objects
// of every kind to the last field, UID, labels, owners, generation and status
// included, after a first copy and while they change; with the standby's
// controllers running, and with Secrets encrypted by another provider and key.
func TestStandbyServesWhatThePrimaryServes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two control planes")
	}
	cbc := encryption(t, "aescbc", "moscow", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	box := encryption(t, "secretbox", "spb", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=")
	start := func(encryption string) *testkit.ControlPlane {
		return testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true,
			EncryptionConfig: encryption, EtcdOptions: []testkit.EtcdOption{testkit.TLS()}})
	}
	moscow, spb := start(cbc), start(box)
	define(t, moscow, "Cluster", "Machine")
	primary := newAPI(t, moscow)
	primary.createAll(t, "testdata/objects.yaml")
	own := kind{secrets, "Secret", ""}.object("kube-public", "own")
	if _, err := spb.Dynamic().Resource(secrets).Namespace("kube-public").Create(t.Context(), own, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	p := newPair(t, side{Etcd: moscow.Etcd(), Encryption: cbc}, side{Etcd: spb.Etcd(), Encryption: box}, "hold: {defaults: false}")
	p.sync(t)
	p.reaches(t, 1)
	servesTheSame(t, primary, spb, "after the first copy", 30)

	primary.changeThings(t)
	marker := primary.create(t, kind{configMaps, "ConfigMap", ""}.object(ours, "marker"))
	p.reaches(t, revisionOf(t, marker))
	servesTheSame(t, primary, spb, "after the changes", 25)

	mustBeStored(t, moscow, "/registry/secrets/fleet/kubeconfig", "k8s:enc:aescbc:v1:moscow:")
	mustBeStored(t, spb, "/registry/secrets/fleet/kubeconfig", "k8s:enc:secretbox:v1:spb:")
	mustBeStored(t, spb, "/registry/secrets/kube-public/own", "k8s:enc:secretbox:v1:spb:")
	p.consistent(t, 25)
}

// changeThings updates, deletes and creates objects of the file.
func (a *api) changeThings(t *testing.T) {
	t.Helper()
	const custom = group + "/v1"
	set := func(value any, path ...string) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) {
			if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.change(t, "v1", "ConfigMap", "settings", set("spb", "data", "region"))
	a.change(t, "v1", "Secret", "kubeconfig", set("b3RoZXI=", "data", "value"))
	a.change(t, custom, "Cluster", "kazan", set("v1.37.0", "spec", "version"))
	a.change(t, custom, "Cluster", "kazan", set("Upgrading", "status", "phase"), "status")

	a.delete(t, "v1", "Secret", ours, "old-password")
	a.delete(t, "networking.k8s.io/v1", "NetworkPolicy", ours, "closed")
	a.delete(t, custom, "Machine", ours, "kazan-2")
	a.delete(t, "rbac.authorization.k8s.io/v1", "ClusterRole", "", "fleet-viewer") // and its dependent with it
	a.delete(t, "v1", "Namespace", "", "abandoned")                                // and all that is in it

	define(t, a.ControlPlane, "Pool") // a kind that arrives in the stream
	a.mapper = newAPI(t, a.ControlPlane).mapper
	pool := reference(custom, "Pool", ours, "workers")
	set(map[string]any{"replicas": int64(3)}, "spec")(pool)
	set(map[string]any{"ready": int64(2)}, "status")(pool)
	a.create(t, pool)
	a.gone(t, reference("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", "fleet-viewers"))
	a.gone(t, reference("v1", "Namespace", "", "abandoned"))
}

// encryption writes an EncryptionConfiguration for Secrets.
func encryption(t *testing.T, provider, name, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), provider+".yaml")
	text := fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - %s: {keys: [{name: %s, secret: %s}]}
  - identity: {}
`, provider, name, secret)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustBeStored(t *testing.T, c *testkit.ControlPlane, key, prefix string) {
	t.Helper()
	resp, err := c.Etcd().Client().Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 || !strings.HasPrefix(string(resp.Kvs[0].Value), prefix) {
		t.Fatalf("%s is stored as %v, want %s…", key, resp.Kvs, prefix)
	}
}
