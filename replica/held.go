package replica

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// readHeld reads the originals of held objects as the standby keeps them now.
func readHeld(ctx context.Context, standby *clientv3.Client, view *scope.View) (scope.Records, error) {
	records := scope.Records{}
	dir := scope.HeldPrefix + "/"
	err := source.Each(ctx, standby, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
		records.Add(view, p.Key, p.Value)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the originals of held objects: %w", err)
	}
	return records, nil
}

// heldChange is what the record of a held object needs beside the object's own
// change: its original put, or the record of one that is no longer held deleted.
func heldChange(key string, want scope.Wanted, revision kv.Revision) kv.Change {
	if want.Kept != nil {
		return kv.Change{Key: scope.HeldKey(key), Value: want.Kept, Revision: revision}
	}
	return kv.Change{Key: scope.HeldKey(key), Delete: true, Revision: revision}
}

// forgetHeld deletes the records of objects that are no longer held, or no longer
// released.
func (j *copyJob) forgetHeld(ctx context.Context) error {
	var records []kv.Change
	for key := range j.records {
		if j.view.Scope.Key(key) == scope.Out {
			continue // the object stays as it is, and its original must not be lost
		}
		records = append(records, kv.Change{Key: scope.HeldKey(key), Delete: true, Revision: j.rev})
	}
	dir := role.ReleasedDir + "/" // whatever was released stands as the primary has it by now, or held
	err := source.Each(ctx, j.standby, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
		if j.acting[p.Key] {
			return nil
		}
		records = append(records, kv.Change{Key: p.Key, Delete: true, Revision: j.rev})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what was released: %w", err)
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
