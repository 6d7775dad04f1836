package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Differences says field by field what makes b out of a. Of a Secret it names
// the fields alone: what is in them, or in a copy of them in an annotation, is
// nobody's to read here.
func Differences(groupResource string, a, b []byte) []string {
	before, err1 := ReadFields(a)
	after, err2 := ReadFields(b)
	if err1 != nil || err2 != nil {
		return []string{}
	}
	out := []string{}
	compareFields(&out, "", map[string]any(before), map[string]any(after))
	if groupResource == "secrets" {
		for i := range out {
			out[i], _, _ = strings.Cut(out[i], ": ")
		}
	}
	return out
}

func compareFields(out *[]string, path string, before, after map[string]any) {
	names := map[string]bool{}
	for _, m := range []map[string]any{before, after} {
		for name := range m {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := before[name], after[name]
		if reflect.DeepEqual(was, is) {
			continue
		}
		at := strings.TrimPrefix(path+"."+name, ".")
		a, aMap := was.(map[string]any)
		b, bMap := is.(map[string]any)
		if (aMap || was == nil) && (bMap || is == nil) && (aMap || bMap) {
			compareFields(out, at, a, b)
			continue
		}
		*out = append(*out, fmt.Sprintf("%s: %s → %s", at, short(was), short(is)))
	}
}

// short is a value on part of a line.
func short(v any) string {
	if v == nil {
		return "none"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	text := []rune(string(raw))
	if len(text) > 40 {
		return string(text[:39]) + "…"
	}
	return string(text)
}
