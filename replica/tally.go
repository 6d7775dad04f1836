package replica

import (
	"sync"

	"github.com/understudy-dr/understudy/scope"
)

// ResourceCount is how many objects of one resource the primary has in scope
// and out of it, and what the scope did to them by their owners.
type ResourceCount struct {
	Replicated        int64 `json:"replicated"`
	Excluded          int64 `json:"excluded"`
	OwnersLeftOut     int64 `json:"ownersLeftOut"`     // of the excluded: because all their owners are
	ReferencesDropped int64 `json:"referencesDropped"` // of the replicated: to owners that are excluded
}

// tally counts the primary's keys per resource.
type tally struct {
	scope *scope.Scope

	mu     sync.Mutex
	counts map[string]*ResourceCount
	left   scope.LeftOutTally
}

func newTally(s *scope.Scope) *tally {
	return &tally{scope: s, counts: map[string]*ResourceCount{}}
}

// count adds one key and returns its resource, "" for one that is no object. worth
// is of one that is left out.
func (t *tally) count(key string, o scope.Object, worth scope.Worth) string {
	gr := ""
	k, ok := t.scope.Parse(key)
	if ok {
		gr = k.GroupResource()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left.Add(k.Namespace, worth)
	c := t.counts[gr]
	if c == nil {
		c = &ResourceCount{}
		t.counts[gr] = c
	}
	if o.In {
		c.Replicated++
	} else {
		c.Excluded++
	}
	if o.Orphaned {
		c.OwnersLeftOut++
	}
	c.ReferencesDropped += int64(len(o.Dropped))
	return gr
}

// leftOut is what of value has been left out.
func (t *tally) leftOut() scope.LeftOut {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left.LeftOut
}

// table is a copy of the counts.
func (t *tally) table() map[string]ResourceCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := make(map[string]ResourceCount, len(t.counts))
	for gr, c := range t.counts {
		table[gr] = *c
	}
	return table
}
