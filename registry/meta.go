package registry

import (
	"bytes"
	"fmt"
)

// Encoding is how an object is written in etcd.
type Encoding uint8

// The encodings that API servers use.
const (
	Protobuf Encoding = iota + 1 // most built-in resources
	JSON                         // custom resources, and all with --storage-media-type=application/json
	CBOR                         // custom resources with the gate CBORServingAndStorage
)

func (e Encoding) String() string {
	switch e {
	case Protobuf:
		return "protobuf"
	case JSON:
		return "JSON"
	case CBOR:
		return "CBOR"
	}
	return fmt.Sprintf("Encoding(%d)", uint8(e))
}

// Owner is an entry of metadata.ownerReferences.
type Owner struct {
	APIVersion, Kind, Name, UID    string
	Controller, BlockOwnerDeletion bool
}

// Meta is what a stored object says of itself, as far as replication needs it.
type Meta struct {
	APIVersion, Kind     string // Kind is never empty
	Namespace, Name, UID string // empty in records that only the API server reads, such as masterleases
	Owners               []Owner
	Finalizers           []string
	Deleting             bool   // metadata.deletionTimestamp is set
	Type                 string // the type of a v1 Secret, "" for everything else
	Encoding             Encoding
	Marks                Marks // only where somebody asked for them; see ReadMarks
}

// How stored values begin. Kubernetes: apimachinery's serializers protobuf and
// cbor, and pkg/storage/value/encrypt/identity for encrypted ones.
var (
	protobufMagic   = []byte("k8s\x00")
	cborMagic       = []byte{0xd9, 0xd9, 0xf7} // RFC 8949, 3.4.6: self-described CBOR
	encryptedPrefix = []byte("k8s:enc:")
)

// ReadMeta reads the metadata of a stored object that is not encrypted (any
// more). It looks at metadata only, but walks the whole value, so that one cut
// short is found: its error is ErrUndecodable and says what is wrong where.
// An encrypted value gives ErrEncrypted.
//
// One truncation passes: a protobuf value may lose its last, empty, fields
// (4 bytes), and then means the same as before, for Kubernetes as well.
func ReadMeta(value []byte) (Meta, error) {
	switch {
	case len(value) == 0:
		return Meta{}, fmt.Errorf("%w: the value is empty", ErrUndecodable)
	case bytes.HasPrefix(value, protobufMagic):
		return readProtobuf(value)
	case bytes.HasPrefix(value, cborMagic):
		return readCBOR(value)
	case isJSON(value):
		return readJSON(value)
	case bytes.HasPrefix(value, encryptedPrefix):
		return Meta{}, fmt.Errorf("%w with %s", ErrEncrypted, keyLabel(value))
	}
	return Meta{}, fmt.Errorf("%w: begins with %q, which is neither protobuf, JSON nor CBOR", ErrUndecodable, value[:min(len(value), 8)])
}

// looksLikeObject is true when value begins as some encoding of objects does.
func looksLikeObject(value []byte) bool {
	return bytes.HasPrefix(value, protobufMagic) || bytes.HasPrefix(value, cborMagic) || isJSON(value)
}

// isJSON is Kubernetes' own test: the first byte that is no space opens an object.
func isJSON(value []byte) bool {
	value = bytes.TrimLeft(value, " \t\r\n")
	return len(value) > 0 && value[0] == '{'
}

// isSecret tells whether the field "type" is the one of a Secret.
func (m *Meta) isSecret() bool { return m.Kind == "Secret" && m.APIVersion == "v1" }
