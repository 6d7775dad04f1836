package source

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
)

// Get reads some keys at one revision, 0 = now; keys that do not exist there
// are left out.
func Get(ctx context.Context, client *clientv3.Client, keys []string, rev kv.Revision) ([]kv.Pair, error) {
	asked := make([]At, len(keys))
	for i, key := range keys {
		asked[i] = At{key, rev}
	}
	return GetAt(ctx, client, asked)
}

// At is a key as it was at a revision; 0 = now.
type At struct {
	Key      string
	Revision kv.Revision
}

// GetAt is Get with a revision for each key. It reads as many in one request as
// the server takes in one transaction (--max-txn-ops), which only the server knows.
func GetAt(ctx context.Context, client *clientv3.Client, asked []At) ([]kv.Pair, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	ops := make([]clientv3.Op, len(asked))
	for i, a := range asked {
		ops[i] = clientv3.OpGet(a.Key, clientv3.WithRev(int64(a.Revision)))
	}
	resp, err := client.Txn(ctx).Then(ops...).Commit()
	if errors.Is(err, rpctypes.ErrTooManyOps) && len(asked) > 1 {
		half := len(asked) / 2
		first, err := GetAt(ctx, client, asked[:half])
		if err != nil {
			return nil, err
		}
		second, err := GetAt(ctx, client, asked[half:])
		return append(first, second...), err
	}
	if err != nil {
		oldest := slices.MinFunc(asked, func(a, b At) int { return cmp.Compare(a.Revision, b.Revision) })
		return nil, readError(err, oldest.Revision)
	}
	var pairs []kv.Pair
	for _, r := range resp.Responses {
		for _, p := range r.GetResponseRange().Kvs {
			pairs = append(pairs, toPair(p))
		}
	}
	return pairs, nil
}
