package registry

import (
	"bytes"
	"reflect"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

// The marks are read the same of every encoding, and no other label.
func TestReadMarks(t *testing.T) {
	object := &discoveryv1.EndpointSlice{
		TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "a", Labels: map[string]string{LabelSliceManagedBy: "staff", "app": "x", LabelHeritage: "d\"x"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}, {Manager: "k3s", Subresource: "status"}},
		},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}},
	}
	want := Marks{map[string]string{LabelSliceManagedBy: "staff", LabelHeritage: "d\"x"}, []string{"kubectl", "k3s"}}
	for name, encoder := range map[string]runtime.Encoder{
		"protobuf": protobuf.NewSerializer(scheme, scheme),
		"JSON":     json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{}),
		"CBOR":     cbor.NewSerializer(scheme, scheme),
	} {
		var stored bytes.Buffer
		if err := encoder.Encode(object, &stored); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadMarks(stored.Bytes()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if got, err := ReadMarks(stored.Bytes()[:60]); err == nil {
			t.Errorf("%s: cut short it gives %+v", name, got)
		}
	}
	for _, odd := range []string{`{"metadata":null}`, `{"metadata":{"labels":null,"managedFields":null}}`, `{"metadata":{"managedFields":[null,{"manager":null}],"labels":{"heritage":null}}}`, `{}`} {
		if got, err := ReadMarks([]byte(odd)); err != nil || got.Labels != nil || got.Managers != nil {
			t.Errorf("%s: %+v, %v", odd, got, err)
		}
	}
}
