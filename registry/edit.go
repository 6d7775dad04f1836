package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	kjson "k8s.io/apimachinery/pkg/util/json"
)

// ErrNotEditable means that an object cannot be changed without losing what
// this version of Understudy does not know of it: a built-in kind that it has
// not heard of, or fields that a newer Kubernetes has added.
var ErrNotEditable = errors.New("object cannot be edited without loss")

// UnknownVersionError says of a built-in object in which version it is stored, where
// that is none that Kubernetes' API types still have, or have yet. It is an
// ErrNotEditable.
type UnknownVersionError struct{ Version, Kind string }

func (e *UnknownVersionError) Error() string {
	return fmt.Sprintf("it is stored as %s %s, a version that this version of understudy does not know", e.Version, e.Kind)
}

func (e *UnknownVersionError) Is(target error) bool { return target == ErrNotEditable }

// Fields is an object as JSON has it: numbers are int64 or float64.
type Fields map[string]any

// ReadFields gives all fields of a stored object that is not encrypted.
func ReadFields(value []byte) (Fields, error) {
	switch {
	case bytes.HasPrefix(value, protobufMagic):
		object, err := readTyped(value)
		if err != nil {
			return nil, err
		}
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
		}
		return fields, nil
	case bytes.HasPrefix(value, cborMagic):
		var fields map[string]any
		if err := direct.Unmarshal(value, &fields); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
		}
		return fields, nil
	case isJSON(value):
		var fields map[string]any
		if err := kjson.Unmarshal(value, &fields); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
		}
		return fields, nil
	}
	_, err := ReadMeta(value)
	return nil, err
}

// WriteFields stores fields in the encoding that the object like has.
//
// An object in protobuf goes through the Go type of its kind. Where that type
// does not give like back byte for byte, something of it would be lost, and
// the error is ErrNotEditable.
func WriteFields(fields Fields, like []byte) ([]byte, error) {
	if bytes.HasPrefix(like, protobufMagic) {
		if err := lossless(like); err != nil {
			return nil, err
		}
	}
	return WriteKnownFields(fields, like)
}

// WriteKnownFields is WriteFields for where the object like is kept elsewhere:
// what the Go type does not know is left out of a protobuf object.
func WriteKnownFields(fields Fields, like []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(like, protobufMagic):
		object, err := readTyped(like)
		if err != nil {
			return nil, err
		}
		edited, err := scheme.New(object.GetObjectKind().GroupVersionKind())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotEditable, err)
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(fields, edited, true); err != nil {
			return nil, fmt.Errorf("write the edited object: %w", err)
		}
		return writeTyped(edited)
	case bytes.HasPrefix(like, cborMagic):
		body, err := direct.Marshal(map[string]any(fields))
		if err != nil {
			return nil, fmt.Errorf("write the edited object: %w", err)
		}
		return append(bytes.Clone(cborMagic), body...), nil
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out) // ends with a line break, as the API server's does
	encoder.SetEscapeHTML(true)
	if err := encoder.Encode(fields); err != nil {
		return nil, fmt.Errorf("write the edited object: %w", err)
	}
	return out.Bytes(), nil
}

// Lossless reports whether the Go type of a protobuf object knows all that is in it.
// Objects in other encodings need none.
func Lossless(value []byte) bool {
	return !bytes.HasPrefix(value, protobufMagic) || lossless(value) == nil
}

// lossless reports an error where a protobuf object has more in it than its Go
// type knows.
func lossless(value []byte) error {
	object, err := readTyped(value)
	if err != nil {
		return err
	}
	again, err := writeTyped(object)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, value) {
		return fmt.Errorf("%w: %s has fields that this version does not know", ErrNotEditable, object.GetObjectKind().GroupVersionKind())
	}
	return nil
}

func readTyped(value []byte) (runtime.Object, error) {
	object, _, err := builtinCodec.Decode(value, nil, nil)
	switch {
	case runtime.IsNotRegisteredError(err):
		meta, err := ReadMeta(value)
		if err != nil {
			return nil, err
		}
		return nil, &UnknownVersionError{meta.APIVersion, meta.Kind}
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	return object, nil
}

func writeTyped(object runtime.Object) ([]byte, error) {
	var out bytes.Buffer
	if err := builtinCodec.Encode(object, &out); err != nil {
		return nil, fmt.Errorf("write the object: %w", err)
	}
	return out.Bytes(), nil
}

var builtinCodec = protobuf.NewSerializer(scheme, scheme)
