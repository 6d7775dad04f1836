package registry_test

import (
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/registry"
	"pgregory.net/rapid"
)

// The keys are those that Kubernetes' own storage test expects
// (test/integration/etcd/data.go, 1.36), and the API server's records.
var knownKeys = map[string]registry.Key{
	"/registry/configmaps/ns/cm1":                                    {Resource: "configmaps", Namespace: "ns", Name: "cm1"},
	"/registry/services/specs/ns/service1":                           {Resource: "services", Namespace: "ns", Name: "service1"},
	"/registry/services/endpoints/ns/ep1name":                        {Resource: "endpoints", Namespace: "ns", Name: "ep1name"},
	"/registry/controllers/ns/rc1":                                   {Resource: "replicationcontrollers", Namespace: "ns", Name: "rc1"},
	"/registry/minions/node1":                                        {Resource: "nodes", Name: "node1"},
	"/registry/namespaces/namespace1":                                {Resource: "namespaces", Name: "namespace1"},
	"/registry/events/ns/event1":                                     {Resource: "events", Namespace: "ns", Name: "event1"},
	"/registry/deployments/ns/deployment4":                           {Group: "apps", Resource: "deployments", Namespace: "ns", Name: "deployment4"},
	"/registry/cronjobs/ns/cjv1":                                     {Group: "batch", Resource: "cronjobs", Namespace: "ns", Name: "cjv1"},
	"/registry/ingress/ns/ingress3":                                  {Group: "networking.k8s.io", Resource: "ingresses", Namespace: "ns", Name: "ingress3"},
	"/registry/ingressclasses/ingressclass3":                         {Group: "networking.k8s.io", Resource: "ingressclasses", Name: "ingressclass3"},
	"/registry/ipaddresses/192.168.1.3":                              {Group: "networking.k8s.io", Resource: "ipaddresses", Name: "192.168.1.3"},
	"/registry/clusterroles/system:node":                             {Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: "system:node"},
	"/registry/clustertrustbundles/a.com:signer:b":                   {Group: "certificates.k8s.io", Resource: "clustertrustbundles", Name: "a.com:signer:b"},
	"/registry/storageversions/sv1.test":                             {Group: "internal.apiserver.k8s.io", Resource: "storageversions", Name: "sv1.test"},
	"/registry/podgroups/ns/pg1":                                     {Group: "scheduling.k8s.io", Resource: "podgroups", Namespace: "ns", Name: "pg1"},
	"/registry/poddisruptionbudgets/ns/pdbv1":                        {Group: "policy", Resource: "poddisruptionbudgets", Namespace: "ns", Name: "pdbv1"},
	"/registry/csinodes/csini2":                                      {Group: "storage.k8s.io", Resource: "csinodes", Name: "csini2"},
	"/registry/priorityclasses/pc3":                                  {Group: "scheduling.k8s.io", Resource: "priorityclasses", Name: "pc3"},
	"/registry/leases/kube-node-lease/n":                             {Group: "coordination.k8s.io", Resource: "leases", Namespace: "kube-node-lease", Name: "n"},
	"/registry/apiregistration.k8s.io/apiservices/v1.apps":           {Group: "apiregistration.k8s.io", Resource: "apiservices", Name: "v1.apps"},
	"/registry/apiextensions.k8s.io/customresourcedefinitions/a.b.c": {Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: "a.b.c"},
	"/registry/awesome.bears.com/pandas/cr3panda":                    {Group: "awesome.bears.com", Resource: "pandas", Name: "cr3panda"},
	"/registry/cluster.x-k8s.io/machines/prod/w-1":                   {Group: "cluster.x-k8s.io", Resource: "machines", Namespace: "prod", Name: "w-1"},
	"/registry/masterleases/10.0.0.1":                                {Resource: "masterleases", Name: "10.0.0.1"},
	"/registry/ranges/serviceips":                                    {Resource: "ranges", Name: "serviceips"},
	"/registry/somethingnew/ns/x":                                    {Resource: "somethingnew", Namespace: "ns", Name: "x"},
}

func TestParseKey(t *testing.T) {
	for text, want := range knownKeys {
		got, ok := registry.ParseKey(registry.DefaultPrefix, text)
		if !ok || got != want {
			t.Errorf("ParseKey(%s) = %+v, %v; want %+v", text, got, ok, want)
		}
		if back := want.Path(registry.DefaultPrefix); back != text {
			t.Errorf("Path of %+v = %s, want %s", want, back, text)
		}
		// An API server with another --etcd-prefix.
		moved := "/other/place" + strings.TrimPrefix(text, "/registry")
		if got, ok := registry.ParseKey("/other/place", moved); !ok || got != want {
			t.Errorf("ParseKey(%s) = %+v, %v; want %+v", moved, got, ok, want)
		}
		if prefix := registry.ResourcePrefix("/registry/", want.GroupResource()); !strings.HasPrefix(text, prefix) {
			t.Errorf("%s does not begin with the prefix of its resource, %s", text, prefix)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                         "",
		"the prefix alone":                "/registry/",
		"no name":                         "/registry/pods",
		"empty name":                      "/registry/pods/",
		"empty name in a namespace":       "/registry/pods/ns/",
		"empty namespace":                 "/registry/pods//x",
		"empty resource":                  "/registry//ns/x",
		"a group without a resource":      "/registry/cluster.x-k8s.io/",
		"a group without a name":          "/registry/cluster.x-k8s.io/machines",
		"a dot in a custom resource":      "/registry/cluster.x-k8s.io/ma.chines/ns/x",
		"an empty custom resource":        "/registry/cluster.x-k8s.io//ns/x",
		"another prefix":                  "/understudy/checkpoint",
		"a prefix that only begins so":    "/registryx/pods/ns/x",
		"the compaction record":           "compact_rev_key",
		"nodes where nobody keeps them":   "/registry/nodes/x",
		"services without specs":          "/registry/services/ns/x",
		"a built-in below its group":      "/registry/networking.k8s.io/ingresses/ns/x",
		"services with specs and no more": "/registry/services/specs",
	} {
		if got, ok := registry.ParseKey(registry.DefaultPrefix, text); ok {
			t.Errorf("%s: ParseKey(%q) = %+v, want none", name, text, got)
		}
	}
	if _, ok := registry.ParseKey("/registry", "/registryx/pods/ns/x"); ok {
		t.Error("a prefix without its slash matches in the middle of a segment")
	}
}

func TestParseKeyAllocatesNothing(t *testing.T) {
	for text := range knownKeys {
		if n := testing.AllocsPerRun(10, func() { registry.ParseKey(registry.DefaultPrefix, text) }); n != 0 {
			t.Errorf("ParseKey(%s) allocates %v times", text, n)
		}
	}
}

func TestGroupResourceAndString(t *testing.T) {
	for want, k := range map[string]registry.Key{
		"configmaps ns/a":                          {Resource: "configmaps", Namespace: "ns", Name: "a"},
		"nodes a":                                  {Resource: "nodes", Name: "a"},
		"machines.cluster.x-k8s.io prod/w-1":       {Group: "cluster.x-k8s.io", Resource: "machines", Namespace: "prod", Name: "w-1"},
		"clusterroles.rbac.authorization.k8s.io r": {Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: "r"},
	} {
		if got := k.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}

func TestResourcePrefix(t *testing.T) {
	for groupResource, want := range map[string]string{
		"nodes":                       "/registry/minions/",
		"services":                    "/registry/services/specs/",
		"deployments.apps":            "/registry/deployments/",
		"ingresses.networking.k8s.io": "/registry/ingress/",
		"events.events.k8s.io":        "/registry/events/",
		"machines.cluster.x-k8s.io":   "/registry/cluster.x-k8s.io/machines/",
		"unheardof":                   "/registry/unheardof/",
	} {
		for _, prefix := range []string{"/registry/", "/registry"} {
			if got := registry.ResourcePrefix(prefix, groupResource); got != want {
				t.Errorf("ResourcePrefix(%s, %s) = %s, want %s", prefix, groupResource, got, want)
			}
		}
	}
}

func TestKind(t *testing.T) {
	for groupResource, want := range map[string]string{
		"configmaps":                          "ConfigMap",
		"nodes":                               "Node",
		"endpoints":                           "Endpoints",
		"deployments.apps":                    "Deployment",
		"ingresses.networking.k8s.io":         "Ingress",
		"priorityclasses.scheduling.k8s.io":   "PriorityClass",
		"machines.cluster.x-k8s.io":           "Machine",
		"machinedeployments.cluster.x-k8s.io": "MachineDeployment",
		"clusterclasses.cluster.x-k8s.io":     "ClusterClass",
		"kubeadmcontrolplanes.controlplane.cluster.x-k8s.io": "KubeadmControlPlane",
		"vspheremachines.infrastructure.cluster.x-k8s.io":    "VSphereMachine",
		"customresourcedefinitions.apiextensions.k8s.io":     "CustomResourceDefinition",
		"apiservices.apiregistration.k8s.io":                 "APIService",
		"widgets.example.com":                                "Widget",
		"policies.example.com":                               "Policy",
		"boxes.example.com":                                  "Box",
		"statuses.example.com":                               "Status",
		"":                                                   "",
		"s":                                                  "",
	} {
		if got := registry.Kind(groupResource); got != want {
			t.Errorf("Kind(%q) = %q, want %q", groupResource, got, want)
		}
	}
}

// What ParseKey accepts, Path gives back, whatever the pieces are.
func TestKeyRoundTrip(t *testing.T) {
	segment := rapid.StringMatching(`[a-zA-Z0-9.:_-]{0,12}`)
	first := rapid.OneOf(segment, rapid.SampledFrom([]string{
		"minions", "nodes", "services", "controllers", "ingress", "ingresses", "deployments", "networking.k8s.io", "cluster.x-k8s.io", "specs", "endpoints",
	}))
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.SampledFrom([]string{"/registry/", "/registry", "/", "", "/a/b/"}).Draw(t, "prefix")
		parts := append([]string{first.Draw(t, "first")}, rapid.SliceOfN(first, 0, 4).Draw(t, "rest")...)
		roundTrip(t, prefix, prefix+strings.Join(parts, "/"))
	})
}

func FuzzParseKey(f *testing.F) {
	for p := range fixture.Generate(fixture.Options{Objects: 80}) {
		f.Add("/registry/", p.Key)
	}
	for text := range knownKeys {
		f.Add("/registry", text)
	}
	f.Fuzz(func(t *testing.T, prefix, text string) { roundTrip(t, prefix, text) })
}

func roundTrip(t interface{ Fatalf(string, ...any) }, prefix, text string) {
	k, ok := registry.ParseKey(prefix, text)
	if !ok {
		return
	}
	if k.Resource == "" || k.Name == "" {
		t.Fatalf("ParseKey(%q, %q) = %+v: without resource or name", prefix, text, k)
	}
	if back := k.Path(prefix); back != text {
		t.Fatalf("ParseKey(%q, %q) = %+v, whose path is %q", prefix, text, k, back)
	}
	if !strings.HasPrefix(text, registry.ResourcePrefix(prefix, k.GroupResource())) {
		t.Fatalf("%q is not below its resource's prefix", text)
	}
}
