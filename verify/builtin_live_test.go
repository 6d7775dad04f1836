package verify

import (
	"bytes"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/registry"
)

// What registry.Readable says a real API server reads, and does not read, it
// does. Kinds whose caches an empty object would upset are left out.
func TestWhatAPIServersRead(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	plane := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{})
	etcd := plane.Etcd().Client()
	for _, tc := range []struct {
		in, kind string // as it is stored
		served   schema.GroupVersionResource
	}{
		{"extensions/v1beta1", "Deployment", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}},
		{"apps/v1beta1", "StatefulSet", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}},
		{"apps/v1beta2", "DaemonSet", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}},
		{"batch/v1beta1", "CronJob", schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}},
		{"policy/v1beta1", "PodDisruptionBudget", schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}},
		{"networking.k8s.io/v1beta1", "Ingress", schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}},
		{"extensions/v1beta1", "Ingress", schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}},
		{"rbac.authorization.k8s.io/v1beta1", "Role", schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}},
		{"autoscaling/v1", "HorizontalPodAutoscaler", schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}},
		{"autoscaling/v2beta2", "HorizontalPodAutoscaler", schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}},
		{"autoscaling/v2beta1", "HorizontalPodAutoscaler", schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}},
		{"batch/v2alpha1", "CronJob", schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}},
	} {
		name := strings.ToLower(strings.NewReplacer("/", "-", ".", "-").Replace(tc.in + "-" + tc.kind))
		key := registry.Key{Group: tc.served.Group, Resource: tc.served.Resource, Namespace: "default", Name: name}.Path("/registry/")
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": tc.in, "kind": tc.kind, "metadata": map[string]any{"name": name, "namespace": "default", "uid": name}}}
		var b bytes.Buffer
		if err := runtime.Encoder(unstructured.UnstructuredJSONScheme).Encode(o, &b); err != nil {
			t.Fatal(err)
		}
		if _, err := etcd.Put(t.Context(), key, b.String()); err != nil {
			t.Fatal(err)
		}
		_, err := plane.Dynamic().Resource(tc.served).Namespace("default").Get(t.Context(), name, metav1.GetOptions{})
		if want := registry.Readable(tc.in, tc.kind); want != (err == nil) {
			t.Errorf("%s %s: Readable says %v, the API server: %v", tc.in, tc.kind, want, err)
		}
		if _, err := etcd.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}
