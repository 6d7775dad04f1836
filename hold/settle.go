package hold

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// settle forgets of what was released what acts no longer: objects that are gone,
// inert, or that no hold is for. The others are in items, or cannot be held.
func (a *act) settle(ctx context.Context, limits sink.Limits) error {
	dir := role.ReleasedDir + "/"
	var released []string
	err := source.Each(ctx, a.standby, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
		released = append(released, p.Key[len(role.ReleasedDir):])
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what was released: %w", err)
	}
	for some := range slices.Chunk(released, a.most(limits)) {
		if err := a.settleSome(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// settleSome looks again where the standby's controllers write meanwhile.
func (a *act) settleSome(ctx context.Context, keys []string) error {
	for range attempts {
		stands, err := a.look(ctx, keys)
		if err != nil {
			return err
		}
		compares, ops := slices.Clone(a.fence), []clientv3.Op{}
		for _, key := range keys {
			if w := apply(a.view, key, stands[scope.HeldKey(key)], stands[key]); w.value == nil && w.leave == "" {
				compares = append(compares, clientv3.Compare(clientv3.ModRevision(key), "=", int64(modRevision(stands[key]))))
				ops = append(ops, clientv3.OpDelete(role.ReleasedKey(key)))
			}
		}
		if done, err := a.commit(ctx, compares, ops); done || err != nil {
			return err
		}
	}
	return &remedy.Error{Op: a.op + " the holds", Err: fmt.Errorf("%s or another object that was released is written all the time", keys[0]),
		Remedy: "the same command again does the rest", Code: remedy.LostRace}
}
