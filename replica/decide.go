package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// Facts is all that decide looks at, as read from both clusters.
type Facts struct {
	Primary, Standby cluster.Identity
	PrimaryRole      role.State
	StandbyRole      role.State
	Checkpoint       sink.Stored
	ScopeHash        string
	HoldsHash        string
	Release          *role.Release // a command released or held objects on the standby; nil = none has
	Testimony        source.Testimony
	Strewn           []source.Outside // prefixes of objects, where the scope takes every key in as it is
	// Reached is the highest source revision that this process has seen in the
	// checkpoint; 0 = none yet.
	Reached kv.Revision
}

// Why a copy is made; also the label of the resync metric.
const (
	ReasonFirstCopy   = "first-copy"
	ReasonInterrupted = "copy-interrupted"
	ReasonScope       = "scope-changed"
	ReasonHolds       = "holds-changed"
	ReasonCompacted   = "checkpoint-compacted"
	ReasonRolledBack  = "standby-rolled-back"
	ReasonNoProgress  = "no-trusted-progress"
	ReasonMended      = "unreadable-value-mended"
	ReasonReleased    = "released" // or held, by an operator
	ReasonOrdered     = "ordered"  // by an operator, after the breaker tripped
	ReasonConflict    = "conflict-ended"
)

// Decision is how replication goes on.
type Decision struct {
	// Copy: compare both sides and write what differs, for this reason.
	// Empty: stream from Base.SourceRevision on.
	Copy string
	// Keep: the copy deletes nothing, and marks nothing for deletion.
	Keep bool
	// Base is the last revision pair at which the standby was complete; nil
	// where there is none that counts.
	Base *sink.Base
	// Interrupted are the primary's revisions that unfinished copies on Base
	// were pinned to: what they wrote, the primary had at one of them.
	Interrupted []kv.Revision
	// Filled are revisions of the primary that the standby was filled from, also
	// where Base no longer counts: what the primary had then is no twin.
	Filled []kv.Revision
}

// endsTrips reports whether a trip that nobody has answered ends with it: such a
// copy deletes nothing.
func (d Decision) endsTrips() bool { return d.Copy == ReasonFirstCopy || d.Copy == ReasonScope }

// Errors that decide refuses with.
var (
	ErrSameCluster       = errors.New("primary and standby are the same cluster")
	ErrOtherSource       = errors.New("the standby was filled from another cluster")
	ErrPrimaryRolledBack = errors.New("the primary is behind what the standby already has")
	ErrPrimaryIsStandby  = errors.New("the configured primary is itself a standby")
	ErrObjectsAsKeys     = errors.New("sync.prefix is \"/\", and the primary has objects of API servers")
)

// Decide says how to go on from what is there, or why not to. It is pure.
func Decide(f Facts) (Decision, error) {
	if err := refuse(f); err != nil {
		return Decision{}, err
	}
	c := f.Checkpoint
	if !c.Exists() {
		return Decision{Copy: ReasonFirstCopy}, nil
	}
	base := c.Base
	if c.Phase == sink.Streaming {
		base = &sink.Base{SourceRevision: c.SourceRevision, StandbyRevision: c.Revision}
	}
	switch {
	case c.ScopeHash != f.ScopeHash:
		// What the standby lacks or has too much is then no trace of the
		// primary's deletes, so nothing may be concluded from the old base.
		return Decision{Copy: ReasonScope, Filled: filled(c.Checkpoint)}, nil
	case c.Phase != sink.Streaming:
		return Decision{Copy: ReasonInterrupted, Base: base, Interrupted: interrupted(c.Checkpoint), Filled: filled(c.Checkpoint)}, nil
	case c.SourceRevision < f.Reached:
		return Decision{Copy: ReasonRolledBack, Base: base}, nil
	case c.HoldsHash != f.HoldsHash: // other bytes, but of the same keys
		return Decision{Copy: ReasonHolds, Base: base}, nil
	case f.Release != nil && f.Release.Revision > c.Revision: // what was released is held again
		return Decision{Copy: ReasonReleased, Base: base}, nil
	}
	return Decision{Base: base}, nil
}

func refuse(f Facts) error {
	c := f.Checkpoint
	primary := cluster.FormatID(f.Primary.ID)
	const op = "start replication"
	switch {
	case f.Primary.ID == f.Standby.ID:
		return &remedy.Error{Op: op, Err: fmt.Errorf("%w (cluster ID %s)", ErrSameCluster, primary),
			Remedy: "check the endpoints of primary and standby in the config; nothing was written", Code: remedy.Refused}
	case f.PrimaryRole.Role == role.Standby:
		return &remedy.Error{Op: op,
			Err:    fmt.Errorf("%w: of pair %q since term %d", ErrPrimaryIsStandby, f.PrimaryRole.Pair, f.PrimaryRole.Term),
			Remedy: "if the roles have changed, swap primary and standby in the config", Code: remedy.Refused}
	case len(f.Strewn) > 0:
		return refuseStrewn(op, f.Strewn)
	case c.Exists() && c.SourceClusterID != primary:
		return &remedy.Error{Op: op,
			Err: fmt.Errorf("%w: its checkpoint names %s, the configured primary is %s", ErrOtherSource, c.SourceClusterID, primary),
			Remedy: "check the endpoints of primary; if the primary was rebuilt and the standby shall follow the new one, " +
				"make the standby forget the old one: understudy forget checkpoint role --apply, then: understudy sync",
			Code: remedy.Refused}
	case c.Exists() && f.Primary.Revision < c.SourceRevision:
		return &remedy.Error{Op: op,
			Err: fmt.Errorf("%w: the primary is at revision %d, the checkpoint at %d; was it restored from an old backup?",
				ErrPrimaryRolledBack, f.Primary.Revision, c.SourceRevision),
			Remedy: sink.RolledBack, Code: remedy.Refused}
	case c.Exists() && f.Testimony.Denied:
		return &remedy.Error{Op: op,
			Err: fmt.Errorf("%w: %s was written at revision %d, says the standby's checkpoint of revision %d; the primary, at revision %d, has it as of revision %d: "+
				"was it restored from an old backup and written since?",
				ErrPrimaryRolledBack, c.Witness.Key, c.Witness.Revision, c.SourceRevision, f.Primary.Revision, f.Testimony.Revision),
			Remedy: sink.RolledBack, Code: remedy.Refused}
	}
	return f.StandbyRole.AcceptsReplication(primary)
}

// refuseStrewn: as keys like any other the objects would act on the standby, and
// its own would be overwritten.
func refuseStrewn(op string, strewn []source.Outside) error {
	var prefixes, below []string
	for _, one := range strewn {
		prefixes = append(prefixes, one.Prefix)
		below = append(below, fmt.Sprintf("%d keys below %s", one.Keys, one.Prefix))
	}
	return &remedy.Error{Op: op, Err: fmt.Errorf("%w: %s", ErrObjectsAsKeys, strings.Join(below, ", ")),
		Remedy: "name their prefixes in the config, that of the API server first, sync: {prefixes: [" + strings.Join(prefixes, ", ") + "]}; nothing was written",
		Code:   remedy.Refused}
}

// maxInterrupted bounds the checkpoint. A copy that is interrupted more often
// forgets its oldest attempts: what only they wrote and the primary deleted
// since is then reported as surplus instead of deleted.
const maxInterrupted = 32

func interrupted(c sink.Checkpoint) []kv.Revision {
	all := append(slices.Clone(c.Interrupted), c.SourceRevision)
	return all[max(0, len(all)-maxInterrupted):]
}

// filled are the primary's revisions that a checkpoint knows of.
func filled(c sink.Checkpoint) []kv.Revision {
	all := interrupted(c)
	if c.Base != nil {
		all = append(all, c.Base.SourceRevision)
	}
	return all
}
