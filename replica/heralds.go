package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
)

// A controller that makes Pods under names of chance (of a ReplicaSet, a Job)
// makes them as soon as it sees an owner without them. It watches both kinds
// apart, so that one transaction does not help: what it hears first is chance
// (measured: in 30 trees about 30 Pods too many, which it then deletes again,
// with a chance to take the primary's instead). And it may not see the Pods
// long before their owner, or the garbage collector deletes them.
//
// So a copy writes such Pods twice. At first as heralds: whole, but that their
// owner, by its UID the right one, is of an API group that does not exist. The
// garbage collector cannot look that owner up, and leaves the Pod alone; the
// controller, once it sees the owner, goes by the UID and finds them all. Then
// come the trees, in which the Pods are as the primary has them.

// arriving is the apiVersion of a herald's owner. Nothing else has it.
const arriving = "understudy.dev/arriving"

// heraldLead is how long the controllers have to hear of the heralds.
const heraldLead = 2 * time.Second

const podResource = "pods"

// heralds writes those Pods that come with an owner which the standby does not have.
func (j *copyJob) heralds(ctx context.Context) error {
	coming := map[uid]bool{}
	for i := range j.puts {
		if it := &j.puts[i]; it.fresh && !it.pod {
			coming[it.uid] = true
		}
	}
	var pods []item
	for _, it := range j.puts {
		if it.fresh && it.pod && slices.ContainsFunc(it.owners, func(o uid) bool { return coming[o] }) {
			pods = append(pods, it)
		}
	}
	if len(pods) == 0 {
		return nil
	}
	if err := j.probe(); err != nil {
		return err
	}
	if err := j.announce(ctx); err != nil {
		return err
	}
	for part := range slices.Chunk(pods, readAgainMax) {
		changes, err := j.changes(ctx, part)
		if err != nil {
			return err
		}
		var heralds []kv.Change
		for _, c := range changes {
			switch c.Value, err = j.herald(c.Key, c.Value, coming); {
			case errors.Is(err, registry.ErrNotEditable):
				continue // it comes with its tree, and not before
			case err != nil:
				return err
			}
			heralds = append(heralds, c)
		}
		if len(heralds) == 0 {
			continue
		}
		if err := j.apply(ctx, heralds); err != nil {
			return err
		}
	}
	lead := time.NewTimer(heraldLead)
	defer lead.Stop()
	select {
	case <-lead.C:
		return nil
	case <-j.writers.ctx.Done():
		return errors.Join(j.writers.failed(), ctx.Err())
	}
}

// herald gives a Pod, as the standby stores it, the owners of a herald.
func (j *copyJob) herald(key string, stored []byte, coming map[uid]bool) ([]byte, error) {
	plain, err := j.view.Recoder.PlainOfStandby(podResource, key, stored)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	fields, err := registry.ReadFields(plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	metadata, _ := fields["metadata"].(map[string]any)
	owners, _ := metadata["ownerReferences"].([]any)
	for _, o := range owners {
		if owner, ok := o.(map[string]any); ok {
			if u, _ := owner["uid"].(string); coming[parseUID(u)] {
				owner["apiVersion"] = arriving
			}
		}
	}
	plain, err = registry.WriteFields(fields, plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return j.view.Recoder.Store(podResource, key, plain, stored)
}

// isHerald reports whether an object of the standby is what an unfinished copy
// has left.
func isHerald(meta registry.Meta) bool {
	return slices.ContainsFunc(meta.Owners, func(o registry.Owner) bool { return o.APIVersion == arriving })
}
