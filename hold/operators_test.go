package hold

import (
	"fmt"
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// An operator of the standby's own is found by what its ServiceAccount may write, or by its
// image where that is everything; not where it is at zero, may only read, or its objects are held.
func TestFindOperators(t *testing.T) {
	view := newView(t, nil)
	primary, standby := testkit.StartEtcd(t).Client(), testkit.StartEtcd(t).Client()
	put := func(on *clientv3.Client, key, value string) {
		t.Helper()
		if _, err := on.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	p, s := primary, standby
	for i := range 3 {
		put(p, fmt.Sprintf("/registry/cert-manager.io/certificates/team-a/www-%d", i), `{"apiVersion":"cert-manager.io/v1","kind":"Certificate","metadata":{"name":"www","namespace":"team-a","uid":"90000000-0000-4000-8000-000000000001"},"spec":{}}`)
	}
	put(p, "/registry/acme.cert-manager.io/orders/team-a/o", `{"apiVersion":"acme.cert-manager.io/v1","kind":"Order","metadata":{"name":"o","uid":"1"}}`)
	put(p, "/registry/db.example.com/databases/team-a/d", `{"apiVersion":"db.example.com/v1","kind":"Database","metadata":{"name":"d","uid":"2"}}`)
	put(p, "/registry/s3.example.com/buckets/assets", `{"apiVersion":"s3.example.com/v1","kind":"Bucket","metadata":{"name":"assets","uid":"3"},"spec":{"forProvider":{}}}`)
	put(p, "/registry/cluster.x-k8s.io/machines/a/m", `{"apiVersion":"cluster.x-k8s.io/v1beta2","kind":"Machine","metadata":{"name":"m","uid":"4"}}`)
	put(p, "/registry/db.example.com/databases/kube-system/left-out", `{"apiVersion":"db.example.com/v1","kind":"Database","metadata":{"name":"x","uid":"5"}}`)

	workload := func(kind, plural, namespace, name, account, image, replicas string) {
		put(s, "/registry/"+plural+"/"+namespace+"/"+name, fmt.Sprintf(`{"apiVersion":"apps/v1","kind":%q,"metadata":{"name":%q,"namespace":%q,"uid":"u-%s"},"spec":{%s"template":{"spec":{"serviceAccountName":%q,"containers":[{"image":%q}]}}}}`,
			kind, name, namespace, name, replicas, account, image))
	}
	role := func(name, namespace, account, groups, resources, verbs string) {
		put(s, "/registry/clusterroles/"+name, fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":%q},"rules":[{"apiGroups":[%s],"resources":[%s],"verbs":[%s]}]}`, name, groups, resources, verbs))
		put(s, "/registry/clusterrolebindings/"+name, fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":%q},"roleRef":{"name":%q},"subjects":[{"kind":"ServiceAccount","namespace":%q,"name":%q}]}`, name, name, namespace, account))
	}
	workload("Deployment", "deployments", "cert-manager", "cert-manager", "cert-manager", "x", "")
	role("cm", "cert-manager", "cert-manager", `"cert-manager.io"`, `"certificates","certificates/status"`, `"get","update"`)
	workload("Deployment", "deployments", "cert-manager", "cainjector", "cainjector", "x", `"replicas":1,`)
	role("ca", "cert-manager", "cainjector", `"cert-manager.io"`, `"certificates"`, `"get","list","watch"`)
	workload("StatefulSet", "statefulsets", "db", "operator", "operator", "x", `"replicas":2,`)
	role("db", "db", "operator", `"db.example.com"`, `"*"`, `"*"`)
	workload("Deployment", "deployments", "db", "at-zero", "operator", "x", `"replicas":0,`)
	workload("Deployment", "deployments", "mighty", "everything", "all", "x", "")
	workload("Deployment", "deployments", "mighty", "own-cert-manager", "all", "quay.io/jetstack/cert-manager-controller:v1", "")
	role("all", "mighty", "all", `"*"`, `"*"`, `"*"`)
	workload("Deployment", "deployments", "s3", "provider", "provider", "x", "")
	role("s3", "s3", "provider", `"s3.example.com"`, `"buckets/status"`, `"patch"`)
	workload("Deployment", "deployments", "capi", "capi", "capi", "x", "")
	role("capi", "capi", "capi", `"cluster.x-k8s.io"`, `"machines"`, `"*"`)

	found, err := FindOperators(t.Context(), primary, standby, view)
	if err != nil {
		t.Fatal(err)
	}
	var says []string
	for _, o := range found {
		says = append(says, o.Kind+" "+o.Says())
	}
	want := []string{
		"Deployment cert-manager in cert-manager: 3 certificates.cert-manager.io",
		"StatefulSet operator in db: 1 databases.db.example.com",
		"Deployment own-cert-manager in mighty: 3 certificates.cert-manager.io, 1 orders.acme.cert-manager.io",
	}
	if !slices.Equal(says, want) {
		t.Errorf("found %q\nwant  %q", says, want)
	}
}
