package verify

import (
	"fmt"
	"strings"
)

// contents finds what a deletion takes along that is not a matter of owners:
// the objects in a Namespace, those of a CustomResourceDefinition.
type contents struct {
	*simulator
	inNamespace map[string][]int
	ofResource  map[string][]int
}

// of are the objects that go with o.
func (c *contents) of(o *record) []int {
	switch o.resource.name {
	case "namespaces":
		c.index()
		return c.inNamespace[c.keyOf(o).Name]
	case definitionResource:
		c.index()
		return c.ofResource[c.keyOf(o).Name]
	}
	return nil
}

// index is made for the first that asks; most often none does.
func (c *contents) index() {
	if c.inNamespace != nil {
		return
	}
	c.inNamespace, c.ofResource = map[string][]int{}, map[string][]int{}
	for i := range c.objects {
		o := &c.objects[i]
		if !o.resource.collectable() {
			continue
		}
		if namespace := c.keyOf(o).Namespace; namespace != "" {
			c.inNamespace[namespace] = append(c.inNamespace[namespace], i)
		}
		if o.resource.custom {
			c.ofResource[o.resource.name] = append(c.ofResource[o.resource.name], i)
		}
	}
}

// judgeDeletions names what is being deleted, what would be, and what the
// garbage collector would change otherwise.
func (s *simulator) judgeDeletions(g *graph) {
	for i := range s.objects {
		o := &s.objects[i]
		if o.deleting {
			s.judgeDeleting(o)
			continue
		}
		links := g.links[i]
		switch {
		case !o.doomed:
			s.judgeKept(o, links)
		case s.ends(o, "namespaces", s.keyOf(o).Namespace):
			s.noteBy(NamespaceDeleted, Red, Info, o, func() string { return "with Namespace " + s.keyOf(o).Namespace })
		case o.resource.custom && s.ends(o, definitionResource, o.resource.name):
			s.noteBy(DefinitionGone, Red, Info, o, func() string { return "with CustomResourceDefinition " + o.resource.name })
		default:
			s.noteBy(GarbageCollected, Red, Yellow, o, func() string { return s.explainAll(o, links) })
		}
	}
}

// ends tells whether o goes with a cluster-scoped object.
func (s *simulator) ends(o *record, resource, name string) bool {
	if name == "" || !o.resource.collectable() {
		return false
	}
	i := s.find(s.clusterKey(resource, name))
	return i >= 0 && s.objects[i].doomed
}

// judgeDeleting: finalizers are orders to the standby's controllers, and what
// stands for infrastructure is not theirs to remove. The standby's own
// deletions are its daily business.
func (s *simulator) judgeDeleting(o *record) {
	finalizers := o.finalizers
	if o.resource.name == "namespaces" {
		finalizers = append([]string{"kubernetes"}, finalizers...) // in spec.finalizers
	}
	severity := Yellow
	if len(finalizers) > 0 || infrastructure(o.resource.group) {
		severity = Red
	}
	s.noteBy(BeingDeleted, severity, Info, o, func() string {
		if len(finalizers) == 0 {
			return "no finalizers"
		}
		return "finalizers: " + strings.Join(finalizers, ", ")
	})
}

// infrastructure tells whether objects of a group stand for machines and the like.
func infrastructure(group string) bool {
	return group == "cluster.x-k8s.io" || strings.HasSuffix(group, ".cluster.x-k8s.io") || group == "metal3.io"
}

// judgeKept: nothing deletes the object, but its references may be odd.
func (s *simulator) judgeKept(o *record, links []link) {
	gone, odd := -1, -1
	for n, l := range links {
		switch {
		case l.standing == orphaned:
		case l.standing == unmapped || l.standing == misplaced || l.standing == unreadable:
			if odd < 0 || l.standing < links[odd].standing {
				odd = n
			}
		case l.standing != there || s.objects[l.owner].doomed && !s.objects[l.owner].orphans:
			if gone < 0 {
				gone = n
			}
		}
	}
	switch {
	case odd >= 0:
		problem := map[standing]Problem{unmapped: OwnerKindUnknown, misplaced: OwnerMisplaced, unreadable: OwnerUnreadable}[links[odd].standing]
		s.noteBy(problem, Yellow, Info, o, func() string { return s.explain(o.owners[odd], links[odd]) })
	case gone >= 0:
		s.note(OwnerDropped, Info, o, func() string { return s.explain(o.owners[gone], links[gone]) })
	}
}

func (s *simulator) explainAll(o *record, links []link) string {
	why := s.explain(o.owners[0], links[0])
	if more := len(links) - 1; more > 0 {
		why += fmt.Sprintf(", and so with %d more", more)
	}
	return why
}

// judgeNamespaces finds objects in a Namespace that is not there. The standby's
// own are none of ours.
func (s *simulator) judgeNamespaces() {
	known := map[string]bool{"": true}
	for i := range s.objects {
		o := &s.objects[i]
		if !o.in {
			continue
		}
		namespace := s.keyOf(o).Namespace
		there, asked := known[namespace]
		if !asked {
			there = s.find(s.clusterKey("namespaces", namespace)) >= 0
			known[namespace] = there
		}
		if !there {
			s.note(NamespaceMissing, Yellow, o, func() string { return "Namespace " + namespace + " is not there" })
		}
	}
}
