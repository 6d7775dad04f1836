package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/internal/demo"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/sink"
)

// kill cuts the primary off while the writers are at it.
func (s *stage) kill(ctx context.Context) error {
	before := len(s.ledger.Answers(0))
	s.writers.SetInterval(0)
	if err := pause(ctx, demoBurst); err != nil {
		return err
	}
	if err := s.writers.Err(); err != nil {
		return s.explain(ctx, "write before the end", err)
	}
	k := &demoKilled{Interruptions: s.replica.State().Errors}
	s.primaryEtcd.Kill()
	_ = s.writers.Stop() // they end with the primary
	s.writers = nil
	k.Burst = len(s.ledger.Answers(before))
	s.facts.Killed = k
	// Only when the replication has applied all that it could read does it dial
	// the primary again, in vain.
	isLost := func() bool {
		state := s.replica.State()
		return state.Phase == replica.Connecting && !state.PrimaryReached
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for late := time.Now().Add(demoPatience); !isLost(); {
		if time.Now().After(late) {
			return errors.New("the replication has not noticed that the primary is dead")
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// settle compares every acknowledged write with what the standby holds now.
func (s *stage) settle(ctx context.Context) error {
	checkpoint, err := sink.ReadCheckpoint(ctx, s.standby.Client)
	if err != nil {
		return err
	}
	holds, err := demo.ReadStandby(ctx, s.standby.Client, s.view)
	if err != nil {
		return err
	}
	account := s.ledger.Settle(holds)
	k := s.facts.Killed
	k.Acknowledged, k.Unanswered = account.Acknowledged, account.Unanswered
	k.LastAcknowledged, k.Reached = account.Last, checkpoint.SourceRevision
	k.Missing = len(account.Missing)
	broken := account.Strange
	for _, w := range account.Missing {
		k.MissingWrites = append(k.MissingWrites, demoWrite{w.Key, w.Revision})
		if w.Revision <= checkpoint.SourceRevision {
			broken = append(broken, w.Key)
		}
	}
	s.story.killed(s.facts, s.named)
	if len(broken) > 0 {
		return &remedy.Error{Op: "settle with the standby", Code: remedy.Mismatch,
			Err:    fmt.Errorf("these keys are not what they were at the checkpoint's revision %d: %s", k.Reached, strings.Join(broken, ", ")),
			Remedy: "this is a bug; please report it with this output"}
	}
	return nil
}

// end says how to go on.
func (s *stage) end(context.Context) error {
	s.facts.Seconds = s.story.elapsed().Seconds()
	s.facts.Config = "" // removed with the rest
	return s.opts.output.write(s.stdout, s.facts)
}

// linger leaves both clusters running until it is interrupted, with a daemon
// between them.
func (s *stage) linger(ctx context.Context) error {
	err := s.writers.Stop()
	s.writers = nil
	if err != nil {
		return s.explain(ctx, "write to the end", err)
	}
	s.halt()
	err = <-s.ended
	s.replica = nil
	if err != nil {
		return err
	}
	s.facts.Seconds, s.facts.Listen = s.story.elapsed().Seconds(), s.pair.Listen
	if err := s.opts.output.write(s.stdout, s.facts); err != nil {
		return err
	}
	return runSync(ctx, s.app, s.pair)
}
