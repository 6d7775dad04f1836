package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// shown are the objects that the breaker has shown to operators, by key and UID:
// an answer is for them, whenever they go, and for no others. It is sorted. Each takes
// eight bytes, half of them a hash of its key, half one of its UID; that a third object
// has both of one of a million is as likely as one in ten million million.
type shown []uint64

func shownAs(key, uid string) uint64 { return uint64(half(key))<<32 | uint64(half(uid)) }

// identity is what tells an object of the standby from another one of its name: its
// UID, or where it has none that can be read, when it was created.
func identity(p kv.Pair, o scope.Object) string {
	if o.Meta.UID != "" {
		return o.Meta.UID
	}
	return fmt.Sprintf("created at %d", p.CreateRevision)
}

func half(text string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text)) // never fails
	return h.Sum32()
}

func (s shown) has(p kv.Pair, o scope.Object) bool {
	_, ok := slices.BinarySearch(s, shownAs(p.Key, identity(p, o)))
	return ok
}

// names reports whether an object at that key may be among them.
func (s shown) names(key string) bool {
	at, _ := slices.BinarySearch(s, uint64(half(key))<<32)
	return at < len(s) && uint32(s[at]>>32) == half(key)
}

// with is s and others; s is left as it is.
func (s shown) with(others shown) shown {
	all := slices.Concat(s, others)
	slices.Sort(all)
	return slices.Compact(all)
}

// shownChunk is how many of them stand in one value, which begins with the time of
// the trip that they belong to.
const shownChunk = 32 << 10

// saveShown keeps what a trip has shown beside its record. It is written first: a
// record whose chunks are another one's accepts nothing.
func (s *session) saveShown(ctx context.Context, t role.Trip, all shown) error {
	most := shownChunk
	if s.Limits.MaxBytes > 0 {
		most = min(most, max(1, s.Limits.MaxBytes/4/8))
	}
	n := 0
	for part := range slices.Chunk(all, most) {
		value := binary.BigEndian.AppendUint64(nil, uint64(t.At.UnixNano()))
		for _, one := range part {
			value = binary.BigEndian.AppendUint64(value, one)
		}
		if err := s.sink.Put(ctx, role.ShownKey(n), string(value)); err != nil {
			return fmt.Errorf("record what the breaker has shown: %w", err)
		}
		n++
	}
	return nil
}

// loadShown reads what a trip has shown. What cannot be read accepts nothing.
func loadShown(ctx context.Context, standby *clientv3.Client, t *role.Trip) (all shown, err error) {
	dir := role.ShownDir + "/"
	err = source.Each(ctx, standby, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
		if _, err := strconv.Atoi(p.Key[len(dir):]); err != nil || len(p.Value)%8 != 0 || len(p.Value) == 0 ||
			binary.BigEndian.Uint64(p.Value) != uint64(t.At.UnixNano()) {
			return nil
		}
		for at := 8; at < len(p.Value); at += 8 {
			all = append(all, binary.BigEndian.Uint64(p.Value[at:]))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what the breaker has shown: %w", err)
	}
	slices.Sort(all)
	return all, nil
}

// forgetShown deletes chunks that a trip has left behind.
func (s *session) forgetShown(ctx context.Context) error {
	dir := role.ShownDir + "/"
	var keys []string
	err := source.Each(ctx, s.standby, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
		keys = append(keys, p.Key)
		return nil
	})
	for _, key := range keys {
		if err == nil {
			err = s.sink.Delete(ctx, key)
		}
	}
	if err != nil {
		return fmt.Errorf("forget what the breaker has shown: %w", err)
	}
	return nil
}

// acceptedBy is what the answer to a trip accepts; nil = nothing. It does not end
// with the trip: what hangs on the objects that were shown goes later.
func (s *session) acceptedBy(ctx context.Context, t *role.Trip) (shown, error) {
	if t == nil || t.SourceClusterID != s.id || t.Answer == nil || !t.Answer.Accept || t.Answer.Done {
		return nil, nil
	}
	return loadShown(ctx, s.standby, t)
}
