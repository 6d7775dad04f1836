package replica

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
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
	foreign func(key string) bool // created by somebody else
}

// keysNamed is how many keys of a loss are kept at most. The record of a trip
// may have room for fewer.
const keysNamed = 2000

// of is the loss of all objects of a resource in one namespace, "" = in any.
func (c census) of(ctx context.Context, resource, namespace string) (loss role.Loss, err error) {
	loss.Resource = resource
	err = c.each(ctx, resource, func(key string, _ scope.Object) {
		loss.Of++
		if k, ok := registry.ParseKey(c.view.Scope.RegistryPrefix(), key); namespace != "" && (!ok || k.Namespace != namespace) {
			return
		}
		loss.Deleted++
		if len(loss.Keys) < keysNamed {
			loss.Keys = append(loss.Keys, key)
		}
	})
	return loss, err
}

// each visits the objects of a resource that came from the primary.
func (c census) each(ctx context.Context, resource string, visit func(key string, o scope.Object)) error {
	prefix := registry.ResourcePrefix(c.view.Scope.RegistryPrefix(), resource)
	err := source.Each(ctx, c.standby, prefix, kv.PrefixEnd(prefix), 0, func(p kv.Pair) error {
		if object, err := c.view.InStandby(p.Key, p.Value); err != nil || object.In && !c.foreign(p.Key) {
			visit(p.Key, object)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count %s on the standby: %w", resource, err)
	}
	return nil
}

// loss is what a burst would take from the standby. What the standby does not
// have, or is deleting already, is no loss: it was there for a moment only, or its
// mark has counted before.
func (c census) loss(ctx context.Context, w weight, checkpoint kv.Revision) (loss role.Loss, noLoss []string, err error) {
	loss.Resource = w.resource
	stands := map[string]bool{} // and whether it is being deleted
	err = c.each(ctx, w.resource, func(key string, o scope.Object) {
		loss.Of++
		if _, ours := w.keys[key]; ours {
			stands[key] = o.Meta.Deleting
		}
	})
	for key, revision := range w.keys {
		deleting, there := stands[key]
		switch {
		case revision <= checkpoint:
			loss.Deleted++
			loss.Applied++
			if !there {
				loss.Of++
			}
		case there && !deleting:
			loss.Deleted++
			loss.Keys = append(loss.Keys, key)
		default:
			noLoss = append(noLoss, key)
		}
	}
	slices.Sort(loss.Keys)
	loss.Keys = loss.Keys[:min(len(loss.Keys), keysNamed)]
	return loss, noLoss, err
}

// taken says what is deleted along with a CRD or a Namespace; nil for other objects.
func (c census) taken(ctx context.Context, key string) ([]role.Loss, error) {
	k, _ := registry.ParseKey(c.view.Scope.RegistryPrefix(), key)
	if k.GroupResource() == "customresourcedefinitions.apiextensions.k8s.io" {
		loss, err := c.of(ctx, k.Name, "")
		loss.Whole = true
		return []role.Loss{loss}, err
	}
	resources, err := c.resources(ctx)
	if err != nil {
		return nil, err
	}
	var losses []role.Loss
	for _, resource := range resources {
		prefix := registry.ResourcePrefix(c.view.Scope.RegistryPrefix(), resource) + k.Name + "/"
		some, err := c.standby.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return nil, fmt.Errorf("count %s on the standby: %w", prefix, err)
		}
		if _, floor := c.limits.Of(resource); some.Count <= floor {
			continue // never too many
		}
		loss, err := c.of(ctx, resource, k.Name)
		if err != nil {
			return nil, err
		}
		losses = append(losses, loss)
	}
	return losses, nil
}

// resources lists those that the standby has objects of.
func (c census) resources(ctx context.Context) ([]string, error) {
	var found []string
	prefix := c.view.Scope.RegistryPrefix()
	for at, end := prefix, kv.PrefixEnd(prefix); at < end; {
		resp, err := c.standby.Get(ctx, at, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil {
			return nil, fmt.Errorf("list the standby's resources: %w", err)
		}
		if len(resp.Kvs) == 0 {
			break
		}
		key := string(resp.Kvs[0].Key)
		k, ok := registry.ParseKey(prefix, key)
		if !ok {
			at = key + "\x00"
			continue
		}
		found = append(found, k.GroupResource())
		at = kv.PrefixEnd(registry.ResourcePrefix(prefix, k.GroupResource()))
	}
	return found, nil
}

// takesAlong reports whether the deletion of the object at key takes other
// objects along.
func takesAlong(registryPrefix, key string) bool {
	k, ok := registry.ParseKey(registryPrefix, key)
	return ok && (k.GroupResource() == "namespaces" || k.GroupResource() == "customresourcedefinitions.apiextensions.k8s.io")
}
