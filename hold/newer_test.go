package hold

import (
	"bytes"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
)

// withUnknown gives an object in protobuf a field in its spec that this version
// does not know.
func withUnknown(value []byte) []byte {
	unknown := protowire.AppendString(protowire.AppendTag(nil, 900, protowire.BytesType), "Default")
	unknown = protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), unknown)
	out := []byte("k8s\x00")
	for rest := value[4:]; len(rest) > 0; { // runtime.Unknown: the object is in field 2, and its spec there as well
		num, typ, n := protowire.ConsumeTag(rest)
		m := protowire.ConsumeFieldValue(num, typ, rest[n:])
		if num == 2 {
			raw, _ := protowire.ConsumeBytes(rest[n:])
			out = protowire.AppendBytes(protowire.AppendTag(out, num, typ), append(bytes.Clone(raw), unknown...))
		} else {
			out = append(out, rest[:n+m]...)
		}
		rest = rest[n+m:]
	}
	return out
}

// The standby's API server writes a held object in its own way: with a field that a
// newer Kubernetes sets by default, or in another encoding. It is the same object,
// and its release gives it back whole.
func TestHeldObjectIsKnownInOtherBytes(t *testing.T) {
	types := runtime.NewScheme()
	if err := appsv1.AddToScheme(types); err != nil {
		t.Fatal(err)
	}
	codec := protobuf.NewSerializer(types, types)
	encode := func(d runtime.Object) []byte {
		var out bytes.Buffer
		if err := codec.Encode(d, &out); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	three := int32(3)
	primary := encode(&appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "a", UID: "u"}, Spec: appsv1.DeploymentSpec{Replicas: &three}})
	for name, tc := range map[string]struct {
		primary []byte
		store   func(d *appsv1.Deployment) []byte
	}{
		"a newer Kubernetes": {withUnknown(primary), func(d *appsv1.Deployment) []byte { return withUnknown(encode(d)) }},
		"another encoding": {primary, func(d *appsv1.Deployment) []byte {
			d.APIVersion, d.Kind = "apps/v1", "Deployment"
			raw, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			return append(raw, '\n')
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, newView(t, nil))
			web := kv.Pair{Key: "/registry/deployments/a/web", Value: tc.primary}
			s.replicate(web)
			object, _, err := codec.Decode(s.get(web.Key).Value, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			held := object.(*appsv1.Deployment)
			held.Status.ObservedGeneration = 1
			s.put(web.Key, string(tc.store(held)))
			if !s.same(web) {
				t.Error("the check calls it differing")
			}
			if out := s.release(""); out.Done != 1 || len(out.Left) > 0 {
				t.Fatalf("released: %+v", out)
			}
			if !bytes.Contains(s.get(web.Key).Value, []byte("Default")) && name == "a newer Kubernetes" {
				t.Error("the release lost the new field")
			}
		})
	}
}

// same reports whether the standby has what the primary has.
func (s *stage) same(primary kv.Pair) bool {
	s.t.Helper()
	have := s.get(primary.Key)
	want, err := s.view.Want(primary.Key, primary.Value)
	if err != nil {
		s.t.Fatal(err)
	}
	var stands scope.Object
	if stands, err = s.view.InStandby(primary.Key, have.Value); err != nil {
		s.t.Fatal(err)
	}
	return s.view.Same(primary.Key, want.Object, stands, want.Value, have.Value)
}
