package registry

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Manager is an entry of metadata.managedFields: who wrote some fields of an
// object through the API server, and when last.
type Manager struct {
	Name        string      // "kubectl-edit", "kube-controller-manager"
	Operation   string      // "Apply" or "Update"
	Subresource string      // "status"; "" for the object itself
	Time        metav1.Time // UTC
}

// Field numbers, from apimachinery's pkg/apis/meta/v1/generated.proto.
const (
	metaManagedFields = 17

	managerName        = 1
	managerOperation   = 2
	managerTime        = 4
	managerSubresource = 8

	timeSeconds = 1
)

// ReadManagers reads who manages the fields of a stored object that is not
// encrypted. It is for the few objects that somebody asks about: ReadMeta, which
// looks at every object, leaves them out.
func ReadManagers(value []byte) ([]Manager, error) {
	if bytes.HasPrefix(value, protobufMagic) {
		var managers []Manager
		envelope := message{name: "envelope", bytes: value[len(protobufMagic):], at: len(protobufMagic)}
		err := envelope.along(func(m message) error {
			var manager Manager
			err := manager.read(m)
			managers = append(managers, manager)
			return err
		}, unknownRaw, objectMetadata, metaManagedFields)
		return managers, err
	}
	fields, err := ReadFields(value)
	if err != nil {
		return nil, err
	}
	metadata, _ := fields["metadata"].(map[string]any)
	entries, _ := metadata["managedFields"].([]any)
	var managers []Manager
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		var m Manager
		m.Name, _ = entry["manager"].(string)
		m.Operation, _ = entry["operation"].(string)
		m.Subresource, _ = entry["subresource"].(string)
		if text, ok := entry["time"].(string); ok {
			if err := m.Time.UnmarshalQueryParameter(text); err != nil {
				return nil, fmt.Errorf("%w: managedFields: %w", ErrUndecodable, err)
			}
			m.Time = metav1.Time{Time: m.Time.UTC()}
		}
		managers = append(managers, m)
	}
	return managers, nil
}

// along calls fn for every message at the end of a path of fields.
func (msg message) along(fn func(message) error, path ...protowire.Number) error {
	if len(path) == 0 {
		return fn(msg)
	}
	return msg.each(func(f field) error {
		if f.number != path[0] {
			return nil
		}
		inner, err := f.message("object's metadata")
		if err != nil {
			return err
		}
		return inner.along(fn, path[1:]...)
	})
}

func (m *Manager) read(msg message) error {
	return msg.each(func(f field) (err error) {
		switch f.number {
		case managerName:
			m.Name, err = f.text()
		case managerOperation:
			m.Operation, err = f.text()
		case managerSubresource:
			m.Subresource, err = f.text()
		case managerTime:
			var at message
			if at, err = f.message("time of a manager"); err == nil {
				err = at.each(func(f field) error {
					if f.number == timeSeconds && f.typ == protowire.VarintType {
						n, _ := protowire.ConsumeVarint(f.data)
						m.Time = metav1.Time{Time: metav1.Unix(int64(n), 0).UTC()} //nolint:gosec // as protobuf writes an int64
					}
					return nil
				})
			}
		}
		return err
	})
}
