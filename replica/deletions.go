package replica

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
)

// Deletion is a run of deletions of one resource that reached the standby: too few
// for the breaker, and too many to go unmentioned.
type Deletion struct {
	Resource string
	// Along: instead of a resource, what goes along with an object that the primary has
	// begun to delete, a Namespace or a definition, by resource; Cause names it.
	Cause string
	Along map[string]int64

	Deleted  int64
	Of       int64 // that were there before; 0 = not counted yet
	First    []string
	At, Last time.Time
}

const (
	fewDeletions  = 5               // that many of one resource are not worth a word
	runApart      = time.Minute     // without a deletion: what comes then is another run
	runLongest    = 5 * time.Minute // from the first: what is deleted all the time is told now and then
	runQuiet      = 2 * time.Second // then a run is told
	runsKept      = 20              // of those that were worth it
	deletionNames = 3               // of a run
	runsForgotten = 24 * time.Hour  // and then only the log has them
)

// deletions keeps account of them. It has no lock of its own.
type deletions struct {
	runs map[string]*Deletion // by resource, the last of each
	kept []*Deletion          // those that were worth a word, the oldest first
	told map[*Deletion]int64  // how many of them the log has
	all  map[string]int64     // ever, by resource
}

func newDeletions() *deletions {
	return &deletions{runs: map[string]*Deletion{}, told: map[*Deletion]int64{}, all: map[string]int64{}}
}

// note counts one deletion.
func (d *deletions) note(resource, key string, now time.Time) {
	d.all[resource]++
	run := d.runs[resource]
	if run == nil || run.over(now) || run.Deleted <= fewDeletions && now.Sub(run.At) > runApart {
		run = &Deletion{Resource: resource, At: now}
		d.runs[resource] = run
	}
	run.Deleted++
	run.Last = now
	if run.Of > 0 {
		run.Of = max(run.Of, run.Deleted) // what was created since it was counted goes as well
	}
	if len(run.First) < deletionNames {
		run.First = append(run.First, key)
	}
	if run.Deleted == fewDeletions+1 {
		d.keep(run)
	}
}

// over reports whether a deletion at a time is not one of the run any more.
func (run *Deletion) over(now time.Time) bool {
	return now.Sub(run.Last) > runApart || now.Sub(run.At) > runLongest
}

func (d *deletions) keep(run *Deletion) {
	d.kept = append(d.kept, run)
	if len(d.kept) > runsKept {
		delete(d.told, d.kept[0])
		d.kept = slices.Delete(d.kept, 0, 1)
	}
}

// recent are those of the last day, the newest first.
func (d *deletions) recent(now time.Time) (out []Deletion) {
	for _, run := range slices.Backward(d.kept) {
		if now.Sub(run.Last) < runsForgotten {
			out = append(out, *run)
		}
	}
	return out
}

// due are the runs that the log does not have as they are: those that are quiet for
// the first time, that are over, or all.
func (d *deletions) due(now time.Time, all bool) (out []*Deletion) {
	for _, run := range d.kept {
		quiet := d.told[run] == 0 && now.Sub(run.Last) >= runQuiet
		if d.told[run] != run.Deleted && (all || quiet || run.over(now)) {
			out = append(out, run)
		}
	}
	return out
}

func deletedKeys(changes []kv.Change) (keys []string) {
	for _, c := range changes {
		if c.Delete {
			keys = append(keys, c.Key)
		}
	}
	return keys
}

// deleted notes what was deleted on the standby because the primary has.
func (r *Replica) deleted(keys []string) {
	if len(keys) == 0 {
		return
	}
	now := time.Now()
	r.account.update(func(*State) {
		for _, key := range keys {
			if k, ok := r.View.Scope.Parse(key); ok {
				r.account.deletions.note(k.GroupResource(), key, now)
			}
		}
	})
}

// goesAlong notes what the breaker has let through with Namespaces and definitions
// that are being deleted, and says so.
func (s *session) goesAlong(causes []string, along tolls) {
	run := &Deletion{Cause: role.JoinCauses(causes), Along: map[string]int64{}, At: time.Now(), Last: time.Now()}
	for resource, t := range along {
		if n := int64(len(t.keys)); n > 0 {
			run.Along[resource] = n
			run.Deleted += n
		}
	}
	if run.Deleted <= fewDeletions {
		return
	}
	s.account.update(func(*State) {
		s.account.deletions.keep(run)
		s.account.deletions.told[run] = run.Deleted
	})
	s.Log.Warn("the primary deletes what takes others along", "cause", run.Cause, "objects", run.Deleted, "along", run.Along)
}

// tellDeletions writes a line for each run of deletions, until ctx ends.
func (s *session) tellDeletions(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.tellDue(ctx, false)
		case <-ctx.Done():
			s.tellDue(ctx, true)
			return nil
		}
	}
}

func (s *session) tellDue(ctx context.Context, all bool) {
	var due []*Deletion
	s.account.update(func(*State) { due = s.account.deletions.due(time.Now(), all) })
	for _, run := range due {
		var told Deletion
		s.account.update(func(*State) { told = *run })
		if told.Of == 0 { // once: what is created since was not there before
			left, counted := s.countOf(ctx, run.Resource)
			if counted {
				told.Of = left + told.Deleted
			}
		}
		s.account.update(func(*State) {
			if told.Of > 0 {
				run.Of = max(told.Of, run.Deleted) // more may have gone while it was counted
			}
			s.account.deletions.told[run] = run.Deleted
			told = *run
			told.First = slices.Clone(run.First)
		})
		what := []any{"resource", told.Resource, "deleted", told.Deleted}
		if told.Of > 0 {
			what = append(what, "of", told.Of)
		}
		s.Log.Warn("the primary deleted objects, and so they are deleted on the standby",
			append(what, "within", told.Last.Sub(told.At).Round(time.Millisecond), "first", told.First)...)
	}
}

// countOf is how many objects of a resource the standby has in scope.
func (s *session) countOf(ctx context.Context, resource string) (n int64, ok bool) {
	c := census{standby: s.standby, view: s.View, foreign: func(*kv.Pair) bool { return false }}
	err := c.each(ctx, resource, "", func(kv.Pair, scope.Object) { n++ })
	return n, err == nil
}

// deletedOf are all deletions so far, by resource.
func (d *deletions) deletedOf() map[string]int64 { return maps.Clone(d.all) }
