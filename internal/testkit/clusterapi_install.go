package testkit

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// The names that Cluster API's own installation gives.
const (
	webhookNamespace = "capi-system"
	webhookService   = "capi-webhook-service"
)

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	webhooks    = map[string]schema.GroupVersionResource{
		"MutatingWebhookConfiguration":   {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
		"ValidatingWebhookConfiguration": {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
	}
)

// createService makes the Service that definitions and webhooks name. API
// servers without nodes reach what an external name says.
func (a *ClusterAPI) createService(address ClusterAPIAddress) {
	a.t.Helper()
	client := a.control.Client().CoreV1()
	_, err := client.Namespaces().Create(a.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: webhookNamespace}}, metav1.CreateOptions{})
	a.must("make a namespace", err)
	_, err = client.Services(webhookNamespace).Create(a.t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: webhookService},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: address.IP}}, metav1.CreateOptions{})
	a.must("make a Service", err)
}

// createDefinitions makes the definitions as the release ships them, with the
// manager's webhook for conversion, and waits until they are served.
func (a *ClusterAPI) createDefinitions(source string, port int) {
	a.t.Helper()
	files, err := filepath.Glob(filepath.Join(source, "config", "crd", "bases", "*.yaml"))
	a.must("find the definitions", err)
	var names []string
	for _, file := range files {
		for _, u := range a.read(file) {
			conversion := map[string]any{"strategy": "Webhook", "webhook": map[string]any{
				"conversionReviewVersions": []any{"v1"}, "clientConfig": a.clientConfig("/convert", port)}}
			a.must("edit "+file, unstructured.SetNestedMap(u.Object, conversion, "spec", "conversion"))
			u.SetLabels(map[string]string{"cluster.x-k8s.io/provider": "cluster-api"})
			_, err := a.control.Dynamic().Resource(definitions).Create(a.t.Context(), u, metav1.CreateOptions{})
			a.must("define "+u.GetName(), err)
			names = append(names, u.GetName())
		}
	}
	for _, name := range names {
		a.control.Established(name)
	}
}

// Established waits until a CustomResourceDefinition is served.
func (c *ControlPlane) Established(name string) {
	c.t.Helper()
	Eventually(c.t, 30*time.Second, name+" to be established", func() (bool, string) {
		u, err := c.Dynamic().Resource(definitions).Get(c.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		for _, condition := range conditions {
			if condition, ok := condition.(map[string]any); ok && condition["type"] == "Established" && condition["status"] == "True" {
				return true, ""
			}
		}
		return false, fmt.Sprint(conditions)
	})
}

// createWebhooks makes the webhook configurations as the release ships them.
func (a *ClusterAPI) createWebhooks(source string, port int) {
	a.t.Helper()
	for _, u := range a.read(filepath.Join(source, "config", "webhook", "manifests.yaml")) {
		list, _, err := unstructured.NestedSlice(u.Object, "webhooks")
		a.must("read the webhooks", err)
		for _, w := range list {
			w := w.(map[string]any)
			path, _, _ := unstructured.NestedString(w, "clientConfig", "service", "path")
			w["clientConfig"] = a.clientConfig(path, port)
		}
		u.Object["webhooks"] = list
		u.SetName("capi-" + u.GetName())
		_, err = a.control.Dynamic().Resource(webhooks[u.GetKind()]).Create(a.t.Context(), u, metav1.CreateOptions{})
		a.must("make the "+u.GetKind(), err)
	}
}

func (a *ClusterAPI) clientConfig(path string, port int) map[string]any {
	return map[string]any{"caBundle": base64.StdEncoding.EncodeToString(a.ca.PEM()), "service": map[string]any{
		"namespace": webhookNamespace, "name": webhookService, "path": path, "port": int64(port)}}
}

// read gives the objects of a file.
func (a *ClusterAPI) read(file string) []*unstructured.Unstructured {
	a.t.Helper()
	text, err := os.ReadFile(file)
	a.must("read "+file, err)
	var out []*unstructured.Unstructured
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		doc = bytes.TrimPrefix(doc, []byte("---\n"))
		if strings.TrimSpace(string(doc)) == "" {
			continue
		}
		raw, err := yaml.YAMLToJSON(doc)
		u := &unstructured.Unstructured{}
		if err == nil {
			err = u.UnmarshalJSON(raw)
		}
		a.must("read "+file, err)
		out = append(out, u)
	}
	return out
}
