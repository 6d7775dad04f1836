package scope

import (
	"errors"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/registry"
)

func mustNew(t testing.TB, c Config) *Scope {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefaultProfile(t *testing.T) {
	s := mustNew(t, Config{})
	for key, want := range map[string]Verdict{
		// the work of a management cluster
		"/registry/cluster.x-k8s.io/machines/prod/worker-1":                                  In,
		"/registry/infrastructure.cluster.x-k8s.io/vspheremachines/prod/worker-1":            In,
		"/registry/apiextensions.k8s.io/customresourcedefinitions/machines.cluster.x-k8s.io": In,
		"/registry/namespaces/prod":                      In,
		"/registry/deployments/capi-system/controller":   In,
		"/registry/configmaps/prod/settings":             In,
		"/registry/services/specs/prod/api":              In,
		"/registry/serviceaccounts/prod/default":         In,
		"/registry/priorityclasses/important":            In,
		"/registry/gadgets.example.com/gadgets/prod/one": In,
		"/registry/newthings/prod/one":                   In,

		// the same plurals in groups of their own are somebody's objects
		"/registry/ipam.cluster.x-k8s.io/ipaddresses/prod/10.0.0.7": In,
		"/registry/example.com/events/prod/party":                   In,
		"/registry/example.com/leases/prod/flat":                    In,
		"/registry/example.com/pods/prod/whales":                    In,
		"/registry/example.com/nodes/n":                             In,

		// namespaces of each cluster, with the Namespace objects
		"/registry/configmaps/kube-system/coredns": Out,
		"/registry/secrets/kube-system/token":      Out,
		"/registry/namespaces/kube-system":         Out,
		"/registry/namespaces/kube-public":         Out,
		"/registry/namespaces/kube-node-lease":     Out,
		"/registry/namespaces/default":             Out,
		"/registry/namespaces/default-of-team":     In,

		// of default only what the cluster itself keeps there
		"/registry/cluster.x-k8s.io/clusters/default/prod": In,
		"/registry/example.com/gadgets/default/x":          In,
		"/registry/configmaps/default/a":                   In,
		"/registry/services/specs/default/kubernetes":      Out,
		"/registry/services/endpoints/default/kubernetes":  Out,
		"/registry/endpointslices/default/kubernetes":      Out,
		"/registry/serviceaccounts/default/default":        Out,
		"/registry/serviceaccounts/default/robot":          In,
		"/registry/services/specs/default/web":             In,

		"/registry/masterleases/10.0.0.1":                      Out,
		"/registry/peerserverleases/10.0.0.1":                  Out,
		"/registry/leases/prod/leader":                         Out,
		"/registry/leasecandidates/prod/a":                     Out,
		"/registry/events/prod/started.17":                     Out,
		"/registry/minions/node-1":                             Out,
		"/registry/csinodes/node-1":                            Out,
		"/registry/csistoragecapacities/prod/a":                Out,
		"/registry/volumeattachments/csi-1":                    Out,
		"/registry/pods/prod/web-1":                            Out,
		"/registry/certificatesigningrequests/csr-1":           Out,
		"/registry/ranges/serviceips":                          Out,
		"/registry/ipaddresses/10.96.0.1":                      Out,
		"/registry/servicecidrs/kubernetes":                    Out,
		"/registry/resourceslices/node-1-gpu":                  Out,
		"/registry/storageversions/apps.deployments":           Out,
		"/registry/flowschemas/exempt":                         Out,
		"/registry/prioritylevelconfigurations/exempt":         Out,
		"/registry/apiregistration.k8s.io/apiservices/v1.apps": Out,
		"/registry/mutatingwebhookconfigurations/capi":         Out,
		"/registry/validatingwebhookconfigurations/capi":       Out,
		"/registry/priorityclasses/system-node-critical":       Out,
		"/registry/configmaps/prod/kube-root-ca.crt":           Out,

		// only the type tells
		"/registry/secrets/prod/kubeconfig": AskObject,

		// only the metadata tells who made it; see TestMakers
		"/registry/replicasets/prod/web-1":              AskObject,
		"/registry/controllerrevisions/prod/db-1":       AskObject,
		"/registry/services/endpoints/prod/api":         AskObject,
		"/registry/endpointslices/prod/api-x":           AskObject,
		"/registry/clusterroles/system:node":            AskObject,
		"/registry/clusterroles/admins":                 In,
		"/registry/rolebindings/prod/system:controller": In,

		// outside
		"/understudy/checkpoint":  Out,
		"/other/key":              Out,
		"/registry":               Out,
		"compact_rev_key":         Out,
		"":                        Out,
		"/registry/":              In,
		"/registry/deployments//": In, // no API server's key; what is unknown is replicated
	} {
		if got := s.Key(key); got != want {
			t.Errorf("Key(%q) = %v, want %v", key, got, want)
		}
	}
}

func TestSecretType(t *testing.T) {
	s := mustNew(t, Config{})
	for kind, want := range map[string]Verdict{ServiceAccountToken: Out, "Opaque": In, "cluster.x-k8s.io/secret": In, "": In} {
		if got := s.Object("/registry/secrets/prod/a", registry.Meta{Type: kind}); got != want {
			t.Errorf("Secret of type %q: %v, want %v", kind, got, want)
		}
	}
	if got := s.Object("/registry/secrets/kube-system/a", registry.Meta{Type: "Opaque"}); got != Out {
		t.Errorf("Secret in kube-system: %v, want Out", got)
	}
	with := mustNew(t, Config{Include: []Rule{{Types: []string{ServiceAccountToken}}}})
	if got := with.Object("/registry/secrets/prod/a", registry.Meta{Type: ServiceAccountToken}); got != In {
		t.Errorf("ServiceAccount token that the configuration includes: %v, want In", got)
	}
	// A field called type means nothing outside Secrets.
	if got := s.Object("/registry/configmaps/prod/a", registry.Meta{Type: ServiceAccountToken}); got != In {
		t.Errorf("ConfigMap: %v, want In", got)
	}
}

func TestProfiles(t *testing.T) {
	alauda := mustNew(t, Config{Profile: "alauda-global"})
	fourteen := strings.Fields(`cpaas-system cert-manager default global-credentials cpaas-system-global-credentials
		kube-ovn kube-public kube-system nsx-system cpaas-solution kube-node-lease kubevirt nativestor-system operators`)
	if len(fourteen) != 14 {
		t.Fatal(len(fourteen))
	}
	for _, ns := range fourteen {
		for _, key := range []string{"/registry/namespaces/" + ns, "/registry/configmaps/" + ns + "/a", "/registry/secrets/" + ns + "/a"} {
			if got := alauda.Key(key); got != Out {
				t.Errorf("alauda-global: Key(%q) = %v, want Out", key, got)
			}
		}
	}
	if got := alauda.Key("/registry/pods/prod/a"); got != Out {
		t.Errorf("alauda-global must keep the default profile's rules; a Pod is %v", got)
	}
	if got := mustNew(t, Config{}).Key("/registry/namespaces/cert-manager"); got != In {
		t.Errorf("management-cluster has taken over a namespace of alauda-global: %v", got)
	}

	everything := mustNew(t, Config{Profile: "everything"})
	for key, want := range map[string]Verdict{
		"/registry/pods/prod/web-1":                                           In,
		"/registry/minions/node-1":                                            In,
		"/registry/configmaps/kube-system/coredns":                            In,
		"/registry/namespaces/default":                                        In,
		"/registry/secrets/prod/token":                                        In,
		"/registry/leases/kube-system/scheduler":                              Out,
		"/registry/events/prod/e":                                             Out,
		"/registry/masterleases/10.0.0.1":                                     Out,
		"/registry/services/endpoints/default/kubernetes":                     Out,
		"/registry/services/specs/default/kubernetes":                         Out,
		"/registry/services/specs/default/other":                              In,
		"/registry/configmaps/kube-system/extension-apiserver-authentication": Out,
	} {
		if got := everything.Key(key); got != want {
			t.Errorf("everything: Key(%q) = %v, want %v", key, got, want)
		}
	}

	_, err := New(Config{Profile: "managment-cluster"})
	if err == nil || !strings.Contains(err.Error(), "management-cluster, alauda-global, deckhouse, shturval, everything") {
		t.Errorf("unknown profile: %v", err)
	}
}

func TestRules(t *testing.T) {
	for name, tc := range map[string]struct {
		exclude, include []Rule
		key              string
		want             Verdict
	}{
		"namespace glob":                {exclude: []Rule{{Namespaces: []string{"sandbox-*"}}}, key: "/registry/configmaps/sandbox-7/a", want: Out},
		"its Namespace object":          {exclude: []Rule{{Namespaces: []string{"sandbox-*"}}}, key: "/registry/namespaces/sandbox-7", want: Out},
		"another namespace":             {exclude: []Rule{{Namespaces: []string{"sandbox-?"}}}, key: "/registry/configmaps/sandbox-77/a", want: In},
		"cluster-scoped, any namespace": {exclude: []Rule{{Namespaces: []string{"*"}}}, key: "/registry/storageclasses/a", want: In},
		"custom resource":               {exclude: []Rule{{Resources: []string{"widgets.example.com"}}}, key: "/registry/example.com/widgets/ns/a", want: Out},
		"same plural, another group":    {exclude: []Rule{{Resources: []string{"widgets.example.com"}}}, key: "/registry/example.org/widgets/ns/a", want: In},
		"group glob":                    {exclude: []Rule{{Resources: []string{"*.example.com"}}}, key: "/registry/example.com/gears/ns/a", want: Out},
		"built-in with group":           {exclude: []Rule{{Resources: []string{"deployments.apps"}}}, key: "/registry/deployments/ns/a", want: Out},
		"name":                          {exclude: []Rule{{Names: []string{"*-cache"}}}, key: "/registry/configmaps/ns/web-cache", want: Out},
		"every list must match":         {exclude: []Rule{{Names: []string{"a"}, Namespaces: []string{"x"}}}, key: "/registry/configmaps/y/a", want: In},
		"key prefix":                    {exclude: []Rule{{Keys: []string{"/registry/configmaps/ns/we"}}}, key: "/registry/configmaps/ns/web", want: Out},
		"key prefix of a resource":      {exclude: []Rule{{Keys: []string{"/registry/configmaps/"}}}, key: "/registry/configmaps/ns/web", want: Out},
		"key prefix, next key":          {exclude: []Rule{{Keys: []string{"/registry/configmaps/ns/we"}}}, key: "/registry/configmaps/ns/wa", want: In},
		"include after exclude":         {exclude: []Rule{{Namespaces: []string{"x"}}}, include: []Rule{{Names: []string{"keep"}}}, key: "/registry/configmaps/x/keep", want: In},
		"include over the profile":      {include: []Rule{{Resources: []string{"configmaps"}, Namespaces: []string{"default"}}}, key: "/registry/configmaps/default/a", want: In},
		"include leaves the rest":       {include: []Rule{{Resources: []string{"configmaps"}, Namespaces: []string{"default"}}}, key: "/registry/namespaces/default", want: Out},
		"own keys stay out":             {include: []Rule{{Keys: []string{"/"}}}, key: "/understudy/checkpoint", want: Out},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustNew(t, Config{Exclude: tc.exclude, Include: tc.include})
			if got := s.Key(tc.key); got != tc.want {
				t.Errorf("Key(%q) = %v, want %v\n%+v", tc.key, got, tc.want, s.Explain(tc.key))
			}
		})
	}
}

func TestPrefixes(t *testing.T) {
	for name, tc := range map[string]struct {
		prefix, registry string
		in, out          []string
	}{
		"default":       {"", "/registry/", []string{"/registry/configmaps/a/b"}, []string{"/app/x", "/registryx/a"}},
		"every key":     {"/", "/registry/", []string{"/app/x", "/registry/configmaps/a/b", "/"}, []string{"/understudy/role", "/registry/pods/a/b", "x", "compact_rev_key"}},
		"--etcd-prefix": {"/clusters/one/", "/clusters/one/", []string{"/clusters/one/configmaps/a/b"}, []string{"/clusters/one/pods/a/b", "/registry/configmaps/a/b"}},
		"a part":        {"/registry/configmaps/", "/registry/", []string{"/registry/configmaps/a/b"}, []string{"/registry/configmaps/kube-system/b", "/registry/serviceaccounts/a/b"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustNew(t, Config{Prefix: tc.prefix})
			if s.RegistryPrefix() != tc.registry {
				t.Errorf("RegistryPrefix() = %q, want %q", s.RegistryPrefix(), tc.registry)
			}
			for _, key := range tc.in {
				if got := s.Key(key); got != In {
					t.Errorf("Key(%q) = %v, want In", key, got)
				}
			}
			for _, key := range tc.out {
				if got := s.Key(key); got != Out {
					t.Errorf("Key(%q) = %v, want Out", key, got)
				}
			}
		})
	}
	s := mustNew(t, Config{Prefix: "/", Exclude: []Rule{{Keys: []string{"/app/tmp/"}}, {Names: []string{"*"}}}})
	if s.Key("/app/tmp/x") != Out || s.Key("/app/x") != In {
		t.Error("raw keys must follow rules of keys and no others")
	}
	for _, bad := range []string{"registry/", "/registry", "x"} {
		if _, err := New(Config{Prefix: bad}); err == nil {
			t.Errorf("prefix %q was taken", bad)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		rule  Rule
		field string
		want  string
	}{
		"empty rule":             {Rule{}, "sync.exclude[0]", "match every key"},
		"empty key":              {Rule{Keys: []string{""}}, "sync.exclude[0].keys", "match every key"},
		"bad glob":               {Rule{Names: []string{"[a"}}, "sync.exclude[0].names", "not a pattern"},
		"empty glob":             {Rule{Namespaces: []string{""}}, "sync.exclude[0].namespaces", "empty pattern"},
		"group forgotten":        {Rule{Resources: []string{"deployments"}}, "sync.exclude[0].resources", `called "deployments.apps"`},
		"etcd's name":            {Rule{Resources: []string{"minions"}}, "sync.exclude[0].resources", `called "nodes"`},
		"group forgotten, moved": {Rule{Resources: []string{"ingresses"}}, "sync.exclude[0].resources", "API group"},
		"kind":                   {Rule{Resources: []string{"Machine"}}, "sync.exclude[0].resources", "lower case"},
		"type of no Secret":      {Rule{Resources: []string{"configmaps"}, Types: []string{"Opaque"}}, "sync.exclude[0].types", "only Secrets"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Config{Exclude: []Rule{tc.rule}})
			var re *RuleError
			if !errors.As(err, &re) || re.Field != tc.field || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New: %v, want %s: …%s…", err, tc.field, tc.want)
			}
		})
	}
	for _, fine := range []string{"pods", "nodes", "services", "endpoints", "masterleases", "newthings", "deployments.apps", "*.example.com", "*"} {
		if _, err := New(Config{Include: []Rule{{Resources: []string{fine}}}}); err != nil {
			t.Errorf("resource %q: %v", fine, err)
		}
	}
}

func TestHash(t *testing.T) {
	base := Config{Exclude: []Rule{{Namespaces: []string{"a", "b"}}}}
	h := func(c Config) string { return mustNew(t, c).Hash() }
	same := map[string]Config{
		"again":           base,
		"spelled out":     {Prefix: "/registry/", Profile: DefaultProfile, Exclude: base.Exclude, Include: []Rule{}},
		"order in a list": {Exclude: []Rule{{Namespaces: []string{"b", "a"}, Names: []string{}}}},
	}
	for name, c := range same {
		if h(c) != h(base) {
			t.Errorf("%s: the hash differs", name)
		}
	}
	different := map[string]Config{
		"nothing":      {},
		"profile":      {Profile: "everything", Exclude: base.Exclude},
		"prefix":       {Prefix: "/", Exclude: base.Exclude},
		"another":      {Exclude: []Rule{{Namespaces: []string{"a"}}}},
		"another list": {Exclude: []Rule{{Names: []string{"a", "b"}}}},
		"two rules":    {Exclude: []Rule{{Namespaces: []string{"a"}}, {Namespaces: []string{"b"}}}},
		"included":     {Include: base.Exclude},
	}
	for name, c := range different {
		if h(c) == h(base) {
			t.Errorf("%s: the hash is the same", name)
		}
	}
	// A change here makes every standby copy anew after an upgrade: change it
	// when the scope has changed, never otherwise.
	if got, want := h(Config{}), "99ea7782cff026b5601a25aa8729d08f"; got != want {
		t.Errorf("hash of the default scope is %s, was %s", got, want)
	}
}
