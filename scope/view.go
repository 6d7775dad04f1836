package scope

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/registry"
)

// View is how the standby should see the primary's keys: which of them take
// part, and as which bytes. The copy, the stream and the check share one View,
// so what is copied and what is called equal cannot drift apart.
type View struct {
	Scope   *Scope
	Recoder *registry.Recoder
	Holds   *Holds  // nil = none
	Locals  *Locals // nil = none
	// Understood makes Want refuse an encrypted value where no configuration of
	// either side is given: copied as it is, it would make every LIST of its
	// resource fail on a standby that has another key.
	Understood bool
}

// ErrSealed means that a value is encrypted, and that nobody has said how; see
// View.Understood.
var ErrSealed = errors.New("is encrypted, and the configuration does not say how the two sides encrypt: where the standby has another key, it could list no object of this resource any more")

// ErrCannotHold means that an object of a held kind is encrypted, and that no
// configuration says how: on the standby it would act.
var ErrCannotHold = errors.New("is of a kind that is held, and is encrypted in a way that nobody here can read")

// Object is a stored key and value after the view has looked at it.
type Object struct {
	In   bool          // takes part
	Meta registry.Meta // zero for raw and opaque values
	// Orphaned: it takes no part because the scope leaves out all its owners, or
	// the claim of a PersistentVolume.
	Orphaned bool
	// Dropped are the owners of an object of the primary that the scope leaves
	// out while others are in: neither Plain nor Meta refers to them any more.
	Dropped []registry.Owner
	// Plain is the object, decrypted, as it should stand on the standby: in
	// its held form where it is held. nil where the value is opaque.
	Plain []byte
	// Original is the object before it was held, without the references to
	// Dropped; nil where it is not held.
	Original []byte
	// Opaque: the value is encrypted and no configuration says how. It is
	// copied as it is, and nobody here can tell whether the standby can read it.
	Opaque bool
}

// AsStored reports whether the standby should store the object just as the
// primary has it, encryption aside.
func (o *Object) AsStored() bool { return o.Original == nil && len(o.Dropped) == 0 }

// Wanted is what the standby should hold for an Object of the primary.
type Wanted struct {
	Object
	Value []byte // as the standby should store it
	// Kept is the original of a held object, as the standby should store it on
	// release, and keeps it at HeldKey until then; nil where nothing is held.
	Kept []byte
}

// Want says what the standby should hold at key, given what the primary has
// stored there. A value that cannot be decrypted or read is an error that names
// the key.
func (v *View) Want(key string, stored []byte) (Wanted, error) {
	verdict := v.Scope.Key(key)
	if verdict == Out {
		return Wanted{}, nil
	}
	parsed, ok := v.Scope.Parse(key)
	if !ok {
		return Wanted{Object: Object{In: true, Plain: stored}, Value: stored}, nil
	}
	gr := parsed.GroupResource()
	out, plain, err := v.Recoder.Recode(gr, key, stored)
	if err != nil {
		return Wanted{}, fmt.Errorf("%s (%s): %w", key, parsed, err)
	}
	object, err := v.read(key, parsed, verdict, plain)
	if err == nil && v.Sealed(object) {
		err = fmt.Errorf("%s (%s): %w", key, parsed, ErrSealed)
	}
	if err == nil {
		object, err = v.dropOwners(key, parsed, object)
	}
	if err == nil && len(object.Dropped) > 0 {
		out, err = v.store(key, parsed, object.Plain, out)
	}
	if err == nil {
		object, err = v.hold(key, parsed, object)
	}
	if err != nil || object.Original == nil {
		return Wanted{Object: object, Value: out}, err
	}
	value, err := v.store(key, parsed, object.Plain, out)
	if err != nil {
		return Wanted{}, err
	}
	return Wanted{Object: object, Value: value, Kept: out}, nil
}

// Sealed reports whether Want refuses the object for its encryption.
func (v *View) Sealed(o Object) bool {
	return v.Understood && o.In && o.Opaque && !v.Recoder.Configured()
}

// store is the Recoder's Store with an error that names the key.
func (v *View) store(key string, parsed registry.Key, plain, like []byte) ([]byte, error) {
	value, err := v.Recoder.Store(parsed.GroupResource(), key, plain, like)
	if err != nil {
		return nil, fmt.Errorf("%s (%s): %w", key, parsed, err)
	}
	return value, nil
}

// hold puts an object of the primary into its held form.
func (v *View) hold(key string, parsed registry.Key, o Object) (Object, error) {
	switch {
	case !o.In || !v.Holds.Concerns(parsed.GroupResource()):
		return o, nil
	case o.Opaque && !v.Holds.Names(parsed.GroupResource()):
		return o, nil // copied as it is, like everything that nobody here can read
	case o.Opaque:
		return o, fmt.Errorf("%s (%s): %w", key, parsed, ErrCannotHold)
	}
	held, changed, err := v.Holds.Apply(parsed.GroupResource(), o.Plain)
	if err != nil {
		return o, fmt.Errorf("%s (%s): %w", key, parsed, err)
	}
	if changed {
		o.Plain, o.Original = held, o.Plain
	}
	return o, nil
}

// rewriting is the version of what Want makes of an object besides holding it.
// A standby that was filled by another one is compared in full and written
// where it differs. From 2 on, references to owners out of scope are dropped; from
// 3 on, a Job that has ended on the primary has ended on the standby too, and
// PersistentVolumes go with their claims; from 4 on, owners are looked for where the
// definition of their kind puts them.
const rewriting = "4"

// HoldsHash changes with everything besides the Scope that decides how an
// object should stand on the standby: the rewriting, the holds and the local
// fields.
func (v *View) HoldsHash() string {
	hash := rewriting + "+" + v.Holds.Hash()
	if v.Locals != nil && v.Locals.hash != "" {
		hash += "+" + v.Locals.hash
	}
	if keys := v.Recoder.Hash(); keys != "" {
		hash += keysMark + keys
	}
	return hash
}

const keysMark = "+keys:"

// SameHolds reports whether two HoldsHashes say that objects should stand alike,
// whatever keys they are encrypted with: a comparison tells by itself what these
// do not open.
func SameHolds(a, b string) bool {
	a, _, _ = strings.Cut(a, keysMark)
	b, _, _ = strings.Cut(b, keysMark)
	return a == b
}

// MayBeHeld reports whether the object at key is of a kind that is held.
func (v *View) MayBeHeld(key string) bool {
	parsed, ok := v.Scope.Parse(key)
	return ok && v.Holds.Concerns(parsed.GroupResource())
}

// HeldByKind reports whether a hold names the kind of the object at key, or its group,
// and does not just go by what an object of any kind looks like.
func (v *View) HeldByKind(key string) bool {
	parsed, ok := v.Scope.Parse(key)
	return ok && v.Holds.Names(parsed.GroupResource())
}

// HasLocal reports whether the object at key is of a kind with local fields.
func (v *View) HasLocal(key string) bool {
	parsed, ok := v.Scope.Parse(key)
	return ok && v.Locals.Concerns(parsed.GroupResource())
}

// Own reads the local fields of what the standby has stored at key. What cannot
// be read there gives the zero Own.
func (v *View) Own(key string, stored []byte) Own {
	parsed, ok := v.Scope.Parse(key)
	if !ok || !v.Locals.Concerns(parsed.GroupResource()) {
		return Own{}
	}
	plain, err := v.Recoder.PlainOfStandby(parsed.GroupResource(), key, stored)
	if err != nil {
		return Own{}
	}
	own, _ := v.Locals.Own(parsed.GroupResource(), plain)
	return own
}

// Keep gives the value want, which the standby should store at key, with the
// local fields that its object has, and what it has in them then.
func (v *View) Keep(key string, want []byte, own Own) ([]byte, Own, error) {
	return v.keep(key, want, own, v.Locals.Keep)
}

// Release is Keep for an original that is put back.
func (v *View) Release(key string, original []byte, own Own) ([]byte, Own, error) {
	return v.keep(key, original, own, v.Locals.Release)
}

func (v *View) keep(key string, want []byte, own Own, keep func(string, []byte, Own) ([]byte, Own, error)) ([]byte, Own, error) {
	parsed, ok := v.Scope.Parse(key)
	if !ok || own == (Own{}) || !v.Locals.Concerns(parsed.GroupResource()) {
		return want, Own{}, nil
	}
	gr := parsed.GroupResource()
	wanted, err := v.Recoder.PlainOfStandby(gr, key, want)
	if err != nil {
		return nil, Own{}, fmt.Errorf("%s (%s): %w", key, parsed, err)
	}
	kept, own, err := keep(gr, wanted, own)
	if err != nil {
		return nil, Own{}, fmt.Errorf("%s (%s): %w", key, parsed, err)
	}
	if bytes.Equal(kept, wanted) {
		return want, own, nil
	}
	value, err := v.store(key, parsed, kept, want)
	return value, own, err
}

// InPrimary looks at a key of the primary: the object is as it should stand on
// the standby.
func (v *View) InPrimary(key string, stored []byte) (Object, error) {
	object, err := v.look(key, stored, v.Recoder.PlainOfPrimary)
	if err != nil {
		return object, err
	}
	parsed, ok := v.Scope.Parse(key)
	if !ok {
		return object, nil
	}
	if object, err = v.dropOwners(key, parsed, object); err != nil {
		return object, err
	}
	return v.hold(key, parsed, object)
}

// Inert gives an object of the standby, as InStandby saw it, in its held form;
// false where it needs none.
func (v *View) Inert(key string, o Object, stored []byte) (value []byte, changed bool, err error) {
	parsed, ok := v.Scope.Parse(key)
	if !ok || !o.In {
		return nil, false, nil
	}
	held, err := v.hold(key, parsed, o)
	if err != nil || held.Original == nil {
		return nil, false, err
	}
	value, err = v.store(key, parsed, held.Plain, stored)
	return value, true, err
}

// InStandby looks at a key of the standby.
func (v *View) InStandby(key string, stored []byte) (Object, error) {
	return v.look(key, stored, v.Recoder.PlainOfStandby)
}

type decrypter func(groupResource, key string, stored []byte) ([]byte, error)

func (v *View) look(key string, stored []byte, decrypt decrypter) (Object, error) {
	verdict := v.Scope.Key(key)
	if verdict == Out {
		return Object{}, nil
	}
	parsed, ok := v.Scope.Parse(key)
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
	if parsed.Group == "apiextensions.k8s.io" && parsed.GroupResource() == Definitions {
		v.Scope.Learn(plain)
	}
	if verdict == AskObject {
		if verdict, err = v.Scope.Judge(key, &meta, plain); err != nil {
			return Object{In: true}, fmt.Errorf("%s (%s): %w", key, parsed, err)
		}
	}
	orphaned := verdict == In && (v.Scope.Orphaned(key, meta) || v.Scope.ClaimLeftOut(parsed, plain))
	return Object{In: verdict == In && !orphaned, Orphaned: orphaned, Meta: meta, Plain: plain}, nil
}

// Same reports whether Compare finds two objects equal.
func (v *View) Same(key string, primary, standby Object, storedPrimary, storedStandby []byte) bool {
	return v.Compare(key, primary, standby, storedPrimary, storedStandby) == Equal
}

// Compare says how two objects of one key, one from each side, compare apart from
// holds, references to owners out of scope and local fields. Encrypted values are
// compared decrypted, since encrypting the same object twice gives different bytes.
func (v *View) Compare(key string, primary, standby Object, storedPrimary, storedStandby []byte) Likeness {
	if primary.Opaque || standby.Opaque {
		return likeness(bytes.Equal(storedPrimary, storedStandby))
	}
	if bytes.Equal(primary.Plain, standby.Plain) {
		return Equal
	}
	parsed, ok := v.Scope.Parse(key)
	if !ok {
		return Different
	}
	return v.Locals.Compare(parsed.GroupResource(), primary.Plain, standby.Plain, primary.Original != nil)
}

func likeness(same bool) Likeness {
	if same {
		return Equal
	}
	return Different
}

// Range is the range of keys, [begin, end), that a cluster is read in.
func (v *View) Range() (begin, end string) { return v.Scope.Range() }
