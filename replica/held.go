package replica

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// heldRecords are the originals of held objects as the standby keeps them: key
// → digest of the object.
type heldRecords map[string][sha256.Size]byte

// readHeld reads all of them at the standby's revision rev; 0 = now.
func readHeld(ctx context.Context, standby *clientv3.Client, view *scope.View, rev kv.Revision) (heldRecords, error) {
	cursor, err := source.Open(ctx, standby, scope.HeldPrefix+"/", kv.PrefixEnd(scope.HeldPrefix+"/"), rev)
	if err != nil {
		return nil, fmt.Errorf("read the originals of held objects: %w", err)
	}
	defer cursor.Close()
	records := heldRecords{}
	for {
		p, ok, err := cursor.Next()
		if err != nil {
			return nil, fmt.Errorf("read the originals of held objects: %w", err)
		}
		if !ok {
			return records, nil
		}
		key := strings.TrimPrefix(p.Key, scope.HeldPrefix)
		object, err := view.InStandby(key, p.Value)
		if err != nil {
			records[key] = [sha256.Size]byte{} // differs from every original
			continue
		}
		records[key] = sha256.Sum256(object.Plain)
	}
}

// has reports whether the original of a held object is kept as it should be.
func (r heldRecords) has(key string, want scope.Wanted) bool {
	kept, ok := r[key]
	if want.Original == nil {
		return !ok
	}
	return ok && kept == sha256.Sum256(want.Original)
}

// heldChange is what the record of a held object needs beside the object's own
// change: its original put, or the record of one that is no longer held deleted.
func heldChange(key string, want scope.Wanted, revision kv.Revision) kv.Change {
	if want.Kept != nil {
		return kv.Change{Key: scope.HeldKey(key), Value: want.Kept, Revision: revision}
	}
	return kv.Change{Key: scope.HeldKey(key), Delete: true, Revision: revision}
}

// forgetHeld deletes the records of objects that are no longer held.
func (j *copyJob) forgetHeld(ctx context.Context) error {
	var records []kv.Change
	for key := range j.records {
		records = append(records, kv.Change{Key: scope.HeldKey(key), Delete: true, Revision: j.rev})
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
