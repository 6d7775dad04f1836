package scope_test

import (
	"bytes"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/understudy-dr/understudy/scope"
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

func TestTwoVersionsOfOneObject(t *testing.T) {
	locals, err := scope.NewLocals(scope.DefaultLocals(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	const budgets = "poddisruptionbudgets.policy"
	meta := metav1.ObjectMeta{Name: "web", Namespace: "a", UID: "u"}
	managed := *meta.DeepCopy()
	managed.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl", APIVersion: "policy/v1beta1"}}
	one, two := intstr.FromInt32(1), intstr.FromInt32(2)
	old := asStored(t, &policyv1beta1.PodDisruptionBudget{ObjectMeta: managed, Spec: policyv1beta1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{}}})
	none := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match", Operator: "Exists"}}}
	budget := func(meta metav1.ObjectMeta, spec policyv1.PodDisruptionBudgetSpec) []byte {
		return asStored(t, &policyv1.PodDisruptionBudget{ObjectMeta: meta, Spec: spec, Status: policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1}})
	}
	other := *meta.DeepCopy()
	other.UID = "another"
	finalized := *meta.DeepCopy()
	finalized.Finalizers = []string{"x/y"}
	policy := policyv1.AlwaysAllow

	widget := func(version, rest string) []byte {
		return []byte(`{"apiVersion":"example.com/` + version + `","kind":"Widget","metadata":{"name":"n","uid":"u"` + rest + "}\n")
	}
	for name, tc := range map[string]struct {
		resource         string
		primary, standby []byte
		want             scope.Likeness
	}{
		"a budget, rewritten by its controller": {budgets, old, budget(meta, policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: none}), scope.Equal},
		"and changed":                           {budgets, old, budget(meta, policyv1.PodDisruptionBudgetSpec{MinAvailable: &two, Selector: none}), scope.Different},
		"an empty selector means all in v1":     {budgets, old, budget(meta, policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{}}), scope.Different},
		"and what may be a default":             {budgets, old, budget(meta, policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: none, UnhealthyPodEvictionPolicy: &policy}), scope.OtherVersion},
		"another object":                        {budgets, old, budget(other, policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: none}), scope.Different},
		"with a finalizer":                      {budgets, old, budget(finalized, policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: none}), scope.Different},

		"a custom resource by its version alone": {"widgets.example.com", widget("v1", `},"spec":{"a":1}`), widget("v2", `},"spec":{"a":1}`), scope.Equal},
		"a custom resource in another shape":     {"widgets.example.com", widget("v1", `},"spec":{"a":1}`), widget("v2", `},"spec":{"b":1}`), scope.OtherVersion},
		"what no conversion touches":             {"widgets.example.com", widget("v1", `,"finalizers":["x"]},"spec":{}`), widget("v2", `},"spec":{}`), scope.Different},
		"what a conversion leaves": {"widgets.example.com", widget("v1", `},"spec":{"a":1}`),
			widget("v2", `,"annotations":{"cluster.x-k8s.io/conversion-data":"{}"},"managedFields":[{"manager":"m"}]},"spec":{"a":1}`), scope.Equal},

		"of a version that is gone": {"horizontalpodautoscalers.autoscaling", unknownVersion(t, "1"), unknownVersion(t, "2"), scope.OtherVersion},
	} {
		t.Run(name, func(t *testing.T) {
			if got := locals.Compare(tc.resource, tc.primary, tc.standby, false); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

// unknownVersion is an autoscaler as an API server stored it in autoscaling/v2beta2,
// with something in its annotations.
func unknownVersion(t *testing.T, text string) []byte {
	t.Helper()
	object := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "u", Annotations: map[string]string{"x": text}},
		Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{}}}
	raw := asStored(t, object)
	body, err := object.Marshal()
	if err != nil || !bytes.Contains(raw, body) {
		t.Fatal("not as expected", err)
	}
	unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "autoscaling/v2beta2", Kind: "HorizontalPodAutoscaler"}, Raw: body}
	data, err := unknown.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte("k8s\x00"), data...)
}

// The standby's controller has written a budget's status in another version: it
// stays, in the version that the primary stores.
func TestAnotherVersionKeepsItsStatus(t *testing.T) {
	locals, err := scope.NewLocals(scope.DefaultLocals(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: "web", Namespace: "a", UID: "u"}
	primary := &policyv1beta1.PodDisruptionBudget{ObjectMeta: meta, Status: policyv1beta1.PodDisruptionBudgetStatus{CurrentHealthy: 3}}
	standby := asStored(t, &policyv1.PodDisruptionBudget{ObjectMeta: meta, Status: policyv1.PodDisruptionBudgetStatus{ExpectedPods: 7}})
	own, err := locals.Own("poddisruptionbudgets.policy", standby)
	if err != nil {
		t.Fatal(err)
	}
	primary.Status = policyv1beta1.PodDisruptionBudgetStatus{ExpectedPods: 7}
	want := asStored(t, primary)
	primary.Status = policyv1beta1.PodDisruptionBudgetStatus{CurrentHealthy: 3}
	kept, _, err := locals.Keep("poddisruptionbudgets.policy", asStored(t, primary), own)
	if err != nil || !bytes.Equal(kept, want) {
		t.Errorf("%q, %v", kept, err)
	}

	// Of a custom resource nobody knows the shape of the other version.
	machine := func(version, conditions string) []byte {
		return []byte(`{"apiVersion":"cluster.x-k8s.io/` + version + `","kind":"Machine","metadata":{"name":"m","uid":"u"},"status":{"conditions":[` + conditions + "]}}\n")
	}
	if own, err = locals.Own("machines.cluster.x-k8s.io", machine("v1beta2", `{"type":"Paused","status":"True","observedGeneration":1}`)); err != nil {
		t.Fatal(err)
	}
	old := machine("v1beta1", `{"type":"Ready","status":"True"}`)
	if kept, _, err := locals.Keep("machines.cluster.x-k8s.io", old, own); err != nil || string(kept) != string(old) {
		t.Errorf("%s, %v", kept, err)
	}

	// An object that nobody here can read comes as the primary has it.
	if own, err = locals.Own("horizontalpodautoscalers.autoscaling", unknownVersion(t, "1")); err == nil || !strings.Contains(err.Error(), "autoscaling/v2beta2") {
		t.Errorf("own fields of an unknown version: %v, %v", own, err)
	}
	known := asStored(t, &policyv1.PodDisruptionBudget{ObjectMeta: meta})
	if own, err = locals.Own("poddisruptionbudgets.policy", known); err != nil {
		t.Fatal(err)
	}
	if kept, _, err := locals.Keep("horizontalpodautoscalers.autoscaling", unknownVersion(t, "1"), own); err != nil || !bytes.Equal(kept, unknownVersion(t, "1")) {
		t.Errorf("%q, %v", kept, err)
	}
}
