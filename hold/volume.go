package hold

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// claim is what a PersistentVolume is bound to.
type claim struct{ key, uid string }

// claimOf is the claim of a volume that is deleted with it, storage and all; the
// zero claim where there is none.
func claimOf(view *scope.View, gr string, original []byte) claim {
	if gr != "persistentvolumes" {
		return claim{}
	}
	fields, err := registry.ReadFields(original)
	if err != nil {
		return claim{}
	}
	text := func(path ...string) string {
		text, _, _ := unstructured.NestedString(fields, path...)
		return text
	}
	namespace, name, uid := text("spec", "claimRef", "namespace"), text("spec", "claimRef", "name"), text("spec", "claimRef", "uid")
	if uid == "" || text("spec", "persistentVolumeReclaimPolicy") == string(corev1.PersistentVolumeReclaimRetain) {
		return claim{}
	}
	return claim{registry.ResourcePrefix(view.Scope.RegistryPrefix(), "persistentvolumeclaims") + namespace + "/" + name, uid}
}

// lostClaims says of which volumes among items the claim is not on the standby:
// with its own reclaim policy, the controllers would delete what is stored in one
// at once.
func lostClaims(ctx context.Context, standby *clientv3.Client, view *scope.View, items []Item) (map[string]string, error) {
	var volumes []Item
	for _, item := range items {
		if item.claim.key != "" {
			volumes = append(volumes, item)
		}
	}
	lost := map[string]string{}
	for some := range slices.Chunk(volumes, atOnce) {
		keys := make([]string, len(some))
		for i, v := range some {
			keys[i] = v.claim.key
		}
		slices.Sort(keys)
		pairs, err := source.Get(ctx, standby, slices.Compact(keys), 0)
		if err != nil {
			return nil, fmt.Errorf("read the claims of volumes: %w", err)
		}
		for _, v := range some {
			if !slices.ContainsFunc(pairs, func(p kv.Pair) bool { return isClaim(view, p, v.claim) }) {
				lost[v.Key] = "its claim is not on the standby, and its storage would be deleted: it stays with the policy Retain"
			}
		}
	}
	return lost, nil
}

// isClaim reports whether a stored claim is the one that a volume names. One that
// cannot be read may be.
func isClaim(view *scope.View, p kv.Pair, c claim) bool {
	if p.Key != c.key {
		return false
	}
	plain, err := plainOf(view, p.Key, p.Value)
	if err != nil {
		return true
	}
	meta, err := registry.ReadMeta(plain)
	return err != nil || meta.UID == c.uid
}
