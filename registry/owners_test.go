package registry_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/registry"
	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// named drops the references to owners with one of these names.
func named(names ...string) func(registry.Owner) bool {
	return func(o registry.Owner) bool { return slices.Contains(names, o.Name) }
}

func references(names ...string) []metav1.OwnerReference {
	var list []metav1.OwnerReference
	for _, name := range names {
		list = append(list, metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Owner", Name: name, UID: "u", Controller: &yes})
	}
	return list
}

// An object is what it would be if it had never had the references that are
// dropped, in every encoding; in protobuf to the byte.
func TestDropOwners(t *testing.T) {
	object := func(names ...string) *corev1.Secret {
		o := secret.DeepCopy()
		o.OwnerReferences = references(names...)
		return o
	}
	for encoding, encode := range map[registry.Encoding]func(*corev1.Secret) []byte{
		registry.Protobuf: func(o *corev1.Secret) []byte { return asProtobuf(t, o) },
		registry.JSON:     func(o *corev1.Secret) []byte { return asJSON(t, o) },
		registry.CBOR:     func(o *corev1.Secret) []byte { return asCBOR(t, o) },
	} {
		for name, tc := range map[string]struct{ have, drop, want []string }{
			"the first":      {[]string{"a", "b", "c"}, []string{"a"}, []string{"b", "c"}},
			"the last":       {[]string{"a", "b", "c"}, []string{"c"}, []string{"a", "b"}},
			"all but one":    {[]string{"a", "b", "c"}, []string{"a", "c"}, []string{"b"}},
			"all":            {[]string{"a", "b"}, []string{"a", "b"}, nil},
			"none":           {[]string{"a", "b"}, []string{"z"}, []string{"a", "b"}},
			"there are none": {nil, []string{"a"}, nil},
		} {
			value, want := encode(object(tc.have...)), encode(object(tc.want...))
			before := bytes.Clone(value)
			got, err := registry.DropOwners(value, named(tc.drop...))
			if err != nil {
				t.Fatalf("%s, %s: %v", encoding, name, err)
			}
			if !bytes.Equal(value, before) {
				t.Errorf("%s, %s: the value itself was written to", encoding, name)
			}
			if encoding == registry.Protobuf && !bytes.Equal(got, want) {
				t.Errorf("%s, %s:\n got %q\nwant %q", encoding, name, got, want)
			}
			if !reflect.DeepEqual(fieldsOf(t, got), fieldsOf(t, want)) {
				t.Errorf("%s, %s:\n got %v\nwant %v", encoding, name, fieldsOf(t, got), fieldsOf(t, want))
			}
		}
	}
}

func fieldsOf(t *testing.T, value []byte) registry.Fields {
	t.Helper()
	fields, err := registry.ReadFields(value)
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

// What a newer Kubernetes stores loses nothing but the references: neither a
// kind that is unknown here nor a field in any of its messages.
func TestDropOwnersKeepsWhatItDoesNotKnow(t *testing.T) {
	novelty := func(names ...string) []byte {
		var metadata []byte
		metadata = appendField(metadata, 1, []byte("n"))
		for _, name := range names {
			var owner []byte
			owner = appendField(owner, 1, []byte("Owner"))
			owner = appendField(owner, 3, []byte(name))
			owner = appendField(owner, 4, []byte("u"))
			owner = appendField(owner, 5, []byte("example.com/v1"))
			metadata = appendField(metadata, 13, appendField(owner, 99, []byte("of the reference")))
		}
		metadata = protowire.AppendVarint(protowire.AppendTag(metadata, 98, protowire.VarintType), 1<<40)
		object := appendField(appendField(nil, 1, metadata), 97, bytes.Repeat([]byte("of the object"), 20))
		object = protowire.AppendFixed64(protowire.AppendTag(object, 96, protowire.Fixed64Type), 7)
		kind := appendField(appendField(nil, 1, []byte("example.k8s.io/v9")), 2, []byte("Novelty"))
		envelope := appendField(appendField(appendField(nil, 1, kind), 2, object), 95, []byte("of the envelope"))
		return append([]byte("k8s\x00"), envelope...)
	}
	got, err := registry.DropOwners(novelty("a", "b", "c"), named("b"))
	if err != nil || !bytes.Equal(got, novelty("a", "c")) {
		t.Errorf("%v\n got %q\nwant %q", err, got, novelty("a", "c"))
	}
}

func appendField(to []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, number, protowire.BytesType), value)
}

// Broken values are refused and do not panic; of those that can be read, the
// references that stay are those that were not dropped, and nothing else of
// the metadata changes.
func FuzzDropOwners(f *testing.F) {
	for p := range fixture.Generate(fixture.Options{Objects: 80}) {
		f.Add(p.Value)
	}
	for _, value := range [][]byte{asProtobuf(f, secret), asJSON(f, secret), asCBOR(f, secret)} {
		f.Add(value)
		f.Add(value[:len(value)/2])
		f.Add(value[:len(value)-9])
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		before := bytes.Clone(value)
		drop := func(o registry.Owner) bool { return len(o.Name)%2 == 0 }
		got, err := registry.DropOwners(value, drop)
		if !bytes.Equal(value, before) {
			t.Fatal("the value was written to")
		}
		want, unread := registry.ReadMeta(value)
		if unread != nil || want.Encoding != registry.Protobuf { // names that stand twice in JSON mean what each reader likes
			return
		}
		if err != nil {
			t.Fatalf("%v, and ReadMeta can read it", err)
		}
		want.Owners = slices.DeleteFunc(want.Owners, drop)
		if len(want.Owners) == 0 {
			want.Owners = nil
		}
		if m, err := registry.ReadMeta(got); err != nil || !reflect.DeepEqual(m, want) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, m, want)
		}
	})
}

func TestDropOwnersRefuses(t *testing.T) {
	for _, value := range []string{"", "k8s:enc:aescbc:v1:k:xyz", `{"kind":"A"`, "k8s\x00\x12\x7f"} {
		if _, err := registry.DropOwners([]byte(value), named("a")); !errors.Is(err, registry.ErrUndecodable) && !errors.Is(err, registry.ErrEncrypted) {
			t.Errorf("%q: %v", value, err)
		}
	}
}
