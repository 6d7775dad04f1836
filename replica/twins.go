package replica

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
	"github.com/understudy-dr/understudy/twin"
)

// ErrTwins means that a copy would replace objects of the standby's own, and
// that no rule says so.
var ErrTwins = errors.New("nobody has decided about objects of the standby's own that have the name of one of the primary's")

// twins finds the objects of the standby's own that a copy would replace. A copy
// tells it of every key that both sides have; before the copy writes without
// having seen all keys, it looks ahead through the rest by itself, so that
// nothing is written where there is any.
type twins struct {
	primary, standby     *clientv3.Client
	atPrimary, atStandby kv.Revision // 0 = now
	view                 *scope.View
	// through is the standby's revision up to which what others created there is
	// on record: what is older, and not recorded, came from the primary.
	through kv.Revision
	known   surplusSet
	kept    map[string]string // of those: what was the primary's
	// filled are revisions of the primary that the standby was filled from.
	filled     []kv.Revision
	namespaces map[string]bool // see replicated
	conflicts  *conflicts      // nil = none
	resync     bool            // the standby was complete once
	list       twin.List
}

// newTwins is for a copy, or for a look before it.
func newTwins(primary, standby *clientv3.Client, view *scope.View, d Decision, guarded kv.Revision, known surplusSet, kept map[string]string) *twins {
	t := &twins{primary: primary, standby: standby, view: view, known: known, kept: kept, filled: d.Filled, namespaces: map[string]bool{}}
	if d.Base != nil {
		t.through, t.resync = min(d.Base.StandbyRevision, guarded), true
	}
	return t
}

// conflicting reports whether the standby's object would be in conflict with the
// primary's instead of a reason to refuse: where that is on record, and in a
// resync, as in the stream. Whose it is remains to be asked.
func (t *twins) conflicting(key string, want, have scope.Object, haveErr error) bool {
	return haveErr == nil && (t.resync || t.conflicts != nil && t.conflicts.has(key)) && t.view.Conflicts(key, want, have)
}

// note takes in a key that both sides have, and reports whether the standby's is
// a twin.
func (t *twins) note(ctx context.Context, p, s *kv.Pair, want scope.Object, have scope.Object, haveErr error) (bool, error) {
	own, err := t.own(ctx, p, s, want, have, haveErr)
	if err != nil || !own {
		return false, err
	}
	k, _ := t.view.Scope.Parse(s.Key)
	t.list.Add(k, have)
	return true, nil
}

// own reports whether the standby has an object of its own at a key of the
// primary's. It asks in the order of what that costs; nearly always the UIDs tell.
func (t *twins) own(ctx context.Context, p, s *kv.Pair, want scope.Object, have scope.Object, haveErr error) (bool, error) {
	k, ok := t.view.Scope.Parse(s.Key)
	blind := haveErr != nil || want.Opaque || have.Opaque
	switch {
	case !ok || !want.In:
		return false, nil
	case !blind && !t.view.Twin(s.Key, want, have):
		return false, nil
	case blind && (k.Namespace == "" || t.view.Scope.Replaces(s.Key, want.Meta) || t.view.Same(s.Key, want, have, p.Value, s.Value)):
		return false, nil // nothing tells, and the copy replaces what nobody can read
	case !t.known.has(s) && s.CreateRevision <= t.through, t.kept[s.Key] != "":
		return false, nil
	}
	// What the standby's controllers make in a Namespace of the primary's is in the
	// place of what comes from there, as long as nothing runs.
	if blind || !t.view.MayConflict(s.Key) {
		if ours, err := t.replicated(ctx, k.Namespace); ours || err != nil {
			return false, err
		}
	}
	wrote, err := t.wrote(ctx, s, have.Meta.UID)
	return !wrote, err
}

// replicated reports whether a Namespace of the standby is the primary's.
func (t *twins) replicated(ctx context.Context, namespace string) (bool, error) {
	if namespace == "" {
		return false, nil
	}
	ours, asked := t.namespaces[namespace]
	if asked {
		return ours, nil
	}
	key := registry.Key{Resource: "namespaces", Name: namespace}.Path(t.view.Scope.RegistryPrefix())
	there, err := uidAt(ctx, t.primary, t.view, key, t.atPrimary, t.view.Recoder.PlainOfPrimary)
	if err != nil {
		return false, err
	}
	here, err := uidAt(ctx, t.standby, t.view, key, t.atStandby, t.view.Recoder.PlainOfStandby)
	if err != nil {
		return false, err
	}
	t.namespaces[namespace] = there != "" && there == here
	return t.namespaces[namespace], nil
}

// wrote reports whether the replication provably wrote an object of the standby:
// the primary had it, or a transaction of ours created it.
func (t *twins) wrote(ctx context.Context, s *kv.Pair, uid string) (bool, error) {
	for _, revision := range t.filled {
		had, err := uidAt(ctx, t.primary, t.view, s.Key, revision, t.view.Recoder.PlainOfPrimary)
		if err == nil && uid != "" && had == uid {
			return true, nil
		}
		if err != nil && !errors.Is(err, source.ErrCompacted) {
			return false, err
		}
	}
	return createdByUs(ctx, t.standby, s.CreateRevision)
}

// createdByUs reports whether a revision of the standby is known to be a
// transaction of the replication: each writes the checkpoint too.
func createdByUs(ctx context.Context, standby *clientv3.Client, at kv.Revision) (bool, error) {
	checkpoint, err := keyAt(ctx, standby, sink.CheckpointKey, at)
	if errors.Is(err, source.ErrCompacted) {
		return false, nil
	}
	return checkpoint != nil && kv.Revision(checkpoint.ModRevision) == at, err
}

// uidAt is the UID of an object as it was at a revision, 0 = now; "" where
// there is none, or it cannot be read.
func uidAt(ctx context.Context, client *clientv3.Client, view *scope.View, key string, at kv.Revision, plain func(gr, key string, stored []byte) ([]byte, error)) (string, error) {
	found, err := source.Get(ctx, client, []string{key}, at)
	if err != nil {
		return "", fmt.Errorf("look who made %s: %w", key, err)
	}
	if len(found) == 0 {
		return "", nil
	}
	k, _ := view.Scope.Parse(key)
	value, err := plain(k.GroupResource(), key, found[0].Value)
	if err != nil {
		return "", nil //nolint:nilerr // it proves nothing
	}
	meta, err := registry.ReadMeta(value)
	if err != nil {
		return "", nil //nolint:nilerr // it proves nothing
	}
	return meta.UID, nil
}

// ahead looks through all keys after one. It reads of the primary only what the
// standby has, so before a first copy into an empty standby it costs nothing.
func (t *twins) ahead(ctx context.Context, after string) error {
	begin, end := t.view.Range()
	if after != "" {
		begin = after + "\x00"
	}
	cursor, err := source.Open(ctx, t.standby, begin, end, t.atStandby)
	if err != nil {
		return fmt.Errorf("read the standby: %w", err)
	}
	defer cursor.Close()
	var waiting []kv.Pair
	for {
		p, more, err := cursor.Next()
		if err != nil {
			return fmt.Errorf("read the standby: %w", err)
		}
		if more && t.view.Scope.Key(p.Key) != scope.Out && (p.CreateRevision > t.through || t.known.has(&p)) {
			waiting = append(waiting, p)
		}
		if len(waiting) == readAgainMax || !more && len(waiting) > 0 {
			if err := t.compare(ctx, waiting); err != nil {
				return err
			}
			waiting = waiting[:0]
		}
		if !more {
			return nil
		}
	}
}

func (t *twins) compare(ctx context.Context, standby []kv.Pair) error {
	keys := make([]string, len(standby))
	for i, s := range standby {
		keys[i] = s.Key
	}
	primary, err := readKeys(ctx, t.primary, keys, t.atPrimary)
	if err != nil {
		return fmt.Errorf("read the primary: %w", err)
	}
	for i := range standby {
		s := &standby[i]
		p, there := primary[s.Key]
		if !there {
			continue
		}
		want, err := t.view.InPrimary(s.Key, p.Value)
		if err != nil {
			continue // the copy says so when it comes there
		}
		have, haveErr := t.view.InStandby(s.Key, s.Value)
		if t.conflicting(s.Key, want, have, haveErr) {
			continue
		}
		if _, err := t.note(ctx, &p, s, want, have, haveErr); err != nil {
			return err
		}
	}
	return nil
}

// refuse is an error where there are any.
func (t *twins) refuse() error {
	if t.list.Count == 0 {
		return nil
	}
	what := "1 object"
	if t.list.Count > 1 {
		what = fmt.Sprintf("%d objects", t.list.Count)
	}
	return &remedy.Error{Op: "copy to the standby", Code: remedy.Refused,
		Err: &twinsError{fmt.Sprintf("it would replace %s of the standby's own that have the name of one of the primary's; nothing was written\n%s", what, t.list.Text())},
		Remedy: "understudy scope propose --write proposed.yaml\n" +
			"writes a configuration by which the standby keeps them; read it, then: understudy sync --config proposed.yaml\n" +
			"Where they are of a primary that was built anew: sync.replace: [{keys: [" + t.view.Scope.Prefix() + "]}]"}
}

type twinsError struct{ text string }

func (e *twinsError) Error() string        { return e.text }
func (e *twinsError) Is(target error) bool { return target == ErrTwins }

// refuseTwins looks for twins before anything at all is written to a standby
// that is none yet: not even that it is one.
func (r *Replica) refuseTwins(ctx context.Context, primary, standby *cluster.Cluster, f Facts, d Decision) error {
	if d.Copy == "" || f.StandbyRole.Role == role.Standby {
		return nil // the copy looks for itself
	}
	known, kept, err := readSurplus(ctx, standby.Client)
	if err != nil {
		return err
	}
	t := newTwins(primary.Client, standby.Client, r.View, d, f.Checkpoint.Guarded, known, kept)
	if err := t.ahead(ctx, ""); err != nil {
		return err
	}
	return t.refuse()
}
