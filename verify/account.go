package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
)

const (
	// maxNamed bounds the keys of each kind that an account keeps by name; the
	// others are counted until the next full comparison.
	maxNamed = 10_000
	// maxOpen bounds the keys that wait to be compared one by one, and those
	// that are remembered while a full comparison runs.
	maxOpen = 100_000
)

// Account knows at any moment which keys differ: it starts from a full
// comparison (Check) and is told of every write to the standby since, the
// replication's own (Own) and everybody else's (Foreign). Whoever tells it
// must see all of them; when it cannot, it says so (Blind, Invalidate).
//
// A foreign write leaves the verdict Unknown until Run has compared that key.
// Keys that differ are compared again now and then, since a delete of a key
// that is not there shows in no watch. What an account cannot see is a write
// that the replication itself lost: that is what the full comparisons are for.
//
// All methods are safe for concurrent use.
type Account struct {
	wake chan struct{}

	mu      sync.Mutex
	base    Report // the last full comparison, without its keys
	invalid string // why there is no base
	voided  int    // how often everything became void
	blind   string
	trouble error // why the open keys could not be compared

	entries map[string]entry
	unnamed map[Kind]int64
	open    map[string]kv.Revision // foreign writes that are yet to be compared, by the standby's revision

	checking bool
	own      map[string]kv.Revision // own writes since the full comparison under way began
}

type entry struct {
	kind Kind
	why  string
	at   kv.Revision // of the standby
}

// NewAccount returns an account whose verdict is Unknown until the first Check.
func NewAccount() *Account {
	return &Account{
		wake:    make(chan struct{}, 1),
		invalid: "the first full comparison is not done yet",
		entries: map[string]entry{},
		open:    map[string]kv.Revision{},
	}
}

// Check compares both sides in full, as Run does, and makes the outcome the
// new base of the account. An Unknown outcome or an error leaves an old base
// as it is: what has been watched since still holds. One Check at a time.
func (a *Account) Check(ctx context.Context, sides Sides, view *scope.View, opts Options) (Report, error) {
	if opts.Limit == 0 || opts.Limit > maxNamed {
		opts.Limit = maxNamed
	}
	a.mu.Lock()
	a.checking, a.own = true, map[string]kv.Revision{}
	voided := a.voided
	a.mu.Unlock()

	report, err := Run(ctx, sides, view, opts)

	a.mu.Lock()
	defer a.mu.Unlock()
	a.checking = false
	if err == nil && report.Complete() && a.voided == voided {
		a.rebase(report)
	}
	a.own = nil
	return report, err
}

// rebase takes the outcome of a full comparison; what was written to the
// standby after it stays as it was told.
func (a *Account) rebase(r Report) {
	at := r.StandbyRevision
	for key, e := range a.entries {
		if e.at <= at {
			delete(a.entries, key)
		}
	}
	for key, revision := range a.open {
		if revision <= at {
			delete(a.open, key)
		}
	}
	a.unnamed = map[Kind]int64{}
	r.Reason, r.Hint = "", ""     // the entries say it
	lost := len(a.own) >= maxOpen // not all own writes since are known
	for _, kind := range allKinds {
		keys := r.Of(kind)
		a.unnamed[kind] = keys.Count - int64(len(keys.Keys))
		for _, key := range keys.Keys {
			if a.own[key] > at {
				continue
			}
			if _, newer := a.entries[key]; newer {
				continue
			}
			a.entries[key] = entry{kind, r.Why[key], at}
			if lost {
				a.open[key] = at
			}
		}
	}
	a.base, a.invalid = r, ""
	a.signal()
}

// Own tells of a write to a key in scope that the replication made, at the
// standby's revision given. It may be told before or after what Foreign tells
// of neighbouring revisions.
func (a *Account) Own(key string, standby kv.Revision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.entries[key]; ok && e.at <= standby {
		delete(a.entries, key)
	}
	if revision, ok := a.open[key]; ok && revision <= standby {
		delete(a.open, key)
	}
	if a.checking && len(a.own) < maxOpen {
		a.own[key] = standby
	}
}

// Foreign tells of a write to a key in scope that the replication did not make.
func (a *Account) Foreign(key string, standby kv.Revision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.open) >= maxOpen {
		a.invalidate(fmt.Sprintf("others have written more than %d keys of the standby at once", maxOpen))
		return
	}
	a.open[key] = max(a.open[key], standby)
	a.signal()
}

// Blind says why writes to the standby cannot be seen at the moment, such as a
// watch that is being set up again. The verdict is Unknown until Blind(""),
// which promises that all writes made meanwhile have been told.
func (a *Account) Blind(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.blind = reason
}

// Invalidate says why everything known is void, such as a gap in what could be
// watched, or a new copy. The verdict is Unknown until the next Check.
func (a *Account) Invalidate(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.invalidate(reason)
}

func (a *Account) invalidate(reason string) {
	a.invalid = reason
	a.voided++
	clear(a.entries)
	clear(a.open)
	clear(a.unnamed)
}

func (a *Account) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Report answers at once. The revisions, the counts of the scope and the times
// are those of the last full comparison; the differences are those of now. At
// most limit keys of each kind are listed, 0 = all that are known by name.
func (a *Account) Report(limit int) Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := newReport(time.Time{})
	if a.invalid != "" {
		r.Reason, r.Hint = a.invalid, "understudy check compares now"
		return r
	}
	r = a.base
	r.Why, r.ByResource = nil, nil
	r.Pending = int64(len(a.open))
	for _, kind := range allKinds {
		*r.Of(kind) = Keys{Count: a.unnamed[kind], Keys: []string{}}
	}
	for _, key := range slices.Sorted(maps.Keys(a.entries)) {
		e := a.entries[key]
		r.addText(key, e.kind, e.why, limit)
	}
	switch {
	case a.blind != "":
		r.Verdict, r.Reason = Unknown, a.blind
	case r.Differences() > 0:
		r.Verdict = Inconsistent
	case r.Pending > 0:
		r.Verdict, r.Reason = Unknown, fmt.Sprintf("%d keys that others have written on the standby are yet to be compared", r.Pending)
		if a.trouble != nil {
			r.Reason += ": " + a.trouble.Error()
		}
	default:
		r.Verdict = Consistent
		r.doubt()
	}
	return r
}
