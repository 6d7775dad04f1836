package registry

import (
	"fmt"
	"slices"
	"strings"

	kjson "k8s.io/apimachinery/pkg/util/json"
)

// Path leads to a part of an object as JSON has it, step by step: a field of
// a map, or, as NAME=VALUE, all elements of a list in which the field NAME is
// the text VALUE. Lists that Kubernetes merges by a key are read this way; the
// place of an element in them means nothing.
type Path []string

// ReadParts gives of a stored object that is not encrypted only what the paths
// lead to, and of each element of a list that they lead through the field that
// names it. JSON is decoded there alone, the rest of it is only looked over.
func ReadParts(value []byte, paths []Path) (Fields, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	if isJSON(value) {
		s := jsonScanner{text: value}
		part, ok := s.part(paths)
		if !ok || !s.end() {
			return nil, s.err
		}
		fields, _ := part.(map[string]any)
		return fields, nil
	}
	fields, err := ReadFields(value)
	if err != nil {
		return nil, err
	}
	parts, _ := partOf(map[string]any(fields), paths).(map[string]any)
	return parts, nil
}

// ReplaceParts gives object with what the paths lead to in parts instead of
// what they lead to in object. Maps and lists that become empty go as well. It
// may change object.
func ReplaceParts(object, parts Fields, paths []Path) Fields {
	for _, path := range paths {
		object, _ = take(map[string]any(object), map[string]any(parts), path).(map[string]any)
	}
	return object
}

// partOf gives what the paths lead to in v; nil where they lead nowhere.
func partOf(v any, paths []Path) any {
	switch v := v.(type) {
	case map[string]any:
		var out map[string]any
		for name, member := range v {
			if part := partBehind(member, behindName(paths, name)); part != nil {
				if out == nil {
					out = map[string]any{}
				}
				out[name] = part
			}
		}
		if out != nil {
			return out
		}
	case []any:
		var out []any
		for _, element := range v {
			if part := partBehind(element, behindElement(paths, func(name string) (string, bool) { return textOf(element, name) })); part != nil {
				out = append(out, named(part, element, paths))
			}
		}
		if out != nil {
			return out
		}
	}
	return nil
}

// partBehind is partOf where a path may end.
func partBehind(v any, paths []Path) any {
	for _, path := range paths {
		if len(path) == 0 {
			return v
		}
	}
	if len(paths) == 0 {
		return nil
	}
	return partOf(v, paths)
}

// named adds to a part of an element the fields that the paths know it by.
func named(part, element any, paths []Path) any {
	fields, isMap := part.(map[string]any)
	if !isMap {
		return part
	}
	for _, path := range paths {
		if name, _, ok := strings.Cut(path[0], "="); ok {
			if text, has := textOf(element, name); has {
				fields[name] = text
			}
		}
	}
	return fields
}

// part is partOf for JSON that has not been decoded.
func (s *jsonScanner) part(paths []Path) (any, bool) {
	switch s.peek() {
	case '{':
		out := map[string]any{}
		ok := s.object(func(name []byte) bool {
			part, ok := s.partBehind(behindName(paths, string(name)))
			if delete(out, string(name)); part != nil { // of two members with one name the last one counts
				out[string(name)] = part
			}
			return ok
		})
		if len(out) == 0 {
			return nil, ok
		}
		return out, ok
	case '[':
		var out []any
		ok := s.list(func() bool {
			s.peek()
			from := s.at
			texts, ok := s.texts(paths)
			if !ok {
				return false
			}
			rest := behindElement(paths, func(name string) (string, bool) { text, has := texts[name]; return text, has })
			if len(rest) == 0 {
				return true
			}
			element, ok := s.decoded(from)
			if part := partBehind(element, rest); part != nil {
				out = append(out, named(part, element, paths))
			}
			return ok
		})
		if len(out) == 0 {
			return nil, ok
		}
		return out, ok
	}
	return nil, s.skip()
}

// partBehind is the function partBehind for JSON that has not been decoded.
func (s *jsonScanner) partBehind(paths []Path) (any, bool) {
	switch {
	case len(paths) == 0:
		return nil, s.skip()
	case !slices.ContainsFunc(paths, func(p Path) bool { return len(p) == 0 }):
		return s.part(paths)
	}
	s.peek()
	from := s.at
	if !s.skip() {
		return nil, false
	}
	return s.decoded(from)
}

// texts consumes an element of a list, and gives the fields by which the paths
// know elements, where they are texts.
func (s *jsonScanner) texts(paths []Path) (map[string]string, bool) {
	if s.peek() != '{' {
		return nil, s.skip()
	}
	texts := map[string]string{}
	ok := s.object(func(field []byte) bool {
		for _, path := range paths {
			if name, _, ok := strings.Cut(path[0], "="); !ok || name != string(field) {
				continue
			}
			if delete(texts, string(field)); s.peek() != '"' {
				return s.skip()
			}
			text, ok := s.quoted()
			texts[string(field)] = string(text)
			return ok
		}
		return s.skip()
	})
	return texts, ok
}

// decoded is what has been consumed since the byte from.
func (s *jsonScanner) decoded(from int) (any, bool) {
	var v any
	if err := kjson.Unmarshal(s.text[from:s.at], &v); err != nil {
		s.err = fmt.Errorf("%w: %w", ErrUndecodable, err)
		return nil, false
	}
	return v, true
}

// behindName are the rests of the paths that lead through a member of a map.
func behindName(paths []Path, name string) []Path {
	var rest []Path
	for _, path := range paths {
		if path[0] == name {
			rest = append(rest, path[1:])
		}
	}
	return rest
}

// behindElement are the rests of the paths that lead through an element of a
// list, whose fields text tells.
func behindElement(paths []Path, text func(name string) (string, bool)) []Path {
	var rest []Path
	for _, path := range paths {
		name, value, ok := strings.Cut(path[0], "=")
		if !ok {
			continue
		}
		if is, has := text(name); has && is == value {
			rest = append(rest, path[1:])
		}
	}
	return rest
}

// textOf is a field of an element that is a text.
func textOf(element any, name string) (string, bool) {
	fields, _ := element.(map[string]any)
	text, ok := fields[name].(string)
	return text, ok
}

// take gives v with what the path leads to in from instead of what it leads to
// in v; nil is nothing, on both sides and as the result. Maps and lists that
// become empty go as well. It may change v.
func take(v, from any, path Path) any {
	if len(path) == 0 {
		return from
	}
	list, isList := v.([]any)
	fromList, fromIsList := from.([]any)
	if isList || v == nil && fromIsList {
		return takeElements(list, fromList, path)
	}
	to, _ := v.(map[string]any)
	source, _ := from.(map[string]any)
	was, there := to[path[0]]
	next := take(was, source[path[0]], path[1:])
	switch {
	case next != nil:
		if to == nil {
			to = map[string]any{}
		}
		to[path[0]] = next
	case !there && (to == nil || len(to) > 0):
		return v
	default:
		if delete(to, path[0]); len(to) == 0 {
			return nil
		}
	}
	return to
}

func takeElements(list, from []any, path Path) any {
	mine := slices.DeleteFunc(slices.Clone(from), func(e any) bool { return !names(path[0], e) })
	last := len(path) == 1
	var out []any
	for _, element := range list {
		switch {
		case !names(path[0], element):
			out = append(out, element)
		case last: // all of from's stand where the first of them was
			out = append(out, mine...)
			mine = nil
		default:
			var other any
			if len(mine) > 0 {
				other = mine[0]
			}
			if next := take(element, other, path[1:]); next != nil {
				out = append(out, next)
			}
		}
	}
	if last {
		out = append(out, mine...)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// names reports whether a step stands for an element of a list.
func names(step string, element any) bool {
	name, value, ok := strings.Cut(step, "=")
	text, isText := textOf(element, name)
	return ok && isText && text == value
}
