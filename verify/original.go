package verify

import (
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// originals turns the records of held objects into what a release would put
// back: the same values at the objects' own keys.
type originals struct{ records kv.Stream }

func (o originals) Next() (kv.Pair, bool, error) {
	p, ok, err := o.records.Next()
	p.Key = strings.TrimPrefix(p.Key, scope.HeldPrefix)
	return p, ok, err
}

// seen is what could be read of a stored value.
type seen struct {
	plain []byte // nil for what nobody here can read
	meta  registry.Meta
	err   error
	// original: of the original of a held object, not of what stands there.
	original bool
}

func (s *simulator) see(r *resource, p kv.Pair) (v seen) {
	if v.plain, v.err = s.read(r, p); v.err == nil && v.plain != nil {
		v.meta, v.err = registry.ReadMeta(v.plain)
	}
	return v
}

// readable tells whether anything can be said of the object.
func (v *seen) readable() bool { return v.err == nil && v.plain != nil }

// noteRead says why a value cannot be read; what is said of an original has
// problems of its own, since another cure is needed.
func (s *simulator) noteRead(o *record, p kv.Pair, v seen, original bool) {
	undecryptable, undecodable, where := Undecryptable, UndecodableValue, ""
	if original {
		undecryptable, undecodable, where = OriginalUndecryptable, OriginalUndecodable, "its original "+scope.HeldKey(p.Key)+": "
	}
	switch {
	case errors.Is(v.err, registry.ErrNoKey), errors.Is(v.err, registry.ErrWrongKey):
		s.note(undecryptable, Red, o, func() string { return where + reason("decrypt "+p.Key+":", v.err) })
	case v.err != nil:
		s.note(undecodable, Red, o, func() string { return where + v.err.Error() })
	case v.plain == nil:
		s.note(OpaqueValue, Yellow, o, func() string { return where + provider(p.Value) })
	}
}

// judged is what the simulation judges of a held object: its original, which is
// what stands there after a release, and the marks for deletion that it has got
// since. Where the original cannot be read, or is of another object that had the
// name before, it is the object as it stands.
func (s *simulator) judged(o *record, object seen, original *kv.Pair) seen {
	s.noteHeld(o)
	was := s.see(o.resource, *original)
	was.original = true
	if s.noteRead(o, *original, was, true); !was.readable() {
		return object
	}
	if !object.readable() {
		return was
	}
	if was.meta.UID != object.meta.UID {
		s.note(OriginalStrange, Red, o, func() string {
			return fmt.Sprintf("the original has uid %s, the object %s", was.meta.UID, object.meta.UID)
		})
		return object
	}
	if object.meta.Deleting {
		was.meta.Deleting, was.meta.Finalizers = true, object.meta.Finalizers
	}
	return was
}

func (s *simulator) noteHeld(o *record) {
	s.note(Held, Info, o, func() string { return "" })
}

// lost notes an original without its object.
func (s *simulator) lost(p kv.Pair) {
	key, ok := s.scope.Parse(p.Key)
	if !ok {
		return
	}
	o := record{key: strings.Clone(p.Key), resource: s.resource(key), in: true}
	s.noteHeld(&o)
	s.note(HeldMissing, Red, &o, func() string { return "its original is " + scope.HeldKey(p.Key) })
	s.noteRead(&o, p, s.see(o.resource, p), true)
}
