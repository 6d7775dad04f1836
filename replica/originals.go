package replica

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
)

// originals knows of which objects the standby may keep an original. Holds that go
// by an object's shape concern every custom resource, of which few are held: without
// this each change of any would delete a record that is not there, in a transaction
// of twice the operations.
//
// It may name too many keys: a record that is not there is deleted without harm.
type originals struct {
	mu   sync.Mutex
	seed maphash.Seed
	of   map[uint64]struct{} // by hash of the key; nil = not looked yet, so any may have one
}

// load looks at what the standby keeps. Whoever writes records beside the daemon
// that leads (hold apply, hold release) does so while none can write.
func (o *originals) load(ctx context.Context, standby *clientv3.Client) error {
	seed, of := maphash.MakeSeed(), map[uint64]struct{}{}
	from, end := scope.HeldPrefix+"/", kv.PrefixEnd(scope.HeldPrefix+"/")
	for {
		resp, err := standby.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(keysLooked), clientv3.WithKeysOnly())
		if err != nil {
			return fmt.Errorf("look which originals the standby keeps: %w", err)
		}
		for _, p := range resp.Kvs {
			of[maphash.String(seed, string(p.Key))] = struct{}{}
		}
		if !resp.More {
			break
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seed, o.of = seed, of
	return nil
}

// kept notes that an object's original will be kept.
func (o *originals) kept(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of != nil {
		o.of[maphash.String(o.seed, scope.HeldKey(key))] = struct{}{}
	}
}

// may reports whether one may be there.
func (o *originals) may(key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of == nil {
		return true
	}
	_, found := o.of[maphash.String(o.seed, scope.HeldKey(key))]
	return found
}
