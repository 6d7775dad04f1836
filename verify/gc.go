package verify

import (
	"fmt"

	"github.com/understudy-dr/understudy/registry"
)

// The rules are those of kube-controller-manager 1.36,
// pkg/controller/garbagecollector/garbagecollector.go: isDangling,
// classifyReferences and attemptToDeleteItem.

// standing is what the garbage collector finds out about an owner reference.
type standing uint8

const (
	there      standing = iota // the owner exists
	absent                     // 404
	otherUID                   // another object of that name: as good as absent
	unmapped                   // the kind cannot be looked up: an error, and a retry
	misplaced                  // a cluster-scoped object cannot have an owner in a namespace: it is ignored
	unreadable                 // the owner's key is there, but not what it says
	orphaned                   // the owner is being deleted, and its uid is taken out of all references first
)

// link is one owner reference of an object.
type link struct {
	standing
	owner int // index of the owner; of unreadable and there
}

// graph is who owns whom. The links of s.objects[i] are links[i], none for an
// object that the garbage collector does not see.
type graph struct {
	links      [][]link
	dependents [][]int
}

// blocked tells whether the garbage collector leaves an object alone whatever
// becomes of its other owners: one error ends the look at all of them.
func blocked(links []link) bool {
	for _, l := range links {
		if l.standing == unmapped || l.standing == misplaced || l.standing == unreadable {
			return true
		}
	}
	return false
}

// collected tells whether the garbage collector deletes an object: it had
// owners, and none is left. An owner with the finalizer orphan is deleted from
// its dependents' references before it goes: it neither keeps nor ends them.
func (s *simulator) collected(links []link) bool {
	if blocked(links) {
		return false
	}
	lost := false
	for _, l := range links {
		switch {
		case l.standing == orphaned:
		case l.standing != there:
			lost = true
		case !s.objects[l.owner].doomed:
			return false
		case !s.objects[l.owner].orphans:
			lost = true
		}
	}
	return lost
}

// collect marks every object doomed that is being deleted or would be as a
// consequence: by the garbage collector, with its Namespace, with its
// CustomResourceDefinition. It takes for granted that finalizers come to their
// end. What is doomed does not depend on the order of the deletions.
func (s *simulator) collect() *graph {
	g := s.link()
	var queue []int
	doom := func(i int) {
		if !s.objects[i].doomed {
			s.objects[i].doomed = true
			queue = append(queue, i)
		}
	}
	for i := range s.objects {
		if s.objects[i].deleting || s.collected(g.links[i]) {
			doom(i)
		}
	}
	contents := contents{simulator: s}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, dependent := range g.dependents[i] {
			if s.collected(g.links[dependent]) {
				doom(dependent)
			}
		}
		for _, inside := range contents.of(&s.objects[i]) {
			doom(inside)
		}
	}
	return g
}

// link looks every owner reference up.
func (s *simulator) link() *graph {
	g := &graph{links: make([][]link, len(s.objects)), dependents: make([][]int, len(s.objects))}
	kinds := map[[2]string]lookup{}
	orphaning := map[string]bool{} // by uid
	for i := range s.objects {
		if o := &s.objects[i]; o.deleting && o.orphans {
			orphaning[o.uid] = true
		}
	}
	for i := range s.objects {
		o := &s.objects[i]
		if len(o.owners) == 0 || !o.resource.collectable() {
			continue
		}
		links := make([]link, len(o.owners))
		namespace := s.keyOf(o).Namespace
		for n, owner := range o.owners {
			of := [2]string{owner.APIVersion, owner.Kind}
			found, asked := kinds[of]
			if !asked {
				found.place, found.why = s.served(owner.APIVersion, owner.Kind)
				if found.why == "" {
					found.dirs = s.scope.Directories(found.resource)
				}
				kinds[of] = found
			}
			links[n] = s.lookUp(owner, namespace, found)
			switch {
			case orphaning[owner.UID]:
				links[n].standing = orphaned
			case links[n].standing == there:
				g.dependents[links[n].owner] = append(g.dependents[links[n].owner], i)
			}
		}
		g.links[i] = links
	}
	return g
}

// lookup is where the owners of a kind lie, or why nobody can say.
type lookup struct {
	place
	dirs []string
	why  string
}

func (s *simulator) lookUp(owner registry.Owner, namespace string, kind lookup) link {
	name := owner.Name
	switch {
	case kind.why != "":
		return link{standing: unmapped}
	case kind.namespaced && namespace == "":
		return link{standing: misplaced}
	case kind.namespaced:
		name = namespace + "/" + name
	}
	i := -1
	for _, dir := range kind.dirs {
		if i = s.find(dir + name); i >= 0 {
			break
		}
	}
	switch {
	case i < 0:
		return link{standing: absent}
	case s.objects[i].kind == "":
		return link{unreadable, i}
	case s.objects[i].uid != owner.UID:
		return link{standing: otherUID}
	}
	return link{there, i}
}

// collectable tells whether the garbage collector watches a resource
// (DefaultIgnoredResources, and what the API server shows at all).
func (r *resource) collectable() bool { return r.plural != "events" && r.shown() }

// explain says how the garbage collector sees an owner reference.
func (s *simulator) explain(owner registry.Owner, l link) string {
	name := owner.Kind + " " + owner.Name
	switch l.standing {
	case absent:
		return fmt.Sprintf("owner %s (uid %s) is not there", name, owner.UID)
	case otherUID:
		return fmt.Sprintf("owner %s has another uid than %s", name, owner.UID)
	case unmapped:
		_, why := s.served(owner.APIVersion, owner.Kind)
		return fmt.Sprintf("owner %s of %s: %s", name, owner.APIVersion, why)
	case misplaced:
		return fmt.Sprintf("owner %s lies in a namespace", name)
	case unreadable:
		return fmt.Sprintf("owner %s cannot be read", name)
	}
	switch o := &s.objects[l.owner]; {
	case o.deleting:
		return fmt.Sprintf("owner %s is being deleted", name)
	case o.doomed:
		return fmt.Sprintf("owner %s would be deleted", name)
	}
	return fmt.Sprintf("owner %s is there", name)
}
