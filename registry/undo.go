package registry

import (
	"fmt"
	"reflect"
)

// Undo gives the merge patch (RFC 7386) that makes the object original out of edited.
func Undo(edited, original []byte) (map[string]any, error) {
	from, err := ReadFields(edited)
	if err != nil {
		return nil, fmt.Errorf("compare with the original: %w", err)
	}
	to, err := ReadFields(original)
	if err != nil {
		return nil, fmt.Errorf("compare with the original: %w", err)
	}
	return undo(from, to), nil
}

func undo(from, to map[string]any) map[string]any {
	patch := map[string]any{}
	for name, was := range to {
		is, there := from[name]
		if reflect.DeepEqual(was, is) && there {
			continue
		}
		a, isMap := is.(map[string]any)
		b, wasMap := was.(map[string]any)
		if isMap && wasMap {
			was = undo(a, b)
		}
		patch[name] = was
	}
	for name := range from {
		if _, ok := to[name]; !ok {
			patch[name] = nil
		}
	}
	return patch
}
