package registry

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidwall/gjson"
)

// readJSON reads an object of JSON.
func readJSON(value []byte) (Meta, error) {
	if !gjson.ValidBytes(value) {
		return Meta{}, jsonFault(value)
	}
	m := Meta{Encoding: JSON}
	r := jsonReader{}
	var secretType string
	gjson.ParseBytes(value).ForEach(func(name, v gjson.Result) bool {
		switch name.Str {
		case "apiVersion":
			m.APIVersion = r.known("apiVersion", v)
		case "kind":
			m.Kind = r.known("kind", v)
		case "metadata":
			r.metadata(&m, v)
		case "type":
			secretType = v.String()
		}
		return r.err == nil
	})
	switch {
	case r.err != nil:
		return Meta{}, r.err
	case m.Kind == "":
		return Meta{}, fmt.Errorf("%w: JSON without a kind", ErrUndecodable)
	}
	if m.isSecret() {
		m.Type = secretType
	}
	return m, nil
}

// jsonReader keeps the first error, so that reading reads straight on.
type jsonReader struct{ err error }

func (r *jsonReader) metadata(m *Meta, metadata gjson.Result) {
	r.object("metadata", metadata, func(name string, v gjson.Result) {
		switch name {
		case "name":
			m.Name = r.text("metadata.name", v)
		case "namespace":
			m.Namespace = r.text("metadata.namespace", v)
		case "uid":
			m.UID = r.text("metadata.uid", v)
		case "deletionTimestamp":
			m.Deleting = r.text("metadata.deletionTimestamp", v) != ""
		case "finalizers":
			r.array("metadata.finalizers", v, func(v gjson.Result) {
				m.Finalizers = append(m.Finalizers, r.text("metadata.finalizers", v))
			})
		case "ownerReferences":
			r.array("metadata.ownerReferences", v, func(v gjson.Result) {
				m.Owners = append(m.Owners, r.owner(v))
			})
		}
	})
}

func (r *jsonReader) owner(reference gjson.Result) (o Owner) {
	r.object("metadata.ownerReferences", reference, func(name string, v gjson.Result) {
		switch name {
		case "apiVersion":
			o.APIVersion = r.known("ownerReferences.apiVersion", v)
		case "kind":
			o.Kind = r.known("ownerReferences.kind", v)
		case "name":
			o.Name = r.text("ownerReferences.name", v)
		case "uid":
			o.UID = r.text("ownerReferences.uid", v)
		case "controller":
			o.Controller = r.bool("ownerReferences.controller", v)
		case "blockOwnerDeletion":
			o.BlockOwnerDeletion = r.bool("ownerReferences.blockOwnerDeletion", v)
		}
	})
	return o
}

func (r *jsonReader) object(path string, v gjson.Result, fn func(name string, v gjson.Result)) {
	if !v.IsObject() {
		r.refuse(path, v, "an object")
		return
	}
	v.ForEach(func(name, v gjson.Result) bool {
		fn(name.Str, v)
		return r.err == nil
	})
}

func (r *jsonReader) array(path string, v gjson.Result, fn func(v gjson.Result)) {
	if !v.IsArray() {
		r.refuse(path, v, "a list")
		return
	}
	v.ForEach(func(_, v gjson.Result) bool {
		fn(v)
		return r.err == nil
	})
}

func (r *jsonReader) text(path string, v gjson.Result) string {
	if v.Type != gjson.String {
		r.refuse(path, v, "a string")
	}
	return v.Str
}

// known is text for strings that repeat in every object.
func (r *jsonReader) known(path string, v gjson.Result) string {
	return r.text(path, v)
}

func (r *jsonReader) bool(path string, v gjson.Result) bool {
	if v.Type != gjson.True && v.Type != gjson.False {
		r.refuse(path, v, "true or false")
	}
	return v.Type == gjson.True
}

// refuse notes that v is not what it should be. null is: Kubernetes reads it
// as "not set".
func (r *jsonReader) refuse(path string, v gjson.Result, want string) {
	if v.Type != gjson.Null && r.err == nil {
		r.err = fmt.Errorf("%w: JSON broken at byte %d: %s is not %s", ErrUndecodable, v.Index, path, want)
	}
}

// jsonFault says what is wrong with invalid JSON, and where.
func jsonFault(value []byte) error {
	var nothing struct{}
	err := json.Unmarshal(value, &nothing)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%w: JSON broken at byte %d: %w", ErrUndecodable, syntax.Offset, err)
	}
	return fmt.Errorf("%w: JSON broken: %v", ErrUndecodable, err)
}
