package registry

import "fmt"

// readJSON reads an object of JSON.
func readJSON(value []byte) (Meta, error) {
	m := Meta{Encoding: JSON}
	var secretType string
	s := jsonScanner{text: value}
	ok := s.object(func(name []byte) bool {
		switch string(name) {
		case "apiVersion":
			return s.known(&m.APIVersion)
		case "kind":
			return s.known(&m.Kind)
		case "metadata":
			return s.null() || s.metadata(&m)
		case "type": // of a Secret a string; elsewhere it may be anything
			if s.peek() == '"' {
				return s.known(&secretType)
			}
		}
		return s.skip()
	}) && s.end()
	switch {
	case !ok:
		return Meta{}, s.err
	case m.Kind == "":
		return Meta{}, fmt.Errorf("%w: JSON without a kind", ErrUndecodable)
	}
	if m.isSecret() {
		m.Type = secretType
	}
	return m, nil
}

// validJSON tells whether value is JSON through and through.
func validJSON(value []byte) bool {
	s := jsonScanner{text: value}
	return s.skip() && s.end()
}

func (s *jsonScanner) metadata(m *Meta) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "name":
			return s.string(&m.Name)
		case "namespace":
			return s.string(&m.Namespace)
		case "uid":
			return s.string(&m.UID)
		case "deletionTimestamp":
			m.Deleting = !s.null()
			return s.err == nil && (!m.Deleting || s.skip())
		case "finalizers":
			m.Finalizers = nil
			return s.null() || s.list(func() bool {
				m.Finalizers = append(m.Finalizers, "")
				return s.known(&m.Finalizers[len(m.Finalizers)-1])
			})
		case "ownerReferences":
			m.Owners = nil
			return s.null() || s.list(func() bool {
				m.Owners = append(m.Owners, Owner{})
				return s.null() || s.owner(&m.Owners[len(m.Owners)-1])
			})
		}
		return s.skip()
	})
}

func (s *jsonScanner) owner(o *Owner) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "apiVersion":
			return s.known(&o.APIVersion)
		case "kind":
			return s.known(&o.Kind)
		case "name":
			return s.string(&o.Name)
		case "uid":
			return s.string(&o.UID)
		case "controller":
			return s.bool(&o.Controller)
		case "blockOwnerDeletion":
			return s.bool(&o.BlockOwnerDeletion)
		}
		return s.skip()
	})
}

// string copies a string out of the value; null leaves into as it is, as
// Kubernetes does.
func (s *jsonScanner) string(into *string) bool {
	if s.peek() == 'n' {
		return s.null()
	}
	text, ok := s.quoted()
	if ok {
		*into = string(text)
	}
	return ok
}

// known is string for what repeats in every object.
func (s *jsonScanner) known(into *string) bool {
	if s.peek() == 'n' {
		return s.null()
	}
	text, ok := s.quoted()
	if ok {
		*into = intern(text)
	}
	return ok
}

func (s *jsonScanner) bool(into *bool) bool {
	switch s.peek() {
	case 'n':
		return s.null()
	case 't':
		*into = true
		return s.word("true")
	case 'f':
		*into = false
		return s.word("false")
	}
	return s.fail("want true or false")
}
