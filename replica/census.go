package replica

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// census counts what the standby holds from the primary. It is asked instead of
// the primary, which may have compacted what it had, or be gone.
type census struct {
	standby *clientv3.Client
	view    *scope.View
	limits  Breaker
	foreign func(*kv.Pair) bool // created by somebody else
	answer  shown               // what an operator has accepted: it is no loss
	upTo    kv.Revision         // of the standby: what was created there later is a copy's; 0 = nothing is
}

// had reports whether the standby had a key before a copy.
func (c census) had(p kv.Pair) bool { return c.upTo == 0 || p.CreateRevision <= c.upTo }

// keysNamed is how many keys of a loss are kept at most. The record of a trip
// may have room for fewer.
const keysNamed = 2000

// toll is what may be lost of one resource.
type toll struct {
	keys  map[string]kv.Revision // and the primary's revision of each loss
	whole bool                   // all goes, with its definition
}

// tolls are what may be lost, by resource.
type tolls map[string]*toll

func (t tolls) of(resource string) *toll {
	if t[resource] == nil {
		t[resource] = &toll{keys: map[string]kv.Revision{}}
	}
	return t[resource]
}

// add takes in what is deleted by itself. It counts as of its own revision.
func (t *toll) add(keys map[string]kv.Revision) {
	for key, revision := range keys {
		t.keys[key] = revision
	}
}

// each visits the objects of a resource that came from the primary, "" = in any
// namespace.
func (c census) each(ctx context.Context, resource, namespace string, visit func(p kv.Pair, o scope.Object)) error {
	for _, dir := range c.view.Scope.Directories(resource) {
		if namespace != "" {
			dir += namespace + "/"
		}
		err := source.Each(ctx, c.standby, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
			if object, err := c.view.InStandby(p.Key, p.Value); err != nil || object.In && !c.foreign(&p) {
				visit(p, object)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("count %s on the standby: %w", resource, err)
		}
	}
	return nil
}

// weigh returns the tolls that are too many, the largest share first.
func (c census) weigh(ctx context.Context, t tolls, checkpoint kv.Revision) ([]role.Loss, error) {
	var losses []role.Loss
	for resource, one := range t {
		if c.limits.never(resource) || int64(len(one.keys)) <= c.limits.floor(resource, one.whole) {
			continue
		}
		loss, _, err := c.loss(ctx, resource, one.keys, checkpoint)
		if err != nil {
			return nil, err
		}
		loss.Whole = one.whole
		losses = append(losses, loss)
	}
	return c.limits.worst(losses), nil
}

// loss is what would go from the standby. What the standby does not have, or is
// deleting already, is no loss: it was there for a moment only, or its mark has
// counted before.
func (c census) loss(ctx context.Context, resource string, keys map[string]kv.Revision, checkpoint kv.Revision) (loss role.Loss, noLoss []string, err error) {
	return c.lossOf(ctx, resource, keys, checkpoint, nil)
}

// lossOf is loss, and adds to all what it shows.
func (c census) lossOf(ctx context.Context, resource string, keys map[string]kv.Revision, checkpoint kv.Revision, all *shown) (loss role.Loss, noLoss []string, err error) {
	loss.Resource = resource
	stands := map[string]bool{} // and whether that is no loss
	err = c.each(ctx, resource, "", func(p kv.Pair, o scope.Object) {
		_, ours := keys[p.Key]
		accepted := c.answer.has(p, o) // as good as gone
		if ours {
			stands[p.Key] = o.Meta.Deleting || accepted
			if all != nil && !stands[p.Key] {
				*all = append(*all, shownAs(p.Key, identity(p, o)))
			}
		}
		if (ours || c.had(p)) && !accepted {
			loss.Of++
		}
	})
	for key, revision := range keys {
		none, there := stands[key]
		switch {
		case revision <= checkpoint:
			loss.Deleted++
			loss.Applied++
			loss.Gone = append(loss.Gone, key)
			if !there {
				loss.Of++
			}
		case there && !none:
			loss.Deleted++
			loss.Keys = append(loss.Keys, key)
		default:
			noLoss = append(noLoss, key)
		}
	}
	for _, list := range []*[]string{&loss.Keys, &loss.Gone} {
		slices.Sort(*list)
		*list = (*list)[:min(len(*list), keysNamed)]
	}
	return loss, noLoss, err
}

// taken adds to t what is deleted along with a CRD or a Namespace, and reports
// whether that is anything.
func (c census) taken(ctx context.Context, d doom, t tolls) (any bool, err error) {
	k, _ := c.view.Scope.Parse(d.key)
	take := func(resource, namespace string) error {
		return c.each(ctx, resource, namespace, func(p kv.Pair, o scope.Object) {
			if c.had(p) && !c.answer.has(p, o) {
				any = true
				t.of(resource).keys[p.Key] = d.revision
			}
		})
	}
	if k.GroupResource() == definitions {
		t.of(k.Name).whole = true
		return any, take(k.Name, "")
	}
	resources, err := c.resources(ctx)
	for _, resource := range resources {
		if c.limits.never(resource) {
			continue
		}
		if err := take(resource, k.Name); err != nil {
			return any, err
		}
	}
	return any, err
}

// resources lists those that the standby has objects of.
func (c census) resources(ctx context.Context) ([]string, error) {
	var found []string
	for _, root := range c.view.Scope.Roots() {
		below, err := c.resourcesBelow(ctx, root)
		if err != nil {
			return nil, err
		}
		found = append(found, below...)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

func (c census) resourcesBelow(ctx context.Context, root string) (found []string, err error) {
	for at, end := root, kv.PrefixEnd(root); at < end; {
		resp, err := c.standby.Get(ctx, at, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil {
			return nil, fmt.Errorf("list the standby's resources: %w", err)
		}
		if len(resp.Kvs) == 0 {
			break
		}
		key := string(resp.Kvs[0].Key)
		k, ok := c.view.Scope.Parse(key)
		if !ok {
			at = key + "\x00"
			continue
		}
		found = append(found, k.GroupResource())
		at = kv.PrefixEnd(scope.Directory(key, k))
	}
	return found, nil
}

const definitions = "customresourcedefinitions.apiextensions.k8s.io"

// takesAlong reports whether the deletion of the object at key takes other
// objects along.
func takesAlong(s *scope.Scope, key string) bool {
	k, ok := s.Parse(key)
	return ok && (k.GroupResource() == "namespaces" || k.GroupResource() == definitions)
}
