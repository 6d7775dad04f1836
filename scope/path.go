package scope

import (
	"slices"
	"strings"
)

// A path leads to a part of an object as JSON has it, step by step: a field of
// a map, or, as NAME=VALUE, all elements of a list in which the field NAME is
// the text VALUE. Lists that Kubernetes merges by a key are read this way; the
// place of an element in them means nothing.

// find gives what the path leads to; nothing where it leads nowhere.
func find(v any, path []string) []any {
	if len(path) == 0 {
		return []any{v}
	}
	switch v := v.(type) {
	case map[string]any:
		if next, ok := v[path[0]]; ok {
			return find(next, path[1:])
		}
	case []any:
		var out []any
		for _, element := range v {
			if names(path[0], element) {
				out = append(out, find(element, path[1:])...)
			}
		}
		return out
	}
	return nil
}

// take gives v with what the path leads to in from instead of what it leads to
// in v; nil is nothing, on both sides and as the result. Maps and lists that
// become empty go as well. It may change v.
func take(v, from any, path []string) any {
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
	case !there:
		return v
	default:
		if delete(to, path[0]); len(to) == 0 {
			return nil
		}
	}
	return to
}

func takeElements(list, from []any, path []string) any {
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
	fields, isMap := element.(map[string]any)
	if !ok || !isMap {
		return false
	}
	text, isText := fields[name].(string)
	return isText && text == value
}
