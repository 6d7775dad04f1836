package hold

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// Self is an object that describes the primary itself, not something that the
// primary manages. Controllers that act on it on the standby act on the primary's
// own machines, or take the standby for the primary.
type Self struct {
	Key  string `json:"key"`
	Kind string `json:"kind"`
	Name string `json:"name"` // NAMESPACE/NAME, or NAME
	Why  string `json:"why"`
	Held bool   `json:"held"` // on the standby

	members func(key string) bool // it, and what hangs on it
}

// byName are objects that describe the cluster that they are in by their name:
// what Rancher and Open Cluster Management call the cluster they run in.
var byName = []struct {
	resource, key, why string
}{
	{"clusters.management.cattle.io", "management.cattle.io/clusters/local", "Rancher calls the cluster that it runs in local"},
	{"clusters.provisioning.cattle.io", "provisioning.cattle.io/clusters/fleet-local/local", "Rancher calls the cluster that it runs in local"},
	{"clusters.fleet.cattle.io", "fleet.cattle.io/clusters/fleet-local/local", "Fleet calls the cluster that it runs in local"},
	{"managedclusters.cluster.open-cluster-management.io", "cluster.open-cluster-management.io/managedclusters/local-cluster", "the hub calls the cluster that it runs in local-cluster"},
}

// FindSelf returns what describes the primary itself among the standby's objects in
// scope, in key order.
func FindSelf(ctx context.Context, standby *clientv3.Client, view *scope.View, home Home) ([]Self, error) {
	prefix := view.Scope.RegistryPrefix()
	found := map[string]*Self{}
	add := func(key, why string) {
		k, ok := view.Scope.Parse(key)
		if !ok || found[key] != nil || view.Scope.Key(key) == scope.Out {
			return
		}
		name := strings.TrimPrefix(k.Namespace+"/"+k.Name, "/")
		found[key] = &Self{Key: key, Kind: registry.Kind(k.GroupResource()), Name: name, Why: why, members: func(other string) bool { return other == key }}
	}
	each := func(below string, visit func(key string, fields registry.Fields)) error {
		dir := prefix + below
		err := source.Each(ctx, standby, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
			if plain, err := plainOf(view, p.Key, p.Value); err == nil {
				if fields, err := registry.ReadFields(plain); err == nil {
					visit(p.Key, fields)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("look for what describes the primary: %w", err)
		}
		return nil
	}
	for _, one := range byName {
		if err := each(one.key, func(key string, _ registry.Fields) {
			if key == prefix+one.key {
				add(key, one.why)
			}
		}); err != nil {
			return nil, err
		}
	}
	if err := each("cluster.open-cluster-management.io/managedclusters/", func(key string, fields registry.Fields) {
		if labels, _, _ := unstructured.NestedStringMap(fields, "metadata", "labels"); labels["local-cluster"] == "true" {
			add(key, "the hub runs in it: it has the label local-cluster=true")
		}
	}); err != nil {
		return nil, err
	}
	if err := findClusters(ctx, standby, view, home, each, add); err != nil {
		return nil, err
	}
	out := []Self{}
	for _, self := range found {
		var err error
		resp, err := standby.Get(ctx, scope.HeldKey(self.Key), clientv3.WithCountOnly())
		if err != nil {
			return nil, fmt.Errorf("look for what describes the primary: %w", err)
		}
		self.Held = resp.Count > 0
		if k, _ := view.Scope.Parse(self.Key); k.GroupResource() == clusters {
			if self.members, err = hangsOn(ctx, standby, view, self.Name, 0, nil); err != nil {
				return nil, err
			}
		}
		out = append(out, *self)
	}
	slices.SortFunc(out, func(a, b Self) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}

// findClusters looks at the Clusters of Cluster API: where they, their kubeconfigs
// and their Machines lead.
func findClusters(ctx context.Context, standby *clientv3.Client, view *scope.View, home Home,
	each func(string, func(string, registry.Fields)) error, add func(key, why string)) error {
	prefix := view.Scope.RegistryPrefix()
	kubeconfigs := map[string]string{} // keys of Secrets → of their Clusters
	err := each("cluster.x-k8s.io/clusters/", func(key string, fields registry.Fields) {
		host, _, _ := unstructured.NestedString(fields, "spec", "controlPlaneEndpoint", "host")
		port, _, _ := unstructured.NestedInt64(fields, "spec", "controlPlaneEndpoint", "port")
		if port == 0 {
			port = 6443
		}
		if what := home.Leads(net.JoinHostPort(host, strconv.FormatInt(port, 10))); host != "" && what != "" {
			add(key, fmt.Sprintf("its endpoint %s is %s", net.JoinHostPort(host, strconv.FormatInt(port, 10)), what))
			return
		}
		if k, ok := view.Scope.Parse(key); ok { // this also tells later that the Cluster is there
			kubeconfigs[registry.ResourcePrefix(prefix, "secrets")+k.Namespace+"/"+k.Name+"-kubeconfig"] = key
		}
	})
	if err != nil {
		return err
	}
	var keys []string
	for key := range kubeconfigs {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for some := range slices.Chunk(keys, atOnce) {
		pairs, err := source.Get(ctx, standby, some, 0)
		if err != nil {
			return fmt.Errorf("read the kubeconfigs of Clusters: %w", err)
		}
		for _, p := range pairs {
			if what := home.leadsTo(view, p); what != "" {
				add(kubeconfigs[p.Key], "its kubeconfig leads to "+what)
			}
		}
	}
	if len(home.Machines) == 0 {
		return nil
	}
	return each("cluster.x-k8s.io/machines/", func(key string, fields registry.Fields) {
		id, _, _ := unstructured.NestedString(fields, "spec", "providerID")
		name, _, _ := unstructured.NestedString(fields, "spec", "clusterName")
		k, ok := view.Scope.Parse(key)
		if node := home.Machines[id]; id != "" && node != "" && name != "" && ok {
			k.Resource, k.Name = "clusters", name
			if kubeconfigs[registry.ResourcePrefix(prefix, "secrets")+k.Namespace+"/"+k.Name+"-kubeconfig"] != "" {
				add(k.Path(prefix), "its Machines are the primary's nodes, such as "+node)
			}
		}
	})
}

// leadsTo says what of the primary the Secret of a kubeconfig leads to.
func (h *Home) leadsTo(view *scope.View, secret kv.Pair) string {
	plain, err := plainOf(view, secret.Key, secret.Value)
	if err != nil {
		return ""
	}
	fields, err := registry.ReadFields(plain)
	if err != nil {
		return ""
	}
	encoded, _, _ := unstructured.NestedString(fields, "data", "value")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	for _, server := range Servers(raw) {
		if at, ok := hostPort(server); ok && strings.HasPrefix(at, "kubernetes.default") {
			return server + ", the cluster that it is in"
		}
		if what := h.Leads(server); what != "" {
			return server + ", " + what
		}
	}
	return ""
}

// Divide takes from items what describes the primary itself, with what hangs on it:
// that stays held until it is named. Named are those of self that were asked for; nil =
// none. One that is asked for and is none of them is an error.
func Divide(items []Item, self []Self, named []string) (release, stay []Item, err error) {
	for _, name := range named {
		if !slices.ContainsFunc(self, func(s Self) bool { return s.Name == name }) {
			known := "nothing on the standby does"
			if len(self) > 0 {
				var names []string
				for _, s := range self {
					names = append(names, s.Name)
				}
				known = "what does is " + strings.Join(names, ", ")
			}
			return nil, nil, &remedy.Error{Err: fmt.Errorf("%s does not describe the primary itself: %s", name, known), Remedy: "see: understudy hold list", Code: remedy.Usage}
		}
	}
	Mark(items, self)
	for _, item := range items {
		asked := slices.ContainsFunc(self, func(s Self) bool { return slices.Contains(named, s.Name) && s.members(item.Key) })
		switch {
		case asked || named == nil && item.Self == "":
			release = append(release, item)
		case named == nil:
			stay = append(stay, item)
		}
	}
	return release, stay, nil
}

// Mark says of items which describe the primary itself, or hang on what does.
func Mark(items []Item, self []Self) {
	for i := range items {
		for _, s := range self {
			switch {
			case s.Key == items[i].Key:
				items[i].Self, items[i].IsSelf = "describes the primary itself: "+s.Why, true
			case !items[i].IsSelf && s.members(items[i].Key):
				items[i].Self = "hangs on " + s.Kind + " " + s.Name + ", which describes the primary itself"
			}
		}
	}
}
