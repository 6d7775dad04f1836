package acceptance_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/understudy-dr/understudy/internal/testkit"
)

const (
	coreGroup   = "cluster.x-k8s.io"
	infraGroup  = "infrastructure.cluster.x-k8s.io"
	clusterName = "cluster.x-k8s.io/cluster-name"
	// machinesEach is how many Machines a Cluster has.
	machinesEach = 10
	// clustersEach is how many Clusters a namespace has.
	clustersEach = 10
)

var (
	clusters           = schema.GroupVersionResource{Group: coreGroup, Version: "v1beta2", Resource: "clusters"}
	machineDeployments = schema.GroupVersionResource{Group: coreGroup, Version: "v1beta2", Resource: "machinedeployments"}
	capiMachines       = schema.GroupVersionResource{Group: coreGroup, Version: "v1beta2", Resource: "machines"}
	infraClusters      = schema.GroupVersionResource{Group: infraGroup, Version: "v1alpha1", Resource: "testclusters"}
	infraMachines      = schema.GroupVersionResource{Group: infraGroup, Version: "v1alpha1", Resource: "testmachines"}
	infraTemplates     = schema.GroupVersionResource{Group: infraGroup, Version: "v1alpha1", Resource: "testmachinetemplates"}
)

// defineInfrastructure makes the kinds of the test's own provider, by the
// contract v1beta2 of Cluster API.
func defineInfrastructure(t *testing.T, c *testkit.ControlPlane) {
	t.Helper()
	open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	for plural, kind := range map[string]string{"testclusters": "TestCluster", "testmachines": "TestMachine", "testmachinetemplates": "TestMachineTemplate"} {
		definition := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": plural + "." + infraGroup, "labels": map[string]any{"cluster.x-k8s.io/v1beta2": "v1alpha1"}},
			"spec": map[string]any{
				"group": infraGroup, "scope": "Namespaced",
				"names": map[string]any{"kind": kind, "plural": plural},
				"versions": []any{map[string]any{"name": "v1alpha1", "served": true, "storage": true,
					"schema": map[string]any{"openAPIV3Schema": map[string]any{
						"type": "object", "properties": map[string]any{"spec": open, "status": open}}}}},
			},
		}}
		if _, err := c.Dynamic().Resource(definitions).Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.Established(definition.GetName())
	}
}

// fleet is what the primary's Cluster API manages.
type fleet struct {
	*testkit.ControlPlane
	cloud    *cloud
	patience time.Duration
	want     map[types.NamespacedName]int64 // Machines of each Cluster
}

// nth is the name of a Cluster.
func nth(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: fmt.Sprintf("fleet-%02d", i/clustersEach), Name: fmt.Sprintf("prod-%03d", i)}
}

func (f *fleet) object(r schema.GroupVersionResource, kind string, at types.NamespacedName, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": r.GroupVersion().String(), "kind": kind,
		"metadata": map[string]any{"namespace": at.Namespace, "name": at.Name, "labels": map[string]any{clusterName: at.Name}},
		"spec":     spec,
	}}
}

// add creates Clusters from first to last, each with a MachineDeployment.
func (f *fleet) add(t *testing.T, firstOne, last int) {
	t.Helper()
	for i := firstOne; i <= last; i += clustersEach - i%clustersEach {
		u := kind{namespaces, "Namespace", ""}.object("", nth(i).Namespace)
		if _, err := f.Dynamic().Resource(namespaces).Create(t.Context(), u, metav1.CreateOptions{}); err != nil && i%clustersEach == 0 {
			t.Fatal(err)
		}
	}
	workers, ctx := errgroup.WithContext(t.Context())
	workers.SetLimit(8)
	for i := firstOne; i <= last; i++ {
		f.want[nth(i)] = machinesEach
		workers.Go(func() error { return f.create(ctx, nth(i)) })
	}
	if err := workers.Wait(); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) create(ctx context.Context, at types.NamespacedName) error {
	infrastructure := func(kind string) map[string]any {
		return map[string]any{"apiGroup": infraGroup, "kind": kind, "name": at.Name}
	}
	secret := kind{secrets, "Secret", ""}.object(at.Namespace, at.Name+"-bootstrap")
	secret.SetLabels(map[string]string{clusterName: at.Name})
	secret.Object["stringData"] = map[string]any{"value": "#cloud-config"}
	for _, u := range []struct {
		schema.GroupVersionResource
		*unstructured.Unstructured
	}{
		{secrets, secret},
		{clusters, f.object(clusters, "Cluster", at, map[string]any{"infrastructureRef": infrastructure("TestCluster")})},
		{infraClusters, f.object(infraClusters, "TestCluster", at, map[string]any{})},
		{infraTemplates, f.object(infraTemplates, "TestMachineTemplate", at, map[string]any{"template": map[string]any{"spec": map[string]any{"cpus": int64(4)}}})},
		{machineDeployments, f.object(machineDeployments, "MachineDeployment", at, map[string]any{
			"clusterName": at.Name, "replicas": int64(machinesEach), "selector": map[string]any{},
			"template": map[string]any{"spec": map[string]any{
				"clusterName": at.Name, "version": "v1.36.3",
				"bootstrap":         map[string]any{"dataSecretName": at.Name + "-bootstrap"},
				"infrastructureRef": infrastructure("TestMachineTemplate"),
			}},
		})},
	} {
		if _, err := f.Dynamic().Resource(u.GroupVersionResource).Namespace(at.Namespace).Create(ctx, u.Unstructured, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create %s %s: %w", u.Resource, at, err)
		}
	}
	return nil
}

// scale changes how many Machines a Cluster has.
func (f *fleet) scale(t *testing.T, i int, replicas int64) {
	t.Helper()
	f.want[nth(i)] = replicas
	_, err := f.Dynamic().Resource(machineDeployments).Namespace(nth(i).Namespace).Patch(t.Context(), nth(i).Name, types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// replace deletes some Machines of a Cluster; its MachineSet makes others.
func (f *fleet) replace(t *testing.T, i, n int) {
	t.Helper()
	all := f.list(t, capiMachines, nth(i))
	for _, m := range all[:n] {
		if err := f.Dynamic().Resource(capiMachines).Namespace(m.GetNamespace()).Delete(t.Context(), m.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// drop deletes a Cluster with all that hangs on it.
func (f *fleet) drop(t *testing.T, i int) {
	t.Helper()
	delete(f.want, nth(i))
	if err := f.Dynamic().Resource(clusters).Namespace(nth(i).Namespace).Delete(t.Context(), nth(i).Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) list(t *testing.T, r schema.GroupVersionResource, of types.NamespacedName) []unstructured.Unstructured {
	t.Helper()
	list, err := f.Dynamic().Resource(r).Namespace(of.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: clusterName + "=" + of.Name})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// settled waits until there are the Machines that should be, each one
// provisioned, and a virtual machine for each. It returns their objects'
// UIDs and names.
func (f *fleet) settled(t *testing.T) (machines, infrastructure map[types.UID]string) {
	t.Helper()
	testkit.Eventually(t, f.patience, "the fleet to settle", func() (ok bool, state string) {
		defer func() {
			if !ok {
				f.pause(t)
			}
		}()
		perCluster := map[types.NamespacedName]int64{}
		machines, infrastructure = map[types.UID]string{}, map[types.UID]string{}
		list, err := f.Dynamic().Resource(capiMachines).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		waiting := 0
		for _, m := range list.Items {
			perCluster[types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetLabels()[clusterName]}]++
			machines[m.GetUID()] = m.GetName()
			if phase, _, _ := unstructured.NestedString(m.Object, "status", "phase"); phase != "Provisioned" {
				waiting++
			}
		}
		state = fmt.Sprintf("%d Machines, %d of them not yet provisioned", len(machines), waiting)
		for at, n := range f.want {
			if perCluster[at] != n {
				return false, fmt.Sprintf("%s; %s has %d, want %d", state, at, perCluster[at], n)
			}
		}
		there, err := f.Dynamic().Resource(infraMachines).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, m := range there.Items {
			if !ofMachine(&m) {
				continue
			}
			infrastructure[m.GetUID()] = m.GetName()
		}
		all, err := f.Dynamic().Resource(clusters).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		state += fmt.Sprintf("; %d Clusters, %d objects of infrastructure", len(all.Items), len(infrastructure))
		return waiting == 0 && len(perCluster) == len(f.want) && len(all.Items) == len(f.want) &&
			len(infrastructure) == len(machines) && f.cloud.has(infrastructure), state
	})
	return machines, infrastructure
}

// pause keeps the questions of a wait from slowing down what is waited for.
func (f *fleet) pause(t *testing.T) {
	select {
	case <-time.After(f.patience / 400):
	case <-t.Context().Done():
	}
}
