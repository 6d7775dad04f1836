package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

// tamper deletes two keys on the standby, past the replication, and waits until
// the guard has put them back.
func (s *stage) tamper(ctx context.Context) error {
	t := &s.facts.Tampered
	ops := make([]clientv3.Op, len(t.Deleted))
	for i, key := range t.Deleted {
		ops[i] = clientv3.OpDelete(key)
	}
	began := time.Now()
	if _, err := s.standby.Client.Txn(ctx).Then(ops...).Commit(); err != nil {
		return fmt.Errorf("delete keys on the standby: %w", err)
	}
	for range t.Deleted {
		w, err := await(ctx, s, "the guard to notice the deletions", s.foreign)
		if err != nil {
			return err
		}
		if !w.Deleted || !slices.Contains(t.Deleted, w.Key) {
			return fmt.Errorf("the guard noticed a foreign write to %s that nobody made", w.Key)
		}
	}
	t.NoticedAfter = milliseconds(time.Since(began))
	err := s.drifted(ctx, "the guard to put them back", func(d replica.Drift) bool { return d.Repaired == int64(len(t.Deleted)) })
	if err != nil {
		return err
	}
	t.RepairedAfter = milliseconds(time.Since(began))
	s.story.tampered(s.facts, s.named)
	return nil
}

// forge changes one of them and creates another one. The guard reports that, and
// touches neither.
func (s *stage) forge(ctx context.Context) error {
	t := &s.facts.Tampered
	t.Changed = t.Deleted[0]
	t.Created = t.Changed + "-forged"
	there, err := s.standby.Client.Get(ctx, t.Changed)
	if err != nil || len(there.Kvs) == 0 {
		return fmt.Errorf("read %s on the standby: there are %d (%w)", t.Changed, len(there.Kvs), err)
	}
	value := there.Kvs[0].Value
	changed, err := withLabel(value, "edited", "behind the back")
	if err != nil {
		return err
	}
	for key, value := range map[string]string{t.Changed: string(changed), t.Created: string(value)} {
		if _, err := s.standby.Client.Put(ctx, key, value); err != nil {
			return fmt.Errorf("write to the standby: %w", err)
		}
	}
	err = s.drifted(ctx, "the guard to report what was written", func(d replica.Drift) bool { return d.Changed == 1 && d.Created == 1 })
	if err != nil {
		return err
	}
	s.story.forged(s.facts)
	return nil
}

func withLabel(value []byte, name, text string) ([]byte, error) {
	fields, err := registry.ReadFields(value)
	if err != nil {
		return nil, err
	}
	metadata, _ := fields["metadata"].(map[string]any)
	labels, _ := metadata["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
	}
	labels[name] = text
	metadata["labels"] = labels
	return registry.WriteFields(fields, value)
}

// drifted waits until the account of drift is as it should be.
func (s *stage) drifted(ctx context.Context, what string, ok func(replica.Drift) bool) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for late := time.Now().Add(demoPatience); !ok(s.replica.State().Drift); {
		if time.Now().After(late) {
			return fmt.Errorf("wait for %s: nothing after %s; the account is %+v", what, demoPatience, s.replica.State().Drift)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// seen is told of the standby's writes by the guard.
func (s *stage) seen(writes []replica.Write, _ kv.Revision) {
	for _, w := range writes {
		if w.Foreign {
			offer(s.foreign, w)
		}
	}
}

// find demands that the check finds exactly what was changed and created.
func (s *stage) find(ctx context.Context) error {
	report, err := s.compare(ctx)
	if err != nil {
		return err
	}
	s.broken = report
	s.facts.Tampered.Check = toDemoCheck(report)
	s.story.found(s.facts, s.named)
	t := s.facts.Tampered
	if report.Verdict != verify.Inconsistent || report.Differences() != 2 ||
		!slices.Equal(report.Differing.Keys, []string{t.Changed}) || !slices.Equal(report.Surplus.Keys, []string{t.Created}) {
		return s.wrong(fmt.Sprintf("the check should have named %s and %s", t.Changed, t.Created), report)
	}
	return nil
}

// repair puts right what the check has found, as understudy repair --apply does,
// while the writers and the replication go on; then it checks again.
func (s *stage) repair(ctx context.Context) error {
	plan, err := verify.MakePlan(ctx, s.sides(), s.view, s.broken)
	if err != nil {
		return s.explain(ctx, "plan the repair", err)
	}
	limits := sink.Limits{MaxOps: s.pair.Standby.Etcd.MaxTxnOps, MaxBytes: int(s.pair.Standby.Etcd.MaxRequestBytes)}
	outcome, err := verify.Repair(ctx, s.sides(), s.view, plan, limits)
	if err != nil {
		return s.explain(ctx, "repair the standby", err)
	}
	report, err := s.compare(ctx)
	if err != nil {
		return err
	}
	s.facts.Repaired = demoRepaired{outcome.Written, outcome.Deleted, toDemoCheck(report)}
	s.story.repaired(s.facts)
	if report.Verdict != verify.Consistent {
		return s.wrong("the standby should be equal to the primary again", report)
	}
	return nil
}
