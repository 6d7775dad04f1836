package registry

import (
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// CheckFields reports what of fields no version of a built-in kind has: a name
// that is misspelt, or a value of another type. Of other kinds nothing is known
// here, and they pass.
func CheckFields(groupResource string, fields Fields) error {
	var err error
	for _, version := range versionsOf(groupResource) {
		object, errNew := scheme.New(version)
		if errNew != nil {
			return fmt.Errorf("%s: %w", version, errNew)
		}
		if err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(fields, object, true); err == nil {
			return nil
		}
	}
	return err
}

// CheckPath reports why a path leads nowhere in any version of a built-in kind.
// Of other kinds nothing is known here, and they pass.
func CheckPath(groupResource string, path Path) error {
	var err error
	for _, version := range versionsOf(groupResource) {
		if err = follow(scheme.AllKnownTypes()[version], path, 0); err == nil {
			return nil
		}
	}
	return err
}

// versionsOf are those of a built-in kind that have a Go type here.
func versionsOf(groupResource string) []schema.GroupVersionKind {
	kind := builtinKinds[groupResource]
	if kind == "" {
		return nil
	}
	var out []schema.GroupVersionKind
	gk := schema.GroupKind{Group: schema.ParseGroupResource(groupResource).Group, Kind: kind}
	for _, gv := range scheme.VersionsForGroupKind(gk) {
		out = append(out, gv.WithKind(kind))
	}
	return out
}

// follow goes along the path from its step at, in a value of type t.
func follow(t reflect.Type, path Path, at int) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if at == len(path) {
		return nil
	}
	step, above := path[at], "/"+strings.Join(path[:at], "/")
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ UnmarshalJSON([]byte) error }]()):
		if t.Name() == "RawExtension" || t.Name() == "FieldsV1" { // any JSON
			return nil
		}
	case t.Kind() == reflect.Map:
		return follow(t.Elem(), path, at+1)
	case t.Kind() == reflect.Struct:
		if field, ok := fieldNamed(t, step); ok {
			return follow(field, path, at+1)
		}
		return fmt.Errorf("%s has no field %s", above, step)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		name, _, found := strings.Cut(step, "=")
		if _, ok := fieldNamed(t.Elem(), name); !ok || !found {
			return fmt.Errorf("%s is a list: name its elements by a field, NAME=VALUE, not by %s", above, step)
		}
		return follow(t.Elem(), path, at+1)
	}
	return fmt.Errorf("%s has nothing below it, so no %s", above, step)
}

// fieldNamed is the type of a struct's field by its name in JSON.
func fieldNamed(t reflect.Type, name string) (reflect.Type, bool) {
	for i := range t.NumField() {
		field := t.Field(i)
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case tag == name && tag != "":
			return field.Type, true
		case tag == "" && field.Anonymous:
			if inner, ok := fieldNamed(field.Type, name); ok {
				return inner, true
			}
		}
	}
	return nil, false
}
