package scope

import "github.com/understudy-dr/understudy/registry"

// OwnerKeys says where an owner of the object at key would be stored: in the
// object's namespace or in none, below any prefix. The reference names a kind, so the resource is
// guessed; proof is the key of the CustomResourceDefinition that exists where
// the guess is right, "" for a built-in resource. No places: there is no guess.
func (s *Scope) OwnerKeys(key string, o registry.Owner) (places []string, proof string) {
	k, ok := s.Parse(key)
	if !ok || o.Name == "" {
		return nil, ""
	}
	owner, ok := s.resourceOf(o.APIVersion, o.Kind)
	if !ok {
		return nil, ""
	}
	resource := owner.GroupResource()
	owner.Name = o.Name
	places = s.Places(owner)
	if k.Namespace != "" {
		owner.Namespace = k.Namespace
		places = append(places, s.Places(owner)...)
	}
	if !registry.BuiltIn(resource) {
		proof = registry.Key{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: resource}.Path(s.roots[0])
	}
	return places, proof
}
