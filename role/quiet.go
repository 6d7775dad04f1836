package role

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/remedy"
)

// ErrReplicating means that a daemon replicates into the cluster at this moment.
var ErrReplicating = errors.New("a daemon replicates into the standby")

// Quiet returns the cluster's role, and the compares that hold exactly as long
// as the role stays that and no daemon can write to the cluster: replication
// is paused, or nobody leads. A daemon that replicates is ErrReplicating.
func Quiet(ctx context.Context, client *clientv3.Client) (State, []clientv3.Cmp, error) {
	kept, fence, err := quiet(ctx, client)
	if err != nil {
		return State{}, nil, err
	}
	s, err := kept.state()
	return s, fence, err
}

// record is a key of ours as it stands; the zero record does not exist.
type record struct {
	raw      []byte
	revision int64
}

func (r record) state() (State, error) {
	s := State{Revision: r.revision}
	if r.revision == 0 {
		return s, nil
	}
	if err := json.Unmarshal(r.raw, &s); err != nil {
		return State{}, damaged(err)
	}
	return s, nil
}

// quiet is Quiet for a role that need not be readable.
func quiet(ctx context.Context, client *clientv3.Client) (record, []clientv3.Cmp, error) {
	resp, err := client.Txn(ctx).Then(clientv3.OpGet(Key), clientv3.OpGet(PausedKey),
		clientv3.OpGet(LeaderDir+"/", clientv3.WithFirstCreate()...)).Commit()
	if err != nil {
		return record{}, nil, fmt.Errorf("read who may write to the standby: %w", err)
	}
	var r record
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		r = record{kvs[0].Value, kvs[0].ModRevision}
	}
	same := clientv3.Compare(clientv3.ModRevision(Key), "=", r.revision)
	if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		return r, []clientv3.Cmp{same, clientv3.Compare(clientv3.CreateRevision(PausedKey), "=", kvs[0].CreateRevision)}, nil
	}
	if kvs := resp.Responses[2].GetResponseRange().Kvs; len(kvs) > 0 {
		return r, nil, &remedy.Error{Err: fmt.Errorf("%w: %s", ErrReplicating, kvs[0].Value),
			Remedy: "understudy pause, then again", Code: remedy.Refused}
	}
	nobody := clientv3.Compare(clientv3.CreateRevision(LeaderDir+"/").WithPrefix(), "=", 0)
	return r, []clientv3.Cmp{same, nobody}, nil
}
