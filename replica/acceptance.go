package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/source"
)

// acceptance is what an operator has accepted to be deleted: so many objects of
// some resources, by what the primary wrote up to a revision. The zero value is none.
type acceptance struct {
	through kv.Revision
	left    map[string]int64 // by resource
	dooms   map[string]bool  // objects whose deletion takes those along, as Trip.Cause names them
}

func acceptanceOf(t *role.Trip) acceptance {
	a := acceptance{through: t.Answer.Through, left: map[string]int64{}, dooms: map[string]bool{}}
	trips := append(slices.Clone(t.Earlier), *t)
	for i, one := range trips {
		for _, l := range one.Losses {
			if !shownAgain(trips[i+1:], one.From, l.Resource) {
				a.left[l.Resource] += l.Deleted
			}
		}
		for _, cause := range one.Causes() {
			a.dooms[cause] = true
		}
	}
	return a
}

// shownAgain reports whether a later trip has counted what was lost of a resource
// from a revision on, as one that a resync raised has.
func shownAgain(later []role.Trip, from kv.Revision, resource string) bool {
	return slices.ContainsFunc(later, func(t role.Trip) bool {
		return (t.Resync || t.From <= from) && slices.ContainsFunc(t.Losses, func(l role.Loss) bool { return l.Resource == resource && !l.Beyond })
	})
}

func (a acceptance) clone() acceptance { return acceptance{a.through, maps.Clone(a.left), a.dooms} }

// covers reports whether one more deletion was accepted.
func (a acceptance) covers(resource string, revision kv.Revision) bool {
	return revision <= a.through && a.left[resource] != 0
}

// spend takes one deletion from what was accepted; false where it was not.
func (a acceptance) spend(resource string, revision kv.Revision) bool {
	if !a.covers(resource, revision) {
		return false
	}
	a.left[resource]--
	return true
}

// acceptedLosses takes from what is gone the keys that were accepted: those that the
// primary had lost, or was deleting, when the answer was given, and no more than
// the answer names.
func (j *copyJob) acceptedLosses(ctx context.Context, gone tolls) error {
	for resource, t := range gone {
		left := j.accepted.left[resource]
		if left == 0 {
			continue
		}
		accepted, err := j.goneThen(ctx, slices.Collect(maps.Keys(t.keys)))
		if err != nil {
			return err
		}
		if int64(len(accepted)) > left {
			continue // all of it is shown again
		}
		for _, key := range accepted {
			delete(t.keys, key)
			t.beyond = true
		}
	}
	return nil
}

// acceptedDoom reports whether what the deletion of an object takes along was accepted.
func (j *copyJob) acceptedDoom(ctx context.Context, key, cause string) (bool, error) {
	if !j.accepted.dooms[cause] {
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
