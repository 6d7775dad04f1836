package main

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/registry"
)

// lostPatterns are the resources of breaker.rules that are none of those that are
// there, and not built in either. It is pure.
func lostPatterns(rules []config.BreakerRule, there map[string]bool, at func(field string) string) (lost []console.LostPattern) {
	known := slices.Sorted(maps.Keys(there))
	for i, rule := range rules {
		for j, pattern := range rule.Resources {
			fits := func(resource string) bool {
				ok, err := path.Match(pattern, resource)
				return ok && err == nil
			}
			if registry.BuiltIn(pattern) || slices.ContainsFunc(known, fits) {
				continue
			}
			lost = append(lost, console.LostPattern{At: at(fmt.Sprintf("breaker.rules[%d].resources[%d]", i, j)), Pattern: pattern, Near: meant(pattern, known)})
		}
	}
	return lost
}

// meant is the resource that a name was probably meant to be: one without its
// group, or with a slip of the finger.
func meant(name string, known []string) string {
	for _, resource := range known {
		if plural, _, grouped := strings.Cut(resource, "."); grouped && plural == name {
			return resource
		}
	}
	return config.Nearest(name, known)
}
