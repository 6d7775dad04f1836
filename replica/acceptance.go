package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/source"
)

// acceptance is what an operator has accepted to be deleted. The zero value is nothing.
type acceptance struct {
	shown   map[string]kv.Revision // by resource: the last deletion that a stream has shown
	through kv.Revision            // a resync may delete what the primary had lost then,
	left    map[string]int64       // by resource as much as was shown
	dooms   map[string]kv.Revision // objects whose deletion takes others along, as Trip.Cause names them, and when it was shown
}

// acceptanceOf is what the answers to a trip and those before it accept, for a
// standby that is complete up to a revision.
func acceptanceOf(t *role.Trip, complete kv.Revision) acceptance {
	a := acceptance{shown: map[string]kv.Revision{}, through: t.Answer.Through, left: map[string]int64{}, dooms: map[string]kv.Revision{}}
	for _, one := range append(slices.Clone(t.Earlier), *t) {
		for _, cause := range one.Causes() {
			a.dooms[cause] = max(a.dooms[cause], one.Through)
		}
		for _, l := range one.Losses {
			n := l.Deleted - l.Applied
			if one.Cause != "" { // the others go along
				n = min(n, l.Beside)
			}
			switch {
			case one.Resync: // it has counted what went before as well
				a.left[l.Resource] = n + l.Accepted
			case one.Through > complete: // or the standby has it
				if one.From > complete { // or nobody knows how much of it
					a.left[l.Resource] += n
				}
				a.shown[l.Resource] = max(a.shown[l.Resource], one.Through)
			}
		}
	}
	return a
}

// covers reports whether the deletion of an object was accepted.
func (a acceptance) covers(k registry.Key, revision kv.Revision) bool {
	return revision <= a.shown[k.GroupResource()] || a.doomed(causeOf("namespaces", k.Namespace)) || a.doomed(causeOf(definitions, k.GroupResource()))
}

func (a acceptance) doomed(cause string) bool {
	_, accepted := a.dooms[cause]
	return accepted
}

// endDooms forgets the accepted Namespaces and definitions that have gone: one of
// their name is another one.
func (s *session) endDooms(ctx context.Context) error {
	for cause, shown := range s.accepted.dooms {
		if shown > s.sink.Last().SourceRevision {
			continue // the mark is yet to come
		}
		_, name, _ := strings.Cut(cause, " ")
		resource := "namespaces"
		if cause != causeOf(resource, name) {
			resource = definitions
		}
		there, err := source.Get(ctx, s.standby, []string{registry.ResourcePrefix(s.View.Scope.RegistryPrefix(), resource) + name}, 0)
		if err != nil {
			return fmt.Errorf("look whether %s is still being deleted on the standby: %w", cause, err)
		}
		if len(there) > 0 {
			if o, err := s.View.InStandby(there[0].Key, there[0].Value); err == nil && o.Meta.Deleting {
				continue
			}
		}
		delete(s.accepted.dooms, cause)
	}
	return nil
}

// acceptedLosses takes from what is gone the keys that were accepted: those that go
// along with what was, and those that the primary had lost, or was deleting, when
// the answer was given. Where these are more than the answer names, by more than
// what is never too many, all of them are shown again: nobody knows which are new.
func (j *copyJob) acceptedLosses(ctx context.Context, gone tolls) error {
	for resource, t := range gone {
		if err := j.acceptedAlong(ctx, resource, t); err != nil {
			return err
		}
		left := j.accepted.left[resource]
		if left == 0 {
			continue
		}
		accepted, err := j.goneThen(ctx, slices.Collect(maps.Keys(t.keys)))
		if err != nil {
			return err
		}
		if int64(len(accepted)) > left+min(j.breaker.floor(resource, t.whole), left/10) {
			continue
		}
		for _, key := range accepted {
			delete(t.keys, key)
		}
		t.accepted = accepted
	}
	return nil
}

// acceptedAlong takes from what is gone of a resource what goes along with an
// accepted Namespace or definition.
func (j *copyJob) acceptedAlong(ctx context.Context, resource string, t *toll) error {
	prefix := j.view.Scope.RegistryPrefix()
	known := map[string]bool{}
	accepted := func(resource, name string) (bool, error) {
		if known, asked := known[resource+"/"+name]; asked {
			return known, nil
		}
		was, err := j.acceptedDoom(ctx, registry.ResourcePrefix(prefix, resource)+name, causeOf(resource, name))
		known[resource+"/"+name] = was
		return was, err
	}
	for key := range t.keys {
		k, _ := j.view.Scope.Parse(key)
		along, err := accepted(definitions, resource)
		if err == nil && !along && k.Namespace != "" {
			along, err = accepted("namespaces", k.Namespace)
		}
		if err != nil {
			return err
		}
		if along {
			delete(t.keys, key)
		}
	}
	return nil
}

// acceptedDoom reports whether what the deletion of an object takes along was accepted.
func (j *copyJob) acceptedDoom(ctx context.Context, key, cause string) (bool, error) {
	if !j.accepted.doomed(cause) {
		return false, nil
	}
	then, err := j.goneThen(ctx, []string{key})
	return len(then) == 1, err
}

// goneThen returns those of the keys that the primary had lost, or was deleting,
// at the revision that the answer covers; none where it has compacted it.
func (j *copyJob) goneThen(ctx context.Context, keys []string) (gone []string, err error) {
	if j.rev <= j.accepted.through {
		return keys, nil
	}
	for part := range slices.Chunk(keys, readAgainMax) {
		there, err := source.Get(ctx, j.primary, part, j.accepted.through)
		if errors.Is(err, source.ErrCompacted) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the primary as of the answer to the breaker: %w", err)
		}
		stood := map[string]bool{}
		for _, p := range there {
			object, err := j.view.InPrimary(p.Key, p.Value)
			stood[p.Key] = err != nil || object.In && !object.Meta.Deleting
		}
		for _, key := range part {
			if !stood[key] {
				gone = append(gone, key)
			}
		}
	}
	return gone, nil
}
