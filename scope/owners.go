package scope

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/registry"
)

// Orphaned reports whether the scope leaves out every owner of an object. The
// garbage collector of the standby would find none of them and delete the
// object, so it must not be replicated although Object says In.
//
// An owner reference names a kind, not a resource; the plural is guessed as
// the garbage collector's own REST mapping would name it by default. An owner
// whose scope depends on its own metadata counts as in. Owners are taken to be
// in the object's namespace, so one without a namespace falls under the rules
// of that namespace too.
func (s *Scope) Orphaned(key string, m registry.Meta) bool {
	if len(m.Owners) == 0 {
		return false
	}
	k, ok := registry.ParseKey(s.registryPrefix, key)
	if !ok {
		return false
	}
	for _, o := range m.Owners {
		owner, ok := s.resourceOf(o.APIVersion, o.Kind)
		if !ok || o.Name == "" {
			return false // the garbage collector cannot look it up either
		}
		owner.Namespace, owner.Name = k.Namespace, o.Name
		if s.Key(owner.Path(s.registryPrefix)) != Out {
			return false
		}
	}
	return true
}

// resourceOf guesses the resource of a kind; a kind is guessed once.
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
	if len(s.byKind) >= maxPlaces {
		clear(s.byKind)
	}
	s.byKind[name] = k
	return k, k.Resource != ""
}
