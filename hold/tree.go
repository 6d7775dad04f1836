package hold

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

const (
	clusters     = "clusters.cluster.x-k8s.io"
	clusterLabel = "cluster.x-k8s.io/cluster-name"
)

// hangsOn reads the namespace of a Cluster of Cluster API at one revision and
// returns what tells whether an object belongs to it: it is the Cluster, it has
// its label, or an owner reference leads there by UID, over any number of steps.
//
// The originals of items count as well, for those that are gone.
func hangsOn(ctx context.Context, standby *clientv3.Client, view *scope.View, cluster string, rev kv.Revision, items []Item) (func(key string) bool, error) {
	namespace, name, ok := strings.Cut(cluster, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, &remedy.Error{Err: fmt.Errorf("--cluster %q: write it as namespace/name", cluster), Code: remedy.Usage}
	}
	root := registry.Key{Group: "cluster.x-k8s.io", Resource: "clusters", Namespace: namespace, Name: name}.Path(view.Scope.RegistryPrefix())
	family := newFamily()
	for _, item := range items {
		if item.Namespace == namespace {
			family.add(item.Key, item.meta, item.Key == root || item.cluster == name)
		}
	}
	found := family.members[root]
	begin, end := view.Scope.Objects()
	err := source.Each(ctx, standby, begin, end, rev, func(p kv.Pair) error {
		k, ok := view.Scope.Parse(p.Key)
		if !ok || k.Namespace != namespace {
			return nil
		}
		plain, err := plainOf(view, p.Key, p.Value)
		if err != nil {
			return nil // it cannot be said what it hangs on
		}
		meta, _ := registry.ReadMeta(plain)
		found = found || p.Key == root
		family.add(p.Key, meta, p.Key == root || labelOf(plain) == name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the namespace of the Cluster: %w", err)
	}
	if !found {
		return nil, &remedy.Error{Err: fmt.Errorf("the standby has no Cluster %s", cluster), Remedy: "see what is held: understudy hold list"}
	}
	family.spread()
	return func(key string) bool { return family.members[key] }, nil
}

// labelOf is the name of the Cluster that an object says it belongs to.
func labelOf(plain []byte) string {
	if !bytes.Contains(plain, []byte(clusterLabel)) {
		return ""
	}
	fields, err := registry.ReadFields(plain)
	if err != nil {
		return ""
	}
	metadata, _ := fields["metadata"].(map[string]any)
	labels, _ := metadata["labels"].(map[string]any)
	name, _ := labels[clusterLabel].(string)
	return name
}

// family is who belongs to something, by key.
type family struct {
	members    map[string]bool
	dependents map[string][]string // keys by the UID of an owner
	uidOf      map[string]string
}

func newFamily() *family {
	return &family{members: map[string]bool{}, dependents: map[string][]string{}, uidOf: map[string]string{}}
}

func (f *family) add(key string, meta registry.Meta, member bool) {
	f.uidOf[key] = meta.UID
	for _, o := range meta.Owners {
		f.dependents[o.UID] = append(f.dependents[o.UID], key)
	}
	if member {
		f.members[key] = true
	}
}

// spread makes members of all that hangs on members.
func (f *family) spread() {
	var todo []string
	for key := range f.members {
		todo = append(todo, key)
	}
	for len(todo) > 0 {
		uid := f.uidOf[todo[0]]
		todo = todo[1:]
		if uid == "" {
			continue
		}
		for _, key := range f.dependents[uid] {
			if !f.members[key] {
				f.members[key] = true
				todo = append(todo, key)
			}
		}
	}
}

// trees puts items that hang together by ownership into one group, owners
// before dependents. Groups and what hangs on nothing keep their order.
func trees(items []Item) [][]Item {
	byUID := map[string]int{}
	for i, item := range items {
		if item.meta.UID != "" {
			byUID[item.meta.UID] = i
		}
	}
	dependents := make([][]int, len(items))
	owned := make([]bool, len(items))
	for i, item := range items {
		for _, o := range item.meta.Owners {
			if owner, ok := byUID[o.UID]; ok && owner != i {
				dependents[owner] = append(dependents[owner], i)
				owned[i] = true
			}
		}
	}
	var out [][]Item
	done := make([]bool, len(items))
	grow := func(root int) {
		var tree []Item
		for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
			if i := todo[0]; !done[i] {
				done[i] = true
				tree = append(tree, items[i])
				todo = append(todo, dependents[i]...)
			}
		}
		if tree != nil {
			out = append(out, tree)
		}
	}
	for i := range items {
		if !owned[i] {
			grow(i)
		}
	}
	for i := range items { // what is left hangs in a circle
		grow(i)
	}
	return out
}
