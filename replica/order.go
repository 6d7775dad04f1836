package replica

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// uid is a Kubernetes UID in 16 bytes.
type uid [16]byte

func parseUID(s string) uid {
	var u uid
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		compact := make([]byte, 0, 32)
		for _, part := range []string{s[:8], s[9:13], s[14:18], s[19:23], s[24:]} {
			compact = append(compact, part...)
		}
		if _, err := hex.Decode(u[:], compact); err == nil {
			return u
		}
	}
	sum := sha256.Sum256([]byte(s))
	copy(u[:], sum[:])
	return u
}

// item is one object that a copy has to write, or to delete.
type item struct {
	key   string
	value []byte // as the standby should store it; nil: look at where
	where place  // in the spill; none: read it again when its turn comes
	// held: the object is held, and kept is its original, to be written beside
	// it; it is put away as value is.
	held      bool
	created   kv.Revision // of one to delete: as it was read on the standby
	kept      []byte
	keptWhere place
	size      int // of value and kept
	uid       uid
	owners    []uid
	// last: it comes after all others. A CustomResourceDefinition, after the
	// objects of its kind; a ServiceAccount's token, which the token controller
	// deletes where it finds no ServiceAccount with that UID.
	last bool
	// loose: it can be written without regard to any other object. It has no
	// owner, and it is of a built-in kind for which no controller makes
	// dependents. Everything else waits until its whole tree is known.
	loose bool
	fresh bool // the standby does not have it
	// marked: it is being deleted on the primary, and not yet on the standby. It
	// waits until the copy's losses have been weighed.
	marked bool
	dying  bool // one to delete: it is being deleted on the standby already
	pod    bool
}

var looseKinds = map[string]bool{
	"configmaps": true, "secrets": true, "serviceaccounts": true, "limitranges": true,
	"resourcequotas": true, "persistentvolumes": true, "persistentvolumeclaims": true,
	"roles.rbac.authorization.k8s.io": true, "rolebindings.rbac.authorization.k8s.io": true,
	"clusterroles.rbac.authorization.k8s.io": true, "clusterrolebindings.rbac.authorization.k8s.io": true,
	"networkpolicies.networking.k8s.io": true, "storageclasses.storage.k8s.io": true,
	"leases.coordination.k8s.io": true, "events": true, "events.events.k8s.io": true,
	"": true, // not an object of Kubernetes
}

const crds = "customresourcedefinitions.apiextensions.k8s.io"

// itemToDelete is an object of the standby that the primary has deleted.
func itemToDelete(key string, created kv.Revision, meta registry.Meta) item {
	it := newItem(key, nil, "", meta)
	it.created, it.dying = created, meta.Deleting
	return it
}

// operations is how many of a transaction's operations the item takes.
func (it item) operations() int {
	if it.held {
		return 2
	}
	return 1
}

func newItem(key string, value []byte, gr string, meta registry.Meta) item {
	it := item{key: key, value: value, size: len(value), last: gr == crds || gr == "secrets" && meta.Type == scope.ServiceAccountToken}
	if meta.UID != "" {
		it.uid = parseUID(meta.UID)
	}
	for _, o := range meta.Owners {
		it.owners = append(it.owners, parseUID(o.UID))
	}
	it.pod = gr == podResource
	it.loose = len(it.owners) == 0 && looseKinds[gr] && !it.last
	return it
}

// trees sorts items into groups that hang together by ownership. Within a
// group every owner stands before its dependents and as close to them as
// possible: an owner, its first dependent with all that hangs on it, the
// second, and so on. Groups stand in the order of their first item; two groups
// share no reference, so they may be written in any order and at once.
//
// Owners that are not among the items do not count: they are on the standby
// already, or out of scope. Items in a circle of ownership come in the order
// in which they were given.
func trees(items []item) [][]int {
	byUID := map[uid]int{}
	for i := range items {
		for _, o := range items[i].owners {
			byUID[o] = -1
		}
	}
	if len(byUID) > 0 {
		for i := range items {
			if _, wanted := byUID[items[i].uid]; wanted {
				byUID[items[i].uid] = i
			}
		}
	}
	g := newGraph(len(items))
	for i := range items {
		for _, o := range items[i].owners {
			if owner := byUID[o]; owner >= 0 && owner != i {
				g.link(owner, i)
			}
		}
	}
	return g.groups()
}

// graph is ownership among the items 0…n-1.
type graph struct {
	dependents [][]int // lazily filled; most objects own nothing
	waiting    []int   // owners that have not been emitted yet
	group      []int   // union-find
}

func newGraph(n int) *graph {
	g := &graph{dependents: make([][]int, n), waiting: make([]int, n), group: make([]int, n)}
	for i := range g.group {
		g.group[i] = i
	}
	return g
}

func (g *graph) link(owner, dependent int) {
	g.dependents[owner] = append(g.dependents[owner], dependent)
	g.waiting[dependent]++
	a, b := g.root(owner), g.root(dependent)
	g.group[max(a, b)] = min(a, b)
}

func (g *graph) root(i int) int {
	for g.group[i] != i {
		g.group[i] = g.group[g.group[i]]
		i = g.group[i]
	}
	return i
}

func (g *graph) groups() [][]int {
	n := len(g.group)
	order := make([]int, n) // root → 1 + its index in result
	var result [][]int
	emitted := make([]bool, n)
	place := func(i int) int {
		root := g.root(i)
		if order[root] == 0 {
			result = append(result, nil)
			order[root] = len(result)
		}
		return order[root] - 1
	}
	emit := func(at, i int) {
		stack := []int{i}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if emitted[i] {
				continue
			}
			emitted[i] = true
			result[at] = append(result[at], i)
			for j := len(g.dependents[i]) - 1; j >= 0; j-- {
				d := g.dependents[i][j]
				if g.waiting[d]--; g.waiting[d] == 0 {
					stack = append(stack, d)
				}
			}
		}
	}
	roots := make([]bool, n)
	for i := range n {
		roots[i] = g.waiting[i] == 0
	}
	for i := range n {
		if roots[i] {
			emit(place(i), i)
		}
	}
	for i := range n { // what is left hangs in a circle
		if !emitted[i] {
			g.waiting[i] = 0
			emit(place(i), i)
		}
	}
	return result
}
