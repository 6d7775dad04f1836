package replica

import (
	"context"
	"slices"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
)

// weighLosses trips the breaker where the primary has lost too much since the
// standby was complete. Nothing of it has been written then: neither a deletion
// nor a mark.
func (j *copyJob) weighLosses(ctx context.Context, marked []item, known surplusSet) error {
	if j.breaker.off() {
		return nil
	}
	count := census{standby: j.standby, view: j.view, limits: j.breaker, foreign: known.has, answer: j.accepted}
	if j.base != nil {
		count.upTo = j.base.StandbyRevision
	}
	gone := j.gone(marked)
	trip := role.Trip{From: j.since(), Through: j.rev, Resync: true}
	var err error
	if trip.Losses, err = count.weigh(ctx, gone, 0); err != nil {
		return err
	}
	if len(trip.Losses) > 0 {
		return count.trips(ctx, trip, gone, 0)
	}
	along, causes := tolls{}, []string(nil)
	for _, it := range marked {
		if !takesAlong(j.view.Scope, it.key) {
			continue
		}
		cause := describeDoom(j.view, it.key)
		any, err := count.taken(ctx, doom{key: it.key, revision: j.rev}, along)
		if err != nil {
			return err
		}
		if any {
			causes = append(causes, cause)
		}
	}
	for resource, t := range along {
		if g := gone[resource]; g != nil {
			t.add(g.keys)
		}
	}
	if trip.Losses, err = count.weigh(ctx, along, 0); err != nil || len(trip.Losses) == 0 {
		return err
	}
	trip.Cause = role.JoinCauses(causes)
	for resource, t := range gone {
		if along[resource] == nil {
			along[resource] = t
		}
	}
	return count.trips(ctx, trip, along, 0)
}

// gone is what is to be deleted or marked, apart from what the standby is deleting
// already. Where a definition is, all of its objects that are go with it.
func (j *copyJob) gone(marked []item) tolls {
	gone := tolls{}
	for _, it := range slices.Concat(j.deletes, marked) {
		if k, ok := j.view.Scope.Parse(it.key); ok && !it.dying { // a raw key is no object
			gone.of(k.GroupResource()).keys[it.key] = j.rev
			if k.GroupResource() == definitions {
				gone.of(k.Name).whole = true
			}
		}
	}
	return gone
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
