package config

import (
	"iter"
	"reflect"
	"slices"
	"strings"
)

// fields yields the fields of a struct that stand in the file.
func fields(v reflect.Value) iter.Seq2[reflect.StructField, reflect.Value] {
	return func(yield func(reflect.StructField, reflect.Value) bool) {
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !yield(f, v.Field(i)) {
				return
			}
		}
	}
}

func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

func fieldNames(t reflect.Type) []string {
	var out []string
	for f := range fields(reflect.Zero(t)) {
		out = append(out, fieldName(f))
	}
	return out
}

// homes lists the mappings below t that do have a field called name.
func homes(t reflect.Type, path, name string) []string {
	var out []string
	if path != "" && slices.Contains(fieldNames(t), name) {
		out = append(out, path)
	}
	for f := range fields(reflect.Zero(t)) {
		inner, at := f.Type, join(path, fieldName(f))
		if inner.Kind() == reflect.Slice {
			inner, at = inner.Elem(), at+"[]"
		}
		if inner.Kind() == reflect.Struct && f.Tag.Get("default") == "" {
			out = append(out, homes(inner, at, name)...)
		}
	}
	return out
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func quotePath(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}
