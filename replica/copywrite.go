package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// write applies one transaction of the copy. It is called from the writers.
func (j *copyJob) write(ctx context.Context, txn []item) error {
	if err := j.announce(ctx); err != nil {
		return err
	}
	changes, err := j.changes(ctx, txn)
	if err != nil {
		return err
	}
	if err := j.apply(ctx, changes); err != nil {
		return err
	}
	j.written.Add(int64(len(txn)))
	j.writtenBytes.Add(int64(sink.Cost(changes)))
	return nil
}

// changes fetches the values of a transaction from wherever they are.
func (j *copyJob) changes(ctx context.Context, txn []item) ([]kv.Change, error) {
	changes := make([]kv.Change, 0, 2*len(txn))
	for start := 0; start < len(txn); start += readAgainMax {
		part := txn[start:min(start+readAgainMax, len(txn))]
		values, err := j.readAgain(ctx, part)
		if err != nil {
			return nil, err
		}
		for _, it := range part {
			value, kept := it.value, it.kept
			if value == nil && it.where.length > 0 {
				value, kept, err = j.fromDisk(it)
				if err != nil {
					return nil, err
				}
			} else if value == nil {
				value, kept = values[it.key].Value, values[it.key].Kept
			}
			changes = append(changes, kv.Change{Key: it.key, Value: value, Revision: j.rev})
			if it.held {
				changes = append(changes, kv.Change{Key: scope.HeldKey(it.key), Value: kept, Revision: j.rev})
			}
		}
	}
	return changes, nil
}

// fromDisk reads what putAway put away.
func (j *copyJob) fromDisk(it item) (value, kept []byte, err error) {
	if value, err = j.disk.get(it.where); err == nil && it.held {
		kept, err = j.disk.get(it.keptWhere)
	}
	return value, kept, err
}

// readAgainMax keeps a request of full-size values below the client's limit.
const readAgainMax = 32

// readAgain reads the values that neither memory nor disk could keep.
func (j *copyJob) readAgain(ctx context.Context, txn []item) (map[string]scope.Wanted, error) {
	var keys, local []string
	for _, it := range txn {
		if it.value != nil || it.where.length > 0 {
			continue
		}
		keys = append(keys, it.key)
		if !it.fresh && j.view.HasLocal(it.key) {
			local = append(local, it.key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	pairs, err := source.Get(ctx, j.primary, keys, j.rev)
	if err != nil {
		return nil, fmt.Errorf("read the primary again: %w", err)
	}
	own, err := j.ownOf(ctx, local)
	if err != nil {
		return nil, err
	}
	values := make(map[string]scope.Wanted, len(pairs))
	for _, p := range pairs {
		want, err := j.view.Want(p.Key, p.Value)
		if err == nil {
			want.Value, _, err = j.view.Keep(p.Key, want.Value, own[p.Key])
		}
		if err != nil {
			return nil, unreadable(j.view, p.Key, err)
		}
		values[p.Key] = want
	}
	if len(values) != len(keys) {
		return nil, fmt.Errorf("read the primary again at revision %d: %d of %d keys are gone", j.rev, len(keys)-len(values), len(keys))
	}
	return values, nil
}

// ownOf reads the standby's local fields of some objects.
func (j *copyJob) ownOf(ctx context.Context, keys []string) (map[string]scope.Own, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	pairs, err := source.Get(ctx, j.standby, keys, 0)
	if err != nil {
		return nil, fmt.Errorf("read the standby's local fields: %w", err)
	}
	own := make(map[string]scope.Own, len(pairs))
	for _, p := range pairs {
		own[p.Key] = j.view.Own(p.Key, p.Value)
	}
	return own, nil
}

// announce says in the standby that it equals the primary at no revision while
// the copy writes. It is done once, before the first write.
func (j *copyJob) announce(ctx context.Context) error {
	j.announcing.Lock()
	defer j.announcing.Unlock()
	if j.announced {
		return nil
	}
	if err := j.sink.Apply(ctx, nil, j.checkpoint(sink.Copying)); err != nil {
		return fmt.Errorf("announce the copy: %w", err)
	}
	j.announced, j.announcedAt = true, j.sink.Last().Revision
	return nil
}

// probe asks, before the first write, whether the standby accepts the largest
// object found so far.
func (j *copyJob) probe() error {
	if j.probed || j.largest.value == nil {
		return nil
	}
	change := kv.Change{Key: j.largest.key, Value: j.largest.value, Revision: j.rev}
	err := j.sink.Accepts(j.writers.ctx, change, j.checkpoint(sink.Copying))
	if errors.Is(err, sink.ErrTooLarge) {
		return tooLarge([]kv.Change{change}, err)
	}
	j.probed, j.largest = true, item{}
	return err
}

// apply writes changes within the copy, in smaller parts where the standby's
// limits demand it. A lost connection is waited out: within one copy, writing
// the same again is harmless.
func (j *copyJob) apply(ctx context.Context, changes []kv.Change) error {
	wait := newBackoff(100*time.Millisecond, 5*time.Second)
	deadline := time.Now().Add(copyPatience)
	for {
		err := j.sink.ApplyCopy(ctx, changes)
		switch {
		case err == nil:
			j.transactions.Add(1)
			return nil
		case errors.Is(err, sink.ErrTooLarge) && len(changes) > 1:
			first, second := halves(changes)
			if err := j.apply(ctx, first); err != nil {
				return err
			}
			return j.apply(ctx, second)
		case errors.Is(err, sink.ErrTooLarge):
			return tooLarge(changes, err)
		case errors.Is(err, sink.ErrFenced), errors.Is(err, sink.ErrMoved), errors.Is(err, sink.ErrNoSpace):
			return err
		case time.Now().After(deadline):
			return err
		}
		if wait.sleep(ctx) != nil {
			return err
		}
	}
}

// halves takes changes apart, a held object never from its original. One that
// does not fit into one transaction with it comes after it.
func halves(changes []kv.Change) (first, second []kv.Change) {
	half := len(changes) / 2
	if changes[half].Key == scope.HeldKey(changes[half-1].Key) {
		if half++; half == len(changes) {
			half = len(changes) - 2
		}
	}
	if half == 0 {
		return changes[1:], changes[:1]
	}
	return changes[:half], changes[half:]
}

// copyPatience is how long a copy waits for the standby to come back before it
// begins again from what has been written.
const copyPatience = time.Minute

// deleteAll deletes what the primary has deleted since the last complete
// checkpoint, dependents before their owners.
func (j *copyJob) deleteAll(ctx context.Context) error {
	if len(j.deletes) == 0 {
		return nil
	}
	if err := j.announce(ctx); err != nil {
		return err
	}
	var order []item
	for _, tree := range trees(j.deletes) {
		for _, i := range slices.Backward(tree) {
			order = append(order, j.deletes[i])
		}
	}
	for part := range slices.Chunk(order, min(readAgainMax, j.sink.Room().Ops)) {
		if err := j.deletePart(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// deletePart deletes what still stands as the copy read it. A key that somebody
// has written since is another matter: it stays.
func (j *copyJob) deletePart(ctx context.Context, part []item) error {
	wait := newBackoff(100*time.Millisecond, 5*time.Second)
	deadline := time.Now().Add(copyPatience)
	for {
		err := j.tryDelete(ctx, part)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, sink.ErrTooLarge) && len(part) > 1:
			half := len(part) / 2
			if err := j.deletePart(ctx, part[:half]); err != nil {
				return err
			}
			return j.deletePart(ctx, part[half:])
		case errors.Is(err, sink.ErrFenced), errors.Is(err, sink.ErrMoved), errors.Is(err, sink.ErrNoSpace), time.Now().After(deadline):
			return err
		}
		if wait.sleep(ctx) != nil {
			return err
		}
	}
}

func (j *copyJob) tryDelete(ctx context.Context, part []item) error {
	keys, read := make([]string, len(part)), map[string]kv.Revision{}
	for i, it := range part {
		keys[i], read[it.key] = it.key, it.created
	}
	there, err := source.Get(ctx, j.standby, keys, 0)
	if err != nil {
		return fmt.Errorf("read what is to be deleted on the standby: %w", err)
	}
	stands := map[string]kv.Revision{}
	for _, p := range there {
		if p.CreateRevision == read[p.Key] {
			stands[p.Key] = p.ModRevision
		}
	}
	var changes []kv.Change
	var unchanged []sink.Unchanged
	for _, it := range part { // in their order: dependents first
		if at := stands[it.key]; at != 0 {
			changes = append(changes, kv.Change{Key: it.key, Delete: true, Revision: j.rev})
			unchanged = append(unchanged, sink.Unchanged{Key: it.key, Revision: at})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if err := j.sink.ApplyCopy(ctx, changes, unchanged...); err != nil {
		return err
	}
	j.transactions.Add(1)
	j.progress.Deleted += int64(len(changes))
	return nil
}

func (j *copyJob) applyAll(ctx context.Context, changes []kv.Change, count *int64) error {
	for part := range slices.Chunk(changes, j.sink.Room().Ops) {
		if err := j.apply(ctx, part); err != nil {
			return err
		}
		*count += int64(len(part))
	}
	return nil
}

// tooLarge names the change that the standby refuses.
func tooLarge(changes []kv.Change, err error) error {
	largest := changes[0]
	total := 0
	for _, c := range changes {
		total += c.Size()
		if c.Size() > largest.Size() {
			largest = c
		}
	}
	what := fmt.Errorf("%s, %d bytes: %w", largest.Key, largest.Size(), err)
	raise := "raise --max-request-bytes (or --max-txn-ops) on the standby's etcd at least to the primary's, or exclude the key (sync.exclude: [{keys: […]}]); nothing was skipped"
	if len(changes) > 1 {
		what = fmt.Errorf("the primary's transaction at revision %d, %d keys and %d bytes, largest %s: %w",
			largest.Revision, len(changes), total, largest.Key, err)
		raise = fmt.Sprintf("raise --max-txn-ops of the standby's etcd above %d (and --max-request-bytes above %d), and standby.etcd.maxTxnOps in the configuration; nothing was skipped", len(changes), total)
	}
	return &remedy.Error{Op: "write to the standby", Err: what,
		Remedy: raise, Code: remedy.Refused}
}
