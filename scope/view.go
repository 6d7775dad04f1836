package scope

import (
	"bytes"
	"fmt"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
)

// View is how the standby should see the primary's keys: which of them take
// part, and as which bytes. The copy, the stream and the check share one View,
// so what is copied and what is called equal cannot drift apart.
type View struct {
	Scope   *Scope
	Recoder *registry.Recoder
}

// Object is a stored key and value after the view has looked at it.
type Object struct {
	In    bool          // takes part
	Meta  registry.Meta // zero for raw and opaque values
	Plain []byte        // decrypted; nil where the value is opaque
	// Opaque: the value is encrypted and no configuration says how. It is
	// copied as it is, and nobody here can tell whether the standby can read it.
	Opaque bool
}

// Wanted is what the standby should hold for an Object of the primary.
type Wanted struct {
	Object
	Value []byte // as the standby should store it
}

// Want says what the standby should hold at key, given what the primary has
// stored there. A value that cannot be decrypted or read is an error that names
// the key.
func (v *View) Want(key string, stored []byte) (Wanted, error) {
	verdict := v.Scope.Key(key)
	if verdict == Out {
		return Wanted{}, nil
	}
	parsed, ok := registry.ParseKey(v.Scope.RegistryPrefix(), key)
	if !ok {
		return Wanted{Object{In: true, Plain: stored}, stored}, nil
	}
	out, plain, err := v.Recoder.Recode(parsed.GroupResource(), key, stored)
	if err != nil {
		return Wanted{}, fmt.Errorf("%s (%s): %w", key, parsed, err)
	}
	object, err := v.read(key, parsed, verdict, plain)
	return Wanted{object, out}, err
}

// InPrimary looks at a key of the primary, InStandby at one of the standby.
func (v *View) InPrimary(key string, stored []byte) (Object, error) {
	return v.look(key, stored, v.Recoder.PlainOfPrimary)
}

// InStandby: see InPrimary.
func (v *View) InStandby(key string, stored []byte) (Object, error) {
	return v.look(key, stored, v.Recoder.PlainOfStandby)
}

type decrypter func(groupResource, key string, stored []byte) ([]byte, error)

func (v *View) look(key string, stored []byte, decrypt decrypter) (Object, error) {
	verdict := v.Scope.Key(key)
	if verdict == Out {
		return Object{}, nil
	}
	parsed, ok := registry.ParseKey(v.Scope.RegistryPrefix(), key)
	if !ok {
		return Object{In: true, Plain: stored}, nil
	}
	if v.Recoder.Opaque(parsed.GroupResource(), stored) {
		return v.read(key, parsed, verdict, nil)
	}
	plain, err := decrypt(parsed.GroupResource(), key, stored)
	if err != nil {
		return Object{In: true}, fmt.Errorf("%s (%s): %w", key, parsed, err)
	}
	return v.read(key, parsed, verdict, plain)
}

// read decides by the metadata where the key alone could not. An opaque value
// has none that could be read; like everything unknown it takes part.
func (v *View) read(key string, parsed registry.Key, verdict Verdict, plain []byte) (Object, error) {
	if plain == nil {
		return Object{In: true, Opaque: true}, nil
	}
	meta, err := registry.ReadMeta(plain)
	if err != nil {
		return Object{In: true}, fmt.Errorf("%s (%s): %w", key, parsed, err)
	}
	if verdict == AskObject {
		verdict = v.Scope.Object(key, meta)
	}
	in := verdict == In && !v.Scope.Orphaned(key, meta)
	return Object{In: in, Meta: meta, Plain: plain}, nil
}

// Same reports whether two objects of one key, one from each side, are the
// same object. Encrypted values are compared decrypted, since encrypting the
// same object twice gives different bytes.
func Same(primary, standby Object, storedPrimary, storedStandby []byte) bool {
	if primary.Opaque || standby.Opaque {
		return bytes.Equal(storedPrimary, storedStandby)
	}
	return bytes.Equal(primary.Plain, standby.Plain)
}

// Range is the range of keys, [begin, end), that a cluster is read in.
func (v *View) Range() (begin, end string) {
	return v.Scope.Prefix(), kv.PrefixEnd(v.Scope.Prefix())
}
