package source

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
)

// Learn lets a scope see all CustomResourceDefinitions of one side at a revision,
// 0 = now, before its objects are gone through; see scope.Scope.Learn. plain
// decrypts as that side does; what it cannot, is passed over.
func Learn(ctx context.Context, client *clientv3.Client, s *scope.Scope, plain func(groupResource, key string, stored []byte) ([]byte, error), at kv.Revision) error {
	for _, dir := range s.Directories(scope.Definitions) {
		err := Each(ctx, client, dir, kv.PrefixEnd(dir), at, func(p kv.Pair) error {
			if object, err := plain(scope.Definitions, p.Key, p.Value); err == nil {
				s.Learn(object)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the definitions of custom resources: %w", err)
		}
	}
	return nil
}
