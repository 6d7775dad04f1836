package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/config.schema.json and the tables of docs/configuration.md")

// The schema and the tables of the reference are made from the structs and
// their comments. After a change: go test ./config -run TestDocs -update
func TestDocs(t *testing.T) {
	comments := fieldComments(t)
	schema, err := json.MarshalIndent(rootSchema(comments), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "../docs/config.schema.json", func([]byte) []byte { return append(schema, '\n') })
	compare(t, "../docs/configuration.md", func(old []byte) []byte {
		const begin, end = "<!-- fields: written by go test ./config -run TestDocs -update -->\n", "<!-- end of fields -->\n"
		head, rest, ok1 := bytes.Cut(old, []byte(begin))
		_, tail, ok2 := bytes.Cut(rest, []byte(end))
		if !ok1 || !ok2 {
			t.Fatalf("configuration.md has no %q … %q", begin, end)
		}
		return slices.Concat(head, []byte(begin), reference(comments), []byte(end), tail)
	})
}

func compare(t *testing.T, file string, make func(old []byte) []byte) {
	t.Helper()
	old, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	want := make(old)
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(old, want) {
		t.Errorf("%s does not say what the structs say; run: go test ./config -run TestDocs -update", filepath.Base(file))
	}
}

// fieldComments maps "Etcd" and "Etcd.CA" to their comments in config.go, and
// insists that every field has one.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		spec := decl.Specs[0].(*ast.TypeSpec)
		out[spec.Name.Name] = oneLine(decl.Doc.Text())
		structure, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range structure.Fields.List {
			name := f.Names[0].Name
			if text := oneLine(f.Doc.Text()); text != "" {
				out[spec.Name.Name+"."+name] = text
			} else if ast.IsExported(name) {
				t.Errorf("%s.%s has no comment", spec.Name.Name, name)
			}
		}
	}
	return out
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

type object = map[string]any

func rootSchema(comments map[string]string) object {
	s := schemaOf(reflect.TypeFor[Pair](), "", comments)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Configuration of understudy"
	s["description"] = comments["Pair"]
	return s
}

// patterns are the format checks that a regular expression can say.
var patterns = map[string]string{
	"name":     strings.ReplaceAll(namePattern.String(), `\`, ``),
	"address":  `^.*:[0-9]+$`,
	"endpoint": `^https?://[^/@ ]+:[0-9]+/?$`,
	"host":     `^[^/@ ]+$`,
	"hosts":    `^(\*\.)?[^/@ *]+$`,
	"url":      `^https?://[^/@ ]`,
	"object":   `^[^/]+/[^/]+$`,
	"prefix":   `^/(.*/)?$`,
	"label":    labelPattern.String(),
	"pointer":  `^/.+$`,
}

func schemaOf(t reflect.Type, tag reflect.StructTag, comments map[string]string) object {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s := object{}
	if text := tag.Get("default"); text != "" {
		s["default"] = text
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		s["type"] = "string"
		s["pattern"] = `^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$`
	case t == reflect.TypeFor[Size]():
		s["type"] = []string{"string", "integer"}
		s["pattern"] = `^[0-9]+(\.[0-9]+)? ?(B|KiB|MiB|GiB)?$`
	case t == reflect.TypeFor[Patch]():
		s["type"] = "object"
	case t.Kind() == reflect.Bool:
		s["type"] = "boolean"
		s["default"] = tag.Get("default") == "true"
	case t.Kind() == reflect.Int:
		s["type"] = "integer"
		for key, name := range map[string]string{"default": "default", "min": "minimum", "max": "maximum"} {
			if n, err := strconv.Atoi(tag.Get(key)); err == nil {
				s[name] = n
			}
		}
	case t.Kind() == reflect.String:
		s["type"] = "string"
		if values := tag.Get("enum"); values != "" {
			s["enum"] = strings.Split(values, ",")
		}
		if p := patterns[tag.Get("format")]; p != "" {
			s["pattern"] = p
		}
		if f := tag.Get("format"); f == "glob" || f == "nonempty" {
			s["minLength"] = 1
		}
	case t.Kind() == reflect.Slice:
		s["type"] = "array"
		s["items"] = schemaOf(t.Elem(), reflect.StructTag(fmt.Sprintf(`format:%q min:%q max:%q`, tag.Get("format"), tag.Get("min"), tag.Get("max"))), comments)
		if t.Elem().Kind() == reflect.String {
			s["minItems"] = 1
		}
	case t.Kind() == reflect.Struct:
		properties, required := object{}, []string{}
		for f := range fields(reflect.Zero(t)) {
			p := schemaOf(f.Type, f.Tag, comments)
			_, needed := p["required"]
			if f.Type == reflect.TypeFor[Hold]() {
				list := p["properties"].(object)["objects"].(object)
				p = object{"anyOf": []object{p, {"type": "array", "items": list["items"]}}}
			}
			p["description"] = describe(t, f, comments)
			properties[fieldName(f)] = p
			if f.Tag.Get("required") != "" || needed && f.Type.Kind() == reflect.Struct {
				required = append(required, fieldName(f))
			}
		}
		s["type"], s["properties"], s["additionalProperties"] = "object", properties, false
		if len(required) > 0 {
			s["required"] = required
		}
		if t == reflect.TypeFor[Rule]() {
			s["minProperties"] = 1
		}
		if t == reflect.TypeFor[Workload]() {
			s["oneOf"] = []object{{"required": []string{"name"}}, {"required": []string{"selector"}}}
		}
	default:
		panic("no schema for " + t.String())
	}
	return s
}

func describe(t reflect.Type, f reflect.StructField, comments map[string]string) string {
	text := comments[t.Name()+"."+f.Name]
	if low := f.Tag.Get("min"); low != "" {
		text += fmt.Sprintf(" From %s to %s.", low, f.Tag.Get("max"))
	}
	return text
}

// reference writes one table per struct, in the order of the file.
func reference(comments map[string]string) []byte {
	var out bytes.Buffer
	type section struct {
		t     reflect.Type
		paths []string
	}
	sections := []*section{{t: reflect.TypeFor[Pair](), paths: []string{""}}}
	add := func(t reflect.Type, path string) {
		for _, s := range sections {
			if s.t == t {
				s.paths = append(s.paths, path)
				return
			}
		}
		sections = append(sections, &section{t, []string{path}})
	}
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for f := range fields(reflect.Zero(t)) {
			inner, at := f.Type, join(path, fieldName(f))
			if inner.Kind() == reflect.Slice {
				inner, at = inner.Elem(), at+"[]"
			}
			if inner.Kind() == reflect.Struct && f.Tag.Get("default") == "" {
				add(inner, at)
				walk(inner, at)
			}
		}
	}
	walk(sections[0].t, "")
	for _, s := range sections {
		title := "The file"
		if s.paths[0] != "" {
			title = "`" + strings.Join(s.paths, "`, `") + "`"
		}
		fmt.Fprintf(&out, "\n### %s\n\n%s\n\n| field | type | default | range | meaning |\n|---|---|---|---|---|\n", title, comments[s.t.Name()])
		for f := range fields(reflect.Zero(s.t)) {
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |\n", fieldName(f), typeName(f), code(f.Tag.Get("default")), valueRange(f),
				strings.ReplaceAll(comments[s.t.Name()+"."+f.Name], "|", `\|`))
		}
	}
	out.WriteString("\n")
	return out.Bytes()
}

func typeName(f reflect.StructField) string {
	name := map[reflect.Type]string{
		reflect.TypeFor[Duration](): "duration", reflect.TypeFor[Size](): "size", reflect.TypeFor[int](): "number", reflect.TypeFor[*int](): "number",
		reflect.TypeFor[bool](): "truth value", reflect.TypeFor[Patch](): "JSON object",
		reflect.TypeFor[[]HeldObjects](): "list of holds", reflect.TypeFor[[]Workload](): "list of workloads", reflect.TypeFor[[]Local](): "list of fields",
		reflect.TypeFor[string](): "string", reflect.TypeFor[[]string](): "list of strings", reflect.TypeFor[[]int](): "list of numbers", reflect.TypeFor[[]Rule](): "list of rules",
	}[f.Type]
	switch {
	case name == "":
		name = "mapping"
	case f.Tag.Get("format") == "path":
		name = "path"
	}
	if f.Tag.Get("required") != "" {
		name += ", required"
	}
	return name
}

func valueRange(f reflect.StructField) string {
	if values := f.Tag.Get("enum"); values != "" {
		return "`" + strings.ReplaceAll(values, ",", "`, `") + "`"
	}
	if low := f.Tag.Get("min"); low != "" {
		return low + " – " + f.Tag.Get("max")
	}
	return ""
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// The enum tag of sync.profile cannot refer to Profiles; it says the same.
func TestProfilesAreTheEnum(t *testing.T) {
	f, _ := reflect.TypeFor[Sync]().FieldByName("Profile")
	if got := strings.Split(f.Tag.Get("enum"), ","); !slices.Equal(got, Profiles) {
		t.Errorf("the enum is %q, Profiles is %q", got, Profiles)
	}
}
