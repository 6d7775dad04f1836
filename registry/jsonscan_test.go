package registry

import (
	"encoding/json"
	"strings"
	"testing"
)

var jsonSamples = []string{
	`{}`, `[]`, `""`, `0`, `-0`, `-`, `01`, `1.`, `1.5`, `.5`, `1e5`, `1E+5`, `1e`, `1e-`, `-1.25e-10`, `true`, `tru`, `null`, `nulll`,
	`{"a":1,}`, `{"a" 1}`, `{"a":1 "b":2}`, `[1,]`, `[1 2]`, `[,1]`, `{a:1}`, `"\u12"`, `"\u12G4"`, `"\ud800"`, `"\x"`, `"\`, `"`, "\"\x00\"", "\"\x1f\"",
	"\"\x7f\"", "\" !#\"", `"12345678"`, `"1234567"`, `"123456789\n"`, "\"12345678\t\"", "\xff", "\"\xff\xfe\"", "", " ", "{}\x00", "\ufeff{}",
	`{"kind":"A","metadata":{"name":"x","ownerReferences":[{"uid":"u"}]}}`,
}

func TestScannerAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range jsonSamples {
		if got, want := validJSON([]byte(text)), json.Valid([]byte(text)); got != want {
			t.Errorf("validJSON(%q) = %v, encoding/json says %v", text, got, want)
		}
	}
	for depth, want := range map[int]bool{maxDepth: true, maxDepth + 1: false} {
		text := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		if got := validJSON(text); got != want || json.Valid(text) != want {
			t.Errorf("lists %d deep: %v, encoding/json says %v", depth, got, json.Valid(text))
		}
	}
	// The test of eight bytes at once, at every offset and for every byte.
	for at := range 17 {
		for c := range 256 {
			text := []byte(`"` + strings.Repeat("a", 17) + `"`)
			text[1+at] = byte(c)
			if got, want := validJSON(text), json.Valid(text); got != want {
				t.Errorf("validJSON(%q) = %v, encoding/json says %v", text, got, want)
			}
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range jsonSamples {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := validJSON(text), json.Valid(text); got != want {
			t.Fatalf("validJSON(%q) = %v, encoding/json says %v", text, got, want)
		}
	})
}
