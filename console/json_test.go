package console

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every field of the JSON of status, check and /check has its row in docs/json.md, in
// the section of its type, and there is no row without a field.
func TestJSONIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string][]string{}
	for section := range strings.SplitSeq(string(raw), "\n## ") {
		name, rows, _ := strings.Cut(section, "\n")
		for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(rows, -1) {
			documented[name] = append(documented[name], row[1])
		}
	}
	emitted := map[string][]string{}
	for _, whole := range []any{Status{}, Check{}} {
		emits(reflect.TypeOf(whole), emitted)
	}
	for _, name := range slices.Sorted(maps.Keys(emitted)) {
		for _, field := range emitted[name] {
			if !slices.Contains(documented[name], field) {
				t.Errorf("docs/json.md: %s lacks %s", name, field)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		for _, field := range documented[name] {
			if !slices.Contains(emitted[name], field) {
				t.Errorf("docs/json.md: %s has %s, which is not emitted", name, field)
			}
		}
	}
}

// emits notes the JSON fields of a type, and those of all that it holds.
func emits(of reflect.Type, into map[string][]string) {
	for slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map}, of.Kind()) {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() || into[of.Name()] != nil {
		return
	}
	for _, f := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() || f.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		into[of.Name()] = append(into[of.Name()], name)
	}
	for _, f := range reflect.VisibleFields(of) {
		if f.IsExported() && !f.Anonymous && f.Tag.Get("json") != "-" {
			emits(f.Type, into)
		}
	}
}
