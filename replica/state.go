package replica

import (
	"maps"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// Phase is what a replica is doing.
type Phase string

// The phases of a replica.
const (
	Connecting Phase = "connecting" // one of the clusters does not answer; retried for ever
	Waiting    Phase = "waiting"    // another daemon leads
	Copying    Phase = "copying"
	Streaming  Phase = "streaming"
	Paused     Phase = "paused" // by order of an operator
	Halted     Phase = "halted" // going on would be wrong; see Err and its remedy
)

// State is a replica's own account of itself at one moment.
type State struct {
	Phase   Phase
	Since   time.Time     // of the phase
	Leading bool          // this one, and no other
	Pause   *role.Pause   // the order, while paused
	Release *role.Release // what was released and nobody has answered for; nil = nothing
	Trip    *role.Trip    // the breaker's that stands, as was known last; not of a replica that waits
	Err     error         // why, while connecting or halted, or what outlives a pause; it stays until replication goes on

	Primary, Standby               cluster.Identity // as of the last session
	PrimaryReached, StandbyReached bool             // answered lately
	Checkpoint                     sink.Stored
	Lag                            Lag
	Copy                           CopyProgress
	Scope                          map[string]ResourceCount // as of the last copy
	LeftOut                        scope.LeftOut            // of value; likewise
	ScopeAt                        time.Time                // when that began
	Drift                          Drift                    // by others, on the standby
	Apart                          map[string][]string      // by cluster: how its members disagree; never changed in place

	Events, Deletes, Bytes, Transactions int64 // applied by this process
	Resyncs, Errors                      map[string]int64
	Deletions                            []Deletion       // worth a word, of the last day, the newest first
	DeletedOf                            map[string]int64 // all of this process, by resource
}

// account is the State under its lock.
type account struct {
	entered func(Phase)

	mu        sync.Mutex
	state     State
	lag       lagMeter
	deletions *deletions
	heard     time.Time // when the primary last answered anything
}

func newAccount(now time.Time, entered func(Phase)) *account {
	return &account{entered: entered, deletions: newDeletions(), state: State{Phase: Connecting, Since: now, Resyncs: map[string]int64{}, Errors: map[string]int64{}}}
}

func (a *account) update(change func(*State)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.state)
}

// enter changes the phase; the time of the change stays where it is the same.
func (a *account) enter(p Phase, err error) {
	changed := false
	a.update(func(s *State) {
		if changed = s.Phase != p; changed {
			s.Phase, s.Since = p, time.Now()
		}
		s.Err = err
		if trip := TripOf(err); trip != nil {
			s.Trip = trip
		} else if p == Copying || p == Streaming || p == Waiting {
			s.Trip = nil
		}
		if p == Copying || p == Streaming || p == Waiting {
			s.Release = nil
		}
	})
	if changed {
		a.entered(p)
	}
}

func (a *account) sawPrimary(revision kv.Revision) {
	now := time.Now()
	a.lag.saw(now, revision)
	a.update(func(s *State) {
		a.heard = now
		s.Primary.Revision = max(s.Primary.Revision, revision)
	})
}

// snapshot is a copy of the state at this moment.
func (a *account) snapshot() State {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.state
	s.Deletions, s.DeletedOf = a.deletions.recent(now), a.deletions.deletedOf()
	s.Resyncs, s.Errors = maps.Clone(s.Resyncs), maps.Clone(s.Errors)
	if s.Phase == Streaming || s.Phase == Copying {
		s.Lag = a.lag.lag(now)
	} else {
		s.Lag = Lag{} // nobody is looking
	}
	s.PrimaryReached = s.PrimaryReached && now.Sub(a.heard) <= lookValid
	return s
}
