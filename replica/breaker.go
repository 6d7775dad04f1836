package replica

import (
	"cmp"
	"math"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
)

// Breaker says how many deletions of one resource are too many. The zero value
// never trips.
type Breaker struct {
	Share  float64       // percent of the resource's objects in scope; 0 and 100 = never too many
	Floor  int64         // that many are never too many, whatever their share
	Window time.Duration // in which they are counted
	Rules  []BreakerRule // for some resources; the last that matches counts
}

// BreakerRule are other limits for some resources.
type BreakerRule struct {
	Resources []string // patterns of plural.group
	Share     float64
	Floor     int64 // negative: what holds without this rule
	// AtMost: it makes the rules before it stricter, never looser, but for what they
	// name without a pattern.
	AtMost bool
}

func (r BreakerRule) matches(resource string) bool {
	return slices.ContainsFunc(r.Resources, func(pattern string) bool {
		ok, err := path.Match(pattern, resource)
		return ok && err == nil
	})
}

// Of are the limits for one resource.
func (b Breaker) Of(resource string) (share float64, floor int64) {
	share, floor = b.Share, b.Floor
	named := false
	for _, r := range b.Rules {
		if !r.matches(resource) || r.AtMost && named {
			continue
		}
		if r.AtMost {
			share, floor = min(share, r.Share), min(floor, r.Floor)
			continue
		}
		named = slices.Contains(r.Resources, resource)
		share = r.Share
		if r.Floor >= 0 {
			floor = r.Floor
		}
	}
	return share, floor
}

func (b Breaker) off() bool {
	return (b.Share <= 0 || b.Share >= 100) && !slices.ContainsFunc(b.Rules, func(r BreakerRule) bool { return r.Share > 0 && r.Share < 100 })
}

// never reports whether deletions of a resource are not counted at all.
func (b Breaker) never(resource string) bool {
	share, _ := b.Of(resource)
	return share <= 0 || share >= 100
}

// fewAll is the floor for all objects of a resource that go together.
const fewAll = 3

// floor is how many of a resource are never too many; whole = all of them, with
// their definition.
func (b Breaker) floor(resource string, whole bool) int64 {
	_, floor := b.Of(resource)
	if whole {
		floor = min(floor, fewAll)
	}
	return floor
}

// tooMany decides about a loss. It is pure.
func (b Breaker) tooMany(l role.Loss) bool {
	share, _ := b.Of(l.Resource)
	return !b.never(l.Resource) && l.Deleted > b.floor(l.Resource, l.Whole) && float64(l.Deleted) > share/100*float64(l.Of)
}

// worst returns the losses that are too many, the largest share first.
func (b Breaker) worst(losses []role.Loss) []role.Loss {
	var out []role.Loss
	for _, l := range losses {
		if b.tooMany(l) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(x, y role.Loss) int {
		return cmp.Or(cmp.Compare(y.Deleted*x.Of, x.Deleted*y.Of), cmp.Compare(x.Resource, y.Resource))
	})
	return out
}

// A deletion waits for another one of its resource to come within alone. Where
// one does, they wait together until no more has come for settle, so that nothing
// of a burst has been applied when it turns out to be one; but no longer than
// patience. What the primary wrote after them waits as well.
const (
	alone    = 100 * time.Millisecond
	settle   = 250 * time.Millisecond
	patience = 5 * time.Second
)

// burst are the deletions of one resource within the window.
type burst struct {
	keys    map[string]deletion
	waiting int       // deletions that have not been let through
	first   time.Time // when the first one that waits has come; zero = none waits
	last    time.Time // when the last one has come
	passed  kv.Revision
	flowing bool // has outlasted the patience; not held up again before it ends
	weighed time.Time
	of      int64 // objects of the resource when it was weighed, those of the burst included
}

type deletion struct {
	revision kv.Revision
	at       time.Time
}

// doom is an object whose deletion takes others along: a CRD or a Namespace
// that is being deleted.
type doom struct {
	key      string
	revision kv.Revision
	at       time.Time
}

// breaker counts what the stream is about to delete. The watch tells it of
// changes before they are queued; whoever applies them asks gate how far it may go.
type breaker struct {
	limits   Breaker
	accepted shown

	mu     sync.Mutex
	bursts map[string]*burst
	dooms  []doom
	// What the primary is known to have written, and how far it has been told: as
	// long as it is behind, silence is that of the way, and ends no burst.
	head, told kv.Revision
}

func newBreaker(limits Breaker, accepted shown) *breaker {
	return &breaker{limits: limits, accepted: accepted, bursts: map[string]*burst{}}
}

// expects says that the primary has written up to a revision.
func (b *breaker) expects(head kv.Revision) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.head = max(b.head, head)
}

// heard says that all deletions up to a revision have been told.
func (b *breaker) heard(through kv.Revision) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = max(b.told, through)
}

// lost tells of an object that is deleted, or marked for it.
func (b *breaker) lost(resource, key string, revision kv.Revision, now time.Time) {
	if b.limits.never(resource) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(resource, key, revision, now)
}

func (b *breaker) note(resource, key string, revision kv.Revision, now time.Time) {
	r := b.bursts[resource]
	if r == nil {
		r = &burst{keys: map[string]deletion{}}
		b.bursts[resource] = r
	}
	if _, again := r.keys[key]; again {
		return // marked before
	}
	if now.Sub(r.last) > settle {
		r.flowing = false
	}
	if r.first.IsZero() {
		r.first = now
	}
	r.keys[key] = deletion{revision, now}
	r.waiting++
	r.last = now
}

// created tells of an object that is there again.
func (b *breaker) created(resource, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.bursts[resource]; r != nil {
		delete(r.keys, key)
	}
}

// doomed tells of an object whose deletion takes others along.
func (b *breaker) doomed(key string, revision kv.Revision, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limits.off() {
		return
	}
	for i, d := range b.dooms {
		if d.revision > revision { // a scout was ahead
			b.dooms = slices.Insert(b.dooms, i, doom{key, revision, now})
			return
		}
		if d.key == key && d.revision == revision {
			return
		}
	}
	b.dooms = append(b.dooms, doom{key, revision, now})
}

// gate is how far the stream may go.
type gate struct {
	through kv.Revision   // what the primary wrote after it waits
	again   time.Duration // ask again then at the latest
	weigh   []weight      // what has to be weighed first
}

// everything lets all through that there is.
const everything = kv.Revision(math.MaxInt64)

// weight is something that may be too much: a burst of a resource, or all dooms
// that have not been let through.
type weight struct {
	dooms         []doom // of a burst: none
	resource      string // of dooms: ""
	keys          map[string]kv.Revision
	deleted       int64 // at most
	applied       int64
	from, through kv.Revision
	within        time.Duration
}

// gate says how far the stream may go at a checkpoint. It is pure but for what
// it forgets.
func (b *breaker) gate(checkpoint kv.Revision, now time.Time) gate {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := gate{through: everything}
	wait := func(first kv.Revision, again time.Duration) {
		g.through = min(g.through, first-1)
		if g.again == 0 || again < g.again {
			g.again = again
		}
	}
	for resource, r := range b.bursts {
		first := b.expire(resource, r, checkpoint, now)
		if first == 0 {
			continue
		}
		quiet, patient := r.quietIn(now), r.first.Add(patience).Sub(now)
		if b.told < b.head {
			quiet = max(quiet, settle)
		}
		if quiet > 0 && patient > 0 && !r.flowing {
			wait(first, max(min(quiet, patient), time.Millisecond))
			continue
		}
		_, floor := b.limits.Of(resource)
		if n := int64(len(r.keys)); b.someAccepted(r, checkpoint) || n > floor && (r.of == 0 || b.limits.tooMany(role.Loss{Resource: resource, Deleted: n, Of: r.of})) {
			wait(first, 0)
			g.weigh = append(g.weigh, r.weight(resource, checkpoint))
			continue
		}
		r.pass(r.newest(), quiet > 0)
	}
	if n := len(b.dooms); n > 0 {
		wait(b.dooms[0].revision, 0)
		g.weigh = append(g.weigh, weight{dooms: slices.Clone(b.dooms), from: b.dooms[0].revision, through: b.dooms[n-1].revision})
	}
	return g
}

// someAccepted reports whether deletions wait that an operator may have accepted: they
// are weighed, however few, so that they do not count with those to come.
func (b *breaker) someAccepted(r *burst, checkpoint kv.Revision) bool {
	if len(b.accepted) == 0 {
		return false
	}
	for key, d := range r.keys {
		if d.revision > max(r.passed, checkpoint) && b.accepted.names(key) {
			return true
		}
	}
	return false
}

// expire forgets what has left the window, and returns the revision of the first
// deletion that waits; 0 = none does.
func (b *breaker) expire(resource string, r *burst, checkpoint kv.Revision, now time.Time) (first kv.Revision) {
	for key, d := range r.keys {
		if d.revision <= checkpoint && now.Sub(d.at) > b.limits.Window {
			delete(r.keys, key)
			continue
		}
		if d.revision > r.passed && d.revision > checkpoint && (first == 0 || d.revision < first) {
			first = d.revision
		}
	}
	if len(r.keys) == 0 {
		delete(b.bursts, resource)
	}
	if now.Sub(r.weighed) > b.limits.Window {
		r.of = 0
	}
	return first
}

func (r *burst) weight(resource string, checkpoint kv.Revision) weight {
	w := weight{resource: resource, deleted: int64(len(r.keys)), keys: make(map[string]kv.Revision, len(r.keys))}
	var begin time.Time
	for key, d := range r.keys {
		w.keys[key] = d.revision
		if d.revision <= checkpoint {
			w.applied++
		}
		if w.from == 0 || d.revision < w.from {
			w.from = d.revision
		}
		if begin.IsZero() || d.at.Before(begin) {
			begin = d.at
		}
		w.through = max(w.through, d.revision)
	}
	w.within = r.last.Sub(begin)
	return w
}

// newest is the revision of the last deletion.
func (r *burst) newest() (last kv.Revision) {
	for _, d := range r.keys {
		last = max(last, d.revision)
	}
	return last
}

// quietIn says after how long the burst counts as ended.
func (r *burst) quietIn(now time.Time) time.Duration {
	if r.waiting == 1 {
		return r.last.Add(alone).Sub(now)
	}
	return r.last.Add(settle).Sub(now)
}

// pass lets through what has come so far.
func (r *burst) pass(through kv.Revision, flowing bool) {
	r.passed, r.flowing, r.waiting, r.first = through, flowing, 0, time.Time{}
}

// judged lets through what has been weighed and is not too much. What was no
// loss is forgotten.
func (b *breaker) judged(w weight, of int64, noLoss []string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.bursts[w.resource]; r != nil {
		for _, key := range noLoss {
			delete(r.keys, key)
		}
		r.of, r.weighed = of, now
		r.pass(w.through, now.Sub(r.last) < settle)
	}
}

// counted are the deletions of all resources within the window, as of one moment.
func (b *breaker) counted() map[string]map[string]kv.Revision {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[string]map[string]kv.Revision{}
	for resource, r := range b.bursts {
		all[resource] = map[string]kv.Revision{}
		for key, d := range r.keys {
			all[resource][key] = d.revision
		}
	}
	return all
}

// let lets dooms through that are not too much. What goes with them counts like
// what was deleted by itself: the next ones are weighed together with it.
func (b *breaker) let(dooms []doom, along tolls, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dooms = slices.DeleteFunc(b.dooms, func(d doom) bool { return slices.Contains(dooms, d) })
	for resource, t := range along {
		if b.limits.never(resource) {
			continue
		}
		for key, revision := range t.keys {
			b.note(resource, key, revision, now)
		}
	}
}

// waits reports whether deletions wait for others to come.
func (b *breaker) waits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.bursts {
		if r.waiting > 0 && !r.flowing {
			return true
		}
	}
	return false
}
