package console

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// rule is one thing that can take the verdict down. judge returns "" where it
// does not apply.
type rule struct {
	verdict Verdict
	name    string
	judge   func(Facts) (text, next string)
}

const (
	statusAgain = "understudy status --watch"
	configView  = "understudy config view"
	// followRestored: the standby may be the only one that has what was written last.
	followRestored = "find out which writes the primary lost before replicating again; the standby still has them. " +
		"To follow the restored primary all the same: understudy forget checkpoint --apply, then: understudy sync"
)

// rules are all of them. Each looks at the facts alone; one verdict prevails over
// another by verdicts, and within one the causes come before what waits for them.
var rules = []rule{
	{Split, "two-primaries", func(f Facts) (string, string) {
		if f.Standby.Role == "primary" && f.Primary.Reachable && f.Primary.Role != "standby" {
			return fmt.Sprintf("%s is a primary (term %d), and %s still answers and is no standby: clients may write to both", f.Standby.Name, f.Standby.Term, f.Primary.Name),
				"stop API servers and etcd of the one that must not be written"
		}
		return "", ""
	}},
	{Unverified, "opaque", func(f Facts) (string, string) {
		if c := f.lastCheck(); c != nil && c.Opaque > 0 {
			return number(c.Opaque) + " encrypted values were copied as they are, and nobody can tell whether the standby's API servers read them",
				"set encryption of both sides in the configuration, then restart understudy sync with it"
		}
		return "", ""
	}},
	{OperationRunning, "operation", func(f Facts) (string, string) {
		if f.Operation != "" {
			return f.Operation + " is under way", statusAgain
		}
		return "", ""
	}},

	{AtRisk, "roles-swapped", func(f Facts) (string, string) {
		if f.Standby.Role == "primary" && f.Primary.Role == "standby" {
			return "the roles have changed: " + f.Standby.Name + " is the primary now", "swap primary and standby in the configuration"
		}
		return "", ""
	}},
	{AtRisk, "sides-swapped", func(f Facts) (string, string) {
		const next = "write them the other way round in the configuration: " + configView
		switch {
		case f.Primary.Role != "standby" || f.Standby.Role == "primary" || !f.Standby.Reachable || f.Primary.ClusterID == f.Standby.ClusterID:
			return "", ""
		case f.Standby.Role == "":
			return "primary and standby are swapped: " + f.Primary.Name + " is a standby, and " + f.Standby.Name + " is none", next
		}
		return f.Primary.Name + ", the configured primary, is a standby itself", next
	}},
	{AtRisk, "standby-took-over", func(f Facts) (string, string) {
		if f.Standby.Role == "primary" && !f.Primary.Reachable {
			return f.Standby.Name + " is a primary, and " + f.Primary.Name + " does not answer", "make sure that it stays off, or that nobody can write to it"
		}
		return "", ""
	}},
	{AtRisk, "same-cluster", func(f Facts) (string, string) {
		if f.Primary.ClusterID != "" && f.Primary.ClusterID == f.Standby.ClusterID {
			return "primary and standby are the same etcd cluster, " + f.Primary.ClusterID, "correct etcd.endpoints of one side"
		}
		return "", ""
	}},
	{AtRisk, "standby-unreachable", func(f Facts) (string, string) {
		if s := f.Standby; !s.Reachable && s.Remedy != "" {
			return "the standby cannot be read: " + s.Error, s.Remedy
		}
		if !f.Standby.Reachable && f.Primary.Reachable {
			return "the standby does not answer: " + f.Standby.Error, "start its etcd, or correct etcd.endpoints of the standby: " + configView
		}
		return "", ""
	}},
	{AtRisk, "primary-unreachable", func(f Facts) (string, string) {
		if p := f.Primary; !p.Reachable && p.Remedy != "" {
			return "the primary cannot be read: " + p.Error, p.Remedy
		}
		if f.Standby.Reachable && !f.Primary.Reachable && !f.reachesPrimary() {
			return "the primary does not answer: " + f.Primary.Error, "find out whether it is lost; the standby stays as it is meanwhile"
		}
		return "", ""
	}},
	{AtRisk, ruleCorrupt, ailing(primarySide, ruleCorrupt)},
	{AtRisk, ruleCorrupt, ailing(standbySide, ruleCorrupt)},
	{AtRisk, ruleFull, ailing(standbySide, ruleFull)},
	{AtRisk, ruleDisagree, ailing(primarySide, ruleDisagree)},
	{AtRisk, ruleDisagree, ailing(standbySide, ruleDisagree)},
	{AtRisk, ruleDisagree, judgeApart},
	{AtRisk, "missing-since-checkpoint", func(f Facts) (string, string) {
		if a := f.Alone; a != nil && a.Missing > 0 && f.Released == nil { // else somebody works on it
			return counted(a.Missing) + " deleted on the standby since the checkpoint, by others than the replication", "understudy simulate names them; once the primary answers they are put back by: understudy sync"
		}
		return "", ""
	}},
	{Unverified, "unwatched", func(f Facts) (string, string) {
		if a := f.Alone; a != nil && a.Unknown != "" {
			return "nobody knows what others did to the standby: " + a.Unknown, "understudy simulate looks at what is there; once the primary answers both sides are compared by: understudy sync"
		}
		return "", ""
	}},
	{AtRisk, "no-checkpoint", func(f Facts) (string, string) {
		if f.Standby.Reachable && f.Checkpoint == nil {
			return "nothing has been replicated into the standby yet", "understudy sync"
		}
		return "", ""
	}},
	{AtRisk, "another-primary", func(f Facts) (string, string) {
		if c := f.Checkpoint; c != nil && f.Primary.ClusterID != "" && c.SourceClusterID != f.Primary.ClusterID {
			return fmt.Sprintf("the standby was filled from the cluster %s, but the primary is %s", c.SourceClusterID, f.Primary.ClusterID), "check primary.etcd.endpoints: " + configView
		}
		return "", ""
	}},
	{AtRisk, "rolled-back", func(f Facts) (string, string) {
		if c := f.Checkpoint; c != nil && f.Primary.Revision > 0 && c.SourceClusterID == f.Primary.ClusterID && f.Primary.Revision < c.SourceRevision {
			return fmt.Sprintf("the primary is at revision %d, but the standby has its revision %d already: the primary was rolled back", f.Primary.Revision, c.SourceRevision),
				followRestored
		}
		return "", ""
	}},
	{AtRisk, "restored", func(f Facts) (string, string) {
		if f.Restored != "" {
			return f.Restored, followRestored
		}
		return "", ""
	}},
	{AtRisk, "released", func(f Facts) (string, string) { return f.judgeReleased(f.Now) }},
	{AtRisk, "breaker", func(f Facts) (string, string) { return f.judgeBreaker(f.Now) }},
	{AtRisk, "no-daemon", func(f Facts) (string, string) {
		if f.Standby.Reachable && f.leaderless() {
			return "no daemon replicates", "understudy sync"
		}
		return "", ""
	}},
	{AtRisk, "paused", func(f Facts) (string, string) { return f.judgePause(f.Now) }},
	{AtRisk, "halted", func(f Facts) (string, string) {
		if f.haltedNow() && f.Breaker == "" && f.Released == nil {
			return "replication has halted: " + f.Report.Error, f.Report.Remedy
		}
		return "", ""
	}},
	{AtRisk, "disconnected", func(f Facts) (string, string) {
		if f.disconnected() && f.Now.Sub(f.Report.Since) > f.LagThreshold {
			return fmt.Sprintf("the daemon has been without connection for %s: %s", age(f.Now.Sub(f.Report.Since)), f.Report.Error), f.Report.Remedy
		}
		return "", ""
	}},
	{AtRisk, "copying", func(f Facts) (string, string) {
		switch {
		case f.Checkpoint == nil || f.Checkpoint.Phase == Streaming:
			return "", ""
		case f.stands() || f.leaderless() || f.haltedNow() || f.disconnected(): // what comes before says what to do
			return "a copy has begun, and waits for that; until it ends the standby equals the primary at no moment", ""
		}
		return "a copy is under way; until it ends the standby equals the primary at no moment", statusAgain
	}},
	{AtRisk, "differences", func(f Facts) (string, string) {
		if s := f.differing(); s != nil {
			return "the standby differs: " + s.differences(), "understudy check names the keys"
		}
		return "", ""
	}},
	{AtRisk, "conflict", func(f Facts) (string, string) {
		if n := f.conflicts(); n == 1 {
			return "1 object of the primary is not replicated: the standby has one of its own under its name, which stays. understudy check names it", decideTwins
		} else if n > 1 {
			return number(n) + " objects of the primary are not replicated: the standby has some of its own under their names, which stay. understudy check names them", decideTwins
		}
		return "", ""
	}},
	{AtRisk, "flapping", judgeFlapping},
	{AtRisk, "certificate-expired", func(f Facts) (string, string) {
		for _, c := range f.certificates() {
			if c.Wrong != "" {
				return fmt.Sprintf("a certificate of %s cannot be used: %s: %s", c.Side, c.File, c.Wrong), "put the file right; it is read again by itself: understudy config validate"
			}
			if !f.Now.Before(c.NotAfter) {
				return fmt.Sprintf("a certificate of %s has expired: %s", c.Side, c.File), "renew the file; it is read again by itself"
			}
		}
		return "", ""
	}},

	{Unverified, "stale-keys", func(f Facts) (string, string) {
		if f.speaks() && len(f.Report.StaleKeys) > 0 {
			return "the daemon goes on with encryption keys that it read before the file changed: " + strings.Join(f.Report.StaleKeys, ", "),
				"restart understudy sync"
		}
		return "", ""
	}},
	{Unverified, "nothing-known", func(f Facts) (string, string) {
		if !f.Primary.Reachable && !f.Standby.Reachable {
			return "neither cluster answers from here, so nothing is known: " + f.Standby.Error, "ask from a machine that reaches them, or correct etcd.endpoints of both sides: " + configView
		}
		return "", ""
	}},
	{Unverified, "primary-unseen", func(f Facts) (string, string) {
		if f.Standby.Reachable && !f.Primary.Reachable && f.reachesPrimary() {
			return fmt.Sprintf("the primary does not answer from here, though the daemon said %s ago that it does: %s", age(f.reportAge()), f.Primary.Error), "ask from where the daemon runs, or correct etcd.endpoints of the primary: " + configView
		}
		return "", ""
	}},
	{Unverified, "silent-daemon", func(f Facts) (string, string) {
		switch {
		case f.Leader == "", f.speaks():
			return "", ""
		case f.Report == nil || f.Report.Identity != f.Leader:
			return f.Leader + " leads and has not reported yet", statusAgain
		}
		return fmt.Sprintf("the last report of %s is %s away from now: it hangs, or the clocks differ", f.Leader, age(f.reportAge())), "look at its log and at both clocks; where it hangs, restart understudy sync"
	}},
	{Unverified, "connecting", func(f Facts) (string, string) {
		if f.disconnected() && f.Now.Sub(f.Report.Since) <= f.LagThreshold {
			return "the daemon is connecting: " + f.Report.Error, statusAgain
		}
		return "", ""
	}},
	{Unverified, "not-streaming", func(f Facts) (string, string) {
		if !f.speaks() || f.stands() {
			return "", ""
		}
		switch f.Report.State {
		case Streaming, Connecting, Halted:
			return "", ""
		}
		return fmt.Sprintf("the daemon is not streaming: it says %q", f.Report.State), statusAgain
	}},
	{Unverified, "lag-unknown", func(f Facts) (string, string) {
		if f.speaks() && !f.stands() && f.Report.State == Streaming && !f.Report.Lag.known() {
			return "the daemon cannot tell how far the primary is", statusAgain
		}
		return "", ""
	}},
	{Unverified, "unchecked", func(f Facts) (string, string) {
		if f.Standby.Reachable && (f.Report == nil || f.Report.LastCheck == nil) {
			return "no daemon has compared both sides yet", f.nextCheck()
		}
		return "", ""
	}},
	{Unverified, "check-unknown", func(f Facts) (string, string) {
		if c := f.lastCheck(); c != nil && c.Verdict != Consistent && c.Verdict != Inconsistent {
			return "the daemon's last check came to no result: " + c.Reason, f.nextCheck()
		}
		return "", ""
	}},
	{Unverified, "check-old", func(f Facts) (string, string) {
		if c := f.lastCheck(); c != nil && f.Now.Sub(c.Time) > f.checkValid() {
			return "the daemon's last check is " + age(f.Now.Sub(c.Time)) + " old", f.nextCheck()
		}
		return "", ""
	}},
	{Unverified, "live-unknown", func(f Facts) (string, string) {
		if f.speaks() && !f.stands() && f.Report.Live != nil && f.Report.Live.Verdict == Unknown {
			return "since the last check: " + f.Report.Live.Reason, f.nextCheck()
		}
		return "", ""
	}},
	{Unverified, "other-scope", func(f Facts) (string, string) {
		if f.OtherScope {
			return "the standby was filled with another scope than the one configured here", "run status with the daemon's configuration, or restart the daemon with this one"
		}
		return "", ""
	}},

	{Lagging, "lag", func(f Facts) (string, string) {
		if f.speaks() && !f.stands() && f.Report.Lag.known() && *f.Report.Lag.Seconds > f.LagThreshold.Seconds() {
			return fmt.Sprintf("the standby is %s behind, more than %s", age(time.Duration(*f.Report.Lag.Seconds*float64(time.Second))), f.LagThreshold), statusAgain
		}
		return "", ""
	}},
}

// Rules are the names of all rules, each once.
func Rules() (names []string) {
	for _, r := range rules {
		if !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
	}
	return names
}

func (l Lag) known() bool { return l.Known && l.Seconds != nil && l.Revisions != nil }

// reachesPrimary reports whether the daemon does, by its own account.
func (f Facts) reachesPrimary() bool {
	return f.speaks() && f.Leader != "" && f.Report.State == Streaming && f.Report.PrimaryConnected
}

func (f Facts) haltedNow() bool { return f.speaks() && f.Report.State == Halted }

func (f Facts) disconnected() bool { return f.speaks() && f.Report.State == Connecting }

func (f Facts) lastCheck() *Summary {
	if f.Report == nil {
		return nil
	}
	return f.Report.LastCheck
}

// nextCheck: only the daemon's own check, which it makes by itself, counts for the
// verdict; understudy check is one more look, and leaves it as it is.
func (f Facts) nextCheck() string {
	if f.speaks() && f.Leader != "" {
		return "understudy status --watch; the daemon checks again by itself, within " + f.CheckInterval.String()
	}
	return "understudy sync, which checks by itself; to look once: understudy check"
}

// checkValid is how long a check counts: one may be late, or take its time.
func (f Facts) checkValid() time.Duration { return 2*f.CheckInterval + time.Minute }

// differing is what differs by the newest account of it; nil = nothing known.
func (f Facts) differing() *Summary {
	if f.speaks() && f.Report.Live != nil && f.Report.Live.Verdict != Unknown {
		if f.Report.Live.Differences() > 0 {
			return f.Report.Live
		}
		return nil // put right since the last check
	}
	if c := f.lastCheck(); c != nil && c.Differences() > 0 {
		return c
	}
	return nil
}

// conflicts is how many there are by the newest account of them.
func (f Facts) conflicts() int64 {
	if f.speaks() && f.Report.Live != nil && f.Report.Live.Verdict != Unknown {
		return f.Report.Live.Conflict
	}
	if c := f.lastCheck(); c != nil {
		return c.Conflict
	}
	return 0
}

func (f Facts) certificates() []Certificate {
	if f.Certificates != nil {
		return f.Certificates
	}
	if f.Report != nil {
		return f.Report.Certificates
	}
	return nil
}

// age is a duration for people, in its two largest units at most.
func age(d time.Duration) string {
	switch d = d.Abs(); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}
