package replica

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// refuseSealed looks, before a copy writes anything, at the first object in scope
// of each resource of the primary. A copy would meet an encrypted one too, but late:
// Secrets come after much else in key order.
func refuseSealed(ctx context.Context, primary *clientv3.Client, view *scope.View) error {
	if !view.Understood || view.Recoder.Configured() {
		return nil
	}
	from, end := view.Range()
	for {
		key, next, err := firstInScope(ctx, primary, view, from, end)
		if err != nil || key == "" && next == "" {
			return err
		}
		if key != "" {
			resp, err := primary.Get(ctx, key)
			if err != nil {
				return fmt.Errorf("look at the primary's encryption: %w", err)
			}
			if len(resp.Kvs) > 0 {
				if _, err := view.Want(key, resp.Kvs[0].Value); registry.SealedWith(resp.Kvs[0].Value) != "" && err != nil {
					return unreadable(view, key, err)
				}
			}
		}
		from = next
	}
}

// keysLooked is how many keys are asked for at once.
const keysLooked = 200

// firstInScope is the first key in scope from a key on, and where the next resource
// begins; no key where a resource has none. Both are empty at the end.
func firstInScope(ctx context.Context, primary *clientv3.Client, view *scope.View, from, end string) (key, next string, err error) {
	for {
		resp, err := primary.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(keysLooked), clientv3.WithKeysOnly())
		if err != nil {
			return "", "", fmt.Errorf("look at the primary's encryption: %w", err)
		}
		for _, p := range resp.Kvs {
			k, ok := view.Scope.Parse(string(p.Key))
			if !ok || view.Scope.Key(string(p.Key)) == scope.Out {
				continue
			}
			return string(p.Key), afterResource(string(p.Key), k), nil
		}
		if !resp.More {
			return "", "", nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// afterResource is the end of the range in which all objects of a resource lie.
func afterResource(key string, k registry.Key) string {
	within := len(k.Name)
	if k.Namespace != "" {
		within += len(k.Namespace) + 1
	}
	return kv.PrefixEnd(key[:len(key)-within])
}
