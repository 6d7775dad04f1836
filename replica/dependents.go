package replica

import (
	"cmp"
	"context"
	"slices"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
)

// trips is the error of a trip about what is gone, of which something is too much. It
// shows all of it: what is not too much by itself, and what hangs on it, goes along,
// and one answer is for all.
func (c census) trips(ctx context.Context, trip role.Trip, gone tolls, checkpoint kv.Revision) error {
	for resource, t := range gone { // with what else is deleted; some may be no loss
		if len(t.keys) == 0 {
			delete(gone, resource)
		}
	}
	hang, err := c.dependents(ctx, gone)
	if err != nil {
		return err
	}
	var all shown
	weigh := func(t tolls) (losses []role.Loss, err error) {
		for resource, one := range t {
			loss, _, err := c.lossOf(ctx, resource, one.keys, checkpoint, &all)
			if err != nil {
				return nil, err
			}
			loss.Whole = one.whole
			if loss.Deleted > 0 {
				losses = append(losses, loss)
			}
		}
		return losses, nil
	}
	losses, err := weigh(gone)
	if err != nil {
		return err
	}
	if trip.Along, err = weigh(hang); err != nil {
		return err
	}
	trip.Losses = c.limits.worst(losses)
	for _, l := range losses {
		if !slices.ContainsFunc(trip.Losses, func(w role.Loss) bool { return w.Resource == l.Resource }) {
			trip.Along = append(trip.Along, l)
		}
	}
	slices.SortFunc(trip.Along, func(a, b role.Loss) int {
		return cmp.Or(cmp.Compare(b.Deleted, a.Deleted), cmp.Compare(a.Resource, b.Resource))
	})
	slices.Sort(all)
	return &tripped{trip, all}
}

// later is a revision for what has not been deleted yet.
const later = everything

// depth is over how many steps dependents are looked for: Cluster API's trees have four.
const depth = 12

// dependents are the objects of the standby all of whose owners are gone, over any
// number of steps: the primary's garbage collector deletes them next. An owner
// reference does not leave its namespace.
func (c census) dependents(ctx context.Context, gone tolls) (tolls, error) {
	hang := tolls{}
	uids, namespaces := map[string]bool{}, map[string]bool{}
	note := func(key, uid string) {
		uids[uid] = true
		k, _ := c.view.Scope.Parse(key)
		namespaces[k.Namespace] = true
	}
	for resource, t := range gone {
		err := c.each(ctx, resource, "", func(p kv.Pair, o scope.Object) {
			if _, ours := t.keys[p.Key]; ours && o.Meta.UID != "" {
				note(p.Key, o.Meta.UID)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	resources, err := c.resources(ctx)
	if err != nil {
		return nil, err
	}
	for range depth {
		found := false
		where := []string{""} // what has a cluster-scoped owner may lie anywhere
		if !namespaces[""] && len(namespaces) <= namespacesApart {
			where = nil
			for namespace := range namespaces {
				where = append(where, namespace)
			}
		}
		for _, resource := range resources {
			for _, namespace := range where {
				err := c.each(ctx, resource, namespace, func(p kv.Pair, o scope.Object) {
					if len(o.Meta.Owners) == 0 || !c.had(p) || uids[o.Meta.UID] {
						return
					}
					for _, owner := range o.Meta.Owners {
						if !uids[owner.UID] {
							return
						}
					}
					found = true
					note(p.Key, o.Meta.UID)
					hang.of(resource).keys[p.Key] = later
				})
				if err != nil {
					return nil, err
				}
			}
		}
		if !found {
			break
		}
	}
	return hang, nil
}

// namespacesApart is how many namespaces are read one by one.
const namespacesApart = 20
