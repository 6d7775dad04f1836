package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder fills a value from YAML nodes. Unlike yaml's own decoder it knows
// the line of every mistake, goes on after one, and fills in defaults.
type decoder struct {
	lines    map[string]int
	problems []Problem
}

func (d *decoder) problem(line int, format string, args ...any) {
	d.problems = append(d.problems, Problem{line, fmt.Sprintf(format, args...)})
}

// decode fills v, the field called path, from n.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if d.lines[path] == 0 {
		d.lines[path] = n.Line
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.problem(n.Line, "%s: anchors and aliases are not taken; write the value out", quotePath(path))
		return
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, v, text, path, tag)
		return
	}
	switch into := v.Addr().Interface().(type) {
	case *Patch:
		d.patch(n, into, path)
		return
	case *Hold:
		if n.Kind == yaml.SequenceNode { // the short form: a list of objects
			into.Defaults = true
			d.decode(n, reflect.ValueOf(&into.Objects).Elem(), join(path, "objects"), "")
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer: // nil where the file does not say
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, v.Elem(), path, tag)
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path, tag)
	case reflect.String:
		d.string(n, v, path, tag)
	case reflect.Int:
		d.number(n, v, path, tag)
	case reflect.Bool:
		d.truth(n, v, path)
	default:
		panic("config: no decoder for " + v.Type().String())
	}
}

// mapping fills a struct. Fields that are not in n get their defaults.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n.Line, "%s must be a mapping (%s), not %s", quotePath(path), strings.Join(fieldNames(v.Type()), ", "), kindOf(n))
		return
	}
	values := map[string]*yaml.Node{}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch line, twice := first[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.problem(key.Line, "a field name in %s must be a word, not %s", quotePath(path), kindOf(key))
		case twice:
			d.problem(key.Line, "field %q in %s is given twice, first in line %d", key.Value, quotePath(path), line)
		case !slices.Contains(fieldNames(v.Type()), key.Value):
			d.unknown(key, v.Type(), path)
			first[key.Value] = key.Line
		default:
			first[key.Value] = key.Line
			if value.ShortTag() != "!!null" { // "exclude:" with nothing after it
				values[key.Value] = value
			}
		}
	}
	for f, fv := range fields(v) {
		name := fieldName(f)
		value, given := values[name]
		switch {
		case given:
			// The name's line, not the value's: that is where people look.
			d.lines[join(path, name)] = first[name]
			d.decode(value, fv, join(path, name), f.Tag)
		case fv.Kind() == reflect.Struct && f.Tag.Get("default") == "":
			d.decode(&yaml.Node{Kind: yaml.MappingNode, Line: d.lines[path]}, fv, join(path, name), f.Tag)
			delete(d.lines, join(path, name))
		case f.Tag.Get("required") != "":
			d.problem(d.lines[path], "%s is missing", join(path, name))
		default:
			setDefault(fv, f.Tag)
		}
	}
}

func (d *decoder) unknown(key *yaml.Node, t reflect.Type, path string) {
	where, hint := "", ""
	if path != "" {
		where = " in " + path
	}
	names := fieldNames(t)
	if near := Nearest(key.Value, names); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	} else if home := homes(reflect.TypeFor[Pair](), "", key.Value); len(home) > 0 {
		hint = fmt.Sprintf("; it belongs in %s", strings.Join(home, " or "))
	} else {
		hint = "; known here: " + strings.Join(names, ", ")
	}
	d.problem(key.Line, "unknown field %q%s%s", key.Value, where, hint)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if n.Kind != yaml.SequenceNode {
		d.problem(n.Line, "%s must be a list, not %s", path, kindOf(n))
		return
	}
	if len(n.Content) == 0 {
		if v.Type().Elem().Kind() == reflect.String {
			d.problem(n.Line, "%s is empty; fill it or leave it out", path)
		}
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.decode(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), tag)
	}
}

func (d *decoder) string(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n.Line, "%s must be a string, not %s", path, kindOf(n))
		return
	}
	if n.ShortTag() != "!!str" {
		d.problem(n.Line, "%s must be a string, not %s; put it in quotes", path, kindOf(n))
		return
	}
	if allowed := tag.Get("enum"); allowed != "" && !slices.Contains(strings.Split(allowed, ","), n.Value) {
		names := strings.Split(allowed, ",")
		hint := "; known: " + strings.Join(names, ", ")
		if near := Nearest(n.Value, names); near != "" {
			hint = fmt.Sprintf("; did you mean %q?%s", near, hint)
		}
		d.problem(n.Line, "%s: unknown value %q%s", path, n.Value, hint)
		return
	}
	if n.Value == "" && tag.Get("required") != "" {
		d.problem(n.Line, "%s is empty", path)
		return
	}
	if check := formats[tag.Get("format")]; check != nil {
		if err := check(n.Value); err != nil {
			d.problem(n.Line, "%s: %v", path, err)
			return
		}
	}
	v.SetString(n.Value)
}

func (d *decoder) number(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	var i int64
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(&i) != nil {
		d.problem(n.Line, "%s must be a whole number, not %s", path, kindOf(n))
		return
	}
	low, _ := strconv.ParseInt(tag.Get("min"), 10, 64)
	high, _ := strconv.ParseInt(tag.Get("max"), 10, 64)
	if i < low || i > high {
		d.problem(n.Line, "%s: %d is out of range; it may be %d to %d", path, i, low, high)
		return
	}
	v.SetInt(i)
}

func (d *decoder) truth(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		d.problem(n.Line, "%s must be true or false, not %s", path, kindOf(n))
		return
	}
	var b bool
	if err := n.Decode(&b); err != nil {
		d.problem(n.Line, "%s: %v", path, err)
		return
	}
	v.SetBool(b)
}

// text fills a Duration or a Size.
func (d *decoder) text(n *yaml.Node, v reflect.Value, into encoding.TextUnmarshaler, path string, tag reflect.StructTag) {
	if n.Kind != yaml.ScalarNode || !slices.Contains([]string{"!!str", "!!int", "!!float"}, n.ShortTag()) {
		d.problem(n.Line, "%s must be a single value such as %s, not %s", path, tag.Get("default"), kindOf(n))
		return
	}
	if err := into.UnmarshalText([]byte(n.Value)); err != nil {
		d.problem(n.Line, "%s: %v", path, err)
		return
	}
	low, high := reflect.New(v.Type()), reflect.New(v.Type())
	mustText(low, tag.Get("min"))
	mustText(high, tag.Get("max"))
	if amount(v) < amount(low.Elem()) || amount(v) > amount(high.Elem()) {
		d.problem(n.Line, "%s: %s is out of range; it may be %s to %s", path, n.Value, tag.Get("min"), tag.Get("max"))
		return
	}
	if check := formats[tag.Get("format")]; check != nil {
		if err := check(n.Value); err != nil {
			d.problem(n.Line, "%s: %v", path, err)
		}
	}
}

func amount(v reflect.Value) int64 {
	if v.Kind() == reflect.Struct {
		v = v.Field(0) // the time.Duration in a Duration
	}
	return v.Int()
}

func mustText(pointer reflect.Value, text string) {
	if err := pointer.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
		panic("config: struct tag: " + err.Error())
	}
}

func setDefault(v reflect.Value, tag reflect.StructTag) {
	text := tag.Get("default")
	switch {
	case text == "":
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Int:
		i, err := strconv.Atoi(text)
		if err != nil {
			panic("config: struct tag: " + err.Error())
		}
		v.SetInt(int64(i))
	case v.Kind() == reflect.Bool:
		v.SetBool(text == "true")
	default:
		mustText(v.Addr(), text)
	}
}

// kindOf describes a node for people: "a list", "a number (8)".
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
	default:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!str":
		return fmt.Sprintf("a string (%q)", n.Value)
	case "!!int", "!!float":
		return fmt.Sprintf("a number (%s)", n.Value)
	case "!!bool":
		return fmt.Sprintf("a truth value (%s)", n.Value)
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return fmt.Sprintf("a date (%s)", n.Value)
	}
	return fmt.Sprintf("a value of type %q", n.Tag)
}
