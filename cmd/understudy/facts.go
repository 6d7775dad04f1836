package main

import (
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

// consoleCheck is the seam between a comparison and how it is shown.
func consoleCheck(r verify.Report) console.Check {
	c := console.Check{
		Verdict: string(r.Verdict), Reason: r.Reason, Remedy: r.Hint,
		SourceRevision: r.SourceRevision, StandbyRevision: r.StandbyRevision, Compared: r.Compared,
		Missed: console.Keys(r.Missed), Surplus: console.Keys(r.Surplus),
		Differing: console.Keys(r.Differing), Undecodable: console.Keys(r.Undecodable), Conflict: console.Keys(r.Conflict), OtherVersion: console.Keys(r.OtherVersion),
		Why: r.Why, Fields: r.Fields, Opaque: r.Opaque, Pending: r.Pending, Notes: r.Notes,
		Time: r.Started, TookSeconds: r.Took.Seconds(),
	}
	for resource, kinds := range r.ByResource {
		if c.ByResource == nil {
			c.ByResource = map[string]map[string]int64{}
		}
		c.ByResource[resource] = map[string]int64{}
		for kind, n := range kinds {
			c.ByResource[resource][string(kind)] = n
		}
	}
	if r.Scope != nil {
		c.Scope = map[string]console.Resource{}
		for gr, n := range r.Scope {
			c.Scope[gr] = console.Resource(n)
		}
	}
	return c
}

// describeKey names the object of a key for people, "ConfigMap prod/app"; ""
// for a key that belongs to no object.
func describeKey(s *scope.Scope, key string) string {
	k, ok := s.Parse(key)
	if !ok {
		return ""
	}
	name := k.Name
	if k.Namespace != "" {
		name = k.Namespace + "/" + name
	}
	return registry.Kind(k.GroupResource()) + " " + name
}
