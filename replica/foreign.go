package replica

import (
	"context"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// foreignKeys is the record of surplus keys as one session knows it. It stands
// in the standby's etcd; see surplusSet for what it is good for.
type foreignKeys struct {
	mu   sync.Mutex
	keys surplusSet
}

func (f *foreignKeys) load(ctx context.Context, standby *clientv3.Client) error {
	keys, err := readSurplus(ctx, standby)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = keys
	return nil
}

// adopt reports whether key was recorded and is the primary's from now on; the
// record then has to be deleted in the transaction that writes the key.
func (f *foreignKeys) adopt(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, recorded := f.keys[key]
	delete(f.keys, key)
	return recorded
}

func (f *foreignKeys) has(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, recorded := f.keys[key]
	return recorded
}

func (f *foreignKeys) add(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[key] = 0 // the revision counts only where the record is read again
}

// rememberForeign records keys that somebody else created on the standby and
// that the primary does not have, so that no resync takes them for ours.
func (s *session) rememberForeign(ctx context.Context, writes []Write) error {
	for _, w := range writes {
		if !w.Foreign || !w.Created || s.foreign.has(w.Key) {
			continue
		}
		there, err := s.primary.Get(ctx, w.Key, clientv3.WithKeysOnly())
		if err != nil {
			return fmt.Errorf("look for %s on the primary: %w", w.Key, err)
		}
		if len(there.Kvs) > 0 {
			continue
		}
		if err := s.sink.Put(ctx, surplusKey(w.Key), ""); err != nil {
			return fmt.Errorf("record %s as surplus: %w", w.Key, err)
		}
		s.foreign.add(w.Key)
	}
	return nil
}
