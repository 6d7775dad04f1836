package registry

import (
	"bytes"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Marks are what tells who made an object: labels that controllers and platforms
// set, and the managers of its fields.
type Marks struct {
	Labels   map[string]string // those of MarkLabels that it has
	Managers []string          // of managedFields
}

// Labels that tell who made an object.
const (
	// LabelBootstrapping is on the roles and bindings that each API server makes
	// and mends at its start (addDefaultMetadata in
	// plugin/pkg/auth/authorizer/rbac/bootstrappolicy of k8s.io/kubernetes).
	LabelBootstrapping = "kubernetes.io/bootstrapping"
	// LabelSliceManagedBy is on every EndpointSlice that a controller made
	// (LabelManagedBy in discovery/v1 of k8s.io/api), since Kubernetes 1.17.
	LabelSliceManagedBy = "endpointslice.kubernetes.io/managed-by"
	// LabelEndpointsManagedBy is on the Endpoints that the controller made
	// (pkg/controller/endpoint of k8s.io/kubernetes), since Kubernetes 1.33.
	LabelEndpointsManagedBy = "endpoints.kubernetes.io/managed-by"
	// LabelHeritage is on what Deckhouse installs, with the value "deckhouse".
	LabelHeritage = "heritage"
	// LabelRookNode is on the list of a node's devices that Rook's discovery keeps
	// (NodeAttr in pkg/daemon/discover of rook/rook).
	LabelRookNode = "rook.io/node"
)

// MarkLabels are the labels that ReadMarks looks for.
var MarkLabels = []string{LabelBootstrapping, LabelSliceManagedBy, LabelEndpointsManagedBy, LabelHeritage, LabelRookNode}

const (
	metaLabels = 11
	entryKey   = 1
	entryValue = 2
)

// ReadMarks reads the marks of a stored object that is not encrypted (any more).
// Whether the rest of the value can be read, ReadMeta tells.
func ReadMarks(value []byte) (m Marks, err error) {
	switch {
	case bytes.HasPrefix(value, protobufMagic):
		err = m.readProtobuf(value)
	case bytes.HasPrefix(value, cborMagic):
		err = m.readCBOR(value)
	default:
		err = m.readJSON(value)
	}
	return m, err
}

func (m *Marks) label(name, value []byte) {
	if slices.Contains(MarkLabels, string(name)) {
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		m.Labels[intern(name)] = intern(value)
	}
}

func (m *Marks) readProtobuf(value []byte) error {
	unknown := message{name: "envelope", bytes: value[len(protobufMagic):], at: len(protobufMagic)}
	raw, err := unknown.first(unknownRaw, "object")
	if err != nil {
		return err
	}
	metadata, err := raw.first(objectMetadata, "metadata")
	if err != nil {
		return err
	}
	return metadata.each(func(f field) error {
		if f.number != metaLabels && f.number != metaManagedFields {
			return nil
		}
		entry, err := f.message("metadata")
		if err != nil {
			return err
		}
		if f.number == metaManagedFields {
			manager, err := entry.first(managerName, "manager")
			m.Managers = append(m.Managers, intern(manager.bytes))
			return err
		}
		name, err := entry.first(entryKey, "label")
		if err != nil {
			return err
		}
		text, err := entry.first(entryValue, "label")
		m.label(name.bytes, text.bytes)
		return err
	})
}

// first is the contents of the first field with a number; none where there is none.
func (msg message) first(number protowire.Number, name string) (out message, err error) {
	found := false
	err = msg.each(func(f field) (err error) {
		if f.number == number && !found {
			found = true
			out, err = f.message(name)
		}
		return err
	})
	return out, err
}

func (m *Marks) readJSON(value []byte) error {
	s := jsonScanner{text: value}
	ok := s.object(func(name []byte) bool {
		if string(name) != "metadata" || s.peek() == 'n' {
			return s.skip()
		}
		return s.object(func(name []byte) bool {
			switch {
			case s.peek() == 'n':
			case string(name) == "labels":
				return s.object(func(name []byte) bool {
					if s.peek() != '"' {
						return s.skip()
					}
					text, ok := s.quoted()
					m.label(name, text)
					return ok
				})
			case string(name) == "managedFields":
				return s.list(func() bool {
					return s.null() || s.object(func(name []byte) bool {
						if string(name) != "manager" || s.peek() != '"' {
							return s.skip()
						}
						text, ok := s.quoted()
						m.Managers = append(m.Managers, intern(text))
						return ok
					})
				})
			}
			return s.skip()
		})
	})
	if !ok {
		return s.err
	}
	return nil
}

func (m *Marks) readCBOR(value []byte) error {
	var o struct {
		Metadata struct {
			Labels        map[string]string `json:"labels"`
			ManagedFields []struct {
				Manager string `json:"manager"`
			} `json:"managedFields"`
		} `json:"metadata"`
	}
	if err := cborDialect.Unmarshal(value, &o); err != nil {
		return fmt.Errorf("%w: CBOR broken: %w", ErrUndecodable, err)
	}
	for name, text := range o.Metadata.Labels {
		m.label([]byte(name), []byte(text))
	}
	for _, f := range o.Metadata.ManagedFields {
		m.Managers = append(m.Managers, f.Manager)
	}
	return nil
}
