package scope

import (
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/registry"
)

// place is what the rules say about all keys of one directory, which is all
// objects of one resource in one namespace.
type place struct {
	fixed    Verdict     // where candidates is empty
	name     int         // where the object's name begins in a key
	rules    []candidate // the last one first
	fallback Verdict     // where none of rules matches
}

// candidate is a rule that fits a place and depends on the rest of the key.
type candidate struct {
	*rule
	byName      bool // the namespaces have to be compared with the name
	byKey       bool // so have the keys with the key
	askObject   bool // the type and the maker cannot be told by a key
	alwaysThere bool
}

// place works out and keeps the place of the directory dir, to which k belongs.
func (s *Scope) place(dir string, k registry.Key, name int) *place {
	p := &place{name: name, fallback: In}
	for _, r := range s.rulesOf(k) {
		c, fits := r.candidate(dir+"/", k)
		if !fits {
			continue
		}
		if c.alwaysThere {
			p.fallback = c.verdict
			break
		}
		p.rules = append(p.rules, c)
	}
	if !slices.ContainsFunc(p.rules, func(c candidate) bool { return c.verdict != p.fallback }) {
		p.fixed, p.rules = p.fallback, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.places) >= maxPlaces {
		clear(s.places)
	}
	s.places[dir] = p
	return p
}

// rulesOf returns the rules that match the resource of k, the last one first.
// They are worked out once: patterns are slow, and namespaces are many.
func (s *Scope) rulesOf(k registry.Key) []*rule {
	resource := [2]string{k.Group, k.Resource}
	s.mu.RLock()
	rules, known := s.byResource[resource]
	s.mu.RUnlock()
	if known {
		return rules
	}
	for i := range slices.Backward(s.rules) {
		if s.rules[i].matchesResource(k) {
			rules = append(rules, &s.rules[i])
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byResource) >= maxPlaces {
		clear(s.byResource)
	}
	s.byResource[resource] = rules
	return rules
}

// candidate reports how a rule that matches the resource fits a place.
func (r *rule) candidate(dir string, k registry.Key) (c candidate, fits bool) {
	c = candidate{rule: r, askObject: r.asks()}
	if len(r.Keys) > 0 {
		within := slices.ContainsFunc(r.Keys, func(p string) bool { return strings.HasPrefix(dir, p) })
		below := slices.ContainsFunc(r.Keys, func(p string) bool { return strings.HasPrefix(p, dir) })
		if !within && !below {
			return c, false
		}
		c.byKey = !within
	}
	if c.byName = len(r.namespaces) > 0 && isNamespaces(k); !c.byName {
		if !r.matchesNamespace(k.Group, k.Resource, k.Namespace, "") {
			return c, false
		}
	}
	c.alwaysThere = !c.askObject && !c.byKey && !c.byName && len(r.names) == 0
	return c, true
}

func (p *place) verdict(key string) Verdict {
	if len(p.rules) == 0 {
		return p.fixed
	}
	var out tally
	name := key[p.name:]
	for i := range p.rules {
		c := &p.rules[i]
		switch {
		case c.byName && !matchAny(c.namespaces, name),
			len(c.names) > 0 && !matchAny(c.names, name),
			c.byKey && !slices.ContainsFunc(c.Keys, func(p string) bool { return strings.HasPrefix(key, p) }):
			continue
		}
		if out.add(c.verdict); !c.askObject {
			return out.verdict()
		}
	}
	out.add(p.fallback)
	return out.verdict()
}
