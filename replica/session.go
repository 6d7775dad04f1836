package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

var errLostLead = errors.New("the lease of the lead ended")

// session is replication under one lead, over one pair of connections.
type session struct {
	*Replica
	primary, standby *clientv3.Client
	sink             *sink.Sink
	id               string      // the primary's cluster ID
	distrust         bool        // the primary's progress notifications
	until            kv.Revision // end when it is reached; 0 = never
	seen             kv.Revision // of the standby: a copy has looked at all that others created up to it; 0 = no copy
	foreign          foreignKeys
	conflicts        conflicts
	standing         standing
	originals        originals
	trip             *role.Trip // the record, as it was read last
	accepted         shown      // what an operator has accepted to be deleted
	end              context.CancelCauseFunc
}

func (s *session) run(ctx context.Context, d Decision, lost <-chan struct{}) error {
	ctx, cancel := context.WithCancelCause(ctx)
	s.end = cancel
	s.live.Store(s)
	defer s.live.Store(nil)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel(nil)
	helpers.Go(func() {
		select {
		case <-lost:
			cancel(errLostLead)
		case <-ctx.Done():
		}
	})
	for _, watch := range []func(context.Context) error{s.look, s.heed, s.tellDeletions} {
		helpers.Go(func() { cancel(watch(ctx)) }) // nil only when it has ended
	}
	err := s.replicate(ctx, d, &helpers, cancel)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause // why everything else ended
	}
	return err
}

// replicate copies where that is decided, and streams. A helper calls end with
// the error that everything has to end for.
func (s *session) replicate(ctx context.Context, d Decision, helpers *sync.WaitGroup, end context.CancelCauseFunc) error {
	guarding := false
	guard := func() error {
		if guarding {
			return nil
		}
		if err := s.loadRecords(ctx); err != nil {
			return err
		}
		guarding = true
		from := s.guardFrom()
		helpers.Go(func() { end(s.guard(ctx, from)) })
		return nil
	}
	for {
		var err error
		if d, err = s.untilAnswered(ctx, d, guard); err != nil {
			return err
		}
		if err := source.Learn(ctx, s.primary, s.View.Scope, s.View.Recoder.PlainOfPrimary, 0); err != nil {
			return err
		}
		if err := s.loadRecords(ctx); err != nil {
			return err
		}
		if d.Copy == "" {
			if ended, err := s.ended(ctx); err != nil {
				return err
			} else if ended {
				d.Copy = ReasonConflict
			}
		}
		if d.Copy != "" {
			if err := s.completeForeign(ctx, d.Base); err != nil {
				return err
			}
			if err := s.copy(ctx, d); err != nil {
				if d, err = s.onTrip(ctx, d, err); err != nil {
					return err
				}
				continue
			}
			if s.until != 0 {
				return nil
			}
		}
		if err := s.loadRecords(ctx); err != nil {
			return err
		}
		if err := guard(); err != nil {
			return err
		}
		err = s.stream(ctx)
		last := s.sink.Last()
		d = Decision{Base: &sink.Base{SourceRevision: last.SourceRevision, StandbyRevision: last.Revision}}
		if errors.Is(err, ErrTripped) {
			if d, err = s.onTrip(ctx, d, err); err != nil {
				return err
			}
			continue
		}
		d.Copy = ReasonCompacted
		if !errors.Is(err, source.ErrCompacted) {
			d.Copy = ReasonMended
			if ok, lookErr := s.mended(ctx, err); !ok {
				return errors.Join(err, lookErr)
			}
		}
	}
}

// loadRecords reads what the standby has on record of keys that are not the primary's.
func (s *session) loadRecords(ctx context.Context) error {
	if err := s.foreign.load(ctx, s.standby); err != nil {
		return err
	}
	return s.conflicts.load(ctx, s.standby)
}

func (s *session) copy(ctx context.Context, d Decision) error {
	s.account.enter(Copying, nil)
	s.account.update(func(st *State) { st.Resyncs[d.Copy]++ })
	s.Log.Info("comparing both sides to write what differs", "reason", d.Copy)
	began := time.Now()
	table := newTally(s.View.Scope)
	job := &copyJob{
		primary: s.primary, standby: s.standby, view: s.View, sink: s.sink, base: d.Base,
		breaker: s.Breaker, accepted: s.accepted, keep: d.Keep, kept: s.foreign.keptAs, recorded: s.foreign.has, conflicts: &s.conflicts, decision: d,
		interrupted: d.Interrupted, buffer: s.BufferBytes, table: table, acting: map[string]bool{},
		template: sink.Checkpoint{SourceClusterID: s.id, ScopeHash: s.View.Scope.Hash(), HoldsHash: s.View.HoldsHash(), Guarded: s.foreign.complete()},
		log:      s.Log,
		report: func(p CopyProgress) {
			s.account.update(func(st *State) { st.Copy = p })
			s.Hooks.Copying(p)
		},
	}
	job.progress.Reason = d.Copy
	if err := job.run(ctx); err != nil {
		return err
	}
	if s.trip != nil && d.Base == nil { // such a copy deletes nothing
		if err := s.closeTrip(ctx); err != nil {
			return err
		}
	}
	for _, key := range job.adopted { // the copy has taken them off the record
		s.foreign.adopt(key)
	}
	for _, key := range job.settled {
		s.conflicts.remove(key)
	}
	for key, record := range job.stays {
		s.conflicted(key, record, s.sink.Last().Revision)
	}
	var gone []string
	for _, it := range job.deletes {
		gone = append(gone, it.key)
	}
	s.deleted(gone)
	p := job.now()
	s.seen = job.seen
	s.foreign.extend(0, job.seen) // all that only the standby had then is recorded
	s.advance(applied{reached: p.Revision, standby: s.sink.Last().Revision})
	s.account.update(func(st *State) { st.Scope, st.LeftOut, st.ScopeAt = table.table(), table.leftOut(), began })
	s.Log.Info("the standby has everything", "revision", p.Revision, "read", p.Read, "written", p.Written,
		"deleted", p.Deleted, "surplus", p.Surplus, "took", time.Since(began).Round(time.Millisecond))
	s.Hooks.Resynced(p)
	return nil
}

func (s *session) stream(ctx context.Context) error {
	s.advance(applied{reached: s.sink.Last().SourceRevision, standby: s.sink.Last().Revision})
	if err := s.originals.load(ctx, s.standby); err != nil {
		return err
	}
	return s.newStream().run(ctx)
}

// newStream makes the stream from the sink's checkpoint on.
func (s *session) newStream() *stream {
	s.standing.reset()
	st := &stream{
		primary: s.primary, standby: s.standby, view: s.View, sink: s.sink, until: s.until,
		observe: s.advance,
		heard:   s.heard,

		goesAlong: s.goesAlong,
		settled:   s.account.lag.has, distrust: s.distrust,
		adopt:    s.foreign.adopt,
		recorded: s.foreign.has, apart: s.standsApart, standing: &s.standing, originals: &s.originals,
		conflicts: &s.conflicts, replicated: s.replicated, conflicted: s.conflicted,
		guarded: func() kv.Revision { return s.ledger.unmended(s.foreign.complete()) },
		breaker: newBreaker(s.Breaker, s.accepted),
		census:  census{standby: s.standby, view: s.View, limits: s.Breaker, answer: s.accepted, foreign: func(p *kv.Pair) bool { return s.foreign.has(p.Key) }},
	}
	if s.until == 0 { // a single copy has no guard
		st.mend, st.wounded = (&mender{stream: st, ledger: s.ledger, log: s.Log}).mend, s.ledger.wake
	}
	return st
}

// heard is told by the watch how far it has delivered, beside the goroutine that
// writes to the sink. Replication counts as streaming only from its first word on.
func (s *session) heard(through kv.Revision) {
	s.account.sawPrimary(through)
	if now := s.account.snapshot(); now.Phase != Streaming {
		s.account.enter(Streaming, nil)
		s.outage.over()
		s.Log.Info("streaming", "from", now.Checkpoint.SourceRevision)
	}
}

// advance records what has been applied.
func (s *session) advance(a applied) {
	s.reached = max(s.reached, a.reached)
	s.account.lag.has(a.reached)
	s.account.update(func(st *State) {
		st.Checkpoint = s.sink.Last()
		st.Standby.Revision = a.standby
		if a.took == 0 {
			return
		}
		st.Transactions++
		st.Events += int64(len(a.changes))
		for _, c := range a.changes {
			st.Bytes += int64(c.Size())
			if c.Delete {
				st.Deletes++
			}
		}
	})
	if a.took != 0 {
		s.deleted(deletedKeys(a.changes))
		s.Hooks.Applied(a.took, len(a.changes))
	}
}

// giveUpAfter is how long a session goes on without an answer of the primary.
const giveUpAfter = 30 * time.Second

// look reads the primary's revision every second, which is what the lag is
// measured against. It ends with an error only where we are no longer let in.
func (s *session) look(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	answered := time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		attempt, cancel := context.WithTimeout(ctx, lookValid/2)
		resp, err := s.primary.Get(attempt, s.View.Scope.Prefix())
		cancel()
		switch {
		case err == nil:
			answered = time.Now()
			s.account.sawPrimary(kv.Revision(resp.Header.Revision))
		case cluster.IsDenied(err):
			return cluster.Denied("read the primary", err)
		case ctx.Err() == nil && time.Since(answered) > giveUpAfter:
			// Requests wait for a dead cluster without end; a session that hangs
			// in one would keep the lead from a daemon that does reach it.
			return fmt.Errorf("the primary has not answered for %s: %w", giveUpAfter, err)
		}
	}
}

// guardFrom is the standby's revision that the guard begins at. A copy's own
// writes pass by as well, so that nothing which others wrote meanwhile is
// missed; so does what others did under a leader in between.
func (s *session) guardFrom() kv.Revision {
	after := s.sink.Last().Revision
	if s.seen != 0 {
		after = s.seen
	}
	if s.watched != 0 {
		after = min(after, s.watched)
	}
	return min(after, s.foreign.complete()) + 1
}

var errNotReplicating = errors.New("nobody watches the standby while replication is stopped")

// guard watches the standby for writes that are not ours. Like look it ends with
// an error only where we are no longer let in: nobody would guard the standby.
func (s *session) guard(ctx context.Context, from kv.Revision) error {
	for ctx.Err() == nil {
		err := guard(ctx, s.standby, s.View, from, func(all []Write, through kv.Revision) error {
			writes := objectsOnly(all)
			for _, w := range writes {
				if w.Foreign {
					s.standing.forget(w.Key, w.Revision)
				}
			}
			// The record first: where it fails, the same writes come again.
			if err := s.rememberForeign(ctx, writes); err != nil {
				return err
			}
			if err := s.endRecords(ctx, writes); err != nil {
				return err
			}
			found, err := s.judge(ctx, writes)
			if err != nil {
				return err
			}
			s.ledger.note(found, through, time.Now())
			s.foreign.extend(from, through)
			from = through + 1
			s.watched = through
			s.Hooks.Seen(all, through)
			return nil
		})
		if ctx.Err() != nil {
			s.Hooks.Blind(errNotReplicating)
			return nil
		}
		s.Hooks.Blind(err)
		if cluster.IsDenied(err) {
			return err
		}
		if errors.Is(err, source.ErrCompacted) {
			from = s.account.snapshot().Checkpoint.Revision + 1
		}
		if newBackoff(time.Second, time.Second).sleep(ctx) != nil {
			return nil
		}
	}
	return nil
}
