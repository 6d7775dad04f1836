package console

import (
	"fmt"

	"github.com/understudy-dr/understudy/kv"
)

// LowFloor is the margin below which the floor counts as missing: a busy
// primary writes as much within hours.
const LowFloor = 1_000_000

// Margin is how far the standby's etcd is above everything that clients of the
// primary can have seen, in revisions; nil means that nobody knows.
//
// It is necessary, not sufficient: the standby's API servers must have been
// started above the primary's revision as well, which "floor verify" asks them.
type Margin struct {
	Revisions *int64 `json:"revisions"`
	Known     bool   `json:"known"`
}

// MarginOf is the margin where both revisions are known.
func MarginOf(primary, standby kv.Revision) Margin {
	if primary <= 0 || standby <= 0 {
		return Margin{}
	}
	n := int64(standby - primary)
	return Margin{&n, true}
}

// Low reports whether clients that follow to the standby are known to be in danger.
// All commands judge a floor by it, and all of them warn: it stands in the way of
// nothing but an easy promotion.
func (m Margin) Low() bool { return m.Known && *m.Revisions < LowFloor }

// Text says it for people.
func (m Margin) Text() string {
	switch {
	case !m.Known:
		return "unknown"
	case *m.Revisions < 0:
		return fmt.Sprintf("none: the standby is %s revisions below the primary", number(-*m.Revisions))
	}
	return fmt.Sprintf("the standby is %s revisions above the primary", number(*m.Revisions))
}

// floor is the margin by what both sides say now.
func (f Facts) floor() Margin {
	if !f.Primary.Reachable || !f.Standby.Reachable {
		return Margin{}
	}
	return MarginOf(f.Primary.Revision, f.Standby.Revision)
}

// floor is the margin by what the daemon knows. The standby may be higher.
func (r Report) floor() Margin {
	if !r.Lag.known() || r.SourceRevision <= 0 {
		return Margin{}
	}
	return MarginOf(r.SourceRevision+kv.Revision(*r.Lag.Revisions), r.StandbyRevision)
}

func warnOfFloor(f Facts) []string {
	if f.Standby.Role == "primary" || !f.floor().Low() {
		return nil
	}
	return []string{"no revision floor: clients that follow a name to the standby would hang, or miss events: understudy floor raise"}
}
