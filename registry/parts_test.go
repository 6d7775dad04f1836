package registry

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

var somePaths = []Path{
	{"status"}, {"status", "conditions", "type=Paused"}, {"metadata", "managedFields", "subresource=status"},
	{"list", "name=a", "port"}, {"list", "name=b"}, {"list", "type=a", "inner", "name=b", "x"}, {"a=b"}, {"metadata", "labels", "x/y"},
}

func drawPaths(t *rapid.T) []Path {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(somePaths), 1, 4, func(p Path) string { raw, _ := json.Marshal(p); return string(raw) }).Draw(t, "paths")
}

func drawObject(t *rapid.T, depth int) any {
	names := rapid.SampledFrom([]string{"status", "conditions", "type", "metadata", "managedFields", "subresource", "list", "name", "port", "inner", "x", "a=b", "labels", "x/y"})
	texts := rapid.SampledFrom([]string{"Paused", "status", "a", "b", `"\u0041`, ""})
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	switch {
	case depth == 0 || kind < 2 && depth < 5:
		return rapid.SampledFrom([]any{"Paused", "status", "a", "b", nil, int64(3), 1.5, true, map[string]any{}, []any{}}).Draw(t, "leaf")
	case kind == 2 && depth < 5:
		var list []any
		for range rapid.IntRange(0, 4).Draw(t, "elements") {
			list = append(list, drawObject(t, depth-1))
		}
		return list
	}
	object := map[string]any{}
	for _, name := range []string{"type", "subresource", "name"} {
		if depth < 5 && rapid.Bool().Draw(t, "named") {
			object[name] = texts.Draw(t, "text")
		}
	}
	for range rapid.IntRange(0, 5).Draw(t, "members") {
		object[names.Draw(t, "member")] = drawObject(t, depth-1)
	}
	return object
}

// Looking JSON over gives the same parts as decoding all of it.
func TestPartsOfJSONAreThoseOfTheObject(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		paths, object := drawPaths(t), drawObject(t, 5)
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		fields, err := ReadFields(raw)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := partOf(map[string]any(fields), paths).(map[string]any)
		got, err := ReadParts(raw, paths)
		if err != nil || !reflect.DeepEqual(map[string]any(got), want) {
			t.Fatalf("%v of %s:\ngot  %v, %v\nwant %v", paths, raw, got, err, want)
		}
		found += min(len(want), 1)
	})
	if found == 0 {
		t.Error("no object had a part")
	}
}

// Parts are enough: nothing else of an object is taken from it.
func TestPartsReplaceAsTheWholeObjectDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := drawPaths(t)
		read := func(label string) (Fields, []byte) {
			raw, err := json.Marshal(drawObject(t, 5))
			if err != nil {
				t.Fatal(err)
			}
			fields, err := ReadFields(raw)
			if err != nil {
				t.Fatal(label, err)
			}
			return fields, raw
		}
		to, raw := read("to")
		again, err := ReadFields(raw)
		if err != nil {
			t.Fatal(err)
		}
		from, rawFrom := read("from")
		parts, err := ReadParts(rawFrom, paths)
		if err != nil {
			t.Fatal(err)
		}
		got, want := ReplaceParts(to, parts, paths), ReplaceParts(again, from, paths)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%v of %s into %s:\ngot  %v\nwant %v", paths, rawFrom, raw, got, want)
		}
	})
}

// A value that is broken behind its last part is not half read.
func TestPartsOfBrokenJSON(t *testing.T) {
	for _, text := range []string{`{"status":{}`, `{"status":{}} x`, `{"list":[{"name":"a"},{"name":}]}`, `{"list":[{"name":"b","x":"` + "\x01" + `"}]}`} {
		if parts, err := ReadParts([]byte(text), somePaths); err == nil {
			t.Errorf("%s gives %v", text, parts)
		}
	}
}
