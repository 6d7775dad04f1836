package replica

import (
	"maps"
	"slices"
	"time"
)

// A key that is put back flapRepairs times within flapWithin, or slowRepairs
// times within slowWithin, and is harmed once more, is left as it is: somebody on
// the standby means it, and every round may start something outside the cluster.
// It is looked at again when it has been left alone for flapRest.
const (
	flapRepairs = 3
	flapWithin  = time.Minute
	slowRepairs = 6
	slowWithin  = time.Hour
	flapRest    = 10 * time.Minute
)

// flaps knows which keys are harmed again and again. It is pure: it is told
// the time.
type flaps map[string]*flap

type flap struct {
	repairs []time.Time // the last ones, slowRepairs at most
	stopped time.Time   // zero = it is still repaired
	touched time.Time   // by somebody else
	wound   *wound      // since it is stopped: what is left as it is
}

// touch tells of somebody else's write.
func (f flaps) touch(key string, now time.Time) {
	if one := f[key]; one != nil {
		one.touched = now
	}
}

// repaired tells of a repair.
func (f flaps) repaired(key string, now time.Time) {
	one := f[key]
	if one == nil {
		one = &flap{}
		f[key] = one
	}
	one.repairs = append(one.repairs, now)
	if n := len(one.repairs); n > slowRepairs {
		one.repairs = one.repairs[n-slowRepairs:]
	}
}

// since reports whether the last n repairs happened within a time.
func (f *flap) since(n int, within time.Duration, now time.Time) bool {
	return len(f.repairs) >= n && now.Sub(f.repairs[len(f.repairs)-n]) <= within
}

// allows reports whether a wounded key may be repaired. The first time that it
// may not, stops is true as well.
func (f flaps) allows(w *wound, now time.Time) (ok, stops bool) {
	one := f[w.key]
	switch {
	case one == nil:
		return true, false
	case !one.stopped.IsZero():
		one.wound = w
		return false, false
	case !one.since(flapRepairs, flapWithin, now) && !one.since(slowRepairs, slowWithin, now):
		return true, false
	}
	one.stopped, one.touched, one.wound = now, now, w
	return false, true
}

// rested takes out and returns what has been left alone for long enough, and
// forgets the repairs that no longer count.
func (f flaps) rested(now time.Time) []*wound {
	var out []*wound
	for key, one := range f {
		switch {
		case !one.stopped.IsZero() && now.Sub(one.touched) >= flapRest:
			out = append(out, one.wound)
			delete(f, key)
		case one.stopped.IsZero() && !one.since(1, slowWithin, now):
			delete(f, key)
		}
	}
	slices.SortFunc(out, func(a, b *wound) int { return int(a.revision - b.revision) })
	return out
}

// forget is for a key that somebody has taken care of.
func (f flaps) forget(key string) { delete(f, key) }

// stopped are the keys that are not repaired any more.
func (f flaps) stopped() []*flap {
	var out []*flap
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if !f[key].stopped.IsZero() {
			out = append(out, f[key])
		}
	}
	return out
}
