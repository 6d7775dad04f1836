package scope

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/registry"
)

func TestExplain(t *testing.T) {
	s := mustNew(t, Config{
		Prefix:  "/",
		Exclude: []Rule{{Namespaces: []string{"sandbox-*"}}, {Keys: []string{"/app/tmp/"}}},
		Include: []Rule{{Names: []string{"keep"}}},
	})
	for name, tc := range map[string]struct {
		key       string
		want      Verdict
		rule, why string
		also      []string // what each begins with
	}{
		"no rule":            {"/registry/configmaps/prod/a", In, "no rule", "what no rule keeps out", nil},
		"profile":            {"/registry/pods/prod/a", Out, "profile management-cluster {resources: [pods]}", "controllers make theirs again", nil},
		"two of the profile": {"/registry/configmaps/kube-system/kube-root-ca.crt", Out, "profile management-cluster {resources: [configmaps]", "authority", []string{"profile management-cluster {namespaces:"}},
		"exclude":            {"/registry/configmaps/sandbox-1/a", Out, "sync.exclude[0] {namespaces: [sandbox-*]}", "leaves it out", nil},
		"include wins":       {"/registry/pods/sandbox-1/keep", In, "sync.include[0] {names: [keep]}", "takes it in", []string{"sync.exclude[0]", "profile management-cluster {resources: [pods"}},
		"type":               {"/registry/secrets/prod/a", AskObject, "profile management-cluster {types:", "left out for kubernetes.io/service-account-token (a token that only", nil},
		"type, no matter":    {"/registry/secrets/kube-system/a", Out, "profile management-cluster {namespaces:", "runs for itself", nil},
		"maker":              {"/registry/replicasets/prod/a", AskObject, "profile management-cluster {resources: [replicasets.apps]}, made by a controller", "left out where made by a controller (made again from", nil},
		"raw":                {"/app/x", In, "no rule", "as it is", nil},
		"raw, excluded":      {"/app/tmp/x", Out, "sync.exclude[1] {keys: [/app/tmp/]}", "leaves it out", nil},
		"own":                {"/understudy/role", Out, "built in", "own state", nil},
		"compaction":         {"compact_rev_key", Out, "built in", "compaction", nil},
		"outside":            {"x", Out, "sync.prefix", "not below /", nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := s.Explain(tc.key)
			if e.Verdict != tc.want || !strings.HasPrefix(e.Rule, tc.rule) || !strings.Contains(e.Why, tc.why) {
				t.Errorf("Explain(%q) = %+v", tc.key, e)
			}
			if !slices.EqualFunc(e.Also, tc.also, strings.HasPrefix) {
				t.Errorf("Also = %q, want %q", e.Also, tc.also)
			}
		})
	}
}

func TestOrphaned(t *testing.T) {
	owner := func(apiVersion, kind, name string) registry.Owner {
		return registry.Owner{APIVersion: apiVersion, Kind: kind, Name: name, UID: "u"}
	}
	s := mustNew(t, Config{Exclude: []Rule{{Resources: []string{"policies.example.com"}}, {Names: []string{"scratch"}}}})
	for name, tc := range map[string]struct {
		key    string
		owners []registry.Owner
		want   bool
	}{
		"no owner":               {"/registry/configmaps/prod/a", nil, false},
		"owner in scope":         {"/registry/cluster.x-k8s.io/machines/prod/a", []registry.Owner{owner("cluster.x-k8s.io/v1beta1", "MachineSet", "a")}, false},
		"owned by a Node":        {"/registry/cilium.io/ciliumnodes/n", []registry.Owner{owner("v1", "Node", "n")}, true},
		"owned by a Pod":         {"/registry/configmaps/prod/a", []registry.Owner{owner("v1", "Pod", "p")}, true},
		"by a ReplicaSet":        {"/registry/configmaps/prod/a", []registry.Owner{owner("apps/v1", "ReplicaSet", "p")}, true},
		"one of two in scope":    {"/registry/configmaps/prod/a", []registry.Owner{owner("v1", "Pod", "p"), owner("apps/v1", "Deployment", "p")}, false},
		"plural in -ies":         {"/registry/configmaps/prod/a", []registry.Owner{owner("example.com/v1", "Policy", "p")}, true},
		"excluded by name":       {"/registry/configmaps/prod/a", []registry.Owner{owner("v1", "Service", "scratch")}, true},
		"excluded Namespace":     {"/registry/clusterroles/a", []registry.Owner{owner("v1", "Namespace", "kube-system")}, true},
		"another Namespace":      {"/registry/clusterroles/a", []registry.Owner{owner("v1", "Namespace", "prod")}, false},
		"a Secret of some type":  {"/registry/configmaps/prod/a", []registry.Owner{owner("v1", "Secret", "s")}, false},
		"a broken reference":     {"/registry/configmaps/prod/a", []registry.Owner{owner("a/b/c", "Pod", "p")}, false},
		"same kind, other group": {"/registry/configmaps/prod/a", []registry.Owner{owner("example.org/v1", "Pod", "p")}, false},
		"raw key":                {"/registry/x", []registry.Owner{owner("v1", "Pod", "p")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.Orphaned(tc.key, registry.Meta{Owners: tc.owners}); got != tc.want {
				t.Errorf("Orphaned = %v, want %v", got, tc.want)
			}
		})
	}
}
