package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/registry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

var yes = true

// secret has everything that ReadMeta reads.
var secret = &corev1.Secret{
	TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
	ObjectMeta: metav1.ObjectMeta{
		Namespace: "prod", Name: "ca", UID: "6f1ed002-ab5c-4d63-9e42-2a6a9a5a4a11",
		Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "ключ \"d\"\n"},
		Finalizers:        []string{"example.com/one", "two"},
		DeletionTimestamp: &metav1.Time{Time: metav1.Unix(1_750_000_000, 0).Time},
		OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "cluster.x-k8s.io/v1beta1", Kind: "Cluster", Name: "prod", UID: "u1", Controller: &yes, BlockOwnerDeletion: &yes},
			{APIVersion: "example.com/v1", Kind: "Unheard", Name: "of", UID: "u2"},
		},
	},
	Type: "cluster.x-k8s.io/secret",
	Data: map[string][]byte{"type": []byte("not the type")},
}

var secretMeta = registry.Meta{
	APIVersion: "v1", Kind: "Secret", Namespace: "prod", Name: "ca", UID: "6f1ed002-ab5c-4d63-9e42-2a6a9a5a4a11",
	Finalizers: []string{"example.com/one", "two"}, Deleting: true, Type: "cluster.x-k8s.io/secret",
	Owners: []registry.Owner{
		{APIVersion: "cluster.x-k8s.io/v1beta1", Kind: "Cluster", Name: "prod", UID: "u1", Controller: true, BlockOwnerDeletion: true},
		{APIVersion: "example.com/v1", Kind: "Unheard", Name: "of", UID: "u2"},
	},
}

func asProtobuf(tb testing.TB, o runtime.Object) []byte {
	tb.Helper()
	scheme := runtime.NewScheme()
	var out bytes.Buffer
	if err := protobuf.NewSerializer(scheme, scheme).Encode(o, &out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func asJSON(tb testing.TB, o any) []byte {
	tb.Helper()
	out, err := json.Marshal(o)
	if err != nil {
		tb.Fatal(err)
	}
	return append(out, '\n')
}

// asCBOR is what Kubernetes' own encoder makes.
func asCBOR(tb testing.TB, o any) []byte {
	tb.Helper()
	out, err := direct.Marshal(o)
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.HasPrefix(out, []byte{0xd9, 0xd9, 0xf7}) {
		out = append([]byte{0xd9, 0xd9, 0xf7}, out...)
	}
	return out
}

func TestReadMetaInEveryEncoding(t *testing.T) {
	for encoding, value := range map[registry.Encoding][]byte{
		registry.Protobuf: asProtobuf(t, secret),
		registry.JSON:     asJSON(t, secret),
		registry.CBOR:     asCBOR(t, secret),
	} {
		want := secretMeta
		want.Encoding = encoding
		got, err := registry.ReadMeta(value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", encoding, got, err, want)
		}
	}
}

func TestReadMeta(t *testing.T) {
	for name, tc := range map[string]struct {
		value string
		want  registry.Meta
	}{
		"spaces, escapes, unknown fields": {
			value: "\n {\"k\\u0069nd\" : \"A\", \"x\":[1,-2.5e+3,true,null,{\"y\":{}},[]], \"metadata\":{\"name\":\"\\u00e9\\ud83d\\ude00\",\"generation\":1}} \n",
			want:  registry.Meta{Kind: "A", Name: "é😀", Encoding: registry.JSON},
		},
		"null is not set": {
			value: `{"kind":"A","apiVersion":null,"metadata":{"name":null,"deletionTimestamp":null,"finalizers":null,"ownerReferences":[{"uid":"u","controller":null}]}}`,
			want:  registry.Meta{Kind: "A", Owners: []registry.Owner{{UID: "u"}}, Encoding: registry.JSON},
		},
		"null metadata":                         {value: `{"kind":"A","metadata":null}`, want: registry.Meta{Kind: "A", Encoding: registry.JSON}},
		"the type of what is no Secret":         {value: `{"kind":"Secret","apiVersion":"example.com/v1","type":"x"}`, want: registry.Meta{APIVersion: "example.com/v1", Kind: "Secret", Encoding: registry.JSON}},
		"a type that is no string":              {value: `{"kind":"A","type":{"a":1}}`, want: registry.Meta{Kind: "A", Encoding: registry.JSON}},
		"a type before the kind":                {value: `{"type":"Opaque","kind":"Secret","apiVersion":"v1"}`, want: registry.Meta{APIVersion: "v1", Kind: "Secret", Type: "Opaque", Encoding: registry.JSON}},
		"names of fields count with their case": {value: `{"kind":"A","metadata":{"Name":"x","name":"y"}}`, want: registry.Meta{Kind: "A", Name: "y", Encoding: registry.JSON}},
		"a masterlease, which has no name": {
			value: string(asProtobuf(t, &corev1.Endpoints{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Endpoints"}})), //nolint:staticcheck // the API server still writes them
			want:  registry.Meta{APIVersion: "v1", Kind: "Endpoints", Encoding: registry.Protobuf},
		},
		"field 3 of what is no Secret": {
			value: string(asProtobuf(t, &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, Status: corev1.PodStatus{Phase: "Running"}})),
			want:  registry.Meta{APIVersion: "v1", Kind: "Pod", Encoding: registry.Protobuf},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := registry.ReadMeta([]byte(tc.value))
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("\n got %+v, %v\nwant %+v", got, err, tc.want)
			}
		})
	}
}

func TestReadMetaRefuses(t *testing.T) {
	envelope := func(fields string) string { return "k8s\x00" + fields }
	for name, tc := range map[string]struct {
		value   string
		wantErr string
	}{
		"nothing":                       {"", "empty"},
		"text":                          {"hello", `begins with "hello"`},
		"JSON that is no object":        {"[1]", "begins with"},
		"JSON cut short":                {`{"kind":"A","metadata":{"name":"x`, "byte 33: it ends in the middle"},
		"JSON with something behind":    {`{"kind":"A"} {}`, "byte 13: something follows"},
		"JSON with a broken literal":    {`{"kind":"A","x":nul}`, "byte 16"},
		"JSON with a broken number":     {`{"kind":"A","x":01}`, "byte 17"},
		"JSON with a bare word":         {`{"kind":"A",x:1}`, "byte 12: want the name"},
		"JSON with a newline in a text": {"{\"kind\":\"A\n\"}", "byte 10: control character"},
		"JSON without a kind":           {`{"metadata":{"name":"x"}}`, "JSON without a kind"},
		"JSON with a number as name":    {`{"kind":"A","metadata":{"name":5}}`, "byte 31: want a string"},
		"JSON with metadata in a list":  {`{"kind":"A","metadata":[]}`, "byte 23: want an object"},
		"JSON nested without end":       {`{"kind":"A","x":` + strings.Repeat("[", 20_000), "nested too deep"},
		"protobuf's magic alone":        {envelope(""), "without a kind"},
		"protobuf with half a tag":      {envelope("\x80"), "byte 4, in the envelope"},
		"protobuf without metadata":     {envelope("\x0a\x08\x0a\x02v1\x12\x02Po"), "without metadata"},
		"protobuf that is compressed":   {envelope("\x1a\x04gzip"), "content encoding gzip"},
		"CBOR's magic alone":            {"\xd9\xd9\xf7", "CBOR broken"},
		"CBOR that is no object":        {"\xd9\xd9\xf7\x81\x01", "CBOR broken"},
		"CBOR without a kind":           {"\xd9\xd9\xf7\xa0", "CBOR without a kind"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := registry.ReadMeta([]byte(tc.value))
			if !errors.Is(err, registry.ErrUndecodable) || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("ReadMeta = %+v, %v; want ErrUndecodable with %q", m, err, tc.wantErr)
			}
		})
	}
	_, err := registry.ReadMeta([]byte("k8s:enc:aescbc:v1:key1:garbage"))
	if !errors.Is(err, registry.ErrEncrypted) || !strings.Contains(err.Error(), `aescbc key "key1"`) {
		t.Errorf("an encrypted value: %v", err)
	}
}

// No cut goes unnoticed, but for the one that the documentation of ReadMeta names.
func TestReadMetaFindsEveryCut(t *testing.T) {
	for _, value := range [][]byte{asProtobuf(t, secret), asJSON(t, secret), asCBOR(t, secret)} {
		whole, err := registry.ReadMeta(value)
		if err != nil {
			t.Fatal(err)
		}
		for n := range value {
			m, err := registry.ReadMeta(value[:n])
			if errors.Is(err, registry.ErrUndecodable) {
				continue
			}
			harmless := err == nil && reflect.DeepEqual(m, whole) && (whole.Encoding == registry.Protobuf && len(value)-n <= 4 || whole.Encoding == registry.JSON && len(value)-n == 1)
			if !harmless {
				t.Errorf("%s of %d bytes cut to %d: %+v, %v", whole.Encoding, len(value), n, m, err)
			}
		}
	}
}

// What ReadMeta keeps must not keep the value in memory, nor change with it.
func TestMetaSharesNothingWithTheValue(t *testing.T) {
	for _, value := range [][]byte{asProtobuf(t, secret), asJSON(t, secret)} {
		m, err := registry.ReadMeta(value)
		if err != nil {
			t.Fatal(err)
		}
		clear(value)
		m.Encoding = 0
		if !reflect.DeepEqual(m, secretMeta) {
			t.Errorf("after the value was overwritten: %+v", m)
		}
	}
}

func FuzzReadMeta(f *testing.F) {
	for p := range fixture.Generate(fixture.Options{Objects: 80}) {
		f.Add(p.Value)
	}
	for _, value := range [][]byte{asProtobuf(f, secret), asJSON(f, secret), asCBOR(f, secret)} {
		f.Add(value)
		f.Add(value[:len(value)/2])
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		before := bytes.Clone(value)
		m, err := registry.ReadMeta(value)
		if !bytes.Equal(value, before) {
			t.Fatal("ReadMeta wrote to the value")
		}
		switch {
		case errors.Is(err, registry.ErrUndecodable), errors.Is(err, registry.ErrEncrypted):
			return
		case err != nil:
			t.Fatalf("ReadMeta: %v, which is neither of its errors", err)
		}
		if want, ok := kubernetesReads(t, value, m.Encoding); ok && !reflect.DeepEqual(m, want) {
			t.Fatalf("\n got %+v\nwant %+v", m, want)
		}
	})
}

// kubernetesReads is what Kubernetes' own types say of a value, if they can read it.
func kubernetesReads(t *testing.T, value []byte, encoding registry.Encoding) (registry.Meta, bool) {
	var o struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}
	switch encoding {
	case registry.Protobuf:
		var unknown runtime.Unknown
		var partial metav1.PartialObjectMetadata
		if unknown.Unmarshal(value[4:]) != nil || partial.Unmarshal(unknown.Raw) != nil {
			return registry.Meta{}, false
		}
		o.APIVersion, o.Kind, o.ObjectMeta = unknown.APIVersion, unknown.Kind, partial.ObjectMeta
	case registry.JSON:
		if !json.Valid(value) {
			t.Fatal("ReadMeta accepts what is no JSON")
		}
		// encoding/json ignores the case of names and mends broken UTF-8;
		// Kubernetes does neither.
		if !utf8.Valid(value) || json.Unmarshal(value, &o) != nil || hasOtherCase(value) {
			return registry.Meta{}, false
		}
	default:
		return registry.Meta{}, false
	}
	m := registry.Meta{
		APIVersion: o.APIVersion, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, UID: string(o.UID),
		Finalizers: o.Finalizers, Deleting: o.DeletionTimestamp != nil, Encoding: encoding,
	}
	for _, r := range o.OwnerReferences {
		m.Owners = append(m.Owners, registry.Owner{
			APIVersion: r.APIVersion, Kind: r.Kind, Name: r.Name, UID: string(r.UID),
			Controller: r.Controller != nil && *r.Controller, BlockOwnerDeletion: r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion,
		})
	}
	if len(m.Finalizers) == 0 {
		m.Finalizers = nil
	}
	got, _ := registry.ReadMeta(value)
	m.Type = got.Type // PartialObjectMetadata does not have it
	return m, true
}

// hasOtherCase tells whether encoding/json would take a name that Kubernetes
// would not, or whether a name stands twice, where they merge differently.
func hasOtherCase(value []byte) bool {
	lower := bytes.ToLower(value)
	for _, name := range []string{"apiversion", "kind", "metadata", "name", "namespace", "uid", "deletiontimestamp", "finalizers", "ownerreferences", "controller", "blockownerdeletion"} {
		exact := map[string]string{"apiversion": "apiVersion", "deletiontimestamp": "deletionTimestamp", "ownerreferences": "ownerReferences", "blockownerdeletion": "blockOwnerDeletion"}[name]
		if exact == "" {
			exact = name
		}
		if bytes.Count(lower, []byte(`"`+name+`"`)) != bytes.Count(value, []byte(`"`+exact+`"`)) || bytes.Count(lower, []byte(`"metadata"`)) > 1 {
			return true
		}
	}
	return bytes.ContainsRune(value, '\\') || bytes.Contains(lower, []byte("\u017f")) || bytes.Contains(lower, []byte("\u212a")) || strings.Contains(string(value), "null")
}
