package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// foreignKeys is the record of surplus keys as one session knows it. It stands
// in the standby's etcd; see surplusSet for what it is good for.
type foreignKeys struct {
	mu   sync.Mutex
	keys surplusSet
	// guarded is the standby's revision up to which the record is complete. It
	// is part of the checkpoint, for a daemon that dies takes its memory along.
	guarded kv.Revision
}

// complete is the standby's revision up to which the record is complete.
func (f *foreignKeys) complete() kv.Revision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.guarded
}

// extend says that the standby's writes in [from, through] have been looked
// at. It counts only where it joins what was looked at before.
func (f *foreignKeys) extend(from, through kv.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if from <= f.guarded+1 {
		f.guarded = max(f.guarded, through)
	}
}

func (f *foreignKeys) load(ctx context.Context, standby *clientv3.Client) error {
	keys, err := readSurplus(ctx, standby)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = surplusSet{}
	}
	maps.Copy(f.keys, keys) // the guard may have added to it meanwhile
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

// loaded reports whether the record is known: a copy reads and writes it itself.
func (f *foreignKeys) loaded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys != nil
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

// RememberSurplus records keys that a check found only on the standby, so that
// no resync takes them for ours. It does nothing while this replica does not
// replicate.
func (r *Replica) RememberSurplus(ctx context.Context, keys []string) error {
	s := r.live.Load()
	if s == nil {
		return nil
	}
	return s.remember(ctx, keys)
}

// rememberForeign does so with keys that somebody else created on the standby.
func (s *session) rememberForeign(ctx context.Context, writes []Write) error {
	var keys []string
	for _, w := range writes {
		if w.Foreign && w.Created {
			keys = append(keys, w.Key)
		}
	}
	return s.remember(ctx, keys)
}

// remember records the keys that the primary does not have.
func (s *session) remember(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if !s.foreign.loaded() || s.foreign.has(key) {
			continue
		}
		there, err := s.primary.Get(ctx, key, clientv3.WithKeysOnly())
		if err != nil {
			return fmt.Errorf("look for %s on the primary: %w", key, err)
		}
		if len(there.Kvs) > 0 {
			continue
		}
		if err := s.sink.Put(ctx, surplusKey(key), ""); err != nil {
			return fmt.Errorf("record %s as surplus: %w", key, err)
		}
		s.foreign.add(key)
	}
	return nil
}

var errComplete = errors.New("the record is complete")

// completeForeign completes the record of what others created on the standby
// up to the base of a copy: the daemon before this one may have died first.
// Where the standby no longer keeps its history, the record stays as it is,
// and the copy takes nothing newer for the primary's.
func (s *session) completeForeign(ctx context.Context, base *sink.Base) error {
	if base == nil || s.foreign.complete() >= base.StandbyRevision {
		return nil
	}
	from := s.foreign.complete() + 1
	err := guard(ctx, s.standby, s.View, from, func(writes []Write, through kv.Revision) error {
		if err := s.rememberForeign(ctx, writes); err != nil {
			return err
		}
		s.foreign.extend(from, through)
		from = through + 1
		if through >= base.StandbyRevision {
			return errComplete
		}
		return nil
	})
	if errors.Is(err, errComplete) || errors.Is(err, source.ErrCompacted) {
		return nil
	}
	return err
}
