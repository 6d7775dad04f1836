package registry

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers, from apimachinery's pkg/runtime/generated.proto and
// pkg/apis/meta/v1/generated.proto, and api's core/v1/generated.proto.
// Field 1 of every built-in object is its ObjectMeta.
const (
	unknownTypeMeta        = 1
	unknownRaw             = 2
	unknownContentEncoding = 3

	typeMetaAPIVersion = 1
	typeMetaKind       = 2

	objectMetadata = 1
	secretType     = 3

	metaName              = 1
	metaNamespace         = 3
	metaUID               = 5
	metaDeletionTimestamp = 9
	metaOwnerReferences   = 13
	metaFinalizers        = 14

	ownerKind               = 1
	ownerName               = 3
	ownerUID                = 4
	ownerAPIVersion         = 5
	ownerController         = 6
	ownerBlockOwnerDeletion = 7
)

// readProtobuf reads "k8s\x00" and the runtime.Unknown after it.
func readProtobuf(value []byte) (Meta, error) {
	m := Meta{Encoding: Protobuf}
	var object message
	unknown := message{name: "envelope", bytes: value[len(protobufMagic):], at: len(protobufMagic)}
	err := unknown.each(func(f field) (err error) {
		switch f.number {
		case unknownTypeMeta:
			var typeMeta message
			if typeMeta, err = f.message("type"); err == nil {
				err = m.readTypeMeta(typeMeta)
			}
		case unknownRaw:
			object, err = f.message("object")
		case unknownContentEncoding:
			var encoding string
			if encoding, err = f.text(); err == nil && encoding != "" {
				err = f.fault("content encoding " + encoding)
			}
		}
		return err
	})
	if err != nil {
		return Meta{}, err
	}
	if m.Kind == "" {
		return Meta{}, fmt.Errorf("%w: protobuf without a kind", ErrUndecodable)
	}
	return m, m.readObject(object)
}

func (m *Meta) readTypeMeta(msg message) error {
	return msg.each(func(f field) (err error) {
		switch f.number {
		case typeMetaAPIVersion:
			m.APIVersion, err = f.known()
		case typeMetaKind:
			m.Kind, err = f.known()
		}
		return err
	})
}

func (m *Meta) readObject(object message) error {
	found := false
	err := object.each(func(f field) (err error) {
		switch {
		case f.number == objectMetadata:
			found = true
			var metadata message
			if metadata, err = f.message("metadata"); err == nil {
				err = m.readObjectMeta(metadata)
			}
		case f.number == secretType && m.isSecret():
			m.Type, err = f.text()
		}
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: protobuf of a %s without metadata", ErrUndecodable, m.Kind)
	}
	return err
}

func (m *Meta) readObjectMeta(msg message) error {
	return msg.each(func(f field) (err error) {
		switch f.number {
		case metaName:
			m.Name, err = f.text()
		case metaNamespace:
			m.Namespace, err = f.text()
		case metaUID:
			m.UID, err = f.text()
		case metaDeletionTimestamp:
			_, err = f.message("deletionTimestamp")
			m.Deleting = true
		case metaOwnerReferences:
			var reference message
			if reference, err = f.message("owner reference"); err == nil {
				m.Owners = append(m.Owners, Owner{})
				err = m.Owners[len(m.Owners)-1].read(reference)
			}
		case metaFinalizers:
			var finalizer string
			finalizer, err = f.text()
			m.Finalizers = append(m.Finalizers, finalizer)
		}
		return err
	})
}

func (o *Owner) read(msg message) error {
	return msg.each(func(f field) (err error) {
		switch f.number {
		case ownerKind:
			o.Kind, err = f.known()
		case ownerName:
			o.Name, err = f.text()
		case ownerUID:
			o.UID, err = f.text()
		case ownerAPIVersion:
			o.APIVersion, err = f.known()
		case ownerController:
			o.Controller, err = f.bool()
		case ownerBlockOwnerDeletion:
			o.BlockOwnerDeletion, err = f.bool()
		}
		return err
	})
}

// message is an encoded message and where in the value it begins.
type message struct {
	name  string // for errors
	bytes []byte
	at    int
}

// field is one field of a message. data is what follows its tag: for a
// length-delimited field the contents alone.
type field struct {
	in     string // name of the message
	number protowire.Number
	typ    protowire.Type
	data   []byte
	at     int // of data, in the value
}

// each calls fn for every field of the message, and fails where the message
// ends in the middle of one.
func (msg message) each(fn func(field) error) error {
	for rest := msg.bytes; len(rest) > 0; {
		at := msg.at + len(msg.bytes) - len(rest)
		number, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return fault(msg.name, at, protowire.ParseError(n))
		}
		f := field{in: msg.name, number: number, typ: typ}
		rest, at = rest[n:], at+n
		if typ == protowire.BytesType {
			f.data, n = protowire.ConsumeBytes(rest)
			f.at = at + n - len(f.data)
		} else {
			n = protowire.ConsumeFieldValue(number, typ, rest)
			f.data, f.at = rest[:max(n, 0)], at
		}
		if n < 0 {
			return fault(msg.name, at, protowire.ParseError(n))
		}
		rest = rest[n:]
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

func (f field) message(name string) (message, error) {
	if f.typ != protowire.BytesType {
		return message{}, f.fault("not a message")
	}
	return message{name: name, bytes: f.data, at: f.at}, nil
}

func (f field) text() (string, error) {
	if f.typ != protowire.BytesType {
		return "", f.fault("not a string")
	}
	return string(f.data), nil
}

// known is text for strings that repeat in every object.
func (f field) known() (string, error) {
	if f.typ != protowire.BytesType {
		return "", f.fault("not a string")
	}
	return intern(f.data), nil
}

func (f field) bool() (bool, error) {
	if f.typ != protowire.VarintType {
		return false, f.fault("not a truth value")
	}
	n, _ := protowire.ConsumeVarint(f.data)
	return n != 0, nil
}

func (f field) fault(what string) error {
	return fault(f.in, f.at, fmt.Errorf("field %d: %s", f.number, what))
}

func fault(in string, at int, err error) error {
	return fmt.Errorf("%w: protobuf broken at byte %d, in the %s: %w", ErrUndecodable, at, in, err)
}
