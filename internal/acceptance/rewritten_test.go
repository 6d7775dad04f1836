package acceptance_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// An object lies in the version in which it was written last, for years. The
// standby's live controllers write the status of what is copied to it, and with it
// the whole object in the version of today: that is no drift and no difference, and
// what is held is released all the same.
func TestLiveControllersRewriteOldVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	moscow := testkit.StartEtcd(t)
	spb := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	widgets := defineTwoVersions(t, spb)

	meta := func(name, uid string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: ours, UID: types.UID("10000000-0000-4000-8000-00000000000" + uid), CreationTimestamp: metav1.NewTime(time.Unix(1500000000, 0))}
	}
	one, replicas := intstr.FromInt32(1), int32(2)
	namespace := corev1.Namespace{ObjectMeta: meta(ours, "0"), Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}}
	namespace.Namespace, namespace.Spec.Finalizers = "", []corev1.FinalizerName{"kubernetes"}
	put := func(key string, value []byte) {
		if _, err := moscow.Client().Put(t.Context(), key, string(value)); err != nil {
			t.Fatal(err)
		}
	}
	inEtcd := map[string]runtime.Object{
		"/registry/namespaces/" + ours: &namespace,
		// budget: everything that a controller has to say of it is status.
		budgetKey: &policyv1beta1.PodDisruptionBudget{ObjectMeta: meta("portal", "1"), Spec: policyv1beta1.PodDisruptionBudgetSpec{
			MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "portal"}}}},
		// One that lacks what an API server of today fills in.
		portalKey: &extensionsv1beta1.Deployment{ObjectMeta: meta("portal", "2"), Spec: extensionsv1beta1.DeploymentSpec{Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "portal"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "portal"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "registry.example.com/a:1"}}}}}},
		ingressKey: &networkingv1.Ingress{ObjectMeta: meta("portal", "3"), Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: "portal.example.com"}}},
			Status: networkingv1.IngressStatus{LoadBalancer: networkingv1.IngressLoadBalancerStatus{Ingress: []networkingv1.IngressLoadBalancerIngress{{IP: "10.0.0.10"}}}}},
	}
	for key, object := range inEtcd {
		put(key, asStored(t, object))
	}
	const widgetKey = "/registry/versions.example.com/widgets/" + ours + "/w"
	put(widgetKey, []byte(`{"apiVersion":"versions.example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"`+ours+
		`","uid":"10000000-0000-4000-8000-000000000004","creationTimestamp":"2017-07-14T02:40:00Z","generation":1},"spec":{"size":3}}`+"\n"))

	p := newPair(t, side{Etcd: moscow}, side{Etcd: spb.Etcd()}, "  exclude: [{resources: [customresourcedefinitions.apiextensions.k8s.io, clusterroles.rbac.authorization.k8s.io, clusterrolebindings.rbac.authorization.k8s.io, serviceaccounts]}]",
		"hold: [{resources: [widgets.versions.example.com], patch: {spec: {paused: true}}}]")
	p.replaceInConfig(t, "  name: spb\n", "  name: spb\n  kubeconfig: "+spb.Kubeconfig()+"\n")
	p.sync(t)
	p.reaches(t, 1)

	for key, version := range map[string]string{budgetKey: "policy/v1", portalKey: "apps/v1"} {
		testkit.Eventually(t, time.Minute, key+" to be stored as "+version, func() (bool, string) {
			now := storedVersion(t, spb.Etcd(), key)
			return now == version, now
		})
	}
	ingresses := spb.Client().NetworkingV1().Ingresses(ours)
	ingress, err := ingresses.Get(t.Context(), "portal", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ingress.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "10.1.0.10"}}
	if _, err := ingresses.UpdateStatus(t.Context(), ingress, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	touchWidget(t, spb, widgets)
	if now := storedVersion(t, spb.Etcd(), widgetKey); now != "versions.example.com/v2" {
		t.Errorf("the widget is stored as %s", now)
	}

	// The Deployment may differ in what may be defaults: nobody says that it does, nor
	// that it does not. Everything else is equal.
	var c checked
	testkit.Eventually(t, time.Minute, "the check to name one object", func() (bool, string) {
		c, _ = p.check(t)
		return c.OtherVersion.Count == 1 && c.OtherVersion.Keys[0] == portalKey, fmt.Sprintf("%+v", c)
	})
	if n := c.Missed.Count + c.Surplus.Count + c.Differing.Count + c.Undecodable.Count; c.Verdict != "unknown" || n != 0 || c.Compared < 5 {
		t.Errorf("%+v", c)
	}
	if d := p.drift(t); d.Deleted+d.Changed+d.Created+d.Repaired != 0 {
		t.Errorf("drift: %+v", d)
	}

	// What the primary writes next leaves the standby's own address.
	changed := inEtcd[ingressKey].(*networkingv1.Ingress)
	changed.Spec.Rules[0].Host = "portal2.example.com"
	put(ingressKey, asStored(t, changed))
	testkit.Eventually(t, time.Minute, "the Ingress to arrive", func() (bool, string) {
		now, err := ingresses.Get(t.Context(), "portal", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		addresses := now.Status.LoadBalancer.Ingress
		return now.Spec.Rules[0].Host == "portal2.example.com" && len(addresses) == 1 && addresses[0].IP == "10.1.0.10", fmt.Sprintf("%+v", now)
	})

	p.must(t, 0, "pause")
	moscow.Kill()
	out := p.must(t, 0, "hold", "release", "--yes")
	if !strings.Contains(out, "released 2 objects") {
		t.Errorf("release: %s", out)
	}
	portal, err := spb.Client().AppsV1().Deployments(ours).Get(t.Context(), "portal", metav1.GetOptions{})
	if err != nil || *portal.Spec.Replicas != 2 || portal.UID != meta("", "2").UID {
		t.Errorf("%+v, %v", portal, err)
	}
	widget, err := spb.Dynamic().Resource(widgets).Namespace(ours).Get(t.Context(), "w", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, paused, _ := unstructured.NestedBool(widget.Object, "spec", "paused"); paused {
		t.Errorf("%v", widget.Object)
	}
	if out := p.must(t, 0, "hold", "list"); !strings.Contains(out, "nothing is held") {
		t.Errorf("held: %s", out)
	}
}

const (
	budgetKey  = "/registry/poddisruptionbudgets/" + ours + "/portal"
	portalKey  = "/registry/deployments/" + ours + "/portal"
	ingressKey = "/registry/ingress/" + ours + "/portal"
)

// asStored is an object as an API server stores it in protobuf.
func asStored(t *testing.T, object runtime.Object) []byte {
	t.Helper()
	gvks, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		t.Fatal(err)
	}
	object.GetObjectKind().SetGroupVersionKind(gvks[0])
	var out bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(object, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// storedVersion is the version in which an etcd has an object.
func storedVersion(t *testing.T, etcd *testkit.Etcd, key string) string {
	t.Helper()
	resp, err := etcd.Client().Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	value := resp.Kvs[0].Value
	if raw, ok := bytes.CutPrefix(value, []byte("k8s\x00")); ok {
		var unknown runtime.Unknown
		if err := unknown.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		return unknown.APIVersion
	}
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(value); err != nil {
		t.Fatal(err)
	}
	return u.GetAPIVersion()
}

// defineTwoVersions defines a kind that was stored as v1 once and is stored as v2 now.
func defineTwoVersions(t *testing.T, c *testkit.ControlPlane) schema.GroupVersionResource {
	t.Helper()
	version := func(name string, storage bool) map[string]any {
		open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
		return map[string]any{"name": name, "served": true, "storage": storage,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{"spec": open}}}}
	}
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "widgets.versions.example.com"},
		"spec": map[string]any{"group": "versions.example.com", "scope": "Namespaced",
			"names":    map[string]any{"kind": "Widget", "plural": "widgets", "singular": "widget"},
			"versions": []any{version("v1", false), version("v2", true)}},
	}}
	if _, err := c.Dynamic().Resource(definitions).Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r := schema.GroupVersionResource{Group: "versions.example.com", Version: "v2", Resource: "widgets"}
	served(t, c, r)
	return r
}

// touchWidget has the API server store the widget anew, in its version of today.
func touchWidget(t *testing.T, c *testkit.ControlPlane, r schema.GroupVersionResource) {
	t.Helper()
	_, err := c.Dynamic().Resource(r).Namespace(ours).Patch(t.Context(), "w", types.MergePatchType, []byte(`{"spec":{}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func (p *pair) replaceInConfig(t *testing.T, old, with string) {
	t.Helper()
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.config, bytes.Replace(text, []byte(old), []byte(with), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}
