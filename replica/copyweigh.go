package replica

import (
	"context"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
)

// weighLosses trips the breaker where the primary has lost too much since the
// standby was complete. Nothing of it has been written then: neither a deletion
// nor a mark.
func (j *copyJob) weighLosses(ctx context.Context, marked []item, known surplusSet) error {
	if j.breaker.off() {
		return nil
	}
	trip := role.Trip{From: j.since(), Through: j.rev}
	if trip.Losses = j.accepted.beyond(j.breaker.worst(j.losses(marked))); len(trip.Losses) > 0 {
		return &tripped{trip}
	}
	count := census{standby: j.standby, view: j.view, limits: j.breaker, foreign: func(key string) bool {
		_, recorded := known[key]
		return recorded
	}}
	for _, it := range marked {
		if !takesAlong(j.view.Scope.RegistryPrefix(), it.key) {
			continue
		}
		if trip.Cause = describeDoom(j.view, it.key); j.accepted.dooms[trip.Cause] {
			continue
		}
		taken, err := count.taken(ctx, it.key)
		if err != nil {
			return err
		}
		if trip.Losses = j.breaker.worst(taken); len(trip.Losses) > 0 {
			return &tripped{trip}
		}
	}
	return nil
}

// losses counts, per resource, what is to be deleted or marked, and names the
// first of it.
func (j *copyJob) losses(marked []item) []role.Loss {
	gone, there := newTally(j.view.Scope.RegistryPrefix()), j.table.table()
	deleted, keys := map[string]int64{}, map[string][]string{}
	count := func(it item) string {
		resource := gone.count(it.key, scope.Object{In: true})
		if len(keys[resource]) < keysNamed {
			keys[resource] = append(keys[resource], it.key)
		}
		return resource
	}
	for _, it := range j.deletes {
		deleted[count(it)]++
	}
	for _, it := range marked { // the primary still has them
		count(it)
	}
	var losses []role.Loss
	for resource, n := range gone.table() {
		if resource != "" { // a raw key is no object
			losses = append(losses, role.Loss{Resource: resource, Deleted: n.Replicated, Of: deleted[resource] + there[resource].Replicated, Keys: keys[resource]})
		}
	}
	return losses
}

// since is the primary's revision after which the losses may have happened.
func (j *copyJob) since() kv.Revision {
	switch {
	case j.base != nil:
		return j.base.SourceRevision
	case len(j.interrupted) > 0:
		return j.interrupted[0]
	}
	return j.rev
}
