package scope

import "maps"

// merged lays a merge patch over an object (RFC 7386, section 2), both as JSON
// has them. What it changes is new; the rest is shared with target, which stays
// as it is.
//
// An object of every held kind of a cluster passes here, and taking bytes apart
// and putting them together for each would cost as much as the rest of a copy.
func merged(target, patch any) any {
	members, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	old, _ := target.(map[string]any)
	out := maps.Clone(old)
	if out == nil {
		out = map[string]any{}
	}
	for name, member := range members {
		if member == nil {
			delete(out, name)
			continue
		}
		out[name] = merged(old[name], member)
	}
	return out
}
