package registry_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/registry"
)

// Taking an object apart and putting it together again changes nothing.
func TestEditRoundTrip(t *testing.T) {
	kinds := map[string]bool{}
	for p := range fixture.Generate(fixture.Options{Seed: 3, Objects: 1500}) {
		fields, err := registry.ReadFields(p.Value)
		if err != nil {
			t.Fatalf("%s: %v", p.Key, err)
		}
		again, err := registry.WriteFields(fields, p.Value)
		if err != nil {
			t.Fatalf("%s: %v", p.Key, err)
		}
		before, _ := registry.ReadMeta(p.Value)
		kinds[before.Kind] = true
		if before.Encoding == registry.Protobuf && !bytes.Equal(again, p.Value) {
			t.Fatalf("%s: %d bytes became %d", p.Key, len(p.Value), len(again))
		}
		twice, err := registry.ReadFields(again)
		if err != nil {
			t.Fatalf("%s: %v", p.Key, err)
		}
		a, _ := registry.WriteFields(fields, p.Value)
		b, _ := registry.WriteFields(twice, p.Value)
		if !bytes.Equal(a, b) {
			t.Fatalf("%s changes with every edit", p.Key)
		}
	}
	for _, kind := range []string{"Deployment", "Secret", "Machine", "CustomResourceDefinition"} {
		if !kinds[kind] {
			t.Errorf("no %s among the objects", kind)
		}
	}
}

// What an API server stores as CBOR, with strings as byte strings, names of
// fields among them, can be taken apart too.
func TestEditCBOR(t *testing.T) {
	value := asCBOR(t, secret)
	fields, err := registry.ReadFields(value)
	if err != nil {
		t.Fatal(err)
	}
	again, err := registry.WriteFields(fields, value)
	if err != nil {
		t.Fatal(err)
	}
	want := secretMeta
	want.Encoding = registry.CBOR
	if got, err := registry.ReadMeta(again); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if twice, err := registry.ReadFields(again); err != nil || !reflect.DeepEqual(twice, fields) {
		t.Errorf("%v\n got %v\nwant %v", err, twice, fields)
	}
}
