package scope

import "github.com/understudy-dr/understudy/registry"

var claimRef = []registry.Path{{"spec", "claimRef", "namespace"}, {"spec", "claimRef", "name"}}

// ClaimLeftOut reports whether an object is a PersistentVolume whose claim the
// scope leaves out. The standby's controllers would not find the claim, call the
// volume released and reclaim it: delete it, and what is stored in it, which is
// the primary's. One whose claim depends on its own metadata counts as in.
func (s *Scope) ClaimLeftOut(k registry.Key, plain []byte) bool {
	if k.Group != "" || k.Resource != "persistentvolumes" {
		return false
	}
	parts, err := registry.ReadParts(plain, claimRef)
	if err != nil {
		return false
	}
	spec, _ := parts["spec"].(map[string]any)
	ref, _ := spec["claimRef"].(map[string]any)
	namespace, _ := ref["namespace"].(string)
	name, _ := ref["name"].(string)
	if namespace == "" || name == "" {
		return false
	}
	return s.out(registry.Key{Resource: "persistentvolumeclaims", Namespace: namespace, Name: name}, s.Key)
}
