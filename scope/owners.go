package scope

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/registry"
)

// Orphaned reports whether the scope leaves out every owner of an object. The
// garbage collector of the standby would find none of them and delete the
// object, so it must not be replicated although Object says In.
func (s *Scope) Orphaned(key string, m registry.Meta) bool {
	if len(m.Owners) == 0 {
		return false
	}
	k, ok := s.Parse(key)
	return ok && !slices.ContainsFunc(m.Owners, func(o registry.Owner) bool { return !s.leavesOut(o, k) })
}

// leavesOut reports whether the scope leaves out an owner of the object at k.
//
// An owner reference names a kind, not a resource; see Learn. An owner
// whose scope depends on its type counts as in, one that depends on its maker as
// most of its kind. Owners are taken to be
// in the object's namespace, so one without a namespace falls under the rules
// of that namespace too.
func (s *Scope) leavesOut(o registry.Owner, k registry.Key) bool {
	owner, ok := s.resourceOf(o.APIVersion, o.Kind)
	if !ok || o.Name == "" {
		return false // the garbage collector cannot look it up either
	}
	owner.Namespace, owner.Name = k.Namespace, o.Name
	return s.out(owner, s.owner)
}

// out reports whether an object is out of scope wherever it may be stored.
func (s *Scope) out(k registry.Key, by func(string) Verdict) bool {
	return !slices.ContainsFunc(s.Places(k), func(key string) bool { return by(key) != Out })
}

// dropOwners takes from an object of the primary its references to owners that
// the scope leaves out, where others stay: on the standby they point at
// nothing, and its garbage collector would take them away by a write of its own.
func (v *View) dropOwners(key string, k registry.Key, o Object) (Object, error) {
	if !o.In || len(o.Meta.Owners) < 2 {
		return o, nil // without its only owner an object is Orphaned
	}
	out := func(owner registry.Owner) bool { return v.Scope.leavesOut(owner, k) }
	if !slices.ContainsFunc(o.Meta.Owners, out) {
		return o, nil
	}
	plain, err := registry.DropOwners(o.Plain, out)
	if err != nil {
		return o, fmt.Errorf("%s (%s): drop references to owners out of scope: %w", key, k, err)
	}
	o.Plain = plain
	var kept []registry.Owner
	for _, owner := range o.Meta.Owners {
		if out(owner) {
			o.Dropped = append(o.Dropped, owner)
		} else {
			kept = append(kept, owner)
		}
	}
	o.Meta.Owners = kept
	return o, nil
}

// resourceOf finds the resource of a kind: by its definition, where one has been
// seen; else it is guessed, once.
func (s *Scope) resourceOf(apiVersion, kind string) (registry.Key, bool) {
	name := [2]string{apiVersion, kind}
	s.mu.RLock()
	k, known := s.byKind[name]
	s.mu.RUnlock()
	if known {
		return k, k.Resource != ""
	}
	if gv, err := schema.ParseGroupVersion(apiVersion); err == nil && kind != "" {
		gvr, _ := meta.UnsafeGuessKindToResource(gv.WithKind(kind))
		k = registry.Key{Group: gvr.Group, Resource: gvr.Resource}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if plural, ok := s.learned[schema.GroupKind{Group: k.Group, Kind: kind}]; ok {
		k.Resource = plural
	}
	if len(s.byKind) >= maxPlaces {
		clear(s.byKind)
	}
	s.byKind[name] = k
	return k, k.Resource != ""
}
