package verify

import (
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

func decodeCheckpoint(raw []byte) (*sink.Checkpoint, error) {
	c, err := sink.ParseCheckpoint(raw)
	if err != nil {
		return nil, fmt.Errorf("%s holds no checkpoint: %w", sink.CheckpointKey, err)
	}
	return &c, nil
}

// judgeCheckpoint says what the checkpoint means for a promotion. broken is
// why it could not be read.
func (s *simulator) judgeCheckpoint(sim *Simulation, low func(primary, standby kv.Revision) bool, broken error) {
	note := func(p Problem, severity Severity, format string, args ...any) {
		s.findings.add(p, severity, "", Item{Key: sink.CheckpointKey}, func() string { return fmt.Sprintf(format, args...) })
	}
	c := sim.Checkpoint
	switch {
	case broken != nil:
		note(NoCheckpoint, Red, "%v", broken)
		return
	case c == nil:
		note(NoCheckpoint, Red, "%s is not there", sink.CheckpointKey)
		return
	case c.Phase != sink.Streaming:
		note(CopyUnderWay, Red, "the checkpoint says %q, of revision %d of the primary", c.Phase, c.SourceRevision)
	}
	if c.ScopeHash != "" && c.ScopeHash != s.scope.Hash() {
		note(ScopeChanged, Yellow, "what counts here as replicated is not what was replicated")
	}
	if low == nil {
		low = func(primary, standby kv.Revision) bool { return standby < primary }
	}
	if low(c.SourceRevision, sim.Revision) {
		note(FloorMissing, Yellow, "the standby is at revision %d, the primary was at %d", sim.Revision, c.SourceRevision)
	}
}

// judgeCopy says what is missing of that which the checkpoint stands for, as far as
// the standby alone can tell. All has been read by then.
func (s *simulator) judgeCopy(c *sink.Checkpoint) {
	if c != nil && c.Phase == sink.Streaming && s.replicated == 0 {
		s.findings.add(NothingThere, Red, "", Item{Key: sink.CheckpointKey}, func() string {
			return fmt.Sprintf("it stands for the primary's revision %d; no key in scope is below %s", c.SourceRevision, strings.Join(s.scope.Roots(), " or "))
		})
	}
}

// compacted makes etcd's word for a compacted revision source's.
func compacted(err error) error {
	if errors.Is(err, rpctypes.ErrCompacted) {
		return source.ErrCompacted
	}
	return err
}
