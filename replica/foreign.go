package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
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
	kept map[string]string // those of keys that were the primary's; see sink.SurplusKept
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
	keys, kept, err := readSurplus(ctx, standby)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = surplusSet{}
	}
	for key, recorded := range keys { // the guard may have added to it meanwhile
		f.keys[key] = max(f.keys[key], recorded)
	}
	f.kept = kept
	return nil
}

// keptAs is what the record says of a key that was the primary's, and that a copy
// was told to keep; "" of others. See sink.SurplusKept.
func (f *foreignKeys) keptAs(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept[key]
}

// adopt reports whether key was recorded and is the primary's from now on; the
// record then has to be deleted in the transaction that writes the key.
func (f *foreignKeys) adopt(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, recorded := f.keys[key]
	delete(f.keys, key)
	delete(f.kept, key)
	return recorded
}

// loaded reports whether the record is known: a copy reads and writes it itself.
func (f *foreignKeys) loaded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys != nil
}

func (f *foreignKeys) has(key string) bool {
	_, recorded := f.get(key)
	return recorded
}

// get gives the revision of the standby after which key was recorded.
func (f *foreignKeys) get(key string) (kv.Revision, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	after, recorded := f.keys[key]
	return after, recorded
}

// covers reports whether key was recorded after it was created at the given
// revision of the standby: its creator may have deleted it and created another.
func (f *foreignKeys) covers(key string, created kv.Revision) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	recorded, ok := f.keys[key]
	return ok && created <= recorded
}

// add notes a record made after the given revision of the standby.
func (f *foreignKeys) add(key string, after kv.Revision, kept bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[key] = max(f.keys[key], after)
	if !kept {
		delete(f.kept, key)
	}
}

// RememberSurplus records keys that a check found only on the standby at its
// revision at, so that no resync takes them for the primary's, even where they came
// from it: a primary that was rolled back may have nothing else to get them from.
// It does nothing while this replica does not replicate.
//
// Where keys are all of them, the record is complete up to there, even if the
// guard had missed some.
func (r *Replica) RememberSurplus(ctx context.Context, keys []string, at kv.Revision, all bool) error {
	s := r.live.Load()
	if s == nil || !s.foreign.loaded() {
		return nil
	}
	missed := all && s.foreign.complete() < at
	for _, key := range keys {
		// A record may be older than its key, which was created again.
		if missed || !s.foreign.has(key) {
			if err := s.remember(ctx, key, at); err != nil {
				return err
			}
		}
	}
	if missed {
		s.foreign.extend(0, at)
	}
	return nil
}

// rememberForeign does so with keys that somebody else created on the standby.
func (s *session) rememberForeign(ctx context.Context, writes []Write) error {
	for _, w := range writes {
		if w.Foreign && !w.Operator && w.Created && !s.foreign.covers(w.Key, w.Revision) {
			if err := s.remember(ctx, w.Key, w.Revision); err != nil {
				return err
			}
		}
	}
	return nil
}

// endRecords takes keys off the record that the replication has written since
// they were recorded: it was about to when that was done.
func (s *session) endRecords(ctx context.Context, writes []Write) error {
	for _, w := range writes {
		if after, recorded := s.foreign.get(w.Key); !recorded || w.Foreign || w.Deleted || w.Revision <= after {
			continue
		}
		record, err := keyAt(ctx, s.standby, surplusKey(w.Key), 0)
		if err != nil {
			return err
		}
		if record != nil && kv.Revision(record.ModRevision) >= w.Revision {
			continue // a copy wrote both: it holds again what was kept
		}
		if record != nil {
			err = s.sink.Delete(ctx, surplusKey(w.Key), sink.Unchanged{Key: surplusKey(w.Key), Revision: kv.Revision(record.ModRevision)})
		}
		if errors.Is(err, sink.ErrChanged) {
			continue // so does one now
		}
		if err != nil {
			return fmt.Errorf("take %s off the record of surplus keys: %w", w.Key, err)
		}
		s.foreign.adopt(w.Key)
	}
	return nil
}

// remember records a key that was somebody else's at the given revision of the
// standby, unless the primary has it, or the replication has written it since.
func (s *session) remember(ctx context.Context, key string, since kv.Revision) error {
	if !s.foreign.loaded() {
		return nil
	}
	there, err := s.primary.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("look for %s on the primary: %w", key, err)
	}
	if len(there.Kvs) > 0 {
		// One that is out of scope on the primary never reaches the standby.
		object, err := s.View.InPrimary(key, there.Kvs[0].Value)
		if err != nil {
			return nil //nolint:nilerr // it is the stream's business
		}
		if object.In {
			return s.noteConflict(ctx, key, object, since)
		}
	}
	for attempt := 1; ; attempt++ {
		past, err := pastOf(ctx, s.standby, key, since)
		if err != nil || past.ours || past.last == 0 {
			return err
		}
		value := ""
		if s.foreign.covers(key, past.created) { // it is the same object still
			value = s.foreign.keptAs(key)
		}
		err = s.sink.Put(ctx, surplusKey(key), value, sink.Unchanged{Key: key, Revision: past.last})
		switch {
		case err == nil:
			s.foreign.add(key, max(since, past.last), value != "")
			return nil
		case !errors.Is(err, sink.ErrChanged) || attempt == fitAttempts:
			return fmt.Errorf("record %s as surplus: %w", key, err)
		}
	}
}

// standsApart reports whether a key was recorded, and the replication has not
// written it since. It may have been about to when the record was made.
func (s *session) standsApart(ctx context.Context, key string) (bool, error) {
	recorded, ok := s.foreign.get(key)
	if !ok {
		return false, nil
	}
	past, err := pastOf(ctx, s.standby, key, recorded)
	if err != nil || past.last == 0 || past.ours {
		return false, err
	}
	// One that was created later, so long ago, would have been recorded anew.
	return !past.cutOff || past.created <= recorded, nil
}

// past is what is known of the writes of a key of the standby.
type past struct {
	created, last kv.Revision // its creation and its last write; 0 = it is not there
	ours          bool        // one of those after the revision asked about is the replication's
	cutOff        bool        // not all of them are known
}

// historyPatience is how many writes of one key are looked back at.
const historyPatience = 1000

// pastOf looks back at the writes of a key since it was created, as far as a
// revision. Every transaction of the replication writes the checkpoint too.
func pastOf(ctx context.Context, standby *clientv3.Client, key string, since kv.Revision) (past, error) {
	write, err := keyAt(ctx, standby, key, 0)
	if err != nil || write == nil {
		return past{}, err
	}
	p := past{created: kv.Revision(write.CreateRevision), last: kv.Revision(write.ModRevision)}
	for range historyPatience {
		at := kv.Revision(write.ModRevision)
		if at <= since {
			return p, nil
		}
		checkpoint, err := keyAt(ctx, standby, sink.CheckpointKey, at)
		if err == nil && checkpoint != nil && checkpoint.ModRevision == int64(at) {
			p.ours = true
			return p, nil
		}
		if err == nil && at == p.created {
			return p, nil
		}
		if err == nil {
			write, err = keyAt(ctx, standby, key, at-1)
		}
		switch {
		case errors.Is(err, source.ErrCompacted):
			p.cutOff = true
			return p, nil
		case err != nil:
			return past{}, err
		case write == nil: // deleted and created again meanwhile
			return pastOf(ctx, standby, key, since)
		}
	}
	p.cutOff = true
	return p, nil
}

// keyAt reads a key as it was at a revision, 0 = now, without its value; nil =
// it did not exist.
func keyAt(ctx context.Context, client *clientv3.Client, key string, at kv.Revision) (*mvccpb.KeyValue, error) {
	resp, err := client.Get(ctx, key, clientv3.WithRev(int64(at)), clientv3.WithKeysOnly())
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil, source.ErrCompacted
	}
	if err != nil {
		return nil, fmt.Errorf("look who wrote %s: %w", key, err)
	}
	if len(resp.Kvs) == 0 {
		return nil, nil
	}
	return resp.Kvs[0], nil
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
		if err := s.rememberForeign(ctx, objectsOnly(writes)); err != nil {
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
