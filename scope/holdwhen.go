package scope

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"
)

// looksLike reports whether an object has all that a Hold's When asks for.
func looksLike(object, when any) bool {
	switch want := when.(type) {
	case nil:
		return object == nil
	case map[string]any:
		have, ok := object.(map[string]any)
		if !ok && (object != nil || mustBeThere(want)) {
			return false
		}
		for name, w := range want {
			if !looksLike(have[name], w) {
				return false
			}
		}
		return true
	case []any:
		have, ok := object.([]any)
		return ok && !slices.ContainsFunc(want, func(w any) bool {
			return !slices.ContainsFunc(have, func(v any) bool { return looksLike(v, w) })
		})
	}
	return reflect.DeepEqual(object, when)
}

// mustBeThere reports whether an object cannot be missing where one is asked for:
// not where nothing but the absence of fields is.
func mustBeThere(when map[string]any) bool {
	for _, w := range when {
		if fields, ok := w.(map[string]any); w != nil && (!ok || mustBeThere(fields)) {
			return true
		}
	}
	return len(when) == 0
}

// clue is what must stand somewhere in the bytes of an object that a When is for.
// Taking every Service or custom resource apart for it would cost as much as the rest of a copy.
type clue struct {
	names  [][]byte // of fields; not in protobuf
	values [][]byte // texts
}

// plainText needs no escape in any encoding.
var plainText = regexp.MustCompile(`^[A-Za-z0-9./_-]+$`)

func (c *clue) of(when any) {
	switch want := when.(type) {
	case map[string]any:
		for name, w := range want {
			fields, ok := w.(map[string]any)
			if (ok && mustBeThere(fields) || !ok && w != nil) && plainText.MatchString(name) {
				c.names = append(c.names, []byte(name))
			}
			c.of(w)
		}
	case []any:
		for _, w := range want {
			c.of(w)
		}
	case string:
		if plainText.MatchString(want) {
			c.values = append(c.values, []byte(want))
		}
	}
}

// in reports whether an object may be one that the When is for.
func (c clue) in(plain []byte) bool {
	missing := func(text []byte) bool { return !bytes.Contains(plain, text) }
	if slices.ContainsFunc(c.values, missing) {
		return false
	}
	return !bytes.HasPrefix(plain, []byte("{")) || !slices.ContainsFunc(c.names, missing)
}

// checkPatch refuses what would make another object of a held one. Annotations and
// labels make it none; many an operator knows no other brake. The profiles' own
// holds may take finalizers away, too.
func checkPatch(patch map[string]any, builtIn bool) error {
	for _, field := range []string{"apiVersion", "kind"} {
		if _, identity := patch[field]; identity {
			return fmt.Errorf("must not touch %s: a held object stays the same object", field)
		}
	}
	raw, there := patch["metadata"]
	if !there {
		return nil
	}
	metadata, ok := raw.(map[string]any)
	if !ok {
		return errors.New("must not touch metadata, apart from annotations and labels: a held object stays the same object")
	}
	for field, value := range metadata {
		if field == "finalizers" && builtIn && value == nil {
			continue
		}
		if field != "annotations" && field != "labels" {
			return fmt.Errorf("must not touch metadata.%s, but only annotations and labels: a held object stays the same object", field)
		}
		entries, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("metadata.%s must name each of them, such as {example.com/paused: \"true\"}", field)
		}
		for name, v := range entries {
			text, isText := v.(string)
			wrong := validation.IsQualifiedName(name)
			if field == "labels" && isText {
				wrong = append(wrong, validation.IsValidLabelValue(text)...)
			}
			switch {
			case v != nil && !isText:
				return fmt.Errorf("metadata.%s.%s must be text: put it in quotes", field, name)
			case len(wrong) > 0:
				return fmt.Errorf("metadata.%s.%s: %s", field, name, wrong[0])
			}
		}
	}
	return nil
}
