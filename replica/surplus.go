package replica

import (
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// surplusSet is the standby's record of keys that were created there by
// somebody else: key → the standby's revision of the record.
type surplusSet map[string]kv.Revision

// has reports whether p is one of them. A key that was deleted and created
// again since the record was made is another one.
func (s surplusSet) has(p *kv.Pair) bool {
	recorded, ok := s[p.Key]
	return ok && p.CreateRevision <= recorded
}

func surplusKey(key string) string { return sink.SurplusPrefix + key }

func readSurplus(ctx context.Context, standby *clientv3.Client) (surplusSet, error) {
	cursor, err := source.Open(ctx, standby, sink.SurplusPrefix, kv.PrefixEnd(sink.SurplusPrefix), 0)
	if err != nil {
		return nil, fmt.Errorf("read the record of surplus keys: %w", err)
	}
	defer cursor.Close()
	set := surplusSet{}
	for {
		p, ok, err := cursor.Next()
		if err != nil {
			return nil, fmt.Errorf("read the record of surplus keys: %w", err)
		}
		if !ok {
			return set, nil
		}
		set[strings.TrimPrefix(p.Key, sink.SurplusPrefix)] = p.ModRevision
	}
}
