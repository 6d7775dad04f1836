package replica

import (
	"maps"
	"slices"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
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
	for _, one := range append(slices.Clone(t.Earlier), *t) {
		for _, l := range one.Losses {
			a.left[l.Resource] += l.Deleted
		}
		for _, cause := range one.Causes() {
			a.dooms[cause] = true
		}
	}
	return a
}

func (a acceptance) clone() acceptance { return acceptance{a.through, maps.Clone(a.left), a.dooms} }

// spend takes one deletion from what was accepted; false where it was not.
func (a acceptance) spend(resource string, revision kv.Revision) bool {
	if revision > a.through || a.left[resource] == 0 {
		return false
	}
	a.left[resource]--
	return true
}

// beyond returns the losses that are more than what was accepted.
func (a acceptance) beyond(losses []role.Loss) []role.Loss {
	return slices.DeleteFunc(losses, func(l role.Loss) bool { return l.Deleted <= a.left[l.Resource] })
}
