package registry

import "strings"

// DefaultPrefix is the prefix of all keys of an API server that runs without
// --etcd-prefix.
const DefaultPrefix = "/registry/"

// Key is an etcd key of a Kubernetes API server, taken apart.
//
// Group and Resource are as the API names them, not as etcd does: the key
// /registry/minions/a is the resource "nodes", and /registry/deployments/b/c
// has the group "apps". A resource that this package does not know and whose
// key carries no group has the Group "".
type Key struct {
	Group     string // "apps"; "" for the core group
	Resource  string // plural, lower case: "nodes", "services", "machines"
	Namespace string // "" for an object without namespace
	Name      string // never empty; has slashes only where the key is deeper than Kubernetes makes them
}

// ParseKey takes key apart. It is false when the key does not lie below
// prefix, has no resource and name, has an empty segment where one of the
// fields would stand, or uses a place where no API server keeps that resource
// (/registry/nodes/a). It allocates nothing.
//
// What ParseKey accepts, Key.Path with the same prefix gives back.
func ParseKey(prefix, key string) (Key, bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return Key{}, false
	}
	if !strings.HasSuffix(prefix, "/") {
		if rest, ok = strings.CutPrefix(rest, "/"); !ok {
			return Key{}, false
		}
	}

	var k Key
	first, rest, ok := strings.Cut(rest, "/")
	switch {
	case !ok || first == "":
		return Key{}, false
	case strings.Contains(first, "."):
		// Groups of custom resources contain a dot (apiextensions-apiserver,
		// validation.go), names of built-in resources never do.
		k.Group = first
		k.Resource, rest, ok = strings.Cut(rest, "/")
		// A plural is a DNS label: a dot in it would make GroupResource ambiguous.
		if !ok || k.Resource == "" || strings.Contains(k.Resource, ".") || livesWithoutGroup(k.Group, k.Resource) {
			return Key{}, false
		}
	default:
		k.Group, k.Resource, rest, ok = builtinOf(first, rest)
		if !ok {
			return Key{}, false
		}
	}

	// With a namespace or without one shows in the number of segments alone.
	if namespace, name, ok := strings.Cut(rest, "/"); ok {
		k.Namespace, k.Name = namespace, name
		return k, namespace != "" && name != ""
	}
	k.Name = rest
	return k, rest != ""
}

// GroupResource names the resource as Kubernetes' configuration does:
// "configmaps", "deployments.apps", "machines.cluster.x-k8s.io".
func (k Key) GroupResource() string {
	if k.Group == "" {
		return k.Resource
	}
	return k.Resource + "." + k.Group
}

// Path is the etcd key of k: the way back from ParseKey.
func (k Key) Path(prefix string) string {
	path := ResourcePrefix(prefix, k.GroupResource())
	if k.Namespace != "" {
		path += k.Namespace + "/"
	}
	return path + k.Name
}

// String is for people: "machines.cluster.x-k8s.io prod/worker-1".
func (k Key) String() string {
	if k.Namespace == "" {
		return k.GroupResource() + " " + k.Name
	}
	return k.GroupResource() + " " + k.Namespace + "/" + k.Name
}

// ResourcePrefix is the prefix of the etcd keys of all objects of a resource:
// "nodes" gives "/registry/minions/", "machines.cluster.x-k8s.io" gives
// "/registry/cluster.x-k8s.io/machines/". prefix may end in "/" or not.
func ResourcePrefix(prefix, groupResource string) string {
	if !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return prefix + EtcdName(groupResource) + "/"
}
