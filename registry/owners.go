package registry

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// DropOwners gives a stored object, one that is not encrypted, without those
// of its owner references that drop names. The others stay as they are, in
// their order.
//
// Of an object in protobuf nothing but these references is cut out, so nothing
// is lost of kinds and fields that this version does not know. JSON and CBOR
// are written anew where there is something to drop.
func DropOwners(value []byte, drop func(Owner) bool) ([]byte, error) {
	if bytes.HasPrefix(value, protobufMagic) {
		envelope := message{name: "envelope", bytes: value[len(protobufMagic):], at: len(protobufMagic)}
		rest, err := envelope.withoutOwners(drop, unknownRaw, objectMetadata, metaOwnerReferences)
		if err != nil {
			return nil, err
		}
		return append(bytes.Clone(protobufMagic), rest...), nil
	}
	fields, err := ReadFields(value)
	if err != nil {
		return nil, err
	}
	metadata, _ := fields["metadata"].(map[string]any)
	references, _ := metadata["ownerReferences"].([]any)
	kept := slices.DeleteFunc(slices.Clone(references), func(r any) bool { return drop(ownerOf(r)) })
	switch len(kept) {
	case len(references):
		return value, nil
	case 0:
		delete(metadata, "ownerReferences")
	default:
		metadata["ownerReferences"] = kept
	}
	return WriteFields(fields, value)
}

// ownerOf reads an owner reference among an object's fields.
func ownerOf(reference any) Owner {
	fields, _ := reference.(map[string]any)
	var o Owner
	o.APIVersion, _ = fields["apiVersion"].(string)
	o.Kind, _ = fields["kind"].(string)
	o.Name, _ = fields["name"].(string)
	o.UID, _ = fields["uid"].(string)
	o.Controller, _ = fields["controller"].(bool)
	o.BlockOwnerDeletion, _ = fields["blockOwnerDeletion"].(bool)
	return o
}

// withoutOwners copies a message but for the owner references, at the end of
// path, that drop names.
func (msg message) withoutOwners(drop func(Owner) bool, path ...protowire.Number) ([]byte, error) {
	out := make([]byte, 0, len(msg.bytes))
	begin := 0
	err := msg.each(func(f field) error {
		end := f.at - msg.at + len(f.data)
		whole := msg.bytes[begin:end] // with its tag
		begin = end
		if f.number != path[0] {
			out = append(out, whole...)
			return nil
		}
		inner, err := f.message("object's metadata")
		if err != nil {
			return err
		}
		if len(path) == 1 {
			var o Owner
			if err := o.read(inner); err != nil || drop(o) {
				return err
			}
			out = append(out, whole...)
			return nil
		}
		rest, err := inner.withoutOwners(drop, path[1:]...)
		out = protowire.AppendTag(out, f.number, protowire.BytesType)
		out = protowire.AppendBytes(out, rest)
		return err
	})
	return out, err
}
