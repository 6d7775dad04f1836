package replica_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/registry"
)

// At no revision of the standby is a dependent there without its owner, also
// where for want of memory the owners are written before their trees are known,
// and are still on their way over a slow link when the trees' turn comes.
func TestCopyWritesOwnersFirstWithASmallBuffer(t *testing.T) {
	if testing.Short() {
		t.Skip("copies over a slow link")
	}
	p := newPair(t)
	p.config.BufferBytes = 1
	const objects = 1500
	uid := func(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }
	pad := strings.Repeat("x", 2000)
	// The dependents that are written first belong to the owners that are read last.
	for i := range objects {
		owner := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"zz-%04d","namespace":"prod","uid":"%s"},"data":{"pad":"%s"}}`, i, uid(i), pad)
		dependent := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"aa-%04d","namespace":"prod","uid":"%s","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"zz-%04d","uid":"%s"}]}}`,
			i, uid(objects+i), objects-1-i, uid(objects-1-i))
		_, err := p.primary.Client().Txn(t.Context()).Then(
			clientv3.OpPut(fmt.Sprintf("/registry/configmaps/prod/zz-%04d", i), owner),
			clientv3.OpPut(fmt.Sprintf("/registry/configmaps/prod/aa-%04d", i), dependent)).Commit()
		if err != nil {
			t.Fatal(err)
		}
	}
	slow, url := p.standby.Proxy(0)
	slow.Throttle(1 << 20)
	p.config.Standby.Endpoints = []string{url}
	p.once(t)

	ownersFirst(t, p.standby.Client(), 2*objects)
}

// ownersFirst reads an etcd's history until n objects have been written.
func ownersFirst(t *testing.T, client *clientv3.Client, n int) {
	t.Helper()
	there := map[string]bool{}
	for resp := range client.Watch(t.Context(), "/registry/", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		revisions := map[int64][]registry.Meta{} // what is written at one revision is there at once
		for _, e := range resp.Events {
			meta, err := registry.ReadMeta(e.Kv.Value)
			if err != nil {
				t.Fatal(err)
			}
			revisions[e.Kv.ModRevision] = append(revisions[e.Kv.ModRevision], meta)
		}
		for _, revision := range slices.Sorted(maps.Keys(revisions)) {
			for _, m := range revisions[revision] {
				there[m.UID] = true
			}
			for _, m := range revisions[revision] {
				for _, o := range m.Owners {
					if !there[o.UID] {
						t.Fatalf("at the standby's revision %d %s is there without its owner %s", revision, m.Name, o.Name)
					}
				}
			}
		}
		if len(there) == n {
			return
		}
	}
}
