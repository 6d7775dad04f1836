package console

import (
	"maps"
	"slices"
)

// rewrite makes the primary store objects of another version anew, in the version
// in which the standby's API server stores them: replication brings them then.
// Reading an object and writing it back as it is changes nothing else.
func (c Check) rewrite() string {
	resources := slices.Sorted(maps.Keys(c.resources("other version")))
	if len(resources) == 0 {
		return "understudy check names them"
	}
	next := "set standby.kubeconfig, so that its API server converts them, or store them anew on the primary, in its version of today: "
	for i, resource := range resources {
		if i > 0 {
			next += "; "
		}
		next += "kubectl get " + resource + " -A -o json | kubectl replace -f -"
	}
	return next
}
