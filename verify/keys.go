package verify

import (
	"context"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// keysAtOnce keeps one answer below our limit for a message even where every
// value is as large as etcd takes them by default.
const keysAtOnce = 32

// Result is what the comparison of one key found.
type Result struct {
	Key  string
	Kind Kind  // "" = equal, out of scope, or on neither side
	Why  error // what is wrong with an Undecodable value
}

// Key compares a single key, with the primary at revision primary and the
// standby at revision standby; see Point.
func Key(ctx context.Context, sides Sides, view *scope.View, key string, primary, standby kv.Revision) (Result, error) {
	results, err := CompareKeys(ctx, sides, view, []string{key}, primary, standby)
	if err != nil {
		return Result{}, err
	}
	return results[0], nil
}

// CompareKeys is Key for several keys at once. The results come in the order of keys.
func CompareKeys(ctx context.Context, sides Sides, view *scope.View, keys []string, primary, standby kv.Revision) ([]Result, error) {
	results := make([]Result, 0, len(keys))
	served := asking{served: sides.Served, view: view}
	for chunk := range slices.Chunk(keys, keysAtOnce) {
		onPrimary, err := read(ctx, sides.Primary, chunk, primary)
		if err != nil {
			return nil, err
		}
		onStandby, err := read(ctx, sides.Standby, chunk, standby)
		if err != nil {
			return nil, err
		}
		records, err := recordsOf(ctx, sides.Standby, view, chunk, standby)
		if err != nil {
			return nil, err
		}
		for _, key := range chunk {
			p, s := onPrimary[key], onStandby[key]
			r := Result{Key: key}
			if p != nil || s != nil {
				found := served.settle(ctx, p, s, compare(view, records, p, s))
				r.Kind, r.Why = found.kind, found.why
			}
			results = append(results, r)
		}
	}
	return results, nil
}

// recordsOf reads the records of those keys that may be held.
func recordsOf(ctx context.Context, standby *clientv3.Client, view *scope.View, keys []string, rev kv.Revision) (scope.Records, error) {
	var held []string
	for _, key := range keys {
		if view.MayBeHeld(key) {
			held = append(held, scope.HeldKey(key))
		}
	}
	if len(held) == 0 {
		return nil, nil
	}
	found, err := read(ctx, standby, held, rev)
	if err != nil {
		return nil, err
	}
	records := scope.Records{}
	for key, p := range found {
		records.Add(view, key, p.Value)
	}
	return records, nil
}

func read(ctx context.Context, client *clientv3.Client, keys []string, rev kv.Revision) (map[string]*kv.Pair, error) {
	pairs, err := source.Get(ctx, client, keys, rev)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*kv.Pair, len(pairs))
	for i := range pairs {
		found[pairs[i].Key] = &pairs[i]
	}
	return found, nil
}
