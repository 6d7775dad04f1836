package scope

import (
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
)

// never are the keys that take no part in any scope, and why.
var never = []struct{ key, why string }{
	{ownPrefix, "understudy keeps its own state below " + ownPrefix},
	{"compact_rev_key", "the API server's record of its last compaction"}, // apiserver/pkg/storage/etcd3/compact.go
	{"/bootstrap/", "the certificates and keys of one k3s cluster, sealed with its token"},
	{"/bootstrap", "the certificates and keys of one k3s cluster"},
	{"/coordinate/", "what the servers of one cluster tell each other"},
}

// locked says why a key takes no part whatever the rules say; "" = they decide.
func locked(key string) string {
	for _, n := range never {
		if key == n.key || strings.HasSuffix(n.key, "/") && strings.HasPrefix(key, n.key) {
			return n.why
		}
	}
	return ""
}

// Never says why a key takes no part in any scope; "" = it may.
func Never(key string) string { return locked(key) }

func (s *Scope) setPrefixes(c Config) error {
	s.prefixes = slices.Clone(c.Prefixes)
	if len(s.prefixes) == 0 {
		s.prefixes = []string{c.Prefix}
	}
	if s.prefixes[0] == "" {
		s.prefixes[0] = registry.DefaultPrefix
	}
	for i, prefix := range s.prefixes {
		switch {
		case !strings.HasPrefix(prefix, "/") || !strings.HasSuffix(prefix, "/"):
			return fmt.Errorf("prefix %q must begin and end with a slash", prefix)
		case slices.Contains(s.prefixes[:i], prefix):
			return fmt.Errorf("prefix %q is given twice", prefix)
		case prefix == "/" && len(s.prefixes) > 1:
			return fmt.Errorf("prefix %q takes every key in, so no other can stand beside it", prefix)
		}
		root := prefix
		if len(s.prefixes) == 1 && (strings.HasPrefix(registry.DefaultPrefix, prefix) || strings.HasPrefix(prefix, registry.DefaultPrefix)) {
			root = registry.DefaultPrefix
		}
		s.roots = append(s.roots, root)
	}
	s.nested = slices.Clone(s.roots)
	slices.SortStableFunc(s.nested, func(a, b string) int { return len(b) - len(a) })
	return nil
}

// Prefix is the first of Prefixes: that of the Kubernetes API server.
func (s *Scope) Prefix() string { return s.prefixes[0] }

// Prefixes of all keys that can be in scope.
func (s *Scope) Prefixes() []string { return slices.Clone(s.prefixes) }

// Range is the smallest range of keys, [begin, end), with all that can be in
// scope. With several prefixes others lie in between; they are out.
func (s *Scope) Range() (begin, end string) { return around(s.prefixes) }

// Objects is the smallest range of keys with all objects of the API servers, in
// scope or not.
func (s *Scope) Objects() (begin, end string) { return around(s.roots) }

func around(prefixes []string) (begin, end string) {
	begin = slices.Min(prefixes)
	for _, prefix := range prefixes {
		end = max(end, kv.PrefixEnd(prefix))
	}
	return begin, end
}

// Below reports whether a key lies below one of Prefixes.
func (s *Scope) Below(key string) bool { return s.below(key) }

func (s *Scope) below(key string) bool {
	for _, prefix := range s.prefixes {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// RegistryPrefix is where the objects of the Kubernetes API server lie. It is
// Prefix, except where that is above or below /registry/.
func (s *Scope) RegistryPrefix() string { return s.roots[0] }

// Roots are the prefixes below which API servers keep objects.
func (s *Scope) Roots() []string { return slices.Clone(s.roots) }

// Parse takes the key of an object apart; false where no API server made it.
func (s *Scope) Parse(key string) (registry.Key, bool) {
	for _, root := range s.nested {
		if strings.HasPrefix(key, root) {
			return ParseBelow(root, key)
		}
	}
	return registry.Key{}, false
}

// ParseBelow takes the key of an object apart that lies below root, a prefix with
// a slash at its end. An aggregated API server may be told to keep its objects
// below the name of its group as well: ROOT/GROUP/GROUP/PLURAL/… (the default of
// sample-apiserver).
func ParseBelow(root, key string) (registry.Key, bool) {
	if k, ok := registry.ParseKey(root, key); ok {
		return k, true
	}
	if !strings.HasPrefix(key, root) {
		return registry.Key{}, false
	}
	group, rest, ok := strings.Cut(key[len(root):], "/")
	if ok && strings.Contains(group, ".") && len(rest) > len(group) && rest[len(group)] == '/' && strings.HasPrefix(rest, group) {
		return registry.ParseKey(key[:len(root)+len(group)+1], key)
	}
	return registry.Key{}, false
}

// Directories are the prefixes below which objects of a resource may be stored,
// the likeliest first. What the Kubernetes API server serves itself has one.
func (s *Scope) Directories(groupResource string) []string {
	_, group, _ := strings.Cut(groupResource, ".")
	if registry.BuiltIn(groupResource) || group == "apiextensions.k8s.io" || group == "apiregistration.k8s.io" {
		return []string{registry.ResourcePrefix(s.roots[0], groupResource)}
	}
	var out []string
	for _, root := range s.roots {
		out = append(out, registry.ResourcePrefix(root, groupResource))
	}
	if strings.Contains(group, ".") {
		for _, root := range s.roots {
			out = append(out, registry.ResourcePrefix(root+group, groupResource))
		}
	}
	return out
}

// Places are the keys that an object may be stored at, the likeliest first.
func (s *Scope) Places(k registry.Key) []string {
	out := s.Directories(k.GroupResource())
	for i := range out {
		if k.Namespace != "" {
			out[i] += k.Namespace + "/"
		}
		out[i] += k.Name
	}
	return out
}

// Directory is the prefix of a key that all objects of its resource share.
func Directory(key string, k registry.Key) string {
	key = strings.TrimSuffix(key, k.Name)
	if k.Namespace != "" {
		key = strings.TrimSuffix(key, k.Namespace+"/")
	}
	return key
}
