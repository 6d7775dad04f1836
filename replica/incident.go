package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// finding is what a write on the standby means for the ledger: an incident, or
// a key that was taken care of.
type finding struct {
	Incident
	revision kv.Revision // of the standby
	returns  bool        // the standby's own is gone, for which the primary's had to wait
	kept     bool        // what only the standby had, for a copy was told to keep it: nobody can put it back
	tended   bool        // deleted by the replication, or written by an operator's command
}

// unknownHand is By where nothing tells who it was.
const unknownHand = "unknown"

// judgeAtOnce is how many transactions of others are looked up at once.
const judgeAtOnce = 8

// judge finds out which writes made the standby drift. The record of surplus
// keys must know of them. What has been judged before is passed over.
func (s *session) judge(ctx context.Context, writes []Write) ([]finding, error) {
	transactions := byRevision(writes, s.ledger.after())
	found := make([][]finding, len(transactions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(judgeAtOnce)
	for i, writes := range transactions {
		if !writes[0].Foreign || writes[0].Operator {
			found[i] = tended(writes)
			continue
		}
		group.Go(func() (err error) {
			found[i], err = s.judgeTransaction(ctx, writes)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(found...), err
}

// byRevision gives the writes of each transaction after a revision.
func byRevision(writes []Write, after kv.Revision) (out [][]Write) {
	for len(writes) > 0 {
		n := 1
		for n < len(writes) && writes[n].Revision == writes[0].Revision {
			n++
		}
		if writes[0].Revision > after {
			out = append(out, writes[:n])
		}
		writes = writes[n:]
	}
	return out
}

func tended(writes []Write) (out []finding) {
	for _, w := range writes {
		if w.Operator || w.Deleted {
			out = append(out, finding{Incident: Incident{Key: w.Key}, tended: true})
		}
	}
	return out
}

// judgeTransaction judges the writes of one transaction of somebody else's by
// what stood there before.
func (s *session) judgeTransaction(ctx context.Context, writes []Write) (out []finding, err error) {
	before := map[string]kv.Pair{}
	known := true
	for part := range slices.Chunk(writes, readAgainMax) {
		keys := make([]string, len(part))
		for i, w := range part {
			keys[i] = w.Key
		}
		pairs, err := source.Get(ctx, s.standby, keys, writes[0].Revision-1)
		if errors.Is(err, source.ErrCompacted) {
			known = false
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read what somebody else has written over on the standby: %w", err)
		}
		for _, p := range pairs {
			before[p.Key] = p
		}
	}
	for _, w := range writes {
		was, ok := before[w.Key]
		if s.conflicts.has(w.Key) {
			if w.Deleted {
				i := describe(s.View, w.Key, scope.Object{}, scope.Object{})
				i.What = Deleted
				out = append(out, finding{Incident: i, revision: w.Revision, returns: true})
			}
			continue // its own: it may do with it as it likes
		}
		kept := !w.Created && s.foreign.keptAs(w.Key) != ""
		i := incident(s.View, w, was.Value, ok, known, s.foreign.has(w.Key) && !kept)
		if kept && i.What != Deleted {
			continue // no other is the primary's
		}
		if i.What == Changed && w.Created {
			// The primary has it. It differs unless somebody has put it back.
			differs, err := s.differs(ctx, w)
			if err != nil {
				return nil, err
			}
			if !differs {
				continue
			}
		}
		if i.What == Deleted && ok {
			owned, err := s.owned(ctx, was, w.Revision)
			if err != nil {
				return nil, err
			}
			if owned {
				i.By = unknownHand
			}
		}
		if i.What != "" {
			out = append(out, finding{Incident: i, revision: w.Revision, kept: kept})
		}
	}
	return out, nil
}

// incident says how a write of somebody else's made the standby drift; What is
// empty where it did not. It is pure. was is the value before, where there was
// one and it is known; own says that the key did not come from the primary.
func incident(view *scope.View, w Write, was []byte, existed, known, own bool) Incident {
	if own && !w.Created {
		return Incident{} // it may do with it as it likes
	}
	var old, now scope.Object
	var oldErr, nowErr error
	if existed {
		old, oldErr = view.InStandby(w.Key, was)
	}
	if !w.Deleted {
		now, nowErr = view.InStandby(w.Key, w.value)
	}
	i := describe(view, w.Key, old, now)
	switch {
	case w.Deleted && known && (!existed || oldErr == nil && !old.In):
		return Incident{}
	case w.Deleted:
		i.What = Deleted
		i.By = collector(old.Meta)
	case own:
		i.What = Created
		i.By = lastManager(old, now)
	case existed && oldErr == nil && nowErr == nil && view.Compare(w.Key, old, now, was, w.value) != scope.Different:
		return Incident{} // or the check says that nobody can compare it
	case existed && now.Meta.Deleting && !old.Meta.Deleting:
		i.What, i.Marked = Deleted, true
		i.By = collector(old.Meta)
	default:
		i.What = Changed
		i.By = lastManager(old, now)
	}
	return i
}

// differs reports whether a key that somebody else has created, and that the
// primary has, is another object than the primary's. One that the stream brings,
// or has brought by now, is none of our business.
func (s *session) differs(ctx context.Context, w Write) (bool, error) {
	attempt, cancel := context.WithTimeout(ctx, lookBack)
	defer cancel()
	keys := []string{w.Key}
	primary, err := source.Get(attempt, s.primary, keys, 0)
	if err != nil {
		return false, fmt.Errorf("compare %s with the primary: %w", w.Key, err)
	}
	checkpoint := s.account.snapshot().Checkpoint.SourceRevision
	standby, err := source.Get(ctx, s.standby, keys, 0)
	if err != nil {
		return false, fmt.Errorf("look at %s on the standby: %w", w.Key, err)
	}
	if len(primary) == 0 || primary[0].ModRevision > checkpoint || len(standby) == 0 || standby[0].ModRevision != w.Revision {
		return false, nil
	}
	want, err := s.View.InPrimary(w.Key, primary[0].Value)
	if err != nil || !want.In {
		return false, nil //nolint:nilerr // what cannot be read is the stream's business
	}
	have, err := s.View.InStandby(w.Key, w.value)
	return err != nil || s.View.Compare(w.Key, want, have, primary[0].Value, w.value) == scope.Different, nil
}

// describe names the object.
func describe(view *scope.View, key string, old, now scope.Object) Incident {
	i := Incident{Key: key, Kind: now.Meta.Kind}
	if i.Kind == "" {
		i.Kind = old.Meta.Kind
	}
	if k, ok := view.Scope.Parse(key); ok {
		i.Resource, i.Namespace, i.Object = k.GroupResource(), k.Namespace, k.Name
		if i.Kind == "" {
			i.Kind = registry.Kind(i.Resource)
		}
	}
	return i
}

// owned reports whether an object of the standby, as it was when somebody
// deleted it, had an owner at that revision that was there all its life and not
// being deleted. The garbage collector had no reason then.
func (s *session) owned(ctx context.Context, object kv.Pair, at kv.Revision) (bool, error) {
	looked, err := s.View.InStandby(object.Key, object.Value)
	if err != nil {
		return false, nil //nolint:nilerr // nobody knows its owners
	}
	uids := map[string]bool{}
	var keys []string
	for _, o := range looked.Meta.Owners {
		places, _ := s.View.Scope.OwnerKeys(object.Key, o)
		keys = append(keys, places...)
		uids[o.UID] = true
	}
	if len(keys) == 0 {
		return false, nil
	}
	owners, err := source.Get(ctx, s.standby, keys, at)
	if err != nil && !errors.Is(err, source.ErrCompacted) {
		return false, fmt.Errorf("look at the owners of %s on the standby: %w", object.Key, err)
	}
	return slices.ContainsFunc(owners, func(p kv.Pair) bool {
		owner, err := s.View.InStandby(p.Key, p.Value)
		return err == nil && uids[owner.Meta.UID] && !owner.Meta.Deleting && p.CreateRevision <= object.CreateRevision
	}), nil
}

// collector is who probably deletes an object: with owners the garbage
// collector, which sees an owner go.
func collector(m registry.Meta) string {
	if len(m.Owners) == 0 {
		return unknownHand
	}
	var owners []string
	for _, o := range m.Owners {
		owners = append(owners, o.Kind+" "+o.Name)
	}
	return "garbage collector (owner " + strings.Join(owners, ", ") + ")"
}

// lastManager is who wrote last of those whose entry in managedFields is new.
// An object that was written past the API server has no such entry.
func lastManager(old, now scope.Object) string {
	before, _ := registry.ReadManagers(old.Plain) // nothing can be read of nothing
	after, err := registry.ReadManagers(now.Plain)
	if err != nil {
		return unknownHand
	}
	var last registry.Manager
	for _, m := range after {
		if !slices.Contains(before, m) && !m.Time.Time.Before(last.Time.Time) {
			last = m
		}
	}
	if last.Name == "" {
		return unknownHand
	}
	return last.Name
}
