package scope

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/registry"
)

// Definitions is the resource of the objects that say what a kind's is called.
const Definitions = "customresourcedefinitions.apiextensions.k8s.io"

var kindOf = []registry.Path{{"spec", "group"}, {"spec", "names", "kind"}, {"spec", "names", "plural"}}

// Learn takes in a CustomResourceDefinition: owners of its kind are looked for
// under its plural from then on (a Gateway among the gateways), instead of under
// the one that is guessed. A View learns from each that it looks at. Whoever goes
// through objects in their order lets it see all of them before, since a
// definition may come after the objects that have owners of its kind.
func (s *Scope) Learn(plain []byte) {
	parts, err := registry.ReadParts(plain, kindOf)
	if err != nil {
		return // is found by whoever looks at it
	}
	spec, _ := parts["spec"].(map[string]any)
	names, _ := spec["names"].(map[string]any)
	group, _ := spec["group"].(string)
	kind, _ := names["kind"].(string)
	plural, _ := names["plural"].(string)
	if group == "" || kind == "" || plural == "" {
		return
	}
	gk := schema.GroupKind{Group: group, Kind: kind}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.learned[gk] == plural {
		return
	}
	if s.learned == nil {
		s.learned = map[schema.GroupKind]string{}
	}
	s.learned[gk] = plural
	clear(s.byKind) // what was guessed
}
