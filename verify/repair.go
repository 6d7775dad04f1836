package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// Outcome is what became of the steps of a plan.
type Outcome struct {
	Written int    `json:"written"`
	Deleted int    `json:"deleted"`
	Equal   int    `json:"equal"` // by now, without us
	Left    []Left `json:"left"`  // steps that were not taken
}

// Left is a key that a repair did not touch.
type Left struct {
	Key string `json:"key"`
	Why string `json:"why"`
}

const (
	// repairKeys is how many keys one transaction takes; with the checkpoint,
	// the role, the marks of surplus keys and the originals of held objects they
	// stay below etcd's 128.
	repairKeys = 40
	// repairRace is how often a transaction is tried while the replication
	// writes at the same time.
	repairRace = 50
)

// Repair carries a plan out. It is the only function of this package that writes,
// and it writes to the standby only.
//
// Each transaction demands that neither its keys nor the role have changed
// since they were read, nor the checkpoint: so it cannot undo what a daemon
// replicates at the same time, and a key that it writes holds what the primary
// held at that very checkpoint. A key that others have changed on the standby
// since the comparison is left alone.
//
// After an error what was done so far stays done; comparing again shows it.
func Repair(ctx context.Context, sides Sides, view *scope.View, plan Plan, limits sink.Limits) (Outcome, error) {
	r := repair{sides: sides, view: view, at: plan.Report.StandbyRevision}
	r.out.Left = []Left{}
	keys, bytes := repairKeys, 1<<20
	if limits.MaxOps > 0 {
		keys = max(1, min(keys, (limits.MaxOps-4)/3))
	}
	if limits.MaxBytes > 0 {
		bytes = limits.MaxBytes * 2 / 3
	}
	var batch []Step
	size := 0
	for _, step := range plan.Steps {
		if step.Leave != "" {
			r.leave(step, step.Leave)
			continue
		}
		if len(batch) == keys || len(batch) > 0 && size+step.Bytes > bytes {
			if err := r.apply(ctx, batch); err != nil {
				return r.out, err
			}
			batch, size = nil, 0
		}
		batch = append(batch, step)
		size += step.Bytes
	}
	if len(batch) > 0 {
		return r.out, r.apply(ctx, batch)
	}
	return r.out, nil
}

type repair struct {
	sides Sides
	view  *scope.View
	at    kv.Revision // of the standby, at the comparison
	out   Outcome
}

func (r *repair) leave(s Step, why string) { r.out.Left = append(r.out.Left, Left{s.Key, why}) }

// apply takes the steps of one transaction.
func (r *repair) apply(ctx context.Context, steps []Step) error {
	for attempt := 1; ; attempt++ {
		done, err := r.try(ctx, steps)
		if done || err != nil {
			return err
		}
		if attempt == repairRace {
			return &remedy.Error{Op: "repair the standby", Err: errors.New("the replication writes all the time, and no moment was free"),
				Remedy: "understudy pause; understudy repair --apply; understudy resume", Code: remedy.LostRace}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(attempt) * time.Millisecond):
		}
	}
}

// try reads everything anew and commits; false means that something moved
// meanwhile and nothing was written.
func (r *repair) try(ctx context.Context, steps []Step) (bool, error) {
	now, err := r.readStandby(ctx, steps)
	if err != nil {
		return false, err
	}
	return r.commit(ctx, steps, now)
}

// commit writes what the steps come to at that moment, if it is still current.
func (r *repair) commit(ctx context.Context, steps []Step, now moment) (bool, error) {
	keys := make([]string, len(steps))
	for i, s := range steps {
		keys[i] = s.Key
	}
	pairs, err := source.Get(ctx, r.sides.Primary, keys, now.point.Source)
	if err != nil {
		return false, fmt.Errorf("read the primary: %w", err)
	}
	primary := make(map[string]*kv.Pair, len(pairs))
	for i := range pairs {
		primary[pairs[i].Key] = &pairs[i]
	}

	records, err := recordsOf(ctx, r.sides.Standby, r.view, keys, 0)
	if err != nil {
		return false, err
	}

	before := r.out
	compares := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(sink.CheckpointKey), "=", int64(now.point.CheckpointRevision)),
		clientv3.Compare(clientv3.ModRevision(role.Key), "=", now.role),
	}
	var ops []clientv3.Op
	for _, s := range steps {
		some := r.operations(s, primary[s.Key], now.pairs[s.Key], records)
		if len(some) > 0 {
			compares = append(compares, clientv3.Compare(clientv3.ModRevision(s.Key), "=", int64(modRevision(now.pairs[s.Key]))))
			ops = append(ops, some...)
		}
	}
	if len(ops) == 0 {
		return true, nil
	}
	ops = append(ops, clientv3.OpPut(sink.OperatorKey, "repair "+time.Now().UTC().Format(time.RFC3339)))
	resp, err := r.sides.Standby.Txn(ctx).If(compares...).Then(ops...).Commit()
	if err != nil {
		r.out = before
		return false, &remedy.Error{Op: "write to the standby", Err: err,
			Remedy: "what was written is unknown; understudy check shows it, and repair may be run again", Code: remedy.Unknown}
	}
	if !resp.Succeeded {
		r.out = before
	}
	return resp.Succeeded, nil
}

// operations decides about one key by what both sides hold at this moment.
func (r *repair) operations(s Step, primary, standby *kv.Pair, records scope.Records) []clientv3.Op {
	var found finding
	if primary != nil || standby != nil {
		found = compare(r.view, records, primary, standby)
	}
	changed := modRevision(standby) > r.at
	switch {
	case found.kind == "":
		r.out.Equal++
		return nil
	case changed:
		r.leave(s, "changed on the standby since it was compared")
		return nil
	case found.kind == Conflict:
		r.leave(s, ownStays)
		return nil
	case s.Delete:
		if found.kind != Surplus {
			r.leave(s, "the primary has it by now")
			return nil
		}
		r.out.Deleted++
		return []clientv3.Op{clientv3.OpDelete(s.Key), clientv3.OpDelete(sink.SurplusPrefix + s.Key), clientv3.OpDelete(scope.HeldKey(s.Key))}
	case primary == nil:
		r.leave(s, "the primary no longer has it")
		return nil
	}
	want, err := r.view.Want(s.Key, primary.Value)
	if err != nil || !want.In {
		r.leave(s, "the primary's object cannot be read, or no longer takes part")
		return nil
	}
	value := want.Value
	_, wasHeld := records[s.Key]
	if standby != nil {
		own := r.view.Own(s.Key, standby.Value)
		if wasHeld && want.Kept == nil {
			own = own.Said()
		}
		if value, _, err = r.view.Keep(s.Key, value, own); err != nil {
			r.leave(s, err.Error())
			return nil
		}
	}
	r.out.Written++
	ops := []clientv3.Op{clientv3.OpPut(s.Key, string(value))}
	switch {
	case want.Kept != nil:
		ops = append(ops, clientv3.OpPut(scope.HeldKey(s.Key), string(want.Kept)))
	case wasHeld:
		ops = append(ops, clientv3.OpDelete(scope.HeldKey(s.Key)))
	}
	return ops
}

func modRevision(p *kv.Pair) kv.Revision {
	if p == nil {
		return 0
	}
	return p.ModRevision
}

// moment is the standby at one revision.
type moment struct {
	point Point
	role  int64 // revision of the role's key
	pairs map[string]*kv.Pair
}

// readStandby reads the keys of the steps together with the checkpoint and the role.
func (r *repair) readStandby(ctx context.Context, steps []Step) (m moment, err error) {
	ops := []clientv3.Op{clientv3.OpGet(sink.CheckpointKey), clientv3.OpGet(role.Key)}
	for _, s := range steps {
		ops = append(ops, clientv3.OpGet(s.Key))
	}
	resp, err := r.sides.Standby.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return m, fmt.Errorf("read the standby: %w", err)
	}
	checkpoint := (*clientv3.GetResponse)(resp.Responses[0].GetResponseRange())
	checkpoint.Header = resp.Header
	if m.point, err = PointOf(checkpoint); err != nil {
		return m, &remedy.Error{Op: "repair the standby", Err: err, Remedy: "understudy status", Code: remedy.Refused}
	}
	if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		m.role = kvs[0].ModRevision
	}
	m.pairs = map[string]*kv.Pair{}
	for _, answer := range resp.Responses[2:] {
		for _, p := range answer.GetResponseRange().Kvs {
			m.pairs[string(p.Key)] = &kv.Pair{Key: string(p.Key), Value: p.Value, ModRevision: kv.Revision(p.ModRevision)}
		}
	}
	return m, nil
}
