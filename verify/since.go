package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
	"github.com/understudy-dr/understudy/vigil"
)

// Since says what others did to the standby from a checkpoint up to a revision
// of it, without the primary.
func Since(ctx context.Context, standby *clientv3.Client, view *scope.View, checkpoint sink.Stored, at kv.Revision) (vigil.Record, error) {
	before, _, err := vigil.Read(ctx, standby, at)
	if err != nil {
		return vigil.Record{}, compacted(err)
	}
	return vigil.Look(ctx, standby, view, checkpoint, before, at, time.Now())
}

// judgeSince adds what Since says. What cannot be found out is unknown, which is
// not well.
func (s *simulator) judgeSince(ctx context.Context, standby *clientv3.Client, locals *scope.Locals, sim Simulation, checkpoint sink.Stored) error {
	if checkpoint.Phase != sink.Streaming {
		return nil
	}
	view := &scope.View{Scope: s.scope, Recoder: registry.NewRecoder(s.standby, s.standby), Locals: locals}
	seen, err := Since(ctx, standby, view, checkpoint, sim.Revision)
	unwatched := func(format string, args ...any) {
		s.findings.add(Unwatched, Yellow, "", Item{Key: sink.CheckpointKey}, func() string { return fmt.Sprintf(format, args...) })
	}
	switch {
	case errors.Is(err, source.ErrCompacted), err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		unwatched("since the checkpoint: %v", err)
		return nil
	}
	for _, t := range seen.Lost {
		s.noteTouched(Lost, Red, t, "gone")
	}
	for _, t := range seen.Changed {
		s.noteTouched(Altered, Yellow, t, "changed")
	}
	if seen.More > 0 {
		unwatched("%d more keys were written by others than are noted down", seen.More)
	}
	if !seen.Gap.IsZero() {
		unwatched("nobody has looked after %s, and the standby's history of then is compacted", seen.Gap.Local().Format("2006-01-02 15:04:05"))
	}
	return nil
}

func (s *simulator) noteTouched(p Problem, severity Severity, t vigil.Touched, how string) {
	k, ok := s.scope.Parse(t.Key)
	if !ok {
		return
	}
	o := record{key: t.Key, resource: s.resource(k), in: true}
	s.note(p, severity, &o, func() string {
		return fmt.Sprintf("%s since the standby's revision %d; what stood there is at revision %d, until that is compacted", how, t.Revision, t.Revision-1)
	})
}
