package scope_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"github.com/understudy-dr/understudy/scope"
)

// builtIn encodes a built-in object as an API server does.
func builtIn(t *testing.T, object runtime.Object, gvk schema.GroupVersionKind) []byte {
	t.Helper()
	object.GetObjectKind().SetGroupVersionKind(gvk)
	var out bytes.Buffer
	if err := protobuf.NewSerializer(nil, nil).Encode(object, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func service(kind corev1.ServiceType, finalizers ...string) *corev1.Service {
	class := "service.k8s.aws/nlb"
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "edge", Namespace: "team-a", UID: "u", Finalizers: finalizers}, Spec: corev1.ServiceSpec{Type: kind, ClusterIP: "10.96.0.77",
		Ports: []corev1.ServicePort{{Port: 443, NodePort: 30443}}}}
	if kind == corev1.ServiceTypeLoadBalancer {
		s.Spec.LoadBalancerClass = &class
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.168.1.5"}}
	}
	return s
}

// What acts on something outside the cluster is inert, whatever says so: a field, an
// annotation or a label. What is inert already, and what acts on nothing, is left alone.
func TestPresets(t *testing.T) {
	view := defaultView(t)
	coreV1, admission := corev1.SchemeGroupVersion, admissionv1.SchemeGroupVersion
	custom := func(apiVersion, metadata, rest string) []byte {
		return []byte(`{"apiVersion":"` + apiVersion + `","kind":"X","metadata":{"name":"x","uid":"u"` + metadata + `},` + rest + `}` + "\n")
	}
	fail := admissionv1.Fail
	rules := &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{"*"}, Rule: admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*"}}}}}}
	for name, tc := range map[string]struct {
		key   string
		value []byte
		path  []string // of what is asked for; nil = it is not held
		want  any
	}{
		"load balancer": {"/registry/services/specs/team-a/edge", builtIn(t, service("LoadBalancer", "service.kubernetes.io/load-balancer-cleanup"), coreV1.WithKind("Service")),
			[]string{"spec", "loadBalancerClass"}, "understudy.dev/held"},
		"load balancer's finalizers": {"/registry/services/specs/team-a/edge", builtIn(t, service("LoadBalancer", "example.com/of-another-controller"), coreV1.WithKind("Service")),
			[]string{"metadata", "finalizers"}, nil},
		"load balancer's type": {"/registry/services/specs/team-a/edge", builtIn(t, service("LoadBalancer"), coreV1.WithKind("Service")), []string{"spec", "type"}, "LoadBalancer"},
		"load balancer's address": {"/registry/services/specs/team-a/edge", builtIn(t, service("LoadBalancer"), coreV1.WithKind("Service")),
			[]string{"status", "loadBalancer", "ingress"}, nil},
		"no load balancer any more, but its finalizer": {"/registry/services/specs/team-a/edge", builtIn(t, service("ClusterIP", "service.k8s.aws/resources"), coreV1.WithKind("Service")),
			[]string{"metadata", "finalizers"}, nil},
		"ClusterIP":                       {"/registry/services/specs/team-a/edge", builtIn(t, service("ClusterIP"), coreV1.WithKind("Service")), nil, nil},
		"NodePort with another finalizer": {"/registry/services/specs/team-a/edge", builtIn(t, service("NodePort", "example.com/x"), coreV1.WithKind("Service")), nil, nil},
		"policy": {"/registry/validatingadmissionpolicies/limits", builtIn(t, &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "limits", UID: "u"},
			Spec: admissionv1.ValidatingAdmissionPolicySpec{FailurePolicy: &fail, MatchConstraints: rules}}, admission.WithKind("ValidatingAdmissionPolicy")),
			[]string{"spec", "matchConstraints", "resourceRules"}, []any{map[string]any{"apiGroups": []any{"*"}, "apiVersions": []any{"*"}, "operations": []any{"*"}, "resources": []any{"*"}}}},
		"binding": {"/registry/validatingadmissionpolicybindings/limits", builtIn(t, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "limits", UID: "u"},
			Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "limits"}}, admission.WithKind("ValidatingAdmissionPolicyBinding")),
			[]string{"spec", "matchResources", "excludeResourceRules"}, []any{map[string]any{"apiGroups": []any{"*"}, "apiVersions": []any{"*"}, "operations": []any{"*"}, "resources": []any{"*/*"}}}},
		"claim that waits for a volume": {"/registry/persistentvolumeclaims/a/x", custom("v1", "", `"spec":{"storageClassName":"fast"}`), []string{"spec", "storageClassName"}, "understudy-held"},
		"claim that has one":            {"/registry/persistentvolumeclaims/a/x", custom("v1", "", `"spec":{"volumeName":"pvc-1"}`), nil, nil},
		"bare metal":                    {"/registry/metal3.io/baremetalhosts/a/x", custom("metal3.io/v1alpha1", "", `"spec":{}`), []string{"metadata", "annotations"}, map[string]any{"baremetalhost.metal3.io/paused": "understudy.dev/held"}},
		"managed resource":              {"/registry/s3.example.com/buckets/x", custom("s3.example.com/v1", `,"annotations":{"a":"b"}`, `"spec":{"forProvider":{"region":"a"}}`), []string{"metadata", "annotations"}, map[string]any{"a": "b", "crossplane.io/paused": "true"}},
		"composite":                     {"/registry/example.org/xdatabases/x", custom("example.org/v1", "", `"spec":{"compositionRef":{"name":"c"}}`), []string{"metadata", "annotations"}, map[string]any{"crossplane.io/paused": "true"}},
		"composite of v2":               {"/registry/example.org/xdatabases/a/x", custom("example.org/v1", "", `"spec":{"crossplane":{"compositionRef":{"name":"c"}}}`), []string{"metadata", "annotations"}, map[string]any{"crossplane.io/paused": "true"}},
		"speaks of it only":             {"/registry/example.org/notes/x", custom("example.org/v1", "", `"spec":{"text":"forProvider"}`), nil, nil},
		"has it elsewhere":              {"/registry/example.org/notes/x", custom("example.org/v1", "", `"spec":{"x":{"forProvider":{}}}`), nil, nil},
		"paused there":                  {"/registry/s3.example.com/buckets/x", custom("s3.example.com/v1", `,"annotations":{"crossplane.io/paused":"true"}`, `"spec":{"forProvider":{}}`), nil, nil},
		"Kustomization":                 {"/registry/kustomize.toolkit.fluxcd.io/kustomizations/a/x", custom("kustomize.toolkit.fluxcd.io/v1", "", `"spec":{}`), []string{"spec", "suspend"}, true},
		"Kafka":                         {"/registry/kafka.strimzi.io/kafkas/a/x", custom("kafka.strimzi.io/v1beta2", "", `"spec":{}`), []string{"metadata", "annotations"}, map[string]any{"strimzi.io/pause-reconciliation": "true"}},
		"RabbitMQ":                      {"/registry/rabbitmq.com/rabbitmqclusters/a/x", custom("rabbitmq.com/v1beta1", "", `"spec":{}`), []string{"metadata", "labels"}, map[string]any{"rabbitmq.com/pauseReconciliation": "true"}},
		"scheduler extenders":           {"/registry/deckhouse.io/kubeschedulerwebhookconfigurations/x", custom("deckhouse.io/v1alpha1", "", `"webhooks":[{"weight":5,"failurePolicy":"Fail"}]`), []string{"webhooks"}, []any{}},
		"another's webhooks":            {"/registry/deckhouse.io/others/x", custom("deckhouse.io/v1alpha1", "", `"webhooks":[{"weight":5}]`), nil, nil},
		"virtual machine":               {"/registry/kubevirt.io/virtualmachines/a/x", custom("kubevirt.io/v1", "", `"spec":{"running":true}`), []string{"spec"}, map[string]any{"runStrategy": "Halted"}},
		"virtual machine by strategy":   {"/registry/kubevirt.io/virtualmachines/a/x", custom("kubevirt.io/v1", "", `"spec":{"runStrategy":"RerunOnFailure"}`), []string{"spec"}, map[string]any{"runStrategy": "Halted"}},
		"halted virtual machine":        {"/registry/kubevirt.io/virtualmachines/a/x", custom("kubevirt.io/v1", "", `"spec":{"runStrategy":"Halted"}`), nil, nil},
		"pool of virtual machines":      {"/registry/pool.kubevirt.io/virtualmachinepools/a/x", custom("pool.kubevirt.io/v1beta1", "", `"spec":{"replicas":3}`), []string{"spec"}, map[string]any{"replicas": int64(3), "paused": true}},
		"ApplicationSet":                {"/registry/argoproj.io/applicationsets/a/x", custom("argoproj.io/v1alpha1", "", `"spec":{"template":{"metadata":{"name":"{{name}}"}}}`), []string{"spec", "template", "metadata"}, map[string]any{"name": "{{name}}", "annotations": map[string]any{"argocd.argoproj.io/skip-reconcile": "true"}}},
		"ApplicationSet's Applications": {"/registry/argoproj.io/applicationsets/a/x", custom("argoproj.io/v1alpha1", "", `"spec":{"syncPolicy":{"preserveResourcesOnDeletion":true}}`), []string{"spec", "syncPolicy"}, map[string]any{"preserveResourcesOnDeletion": true, "applicationsSync": "create-only"}},
		"HelmOp":                        {"/registry/fleet.cattle.io/helmops/a/x", custom("fleet.cattle.io/v1alpha1", "", `"spec":{}`), []string{"spec", "paused"}, true},
		"backup location":               {"/registry/velero.io/backupstoragelocations/a/x", custom("velero.io/v1", "", `"spec":{}`), []string{"spec", "accessMode"}, "ReadOnly"},
	} {
		want, err := view.Want(tc.key, tc.value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if held := want.Kept != nil; held != (tc.path != nil) {
			t.Errorf("%s: held %v", name, held)
		}
		if tc.path == nil {
			continue
		}
		if got := field(t, want.Value, tc.path...); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v = %v, want %v", name, tc.path, got, tc.want)
		}
		if !bytes.Equal(want.Kept, tc.value) {
			t.Errorf("%s: the original is not kept as it was", name)
		}
	}
}

// A hold may set annotations and labels, never what an object is, whose it is, or what must be done before it goes.
func TestHoldsOfMetadata(t *testing.T) {
	for patch, refused := range map[string]string{
		`{"metadata":{"annotations":{"example.com/paused":"true","b":null}}}`: "",
		`{"metadata":{"labels":{"example.com/paused":"true"}}}`:               "",
		`{"metadata":{"annotations":{"example.com/paused":true}}}`:            "must be text",
		`{"metadata":{"annotations":{"not a name":"x"}}}`:                     "name part",
		`{"metadata":{"labels":{"a":"not a value"}}}`:                         "a valid label",
		`{"metadata":{"annotations":null}}`:                                   "name each",
		`{"metadata":null}`:                                                   "same object",
		`{"metadata":{"finalizers":null}}`:                                    "same object",
		`{"metadata":{"ownerReferences":[]}}`:                                 "same object",
		`{"metadata":{"uid":"x"}}`:                                            "same object",
	} {
		_, err := scope.NewHolds([]scope.Hold{{Resources: []string{"widgets.example.com"}, Patch: json.RawMessage(patch)}})
		if refused == "" && err != nil || refused != "" && (err == nil || !strings.Contains(err.Error(), refused)) {
			t.Errorf("%s: %v, want %q", patch, err, refused)
		}
	}
}

// A hold that is for some objects of a resource says which, and one for a group or for
// any custom resource can be taken back for one resource.
func TestHoldsWhen(t *testing.T) {
	hold := func(resources, patch, when string) scope.Hold {
		h := scope.Hold{Resources: strings.Fields(resources), Patch: json.RawMessage(patch)}
		if when != "" {
			h.When = json.RawMessage(when)
		}
		return h
	}
	const patch = `{"spec":{"on":false}}`
	for name, refused := range map[string]scope.Hold{
		"everything":            hold("*", patch, ""),
		"when of everything":    hold("a.example.com", patch, `{}`),
		"when of no object":     hold("a.example.com", patch, `[1]`),
		"a built-in's misspelt": hold("services", `{"spec":{"loadBalancerClass":"x"}}`, `{"spec":{"typo":"LoadBalancer"}}`),
		"built-in group":        hold("*.apps", `{"spec":{"replicas":0}}`, ""),
	} {
		if _, err := scope.NewHolds([]scope.Hold{refused}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	holds, err := scope.NewHolds([]scope.Hold{
		hold("*.example.com", patch, `{"spec":{"mode":"active","tags":["a"],"off":null,"inner":{}}}`),
		hold("quiet.example.com", `{}`, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	for object, want := range map[string]bool{
		`{"mode":"active","tags":["b","a"],"inner":{"x":1}}`:             true,
		`{"mode":"active","tags":["b","a"],"inner":{}}`:                  true,
		`{"mode":"passive","tags":["a"],"inner":{},"x":"active"}`:        false,
		`{"mode":"active","tags":["b"],"inner":{},"x":"a"}`:              false,
		`{"mode":"active","tags":["a"],"x":"inner"}`:                     false,
		`{"mode":"active","tags":["a"],"inner":{},"off":false}`:          false,
		`{"mode":"active","tags":["a"],"inner":{},"off":null,"on":true}`: true,
	} {
		plain := []byte(`{"apiVersion":"a.example.com/v1","kind":"X","metadata":{"name":"x"},"spec":` + object + `}`)
		for gr, concerned := range map[string]bool{"loud.example.com": true, "loud.sub.example.com": true, "quiet.example.com": false, "loud.example.org": false} {
			if _, held, err := holds.Apply(gr, plain); err != nil || held != (want && concerned) {
				t.Errorf("%s %s: held %v, %v", gr, object, held, err)
			}
		}
	}
	// Encoders write some characters in another way.
	escaped, err := scope.NewHolds([]scope.Hold{hold("a.example.com", patch, `{"spec":{"mode":"a&b"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, held, err := escaped.Apply("a.example.com", []byte(`{"apiVersion":"a.example.com/v1","kind":"X","metadata":{"name":"x"},"spec":{"mode":"a\u0026b"}}`)); err != nil || !held {
		t.Errorf("an escaped text is not found: held %v, %v", held, err)
	}
	if !holds.Names("loud.example.com") || holds.Names("quiet.example.com") {
		t.Error("named and not named are mixed up")
	}
	any, err := scope.NewHolds([]scope.Hold{hold("*", patch, `{"spec":{"mode":"active"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	for gr, want := range map[string]bool{"a.example.com": true, "deployments.apps": false, "leases.coordination.k8s.io": false, "pods": false} {
		if any.Concerns(gr) != want || any.Names(gr) {
			t.Errorf("%s: concerned %v, named %v", gr, any.Concerns(gr), any.Names(gr))
		}
	}
}

// The page for people has every row of the table.
func TestPresetsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/holds.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range scope.Presets {
		if !bytes.Contains(page, []byte("\n| "+p.Name+" | ")) || !bytes.Contains(page, []byte(" | "+p.Why+" | "+p.Source+" |\n")) {
			t.Errorf("docs/holds.md does not have the row of %s with its reason and source", p.Name)
		}
	}
}
