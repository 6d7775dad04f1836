package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// What a simulation says that the garbage collector would do is what a real
// one does, when it is started on the same data.
func TestSimulateBesideARealControllerManager(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	plane := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{})
	ctx, api := t.Context(), plane.Client().CoreV1()
	for _, name := range []string{"prod", "test", "dying"} {
		if _, err := api.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(namespace, name string, finalizers []string, owners ...metav1.OwnerReference) metav1.OwnerReference {
		t.Helper()
		c, err := api.ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: owners, Finalizers: finalizers}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return ref("v1", "ConfigMap", name, c.UID)
	}
	end := func(name string, how metav1.DeletionPropagation) {
		t.Helper()
		if err := api.ConfigMaps("prod").Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &how}); err != nil {
			t.Fatal(err)
		}
	}
	gone := ref("v1", "ConfigMap", "gone", "00000000-0000-0000-0000-000000000000")
	solid := put("prod", "solid", nil)
	elsewhere := put("test", "elsewhere", nil)
	first := put("prod", "dangling", nil, gone)
	put("prod", "second", nil, first)
	put("prod", "other-uid", nil, ref("v1", "ConfigMap", "solid", "11111111-0000-0000-0000-000000000000"))
	put("prod", "other-namespace", nil, elsewhere)
	put("prod", "unserved-version", nil, gone, ref("apps/v1beta1", "Deployment", "x", "2"))
	put("prod", "unknown-kind", nil, gone, ref("example.com/v1", "Widget", "x", "3"))
	put("prod", "one-left", nil, gone, solid)
	put("dying", "inside", nil)
	foreground := put("prod", "foreground", []string{"example.com/kept"})
	put("prod", "in-foreground", nil, foreground)
	put("prod", "in-foreground-one-left", nil, foreground, solid)
	orphaning := put("prod", "orphaning", nil)
	put("prod", "orphaned", nil, orphaning)
	background := put("prod", "background", []string{"example.com/kept"})
	put("prod", "in-background", nil, background)
	end("foreground", metav1.DeletePropagationForeground)
	end("orphaning", metav1.DeletePropagationOrphan)
	end("background", metav1.DeletePropagationBackground)
	if _, err := plane.Client().RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "misplaced", OwnerReferences: []metav1.OwnerReference{gone}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	define(t, plane, "converted")
	if err := api.Namespaces().Delete(ctx, "dying", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	view := newView(t, nil, nil)
	sim, err := Simulate(ctx, plane.Etcd().Client(), view.Scope, SimulateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[Problem][]string{}
	for _, f := range sim.Findings {
		for _, item := range f.Items {
			got[f.Problem] = append(got[f.Problem], item.Object)
		}
	}
	want := map[Problem][]string{
		NoCheckpoint: {""},
		GarbageCollected: {"ConfigMap prod/dangling", "ConfigMap prod/in-background", "ConfigMap prod/in-foreground", "ConfigMap prod/other-namespace",
			"ConfigMap prod/other-uid", "ConfigMap prod/second"},
		BeingDeleted:     {"ConfigMap prod/background", "ConfigMap prod/foreground", "ConfigMap prod/orphaning", "Namespace dying"},
		NamespaceDeleted: {"ConfigMap dying/inside"},
		OwnerKindUnknown: {"ConfigMap prod/unknown-kind", "ConfigMap prod/unserved-version"},
		OwnerMisplaced:   {"ClusterRole misplaced"},
		// Stored as v1beta1, in which the webhook stands elsewhere.
		ConversionBackend: {"CustomResourceDefinition converted.example.com"},
		OwnerDropped:      {"ConfigMap prod/in-foreground-one-left", "ConfigMap prod/one-left"},
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}

	plane.StartControllerManager()
	for _, name := range []string{"foreground", "background"} { // the finalizers of others come to their end
		const done = `[{"op":"test","path":"/metadata/finalizers/0","value":"example.com/kept"},{"op":"remove","path":"/metadata/finalizers/0"}]`
		if _, err := api.ConfigMaps("prod").Patch(ctx, name, types.JSONPatchType, []byte(done), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	doomed := slices.Concat(want[GarbageCollected], want[BeingDeleted], want[NamespaceDeleted])
	testkit.Eventually(t, 90*time.Second, "what was foretold", func() (bool, string) {
		var late []string
		for _, object := range doomed {
			if exists(t, plane, object) {
				late = append(late, object)
			}
		}
		for _, name := range []string{"one-left", "in-foreground-one-left", "orphaned"} {
			c, err := api.ConfigMaps("prod").Get(ctx, name, metav1.GetOptions{})
			if want := map[bool]int{true: 0, false: 1}[name == "orphaned"]; err != nil || len(c.OwnerReferences) != want {
				late = append(late, fmt.Sprintf("%s has %d owners (%v)", name, len(c.OwnerReferences), err))
			}
		}
		return len(late) == 0, fmt.Sprint(late)
	})
	for _, object := range []string{"ConfigMap prod/solid", "ConfigMap test/elsewhere", "ConfigMap prod/unknown-kind", "ConfigMap prod/unserved-version", "ConfigMap prod/one-left", "ConfigMap prod/orphaned", "ClusterRole misplaced"} {
		if !exists(t, plane, object) {
			t.Errorf("%s is gone, and nothing foretold it", object)
		}
	}
}

// define makes a definition whose versions a webhook converts that is not there.
func define(t *testing.T, plane *testkit.ControlPlane, plural string) {
	t.Helper()
	open := map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}}
	resource := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	_, err := plane.Dynamic().Resource(resource).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": plural + ".example.com"},
		"spec": map[string]any{"group": "example.com", "scope": "Namespaced", "names": map[string]any{"kind": "Converted", "plural": plural},
			"versions": []any{
				map[string]any{"name": "v2", "served": true, "storage": true, "schema": open},
				map[string]any{"name": "v1", "served": true, "storage": false, "schema": open}},
			"conversion": map[string]any{"strategy": "Webhook", "webhook": map[string]any{"conversionReviewVersions": []any{"v1"},
				"clientConfig": map[string]any{"service": map[string]any{"namespace": "prod", "name": "converter", "path": "/convert"}}}}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	plane.Established(plural + ".example.com")
}

func ref(apiVersion, kind, name string, uid types.UID) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: uid}
}

// exists asks for "ConfigMap namespace/name", "Namespace name" or "ClusterRole name".
func exists(t *testing.T, plane *testkit.ControlPlane, object string) bool {
	t.Helper()
	kind, name, _ := strings.Cut(object, " ")
	var err error
	switch kind {
	case "Namespace":
		_, err = plane.Client().CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	case "ClusterRole":
		_, err = plane.Client().RbacV1().ClusterRoles().Get(t.Context(), name, metav1.GetOptions{})
	default:
		namespace, name, _ := strings.Cut(name, "/")
		_, err = plane.Client().CoreV1().ConfigMaps(namespace).Get(t.Context(), name, metav1.GetOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}
