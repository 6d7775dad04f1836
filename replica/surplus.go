package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// surplusSet is the standby's record of keys that were created there by
// somebody else: key → the standby's revision of the record.
type surplusSet map[string]kv.Revision

// has reports whether p is one of them. A key that was deleted and created
// again since the record was made is another one.
func (s surplusSet) has(p *kv.Pair) bool {
	recorded, ok := s[p.Key]
	return ok && p.CreateRevision <= recorded
}

// settleSurplus finds out which keys that only the standby has were written by
// a copy that did not finish: those that the primary had at a revision which
// such a copy was pinned to, or where the primary no longer keeps that revision,
// those that the standby says so of. Where it does not either, the keys stay.
func (j *copyJob) settleSurplus(ctx context.Context) error {
	var foreign []kv.Pair
	for part := range slices.Chunk(j.surplus, readAgainMax) {
		left, err := j.unfinished(ctx, part)
		if err != nil {
			return err
		}
		foreign = append(foreign, left...)
	}
	j.surplus = foreign
	j.progress.Surplus += int64(len(foreign))
	return nil
}

// unfinished moves the keys that an unfinished copy wrote to the deletes, and
// returns the others.
func (j *copyJob) unfinished(ctx context.Context, candidates []kv.Pair) ([]kv.Pair, error) {
	forgotten := false
	for _, rev := range j.interrupted {
		var keys []string
		for _, s := range candidates {
			if s.Value != nil {
				keys = append(keys, s.Key)
			}
		}
		if len(keys) == 0 {
			break
		}
		had, err := source.Get(ctx, j.primary, keys, rev)
		if errors.Is(err, source.ErrCompacted) {
			forgotten = true
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the primary as an unfinished copy saw it: %w", err)
		}
		for _, p := range had {
			candidates = slices.DeleteFunc(candidates, func(s kv.Pair) bool { return s.Key == p.Key && j.wrote(p, s) })
		}
	}
	if !forgotten {
		return candidates, nil
	}
	return j.createdByThem(ctx, candidates)
}

// createdByThem does the same where the primary no longer knows: every transaction of
// a copy writes its announcement too, as far as the standby keeps its history.
func (j *copyJob) createdByThem(ctx context.Context, candidates []kv.Pair) (foreign []kv.Pair, err error) {
	theirs := map[kv.Revision]bool{}
	for _, s := range candidates {
		if s.Value == nil { // nobody has asked
			foreign = append(foreign, s)
			continue
		}
		if _, asked := theirs[s.CreateRevision]; !asked {
			if theirs[s.CreateRevision], err = j.unfinishedAt(ctx, s.CreateRevision); err != nil {
				return nil, err
			}
		}
		have, unread := j.view.InStandby(s.Key, s.Value)
		if unread != nil || !theirs[s.CreateRevision] {
			foreign = append(foreign, s)
			continue
		}
		j.deletes = append(j.deletes, itemToDelete(s.Key, s.CreateRevision, have.Meta))
	}
	return foreign, nil
}

// unfinishedAt reports whether a revision of the standby is a transaction of one of
// the unfinished copies.
func (j *copyJob) unfinishedAt(ctx context.Context, at kv.Revision) (bool, error) {
	there, err := source.Get(ctx, j.standby, []string{sink.CheckpointKey}, at)
	if errors.Is(err, source.ErrCompacted) || err == nil && len(there) == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look which copy wrote at the standby's revision %d: %w", at, err)
	}
	c, err := sink.ParseCheckpoint(there[0].Value)
	return err == nil && there[0].ModRevision == at && c.Phase == sink.Copying && c.SourceClusterID == j.template.SourceClusterID &&
		slices.Contains(j.interrupted, c.SourceRevision), nil
}

// wrote reports whether s on the standby is what the primary had in p, and if
// so, notes it to be deleted.
func (j *copyJob) wrote(p, s kv.Pair) bool {
	was, err1 := j.view.InPrimary(p.Key, p.Value)
	have, err2 := j.view.InStandby(s.Key, s.Value)
	if err1 != nil || err2 != nil || !was.In || !j.view.Same(p.Key, was, have, p.Value, s.Value) {
		return false
	}
	j.deletes = append(j.deletes, itemToDelete(s.Key, s.CreateRevision, have.Meta))
	return true
}

// recordSurplus remembers the keys that only the standby has and that did not
// come from the primary, so that no later resync takes them for ours, and
// forgets those that the primary has by now.
func (j *copyJob) recordSurplus(ctx context.Context, known surplusSet) error {
	var records []kv.Change
	for _, p := range j.surplus {
		value := []byte{}
		switch {
		case known.has(&p): // not another one of its name
			value = []byte(j.kept(p.Key))
		case j.keep && !j.recorded(p.Key):
			value = []byte(sink.SurplusKept)
		}
		records = append(records, kv.Change{Key: surplusKey(p.Key), Value: value, Revision: j.rev})
	}
	for _, key := range j.outside {
		records = append(records, kv.Change{Key: surplusKey(key), Value: []byte{}, Revision: j.rev})
	}
	for _, key := range j.adopted {
		records = append(records, kv.Change{Key: surplusKey(key), Delete: true, Revision: j.rev})
	}
	if len(records) == 0 {
		return nil
	}
	if err := j.announce(ctx); err != nil {
		return err
	}
	var n int64
	return j.applyAll(ctx, records, &n)
}

func surplusKey(key string) string { return sink.SurplusPrefix + key }

// readSurplus reads the record: when each key was written to it, and what it says
// of those that were the primary's.
func readSurplus(ctx context.Context, standby *clientv3.Client) (set surplusSet, kept map[string]string, err error) {
	set, kept = surplusSet{}, map[string]string{}
	err = source.Each(ctx, standby, sink.SurplusPrefix, kv.PrefixEnd(sink.SurplusPrefix), 0, func(p kv.Pair) error {
		key := strings.TrimPrefix(p.Key, sink.SurplusPrefix)
		set[key] = p.ModRevision
		if len(p.Value) > 0 {
			kept[key] = string(p.Value)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the record of surplus keys: %w", err)
	}
	return set, kept, nil
}

// holdAgain makes objects inert that were kept when the primary lost them, held,
// and released since. They may be last copies: each is written as it stands now,
// and one that cannot be read is left.
func (j *copyJob) holdAgain(ctx context.Context, known surplusSet) error {
	for _, key := range j.released {
		for attempt := 1; ; attempt++ {
			err := j.tryHoldAgain(ctx, key, known)
			if err == nil {
				break
			}
			if !errors.Is(err, sink.ErrChanged) || attempt == fitAttempts {
				return fmt.Errorf("hold %s again: %w", key, err)
			}
		}
	}
	return nil
}

func (j *copyJob) tryHoldAgain(ctx context.Context, key string, known surplusSet) error {
	there, err := source.Get(ctx, j.standby, []string{key}, 0)
	if err != nil || len(there) == 0 {
		return err
	}
	now := there[0]
	if !known.has(&now) {
		return nil // another one has its name since it was read
	}
	object, err := j.view.InStandby(key, now.Value)
	var value []byte
	changed := false
	if err == nil {
		value, changed, err = j.view.Inert(key, object, now.Value)
	}
	if err != nil {
		j.log.Warn("it was released, and cannot be held again; see understudy hold apply", "key", key, "error", err)
		j.acting[role.ReleasedKey(key)] = true
		return nil
	}
	if !changed {
		return nil // it needs no hold now, and may tomorrow
	}
	// Held again, it is no longer released: its original stays from now on.
	changes := []kv.Change{
		{Key: scope.HeldKey(key), Value: now.Value, Revision: j.rev},
		{Key: key, Value: value, Revision: j.rev},
		{Key: surplusKey(key), Value: []byte(sink.SurplusKept), Revision: j.rev},
	}
	still := sink.Unchanged{Key: key, Revision: now.ModRevision}
	// Announced, it is not forgotten that others are to be held again, should this be cut off.
	if err := j.announce(ctx); err != nil {
		return err
	}
	err = j.sink.ApplyCopy(ctx, changes, still)
	if errors.Is(err, sink.ErrTooLarge) { // the original first
		if err = j.sink.ApplyCopy(ctx, changes[:1], still); err == nil {
			j.transactions.Add(1)
			err = j.sink.ApplyCopy(ctx, changes[1:], still)
		}
	}
	switch {
	case err == nil:
		j.transactions.Add(1)
	case errors.Is(err, sink.ErrTooLarge):
		return tooLarge(changes[1:2], err)
	}
	return err
}
