package scope

import (
	"testing"

	"github.com/understudy-dr/understudy/registry"
)

// What is of value and takes no part is counted, and what each cluster makes for itself is not.
func TestLeftOut(t *testing.T) {
	const (
		pod     = `"apiVersion":"v1","kind":"Pod"`
		vmi     = `"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineInstance"`
		secret  = `"apiVersion":"v1","kind":"Secret"`
		role    = `"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole"`
		widget  = `"apiVersion":"example.com/v1","kind":"Widget"`
		owned   = `"ownerReferences":[{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachine","name":"a","uid":"x","controller":true}]`
		started = `"labels":{"kubernetes.io/bootstrapping":"rbac-defaults"},"managedFields":[{"manager":"kube-apiserver"},{"manager":"clusterrole-aggregation-controller"}`
	)
	for name, tc := range map[string]struct {
		key, kind, metadata, rest string
		want                      Worth
	}{
		"bare Pod":                             {"/registry/pods/prod/a", pod, ``, `"spec":{}`, WorthPod},
		"Pod of a controller":                  {"/registry/pods/prod/a", pod, owned, `"spec":{}`, ""},
		"Pod that has ended":                   {"/registry/pods/prod/a", pod, ``, `"status":{"phase":"Succeeded"}`, ""},
		"bare Pod in a namespace left out":     {"/registry/pods/kube-system/a", pod, ``, `"spec":{}`, ""},
		"bare virtual machine instance":        {"/registry/kubevirt.io/virtualmachineinstances/prod/a", vmi, ``, `"spec":{}`, WorthCustomResource},
		"instance of a virtual machine":        {"/registry/kubevirt.io/virtualmachineinstances/prod/a", vmi, owned, `"spec":{}`, ""},
		"instance that has ended":              {"/registry/kubevirt.io/virtualmachineinstances/prod/a", vmi, ``, `"status":{"phase":"Failed"}`, ""},
		"migration":                            {"/registry/kubevirt.io/virtualmachineinstancemigrations/prod/a", `"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineInstanceMigration"`, ``, `"spec":{}`, ""},
		"Secret in a namespace left out":       {"/registry/secrets/kube-system/a", secret, ``, `"type":"Opaque"`, WorthSecret},
		"Helm's record there":                  {"/registry/secrets/kube-system/a", secret, ``, `"type":"helm.sh/release.v1"`, ""},
		"Secret that takes part":               {"/registry/secrets/prod/a", secret, ``, `"type":"Opaque"`, ""},
		"custom resource left out":             {"/registry/example.com/widgets/kube-system/a", widget, ``, `"spec":{}`, WorthCustomResource},
		"custom resource left out by its kind": {"/registry/example.com/gadgets/prod/a", widget, ``, `"spec":{}`, ""},
		"custom resource that takes part":      {"/registry/example.com/widgets/prod/a", widget, ``, `"spec":{}`, ""},
		"role as it was made":                  {"/registry/clusterroles/edit", role, started + `]`, `"rules":[]`, ""},
		"role that somebody has changed":       {"/registry/clusterroles/edit", role, started + `,{"manager":"kubectl-edit"}]`, `"rules":[]`, WorthRole},
		"role of somebody's own":               {"/registry/clusterroles/team", role, started + `,{"manager":"kubectl-edit"}]`, `"rules":[]`, ""},
		"ConfigMap left out":                   {"/registry/configmaps/kube-system/a", `"apiVersion":"v1","kind":"ConfigMap"`, ``, `"data":{}`, ""},
	} {
		s := mustNew(t, Config{Exclude: []Rule{{Resources: []string{"gadgets.example.com"}}}})
		view := &View{Scope: s, Recoder: registry.NewRecoder(nil, nil)}
		if tc.metadata != "" {
			tc.metadata = "," + tc.metadata
		}
		stored := []byte(`{` + tc.kind + `,"metadata":{"name":"a","uid":"u"` + tc.metadata + `},` + tc.rest + `}`)
		if got := view.LeftOut(tc.key, stored); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	var tally LeftOutTally
	for _, one := range []struct {
		namespace string
		worth     Worth
	}{{"a", WorthPod}, {"a", WorthSecret}, {"b", WorthCustomResource}, {"", WorthRole}, {"c", ""}} {
		tally.Add(one.namespace, one.worth)
	}
	if want := (LeftOut{CustomResources: 1, Secrets: 1, Pods: 1, Roles: 1, Namespaces: 2}); tally.LeftOut != want {
		t.Errorf("counted %+v, want %+v", tally.LeftOut, want)
	}
}

// A virtual machine instance is out where its Pod is, and so is what it alone owns.
func TestVirtualMachineInstances(t *testing.T) {
	for profile, want := range map[string]Verdict{"": Out, "deckhouse": Out, "everything": In} {
		s := mustNew(t, Config{Profile: profile})
		for _, key := range []string{"/registry/kubevirt.io/virtualmachineinstances/prod/a", "/registry/kubevirt.io/virtualmachineinstancemigrations/prod/a", "/registry/pods/prod/a"} {
			if got := s.Key(key); got != want {
				t.Errorf("%q: Key(%q) = %v, want %v", profile, key, got, want)
			}
		}
		m := registry.Meta{Kind: "PodDisruptionBudget", Owners: []registry.Owner{{APIVersion: "kubevirt.io/v1", Kind: "VirtualMachineInstance", Name: "a", Controller: true}}}
		if got := s.Orphaned("/registry/poddisruptionbudgets/prod/a", m); got != (want == Out) {
			t.Errorf("%q: what an instance owns is orphaned: %v", profile, got)
		}
	}
}
