package console

import (
	"slices"
	"time"

	"github.com/understudy-dr/understudy/kv"
)

// Verdict is the answer to "would the standby save us now?".
type Verdict string

// The verdicts, the worst first.
const (
	Split            Verdict = "SPLIT"             // both sides may be written by clients
	OperationRunning Verdict = "OPERATION RUNNING" // a change of roles is under way
	AtRisk           Verdict = "AT RISK"           // if the primary were lost now, something would be missing
	Unverified       Verdict = "UNVERIFIED"        // nothing is known to be wrong, but it is not proven
	Lagging          Verdict = "LAGGING"           // equal, but late
	Protected        Verdict = "PROTECTED"         // equal, proven and in time
)

// verdicts in the order in which they prevail.
var verdicts = []Verdict{Split, OperationRunning, AtRisk, Unverified, Lagging, Protected}

// Verdicts are all of them, the worst first.
func Verdicts() []Verdict { return slices.Clone(verdicts) }

// Side is what is known of a cluster at this moment.
type Side struct {
	Name      string      `json:"name"`
	ClusterID string      `json:"clusterID"` // "" = unknown
	Revision  kv.Revision `json:"revision"`  // 0 = unknown
	Reachable bool        `json:"reachable"`
	Error     string      `json:"error,omitempty"`  // why it is not reachable
	Remedy    string      `json:"remedy,omitempty"` // where it answers, and cannot be read all the same
	Role      string      `json:"role,omitempty"`   // "" = none, or unknown
	Term      int64       `json:"term,omitempty"`
	Members   []Member    `json:"members,omitempty"` // of its etcd; none = not asked
	Ailments  []Ailment   `json:"-"`                 // what is wrong with them
}

// Checkpoint is how far the standby is.
type Checkpoint struct {
	SourceRevision  kv.Revision `json:"sourceRevision"`
	Time            time.Time   `json:"time"`
	Phase           string      `json:"phase"` // "copying" or "streaming"
	SourceClusterID string      `json:"sourceClusterID"`
}

// Facts is all that a Status is judged by.
type Facts struct {
	Now           time.Time
	Pair          string
	LagThreshold  time.Duration
	CheckInterval time.Duration
	Primary       Side
	Standby       Side
	Checkpoint    *Checkpoint // nil: none, or the standby could not be read
	Standstill
	Kept         string     // what a resync keeps on the standby that the primary lost; "" = nothing
	Leader       string     // the daemon that leads; "" = none
	Report       *Report    // of the daemon that leads or led; nil = none
	Self         *Report    // of the daemon that answers; nil = none does
	Operation    string     // a change of roles that is under way; "" = none
	OtherScope   bool       // the checkpoint was written with another scope
	Restored     string     // by what the primary shows that it was restored from an old backup; "" = by nothing
	Alone        *Alone     // the standby while the primary does not answer; nil = not looked at
	Preflight    *time.Time // when the last preflight was that is kept; the zero time = none is, nil = nobody has looked
	Held         *int64     // objects that are held on the standby; nil = unknown
	Certificates []Certificate
}

// Alone is what has become of the standby since the checkpoint, as far as it
// can tell by itself.
type Alone struct {
	Missing int    `json:"missing"` // objects that others have deleted
	Changed int    `json:"changed"` // objects that others have changed
	Unknown string `json:"unknown,omitempty"`
}

// Reason is one thing that keeps the verdict from being better.
type Reason struct {
	Verdict Verdict `json:"verdict"` // that it takes
	Rule    string  `json:"rule"`
	Text    string  `json:"text"`
	Next    string  `json:"next,omitempty"` // the next command
}

// Daemon is what is known of the daemon that leads.
type Daemon struct {
	Leader  string           `json:"leader"`            // "" = none
	Speaker string           `json:"speaker,omitempty"` // whose words the following are
	State   string           `json:"state"`             // "unknown" where it says nothing
	Since   *time.Time       `json:"since,omitempty"`
	Error   string           `json:"error,omitempty"`
	Remedy  string           `json:"remedy,omitempty"`
	Resyncs map[string]int64 `json:"resyncs,omitempty"`
}

// Status is the one-screen answer. Its JSON is a contract.
type Status struct {
	Verdict    Verdict     `json:"verdict"`
	Reasons    []Reason    `json:"reasons"`
	Warnings   []string    `json:"warnings"`
	Time       time.Time   `json:"time"`
	Pair       string      `json:"pair"`
	Primary    Side        `json:"primary"`
	Standby    Side        `json:"standby"`
	Checkpoint *Checkpoint `json:"checkpoint"`
	Lag        Lag         `json:"lag"`
	Floor      Margin      `json:"floor"`
	Held       *int64      `json:"held"` // objects held on the standby; null = unknown
	Daemon     Daemon      `json:"daemon"`
	Standstill
	LastCheck    *Summary            `json:"lastCheck"`
	Live         *Summary            `json:"live,omitempty"`
	Alone        *Alone              `json:"alone,omitempty"`    // where the primary does not answer
	Reported     *time.Time          `json:"reported,omitempty"` // when the daemon said all that it knows; null = it says nothing
	Drift        *Drift              `json:"drift,omitempty"`
	Deletions    []Deletion          `json:"deletions,omitempty"` // of the primary, that reached the standby lately
	Scope        map[string]Resource `json:"scope"`
	LeftOut      *LeftOut            `json:"leftOut,omitempty"`   // of value; null = unknown
	ScopeTime    *time.Time          `json:"scopeTime,omitempty"` // when it was counted
	Certificates []Certificate       `json:"certificates,omitempty"`
	Operation    string              `json:"operation,omitempty"`
}

// Judge says what the facts amount to. It is pure.
func Judge(f Facts) Status {
	s := Status{
		Verdict: Protected, Reasons: []Reason{}, Warnings: []string{},
		Time: f.Now, Pair: f.Pair, Primary: f.Primary, Standby: f.Standby, Checkpoint: f.Checkpoint,
		Daemon: Daemon{Leader: f.Leader, State: "unknown"}, Standstill: f.Standstill, Operation: f.Operation,
		Scope: map[string]Resource{}, Certificates: f.Certificates, Floor: f.floor(), Held: f.Held, Alone: f.Alone,
	}
	if r := f.Report; r != nil {
		s.LastCheck, s.Live = r.LastCheck, r.Live
		if r.Scope != nil {
			s.Scope, s.LeftOut, s.ScopeTime = r.Scope, r.LeftOut, r.ScopeTime
		}
		s.Daemon.Resyncs = r.Resyncs
		s.Drift, s.Deletions = r.Drift, r.Deletions
		if s.Certificates == nil {
			s.Certificates = r.Certificates
		}
		if !f.speaks() || f.leaderless() {
			s.Live = &Summary{Verdict: Unknown, Reason: "no daemon looks at both sides now"}
		}
	}
	if f.speaks() {
		r := f.Report
		s.Reported = &r.Time
		s.Daemon.Speaker, s.Daemon.State, s.Daemon.Since, s.Daemon.Error, s.Daemon.Remedy = r.Identity, r.State, &r.Since, r.Error, r.Remedy
		if f.Leader != "" && !f.stands() { // otherwise nobody is looking
			s.Lag = r.Lag
		}
		f.overtake(&s.Daemon)
	}
	for _, verdict := range verdicts {
		for _, rule := range rules {
			if rule.verdict != verdict {
				continue
			}
			if text, next := rule.judge(f); text != "" {
				s.Reasons = append(s.Reasons, Reason{verdict, rule.name, text, next})
			}
		}
	}
	if len(s.Reasons) > 0 {
		s.Verdict = s.Reasons[0].Verdict
	}
	for _, warn := range warnings {
		s.Warnings = append(s.Warnings, warn(f)...)
	}
	return s
}

// overtake replaces what a daemon said of itself before replication was stopped:
// the order is newer than its report, and no daemon goes past it.
func (f Facts) overtake(d *Daemon) {
	state, since := d.State, d.Since
	why, next := f.Breaker, f.Answer
	if f.Released != nil {
		why, next = f.judgeReleased(f.Now)
	}
	switch {
	case f.Paused != nil && d.State != Halted:
		state, since = Paused, &f.Paused.Since
	case f.Released != nil:
		state, since = Halted, &f.Released.Since
	case f.Breaker != "":
		state, since = Halted, f.Tripped
	}
	if state != d.State {
		d.State, d.Since, d.Error, d.Remedy = state, since, why, next
	}
}

// speaks reports whether the daemon that leads has said lately how it is, or,
// where none leads, the last one that did: a daemon that has halted or lost its
// connection gives up the lead.
func (f Facts) speaks() bool {
	return f.Report != nil && (f.Leader == "" || f.Report.Identity == f.Leader) && f.reportAge() <= staleAfter
}

// leaderless reports whether nobody replicates, and the one who did last has
// not said why.
func (f Facts) leaderless() bool {
	if f.Leader != "" || f.Paused != nil {
		return false
	}
	return !f.speaks() || f.Report.State != Halted && f.Report.State != Connecting
}

// reportAge is how far the report's time is from now, in either direction: one
// from the future tells as little as an old one.
func (f Facts) reportAge() time.Duration { return f.Now.Sub(f.Report.Time).Abs() }

// counted is "1 object was", "2 objects were".
func counted(n int) string {
	if n == 1 {
		return "1 object was"
	}
	return number(int64(n)) + " objects were"
}
