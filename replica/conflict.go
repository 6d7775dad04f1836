package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// A conflict is a key under which the standby has an object of its own that the
// primary's does not replace; see scope.View.Conflicts. It is recorded in the
// standby's etcd in the transaction that passes over the primary's object, and
// the key stands on the record of surplus keys as long: what is done to it there
// is no drift, and what the primary does with its own does not reach it.
//
// It ends when one of the two objects goes, or when a rule decides.

// conflicts are those that one session knows of.
type conflicts struct {
	mu   sync.Mutex
	keys map[string]sink.Conflict
}

func conflictKey(key string) string { return sink.ConflictPrefix + key }

func (c *conflicts) load(ctx context.Context, standby *clientv3.Client) error {
	keys, err := readConflicts(ctx, standby)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = map[string]sink.Conflict{}
	}
	for key, record := range keys { // the guard may have added to it meanwhile
		c.keys[key] = record
	}
	return nil
}

// readConflicts reads the record; what cannot be decoded is a conflict all the same.
func readConflicts(ctx context.Context, standby *clientv3.Client) (map[string]sink.Conflict, error) {
	keys := map[string]sink.Conflict{}
	dir := sink.ConflictPrefix + "/"
	err := source.Each(ctx, standby, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
		var record sink.Conflict
		_ = json.Unmarshal(p.Value, &record)
		keys[strings.TrimPrefix(p.Key, sink.ConflictPrefix)] = record
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the record of conflicts: %w", err)
	}
	return keys, nil
}

func (c *conflicts) has(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.keys[key]
	return ok
}

func (c *conflicts) get(key string) (sink.Conflict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	record, ok := c.keys[key]
	return record, ok
}

func (c *conflicts) add(key string, record sink.Conflict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = map[string]sink.Conflict{}
	}
	c.keys[key] = record
}

func (c *conflicts) remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, key)
}

func (c *conflicts) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make([]string, 0, len(c.keys))
	for key := range c.keys {
		keys = append(keys, key)
	}
	return keys
}

func encodeConflict(record sink.Conflict) []byte {
	raw, err := json.Marshal(record)
	if err != nil {
		panic(err) // strings and a time: cannot happen
	}
	return raw
}

// conflicting reports whether a put of the primary would replace an object of
// the standby's own that stays, have, and what is to be recorded of it.
func (s *stream) conflicting(ctx context.Context, c kv.Change, have kv.Pair) (sink.Conflict, bool, error) {
	if c.Delete || have.ModRevision == 0 || !s.view.MayConflict(c.Key) {
		return sink.Conflict{}, false, nil
	}
	want, err := s.view.InStandby(c.Key, c.Value) // the primary's, as the standby would store it
	if err != nil {
		return sink.Conflict{}, false, nil //nolint:nilerr // it has no UID that could tell
	}
	there, err := s.view.InStandby(have.Key, have.Value)
	if err != nil || !s.view.Conflicts(c.Key, want, there) {
		return sink.Conflict{}, false, nil //nolint:nilerr // as above
	}
	record := sink.Conflict{Standby: there.Meta.UID, Primary: want.Meta.UID, Since: time.Now().UTC()}
	if before, known := s.conflicts.get(c.Key); known {
		record.Since = before.Since
		return record, true, nil
	}
	ours, err := s.replicated(ctx, have)
	return record, !ours, err
}

// replicated reports whether what stands on the standby came from the primary,
// which has another one of its name now. In doubt it did not.
func (s *session) replicated(ctx context.Context, have kv.Pair) (bool, error) {
	if s.foreign.has(have.Key) {
		if s.foreign.keptAs(have.Key) != "" {
			return true, nil
		}
		apart, err := s.standsApart(ctx, have.Key)
		return !apart, err
	}
	if have.CreateRevision <= s.foreign.complete() {
		return true, nil
	}
	return createdByUs(ctx, s.standby, have.CreateRevision)
}

// passOver adds to a transaction what it records instead of the primary's object.
// The standby's must stand as it was read: once it is gone, the primary's has its place.
func (s *stream) passOver(f *fitted, c kv.Change, have kv.Pair, record sink.Conflict) {
	f.unchanged = append(f.unchanged, sink.Unchanged{Key: c.Key, Revision: have.ModRevision})
	if before, known := s.conflicts.get(c.Key); known && before == record {
		return
	}
	f.records = append(f.records,
		kv.Change{Key: conflictKey(c.Key), Value: encodeConflict(record), Revision: c.Revision},
		kv.Change{Key: surplusKey(c.Key), Value: []byte{}, Revision: c.Revision})
	if s.view.MayBeHeld(c.Key) {
		f.records = append(f.records, kv.Change{Key: scope.HeldKey(c.Key), Delete: true, Revision: c.Revision})
	}
	f.conflicts[c.Key] = record
}

// noteConflict records a conflict that somebody made on the standby, where the
// primary has another object already.
func (s *session) noteConflict(ctx context.Context, key string, primary scope.Object, since kv.Revision) error {
	if !s.View.MayConflict(key) || s.conflicts.has(key) && s.foreign.covers(key, since) {
		return nil
	}
	for attempt := 1; ; attempt++ {
		there, err := source.Get(ctx, s.standby, []string{key}, 0)
		if err != nil || len(there) == 0 {
			return err
		}
		have, err := s.View.InStandby(key, there[0].Value)
		if err != nil || !s.View.Conflicts(key, primary, have) {
			return nil //nolint:nilerr // no UID tells
		}
		past, err := pastOf(ctx, s.standby, key, since-1)
		if err != nil || past.ours || past.last == 0 {
			return err
		}
		record := sink.Conflict{Standby: have.Meta.UID, Primary: primary.Meta.UID, Since: time.Now().UTC()}
		still := sink.Unchanged{Key: key, Revision: there[0].ModRevision}
		if err = s.sink.Put(ctx, surplusKey(key), "", still); err == nil {
			err = s.sink.Put(ctx, conflictKey(key), string(encodeConflict(record)), still)
		}
		switch {
		case err == nil:
			s.conflicted(key, record, max(since, past.last))
			return nil
		case !errors.Is(err, sink.ErrChanged) || attempt == fitAttempts:
			return fmt.Errorf("record a conflict at %s: %w", key, err)
		}
	}
}

// conflicted keeps in mind what was recorded up to a revision of the standby, and
// says so once.
func (s *session) conflicted(key string, record sink.Conflict, at kv.Revision) {
	if !s.conflicts.has(key) {
		args := []any{"key", key}
		if k, ok := s.View.Scope.Parse(key); ok {
			args = []any{"kind", registry.Kind(k.GroupResource()), "namespace", k.Namespace, "name", k.Name, "key", key}
		}
		s.Log.Warn("conflict: the standby has an object of its own where the primary has another; it stays, and the primary's is not replicated",
			append(args, "remedy", "understudy scope propose")...)
	}
	s.foreign.add(key, at, false)
	s.conflicts.add(key, record)
}

// ended reports whether a conflict is known whose object the standby no longer
// has, or has as the primary's: both sides have to be compared then.
func (s *session) ended(ctx context.Context) (bool, error) {
	there, err := readKeys(ctx, s.standby, s.conflicts.list(), 0)
	if err != nil {
		return false, fmt.Errorf("look at the conflicts of the standby: %w", err)
	}
	for _, key := range s.conflicts.list() {
		p, ok := there[key]
		if !ok {
			return true, nil
		}
		record, _ := s.conflicts.get(key)
		if have, err := s.View.InStandby(key, p.Value); err == nil && have.Meta.UID == record.Primary {
			return true, nil
		}
	}
	return false, nil
}
