package main

import (
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/replica"
)

// guardOf is the seam between the configuration and package replica.
func guardOf(c config.Guard) replica.Guard {
	return replica.Guard{ReportDeletions: c.Deletions == "report", RepairChanges: c.Changes == "repair"}
}

// driftOf is the seam between packages replica and console.
func driftOf(d replica.Drift) *console.Drift {
	return &console.Drift{
		Deleted: d.Deleted, Changed: d.Changed, Created: d.Created, Repaired: d.Repaired, Pending: d.Pending, Unnoted: d.Unnoted,
		Flapping: incidentsOf(d.Flapping), Recent: incidentsOf(d.Recent),
	}
}

func incidentsOf(all []replica.Incident) []console.Incident {
	var out []console.Incident
	for _, i := range all {
		out = append(out, console.Incident{
			What: string(i.What), Marked: i.Marked, Kind: i.Kind, Resource: i.Resource, Namespace: i.Namespace, Name: i.Object,
			Key: i.Key, When: i.Seen.UTC(), By: i.By, Outcome: string(i.Outcome),
		})
	}
	return out
}
