package registry_test

import (
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/registry"
)

func TestReadManagersInEveryEncoding(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 7, 0, time.UTC)
	object := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "a", ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "kubectl", Operation: "Apply", APIVersion: "v1", FieldsType: "FieldsV1", Time: &metav1.Time{Time: at},
				FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:data":{"f:time":{}}}`)}},
			{Manager: "controller", Operation: "Update", Subresource: "status"},
		}},
		Data: map[string]string{"manager": "nobody"},
	}
	want := []registry.Manager{{Name: "kubectl", Operation: "Apply", Time: metav1.Time{Time: at}}, {Name: "controller", Operation: "Update", Subresource: "status"}}
	for name, value := range map[string][]byte{"protobuf": asProtobuf(t, object), "JSON": asJSON(t, object), "CBOR": asCBOR(t, object)} {
		got, err := registry.ReadManagers(value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	object.ManagedFields = nil
	for name, value := range map[string][]byte{"protobuf": asProtobuf(t, object), "JSON": asJSON(t, object), "raw": []byte("{}")} {
		if got, err := registry.ReadManagers(value); err != nil || len(got) > 0 {
			t.Errorf("%s without managers: %+v, %v", name, got, err)
		}
	}
	if _, err := registry.ReadManagers(asProtobuf(t, secret)[:60]); err == nil {
		t.Error("a torn value has been read")
	}
}
