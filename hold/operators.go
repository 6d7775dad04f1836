package hold

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// Operator is a workload of the standby's own that wants Pods and will act on
// objects that come from the primary.
type Operator struct {
	Kind, Namespace, Name string
	Labels                map[string]string
	Acts                  map[string]int64 // objects in scope on the primary, by resource
}

// Says is "cert-manager in cert-manager: 41 certificates.cert-manager.io".
func (o Operator) Says() string {
	var parts []string
	for _, gr := range slices.Sorted(maps.Keys(o.Acts)) {
		parts = append(parts, fmt.Sprintf("%d %s", o.Acts[gr], gr))
	}
	if more := len(parts) - shownActs; more > 0 {
		parts = append(parts[:shownActs], fmt.Sprintf("and of %d other kinds", more))
	}
	return fmt.Sprintf("%s in %s: %s", o.Name, o.Namespace, strings.Join(parts, ", "))
}

const shownActs = 3

// known are operators that are told by their image, for where their rights do not:
// many are installed with all of them.
var known = []struct{ image, group string }{
	{"cert-manager-controller", "cert-manager.io"},
	{"external-secrets", "external-secrets.io"},
	{"knative-operator", "operator.knative.dev"},
	{"postgres-operator", "acid.zalan.do"},
	{"rook/ceph", "ceph.rook.io"},
	{"tektoncd/pipeline/cmd/controller", "tekton.dev"},
	{"rancher/rancher", "management.cattle.io"},
	{"rancher/system-upgrade-controller", "upgrade.cattle.io"},
	{"minio/operator", "minio.min.io"},
	{"vault-secrets-operator", "secrets.hashicorp.com"},
	{"gardener/machine-controller-manager", "machine.sapcloud.io"},
}

// FindOperators returns the workloads of the standby that will act on custom
// resources that are replicated, by namespace and name: those whose
// ServiceAccount may write them by a ClusterRole that names their group, and the
// known ones. Where the objects are held, or hang on a Cluster that is paused,
// nothing acts on them. It reads the keys of the primary, and of the standby's
// etcd the workloads and their rights; it writes nothing.
func FindOperators(ctx context.Context, primary, standby *clientv3.Client, view *scope.View) ([]Operator, error) {
	counts, samples, err := customResources(ctx, primary, view)
	if err != nil || len(counts) == 0 {
		return nil, err
	}
	rights, err := readRights(ctx, standby, view)
	if err != nil {
		return nil, err
	}
	var out []Operator
	for _, gr := range []string{"deployments.apps", "statefulsets.apps"} {
		err := eachOf(ctx, standby, view, gr, func(k registry.Key, fields registry.Fields) {
			replicas, there, _ := unstructured.NestedInt64(fields, "spec", "replicas")
			if there && replicas == 0 {
				return
			}
			account, _, _ := unstructured.NestedString(fields, "spec", "template", "spec", "serviceAccountName")
			if account == "" {
				account = "default"
			}
			labels, _, _ := unstructured.NestedStringMap(fields, "metadata", "labels")
			o := Operator{Labels: labels, Kind: registry.Kind(gr), Namespace: k.Namespace, Name: k.Name, Acts: map[string]int64{}}
			for resource, n := range counts {
				if rights.writes(k.Namespace+"/"+account, resource) || knownFor(fields, resource) {
					o.Acts[resource] = n
				}
			}
			if len(o.Acts) > 0 {
				out = append(out, o)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if err := dropHeld(ctx, primary, view, samples, out); err != nil {
		return nil, err
	}
	out = slices.DeleteFunc(out, func(o Operator) bool { return len(o.Acts) == 0 })
	slices.SortFunc(out, func(a, b Operator) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out, nil
}

// customResources counts the primary's in scope by resource, with the key of one of each.
func customResources(ctx context.Context, primary *clientv3.Client, view *scope.View) (counts map[string]int64, samples map[string]string, err error) {
	counts, samples = map[string]int64{}, map[string]string{}
	from, end := view.Range()
	for {
		resp, err := primary.Get(ctx, from, clientv3.WithRange(end), clientv3.WithKeysOnly(), clientv3.WithLimit(keysAtOnce))
		if err != nil {
			return nil, nil, fmt.Errorf("count the primary's custom resources: %w", err)
		}
		for _, p := range resp.Kvs {
			key := string(p.Key)
			k, ok := view.Scope.Parse(key)
			if !ok || !strings.Contains(k.Group, ".") || view.Scope.Key(key) != scope.In {
				continue
			}
			gr := k.GroupResource()
			if registry.BuiltIn(gr) || k.Group == "apiextensions.k8s.io" || k.Group == "apiregistration.k8s.io" || strings.HasSuffix(gr, ".cluster.x-k8s.io") {
				continue // no custom resource; or the pause of the Cluster is theirs
			}
			counts[gr]++
			samples[gr] = key
		}
		if !resp.More {
			return counts, samples, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

const keysAtOnce = 10_000

// dropHeld takes away the resources of which one object is held: so are the others like it.
func dropHeld(ctx context.Context, primary *clientv3.Client, view *scope.View, samples map[string]string, operators []Operator) error {
	held := map[string]bool{}
	for _, o := range operators {
		for gr := range o.Acts {
			if _, asked := held[gr]; !asked {
				pairs, err := source.Get(ctx, primary, []string{samples[gr]}, 0)
				if err != nil {
					return fmt.Errorf("read one of the primary's %s: %w", gr, err)
				}
				held[gr] = false
				if len(pairs) == 1 {
					want, err := view.Want(pairs[0].Key, pairs[0].Value)
					held[gr] = err == nil && want.Original != nil
				}
			}
			if held[gr] {
				delete(o.Acts, gr)
			}
		}
	}
	return nil
}

func knownFor(workload registry.Fields, resource string) bool {
	containers, _, _ := unstructured.NestedSlice(workload, "spec", "template", "spec", "containers")
	for _, c := range containers {
		one, _ := c.(map[string]any)
		for _, k := range known {
			if strings.Contains(text(one, "image"), k.image) && strings.HasSuffix("."+resource, "."+k.group) {
				return true
			}
		}
	}
	return false
}

// rights are the rules of ClusterRoles that ServiceAccounts have, by namespace and name.
type rights map[string][]map[string]any

// writes reports whether an account may write a resource by a rule that names its group.
func (r rights) writes(account, groupResource string) bool {
	resource, group, _ := strings.Cut(groupResource, ".")
	return slices.ContainsFunc(r[account], func(rule map[string]any) bool {
		names := func(field string, is func(string) bool) bool {
			all, _ := rule[field].([]any)
			return slices.ContainsFunc(all, func(v any) bool { s, _ := v.(string); return is(s) })
		}
		return names("apiGroups", func(s string) bool { return s == group }) &&
			names("resources", func(s string) bool { return s == "*" || s == resource || strings.HasPrefix(s, resource+"/") }) &&
			names("verbs", func(s string) bool { return s != "get" && s != "list" && s != "watch" })
	})
}

func readRights(ctx context.Context, standby *clientv3.Client, view *scope.View) (rights, error) {
	rules := map[string][]map[string]any{}
	err := eachOf(ctx, standby, view, "clusterroles.rbac.authorization.k8s.io", func(k registry.Key, fields registry.Fields) {
		rules[k.Name] = parts(fields, "rules")
	})
	if err != nil {
		return nil, err
	}
	out := rights{}
	err = eachOf(ctx, standby, view, "clusterrolebindings.rbac.authorization.k8s.io", func(_ registry.Key, fields registry.Fields) {
		role, _, _ := unstructured.NestedString(fields, "roleRef", "name")
		for _, s := range parts(fields, "subjects") {
			if text(s, "kind") == "ServiceAccount" {
				account := text(s, "namespace") + "/" + text(s, "name")
				out[account] = append(out[account], rules[role]...)
			}
		}
	})
	return out, err
}

// eachOf reads the standby's objects of one resource; what cannot be read is passed over.
func eachOf(ctx context.Context, standby *clientv3.Client, view *scope.View, gr string, visit func(registry.Key, registry.Fields)) error {
	for _, dir := range view.Scope.Directories(gr) {
		err := source.Each(ctx, standby, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
			k, ok := view.Scope.Parse(p.Key)
			if !ok {
				return nil
			}
			if plain, err := plainOf(view, p.Key, p.Value); err == nil {
				if fields, err := registry.ReadFields(plain); err == nil {
					visit(k, fields)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the standby's %s: %w", gr, err)
		}
	}
	return nil
}
