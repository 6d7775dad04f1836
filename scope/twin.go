package scope

import (
	"slices"

	"github.com/understudy-dr/understudy/registry"
)

// Replaces reports whether a rule of Config.Replace fits an object: where the
// standby has one of its own there, the primary's takes its place.
func (s *Scope) Replaces(key string, m registry.Meta) bool {
	if len(s.replace) == 0 {
		return false
	}
	k, parsed := s.Parse(key)
	return slices.ContainsFunc(s.replace, func(r rule) bool {
		return r.matches(key, k, parsed) && r.matchesType(m.Type)
	})
}

// Twin reports whether the standby has, under the key of an object of the
// primary that takes part, one of its own: another UID. It cannot tell who
// wrote it. What a controller of the standby made of an owner that both sides
// share is none, and neither is what a rule gives up; see Config.Replace.
func (v *View) Twin(key string, primary, standby Object) bool {
	return primary.In && other(primary.Meta, standby.Meta) && !v.Scope.Replaces(key, primary.Meta)
}

// Conflicts is Twin for what must not be replaced while it stands there: what
// runs or acts, what other things run on, and what decides which writes are let
// through.
func (v *View) Conflicts(key string, primary, standby Object) bool {
	if !other(primary.Meta, standby.Meta) {
		return false // as nearly always; ask nothing else
	}
	return v.MayConflict(key) && v.Twin(key, primary, standby)
}

// other reports whether two objects of one name are not the same one.
func other(primary, standby registry.Meta) bool {
	if primary.UID == "" || standby.UID == "" || primary.UID == standby.UID {
		return false
	}
	ours := controller(primary)
	return ours == "" || ours != controller(standby)
}

// controller is the UID of the owner that made an object; "" = it has none.
func controller(m registry.Meta) string {
	for _, o := range m.Owners {
		if o.Controller {
			return o.UID
		}
	}
	return ""
}

// standing are the resources of which an object of the standby's own is never
// replaced once replication has begun, beside those that a hold names, since they
// act; see docs/twins.md. All else is configuration, which the primary's replaces
// in its turn.
var standing = map[string]bool{
	// What runs.
	"deployments.apps": true, "statefulsets.apps": true, "daemonsets.apps": true, "replicasets.apps": true,
	"replicationcontrollers": true, "jobs.batch": true, "cronjobs.batch": true, "pods": true,
	// The address by which it is reached, and the disks that it writes to.
	"services": true, "persistentvolumeclaims": true, "persistentvolumes": true,
	// What takes all in it along when it goes.
	"namespaces": true,
	// What the standby's own API servers serve, and ask: an object replaced here breaks all of its kind.
	"customresourcedefinitions.apiextensions.k8s.io": true, "apiservices.apiregistration.k8s.io": true,
	"mutatingwebhookconfigurations.admissionregistration.k8s.io": true, "validatingwebhookconfigurations.admissionregistration.k8s.io": true,
}

// MayConflict reports whether the object at key is of a resource that is never
// replaced where the standby has one of its own.
func (v *View) MayConflict(key string) bool {
	k, ok := v.Scope.Parse(key)
	return ok && (standing[k.GroupResource()] || v.Holds.Names(k.GroupResource()))
}
