package replica

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/kv"
)

// Guard is what is done about drift. The zero value puts back what was deleted
// and reports what was changed. What others create is reported, always: a key
// that did not come from the primary is not touched.
type Guard struct {
	ReportDeletions bool // report deletions, and put nothing back
	RepairChanges   bool // give changed objects the primary's values again
}

func (g Guard) repairs(d Drifted) bool {
	return d == Deleted && !g.ReportDeletions || d == Changed && g.RepairChanges
}

// Drifted is how somebody else's write made the standby differ.
type Drifted string

// The ways to drift. An object that is marked for deletion counts as deleted:
// the standby's controllers run its finalizers.
const (
	Deleted Drifted = "deleted"
	Changed Drifted = "changed"
	Created Drifted = "created" // the primary does not have it
)

// Outcome is what has become of an incident.
type Outcome string

// The outcomes of an incident.
const (
	Reported   Outcome = "reported" // and left as it is
	Pending    Outcome = "pending"  // to be compared with the primary, and repaired
	Repaired   Outcome = "repaired"
	Superseded Outcome = "superseded" // by what the primary has written since, or the key was there again
	Stopped    Outcome = "stopped"    // harmed again and again; see Drift.Flapping
	Failed     Outcome = "failed"     // it could not be repaired; the log says why
)

// Incident is somebody else's write to a key in scope on the standby, by which
// it differs from the primary.
type Incident struct {
	What                              Drifted
	Key                               string
	Kind, Resource, Namespace, Object string    // Resource is plural.group; Object the name
	Seen                              time.Time // by the guard
	By                                string    // who probably did it
	Marked                            bool      // deleted: it was marked for deletion, and stood there still
	Outcome                           Outcome
}

// Drift is an account of what others did to the standby since the process
// started. A deletion counts when the primary has shown that it is one: where
// the primary has deleted the object as well, nothing has drifted.
type Drift struct {
	Deleted, Changed, Created int64
	Repaired                  int64
	Pending                   int64
	Unnoted                   int64      // harmed keys beyond those that could be noted down; not repaired
	Flapping                  []Incident // no longer repaired; the last that happened to each key
	Recent                    []Incident // the newest first
}

const (
	recentDrift = 20
	// maxWounds bounds what waits to be repaired, keys alone, and maxHands the
	// keys of which it is remembered who wrote them last.
	maxWounds = 50_000
	maxHands  = 10_000
)

// wound is a key that waits to be compared with the primary and repaired.
type wound struct {
	key      string
	revision kv.Revision // of the standby
	told     bool        // counts already
	returns  bool        // no drift; see finding.returns
	not      time.Time   // to be looked at before
	incident *Incident
}

// ledger is the account of drift while a process lives, over all its sessions.
type ledger struct {
	policy Guard
	log    *slog.Logger
	wake   chan struct{} // something waits

	mu      sync.Mutex
	drift   Drift // without what is gathered when it is asked for
	recent  []*Incident
	wounds  []*wound // in the order of the standby's revisions
	waiting map[string]*wound
	flaps   flaps
	hands   map[string]string
	// judged is the standby's revision up to which all writes are in the account.
	judged kv.Revision
	// begun is the standby's revision at which the session began. What was harmed
	// before, and stands again, somebody may have told of already.
	begun kv.Revision
}

func newLedger(policy Guard, log *slog.Logger) *ledger {
	return &ledger{policy: policy, log: log, wake: make(chan struct{}, 1),
		waiting: map[string]*wound{}, flaps: flaps{}, hands: map[string]string{}}
}

// begin starts a session. A standby that was rolled back counts anew.
func (l *ledger) begin(standby kv.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.judged, l.begun = min(l.judged, standby), standby
}

// after is the standby's revision after which writes are news.
func (l *ledger) after() kv.Revision {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.judged
}

// unmended is the standby's revision before the first wound that waits: a
// daemon that takes over has to look from there on.
func (l *ledger) unmended(through kv.Revision) kv.Revision {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.wounds {
		through = min(through, w.revision-1)
	}
	return through
}

// note takes incidents and own writes up to a revision of the standby into the
// account.
func (l *ledger) note(found []finding, through kv.Revision, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range found {
		l.noteOne(f, now)
	}
	l.judged = max(l.judged, through)
	if len(l.wounds) > 0 {
		l.signal()
	}
}

func (l *ledger) noteOne(f finding, now time.Time) {
	if f.tended {
		l.flaps.forget(f.Key)
		return
	}
	l.flaps.touch(f.Key, now)
	incident := f.Incident
	incident.Seen, incident.Outcome = now, Reported
	switch hand := l.hands[f.Key]; {
	case incident.What == Deleted && hand != "":
		incident.By = hand
	case incident.What != Deleted && incident.By != unknownHand:
		if len(l.hands) >= maxHands {
			clear(l.hands)
		}
		l.hands[f.Key] = incident.By
	}
	w := &wound{key: f.Key, revision: f.revision, incident: &incident, returns: f.returns}
	if f.returns {
		l.await(w)
		return
	}
	// A deletion is compared with the primary even where it is only reported.
	if !f.kept && (incident.What == Deleted || l.policy.repairs(incident.What)) {
		if l.await(w) {
			incident.Outcome = Pending
		} else if incident.What == Deleted {
			return
		}
	}
	l.recent = append(l.recent, &incident)
	l.recent = l.recent[max(0, len(l.recent)-recentDrift):]
	if f.kept || incident.What != Deleted {
		l.tell(w)
	}
}

// await lets a wound wait, unless its key does already.
func (l *ledger) await(w *wound) bool {
	if before := l.waiting[w.key]; before != nil {
		before.returns = before.returns || w.returns
		if w.incident.What == before.incident.What {
			return false
		}
		// Changed, and deleted; or deleted, and created anew as another one.
		before.incident.Outcome = Superseded
		before.incident, before.told = w.incident, false
		return true
	}
	if len(l.wounds) >= maxWounds {
		if l.drift.Unnoted++; l.drift.Unnoted == 1 {
			l.log.Warn("more keys were deleted on the standby than are noted down; the check names all", "noted", maxWounds, "remedy", "understudy repair --apply")
		}
		return false
	}
	l.wounds = append(l.wounds, w)
	l.waiting[w.key] = w
	return true
}

// tell counts an incident and logs it, once.
func (l *ledger) tell(w *wound) {
	if w.told {
		return
	}
	w.told = true
	i := w.incident
	switch i.What {
	case Deleted:
		l.drift.Deleted++
	case Changed:
		l.drift.Changed++
	case Created:
		l.drift.Created++
	}
	l.log.Warn("drift on the standby: somebody else has written", "what", i.What, "kind", i.Kind, "namespace", i.Namespace, "name", i.Object, "key", i.Key, "by", i.By)
}

// due returns the first wounds that can be looked at now, with those that have
// rested, and when the next one can be; 0 = none waits.
func (l *ledger) due(n int, now time.Time) (ready []*wound, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.flaps.rested(now) {
		w.revision = l.judged + 1 // keeps the order
		w.incident.Outcome = Pending
		l.await(w)
	}
	for _, w := range l.wounds {
		left := w.not.Sub(now)
		switch {
		case len(ready) == n:
			return ready, time.Nanosecond
		case left <= 0:
			ready = append(ready, w)
		case wait == 0 || left < wait:
			wait = left
		}
	}
	return ready, wait
}

// close ends the wait of some wounds.
func (l *ledger) close(done map[*wound]Outcome, now time.Time) {
	if len(done) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wounds = slices.DeleteFunc(l.wounds, func(w *wound) bool {
		_, ended := done[w]
		return ended
	})
	for w, outcome := range done {
		delete(l.waiting, w.key)
		if w.returns {
			w.incident.Outcome = cmp.Or(outcome, Superseded)
			if outcome == Repaired {
				l.log.Info("the standby's own is gone, and the conflict over; the primary's has its place", "kind", w.incident.Kind, "namespace", w.incident.Namespace, "name", w.incident.Object, "key", w.key)
			}
			continue
		}
		if outcome == "" || outcome == Superseded && !w.told && w.revision <= l.begun { // it was none, or is past
			l.recent = slices.DeleteFunc(l.recent, func(i *Incident) bool { return i == w.incident })
			l.flaps.forget(w.key)
			continue
		}
		l.tell(w)
		w.incident.Outcome = outcome
		if outcome == Repaired {
			l.drift.Repaired++
			l.flaps.repaired(w.key, now)
			l.log.Info("put back on the standby", "kind", w.incident.Kind, "namespace", w.incident.Namespace, "name", w.incident.Object, "key", w.key)
		}
	}
}

// later puts off looking at wounds again.
func (l *ledger) later(wounds []*wound, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range wounds {
		w.not = until
	}
}

// allows asks whether a wound may be repaired, and says so the first time that
// its key is harmed too often.
func (l *ledger) allows(w *wound, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok, stops := l.flaps.allows(w, now)
	if stops {
		l.log.Warn("a key of the standby is harmed again and again; it is no longer repaired", "kind", w.incident.Kind, "namespace", w.incident.Namespace,
			"name", w.incident.Object, "key", w.key, "by", w.incident.By, "repairs", flapRepairs, "within", flapWithin, "again", flapRest)
	}
	return ok
}

func (l *ledger) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// report is the account at this moment.
func (l *ledger) report() Drift {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.drift
	d.Pending = int64(len(l.wounds))
	for _, f := range l.flaps.stopped() {
		d.Flapping = append(d.Flapping, *f.wound.incident)
	}
	for _, i := range slices.Backward(l.recent) {
		d.Recent = append(d.Recent, *i)
	}
	return d
}
