package role

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/remedy"
)

// Memory is what an operator may make a standby forget: some of Understudy's own
// keys as they stood at one moment, and who may write to the cluster then. Read it
// with Recall.
type Memory struct {
	Records map[string][]byte // by key, those that exist
	// Damaged is why the role cannot be read; nil = it can, or there is none.
	Damaged error
	Role    State // where it can be read

	revisions map[string]int64
	fence     []clientv3.Cmp
	busy      error
}

// Recall reads the records with these keys, whatever is in them.
func Recall(ctx context.Context, client *clientv3.Client, keys ...string) (Memory, error) {
	m := Memory{Records: map[string][]byte{}, revisions: map[string]int64{}}
	kept, fence, err := quiet(ctx, client)
	if err != nil && !errors.Is(err, ErrReplicating) {
		return m, err
	}
	m.fence, m.busy = fence, err
	m.Role, m.Damaged = kept.state()
	reads := make([]clientv3.Op, len(keys))
	for i, key := range keys {
		reads[i] = clientv3.OpGet(key)
	}
	resp, err := client.Txn(ctx).Then(reads...).Commit()
	if err != nil {
		return m, fmt.Errorf("read the standby's records: %w", err)
	}
	for _, one := range resp.Responses {
		for _, p := range one.GetResponseRange().Kvs {
			m.Records[string(p.Key)], m.revisions[string(p.Key)] = p.Value, p.ModRevision
		}
	}
	return m, nil
}

// Forget deletes these records in one transaction, where all that was recalled
// stands as it was, the role too, and no daemon can write to the cluster. Keys that
// did not exist are passed over. ErrReplicating: a daemon leads.
func (m Memory) Forget(ctx context.Context, client *clientv3.Client, keys ...string) error {
	if m.busy != nil {
		return m.busy
	}
	compares, deletes := slices.Clone(m.fence), []clientv3.Op(nil)
	for key, revision := range m.revisions {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(key), "=", revision))
	}
	for _, key := range keys {
		if m.revisions[key] != 0 {
			deletes = append(deletes, clientv3.OpDelete(key))
		}
	}
	if len(deletes) == 0 {
		return nil
	}
	resp, err := client.Txn(ctx).If(compares...).Then(deletes...).Commit()
	if err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	if !resp.Succeeded {
		return &remedy.Error{Op: "forget", Err: errors.New("the records, or who may write to the standby, have changed meanwhile; nothing was deleted"),
			Remedy: "look again: understudy forget, without --apply", Code: remedy.LostRace}
	}
	return nil
}

// Revision is the one at which a record was last written; 0 = it does not exist.
func (m Memory) Revision(key string) int64 { return m.revisions[key] }
