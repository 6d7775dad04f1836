package verify

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
)

// stored reads objects as an API server would store them: built-in kinds as
// protobuf, others as JSON. Their keys stand in an annotation.
func stored(t *testing.T, file string) (pairs []kv.Pair) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.Split(string(text), "\n---\n") {
		raw, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw, nil, nil)
		if runtime.IsNotRegisteredError(err) {
			object, err = runtime.Decode(unstructured.UnstructuredJSONScheme, raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		meta := object.(interface {
			GetAnnotations() map[string]string
			SetAnnotations(map[string]string)
		})
		key := meta.GetAnnotations()["bars/key"]
		meta.SetAnnotations(nil)
		pairs = append(pairs, kv.Pair{Key: key, Value: asStored(t, object)})
	}
	return pairs
}

func asStored(t *testing.T, object runtime.Object) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := runtime.Encoder(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme))
	if _, _, err := scheme.Scheme.ObjectKinds(object); err != nil {
		encoder = unstructured.UnstructuredJSONScheme
	}
	if err := encoder.Encode(object, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A policy of the primary is in scope and its parameter, in kube-system, is not:
// after the release the standby's API server would deny every write.
func TestSimulateAPolicyWhoseParameterIsLeftOut(t *testing.T) {
	s := &stage{t, Sides{Standby: testkit.StartEtcd(t).Client()}}
	view := newView(t, nil, nil)
	for _, p := range stored(t, "testdata/policy-without-parameter.yaml") {
		s.put(s.sides.Standby, p.Key, p.Value)
	}
	s.putCheckpoint(sink.Checkpoint{SourceRevision: 1, Phase: sink.Streaming, ScopeHash: view.Scope.Hash()})
	sim := s.simulate(view)
	if got := sim.summary(); !slices.Equal(got, []string{"red policy-without-parameter 1"}) {
		t.Fatalf("%q", got)
	}
	if item := sim.Findings[0].Items[0]; item.Object != "ValidatingAdmissionPolicyBinding limits" ||
		item.Why != "policy limits, ConfigMap kube-system/limits is not there: all that it matches is denied then" {
		t.Errorf("%+v", item)
	}
	// What the standby has of its own will do.
	s.put(s.sides.Standby, "/registry/configmaps/kube-system/limits", object("ConfigMap", "kube-system", "limits", ""))
	if got := s.simulate(view); len(got.Findings) != 0 {
		t.Errorf("with the standby's own: %q", got.summary())
	}
}

func TestSimulatePolicies(t *testing.T) {
	policy := func(name, spec string) thing {
		return thing{key: "validatingadmissionpolicies/" + name, kind: "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy", body: `{"spec":` + spec + `}`}
	}
	binding := func(ref string) thing {
		return thing{key: "validatingadmissionpolicybindings/b", kind: "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding",
			body: fmt.Sprintf(`{"spec":{"policyName":"p","paramRef":{%s}}}`, ref)}
	}
	mutating := func(o thing) thing {
		o.key, o.kind = strings.Replace(o.key, "validating", "mutating", 1), strings.Replace(o.kind, "Validating", "Mutating", 1)
		return o
	}
	const onConfigMap = `{"paramKind":{"apiVersion":"v1","kind":"ConfigMap"}}`
	labelled := thing{key: "configmaps/prod/c", kind: "v1 ConfigMap", body: `{"labels":{"for":"policy"}}`}
	for name, tc := range map[string]struct {
		things []thing
		want   []string
	}{
		"by name, gone":                     {[]thing{policy("p", onConfigMap), binding(`"name":"c","namespace":"prod","parameterNotFoundAction":"Deny"`)}, []string{"red policy-without-parameter ValidatingAdmissionPolicyBinding b: policy p, ConfigMap prod/c is not there: all that it matches is denied then"}},
		"by name, there":                    {[]thing{policy("p", onConfigMap), labelled, binding(`"name":"c","namespace":"prod","parameterNotFoundAction":"Deny"`)}, nil},
		"allowed to be gone":                {[]thing{policy("p", onConfigMap), binding(`"name":"c","namespace":"prod","parameterNotFoundAction":"Allow"`)}, []string{"yellow policy-without-parameter ValidatingAdmissionPolicyBinding b: policy p, ConfigMap prod/c is not there: the policy does nothing then"}},
		"failures are ignored":              {[]thing{policy("p", `{"failurePolicy":"Ignore","paramKind":{"apiVersion":"v1","kind":"ConfigMap"}}`), binding(`"name":"c","namespace":"prod","parameterNotFoundAction":"Deny"`)}, []string{"yellow policy-without-parameter ValidatingAdmissionPolicyBinding b: policy p, ConfigMap prod/c is not there: the policy does nothing then"}},
		"in the namespace of the request":   {[]thing{policy("p", onConfigMap), labelled, binding(`"name":"c","parameterNotFoundAction":"Deny"`)}, nil},
		"in no namespace":                   {[]thing{policy("p", onConfigMap), binding(`"name":"c","parameterNotFoundAction":"Deny"`)}, []string{"red policy-without-parameter ValidatingAdmissionPolicyBinding b: policy p, ConfigMap c is not there: all that it matches is denied then"}},
		"by labels":                         {[]thing{policy("p", onConfigMap), labelled, binding(`"selector":{"matchLabels":{"for":"policy"}},"namespace":"prod","parameterNotFoundAction":"Deny"`)}, nil},
		"by labels that nothing has":        {[]thing{policy("p", onConfigMap), labelled, binding(`"selector":{"matchLabels":{"for":"other"}},"namespace":"prod","parameterNotFoundAction":"Deny"`)}, []string{"red policy-without-parameter ValidatingAdmissionPolicyBinding b: policy p, ConfigMap with for=other in prod is not there: all that it matches is denied then"}},
		"by labels of what goes":            {[]thing{policy("p", onConfigMap), deleting(labelled), binding(`"selector":{"matchLabels":{"for":"policy"}},"parameterNotFoundAction":"Deny"`)}, []string{"red policy-without-parameter ValidatingAdmissionPolicyBinding b: policy p, ConfigMap with for=policy is not there: all that it matches is denied then", "yellow being-deleted ConfigMap prod/c: no finalizers"}},
		"of a kind that is gone, unbound":   {[]thing{policy("p", `{"paramKind":{"apiVersion":"rules.example.com/v1","kind":"Limit"}}`)}, []string{"red policy-without-parameter ValidatingAdmissionPolicy p: parameters are of the kind Limit of rules.example.com/v1: the standby has no such kind: all that it matches is denied then"}},
		"of a kind that another API serves": {[]thing{policy("p", `{"paramKind":{"apiVersion":"rules.example.com/v1","kind":"Limit"}}`), {key: "apiregistration.k8s.io/apiservices/v1.rules.example.com", kind: "apiregistration.k8s.io/v1 APIService", body: `{"spec":{"group":"rules.example.com","version":"v1","service":{"namespace":"prod","name":"api"}}}`}, service1("prod", "api", `{"type":"ExternalName"}`)}, nil},
		"without parameters":                {[]thing{policy("p", `{}`), binding(``)}, nil},
		"of no policy":                      {[]thing{binding(`"name":"c","namespace":"prod","parameterNotFoundAction":"Deny"`)}, nil},
		"mutating":                          {[]thing{mutating(policy("p", onConfigMap)), mutating(binding(`"name":"c","namespace":"prod","parameterNotFoundAction":"Deny"`))}, []string{"red policy-without-parameter MutatingAdmissionPolicyBinding b: policy p, ConfigMap prod/c is not there: all that it matches is denied then"}},
		"of two kinds and one name":         {[]thing{mutating(policy("p", `{}`)), policy("p", onConfigMap), mutating(binding(`"name":"c","namespace":"prod","parameterNotFoundAction":"Deny"`))}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			want := tc.want
			if want == nil {
				want = []string{}
			}
			compareFindings(t, tc.things, nil, want)
		})
	}
}
