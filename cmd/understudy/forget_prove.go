package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

// forgetFacts are all that proves that records lie on a standby.
type forgetFacts struct {
	file, pair       string // the configuration, and the pair that it describes
	primary, standby string // their names
	etcdctl          string // of the standby

	standbyID, primaryID uint64
	unseen               error // why the primary was not asked; nil = it was
	primaryRole          role.State
	hidden               bool // its account may not read its role

	memory role.Memory // the standby's role and its checkpoint among it
}

// prove says why the configured standby must not forget anything: whoever takes the
// records of a primary for those of a standby makes it one. It is pure. A cluster that
// says itself that it is the standby of this pair is one, whether or not the other
// side answers; any other needs the other side's word, and a checkpoint from it.
func (f forgetFacts) prove() error {
	refuse := func(help, format string, args ...any) error {
		return &remedy.Error{Op: "forget on " + f.standby, Err: fmt.Errorf(format, args...), Remedy: help, Code: remedy.Refused}
	}
	const view = "understudy config view; nothing was deleted"
	said, raw := f.memory.Role, string(f.memory.Records[role.Key])
	switch {
	case f.unseen == nil && f.primaryID == f.standbyID:
		return refuse("correct etcd.endpoints of one side: "+view, "both sides are the same etcd cluster, %s", cluster.FormatID(f.standbyID))
	case said.Role == role.Primary:
		return refuse("if the roles have changed, swap primary and standby in "+f.file, "it is the primary of pair %q since %s (term %d)",
			said.Pair, said.Since.Format(time.RFC3339), said.Term)
	case said.Role == role.Standby && said.Pair != f.pair && (f.unseen != nil || said.Peer != cluster.FormatID(f.primaryID)):
		return refuse("use the configuration of that pair with --config; nothing was deleted", "it is the standby of pair %q, and %s describes %q", said.Pair, f.file, f.pair)
	case said.Role == role.Standby:
		return nil
	case strings.Contains(raw, `"`+role.Primary+`"`):
		return refuse("write the role anew as it was: "+f.etcdctl+" put "+role.Key+" "+remedy.Quote(fmt.Sprintf(`{"role":"primary","term":TERM,"pair":"%s"}`, f.pair))+"; a primary that forgets its role is written to by the next sync",
			"its role is damaged, and says %q: it may be the primary: %s", role.Primary, oneLine(errors.New(raw)))
	case f.unseen != nil:
		return refuse("again when "+f.primary+" answers: it knows whether it is the standby by now",
			"%s has no role that can be read, so nothing but %s can prove that it is the standby, and that does not answer: %w", f.standby, f.primary, f.unseen)
	case f.primaryRole.Role == role.Standby:
		return refuse("write them the other way round in "+f.file, "%s and %s are swapped in the configuration: %s is the standby of pair %q, and %s says of itself that it is none",
			f.standby, f.primary, f.primary, f.primaryRole.Pair, f.standby)
	}
	stored, there := f.memory.Records[sink.CheckpointKey]
	if !there {
		return refuse(view, "nothing was ever replicated into it: it has neither a role that can be read nor a checkpoint")
	}
	if c, err := sink.ParseCheckpoint(stored); f.hidden && (err != nil || c.SourceClusterID != cluster.FormatID(f.primaryID)) {
		return refuse("name a user of "+f.primary+" that may read "+role.Key+" there; nothing was deleted",
			"it has no role that can be read, %s does not let its account read its own, and the checkpoint is not from there", f.primary)
	}
	return nil
}

var errNothingToForget = errors.New("name what to forget: checkpoint, role, breaker, or a key")
