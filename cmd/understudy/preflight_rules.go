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

// namedResources are the resources, and patterns of them, that the configuration
// has rules for.
func namedResources(pair *config.Pair) (named []console.LostPattern) {
	add := func(rule string, i int, resources []string) {
		for j, pattern := range resources {
			named = append(named, console.LostPattern{At: pair.At(fmt.Sprintf("%s[%d].resources[%d]", rule, i, j)), Pattern: pattern})
		}
	}
	for i, rule := range pair.Breaker.Rules {
		add("breaker.rules", i, rule.Resources)
	}
	for i, hold := range pair.Hold.Objects {
		add("hold.objects", i, hold.Resources)
	}
	for i, local := range pair.Local {
		add("local", i, local.Resources)
	}
	return named
}

// lostPatterns are those that fit nothing of what is there, and are not built in
// either. It is pure.
func lostPatterns(named []console.LostPattern, there map[string]bool) (lost []console.LostPattern) {
	known := slices.Sorted(maps.Keys(there))
	for _, one := range named {
		fits := func(resource string) bool {
			ok, err := path.Match(one.Pattern, resource)
			return ok && err == nil
		}
		if !registry.BuiltIn(one.Pattern) && !slices.ContainsFunc(known, fits) {
			one.Near = meant(one.Pattern, known)
			lost = append(lost, one)
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
