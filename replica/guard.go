package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// Write is a write to a key in scope on the standby, as the guard saw it.
type Write struct {
	Key      string
	Revision kv.Revision // the standby's
	Deleted  bool
	Created  bool
	// Foreign: not the replication's. Every transaction of it writes the checkpoint too.
	Foreign bool
	// Operator: a command of ours wrote it, such as a repair; see sink.OperatorKey.
	Operator bool
	// Conflict: it is no write to the key, but to the record of its conflict.
	Conflict bool
	value    []byte // of a foreign put
}

// objectsOnly leaves out what is told of records.
func objectsOnly(writes []Write) []Write {
	if !slices.ContainsFunc(writes, func(w Write) bool { return w.Conflict }) {
		return writes
	}
	return slices.DeleteFunc(slices.Clone(writes), func(w Write) bool { return w.Conflict })
}

// guard watches the standby for every write in scope from revision from on,
// and tells seen about each, in order. It ends with source.ErrCompacted where
// there is a gap in what it can see.
func guard(ctx context.Context, standby *clientv3.Client, view *scope.View, from kv.Revision, seen func([]Write, kv.Revision) error) error {
	err := watchStandby(ctx, standby, view, from, func(e source.Events) error {
		var writes []Write
		for start := 0; start < len(e.Changes); {
			stop := start
			ours, operator := false, false
			for ; stop < len(e.Changes) && e.Changes[stop].Revision == e.Changes[start].Revision; stop++ {
				ours = ours || e.Changes[stop].Key == sink.CheckpointKey
				operator = operator || e.Changes[stop].Key == sink.OperatorKey
			}
			for _, c := range e.Changes[start:stop] {
				if key, ok := strings.CutPrefix(c.Key, sink.ConflictPrefix); ok {
					writes = append(writes, Write{Key: key, Revision: c.Revision, Conflict: true})
				}
				if inScope(view, c, ours) {
					w := Write{Key: c.Key, Revision: c.Revision, Deleted: c.Delete, Created: c.Created, Foreign: !ours, Operator: operator}
					if w.Foreign {
						w.value = c.Value
					}
					writes = append(writes, w)
				}
			}
			start = stop
		}
		return seen(writes, e.Through)
	})
	return err
}

// watchStandby watches the objects and our own keys. One watch over both ranges
// keeps the events of a transaction together.
func watchStandby(ctx context.Context, standby *clientv3.Client, view *scope.View, from kv.Revision, deliver func(source.Events) error) error {
	begin, end := watchedRange(view)
	err := source.Watch(ctx, standby, source.Span{Begin: begin, End: end, From: from}, deliver)
	return fmt.Errorf("watch the standby: %w", err)
}

// watchedRange is that of the objects and of our own keys at once.
func watchedRange(view *scope.View) (begin, end string) {
	begin, end = view.Range()
	return min(begin, sink.Root), max(end, kv.PrefixEnd(sink.Root))
}

var errMayWatch = errors.New("the watch answers")

// MayWatch is nil where the standby lets us watch what the guard does, from the
// revision that it is at.
func MayWatch(ctx context.Context, standby *cluster.Cluster, view *scope.View, at kv.Revision) error {
	err := watchStandby(ctx, standby.Client, view, at+1, func(source.Events) error { return errMayWatch })
	switch {
	case errors.Is(err, errMayWatch):
		return nil
	case cluster.IsDenied(err):
		begin, end := watchedRange(view)
		return &remedy.Error{Err: err, Code: remedy.Auth,
			Remedy: fmt.Sprintf("on the standby, grant the user's role one range over the objects and understudy's own keys, for it watches both at once: %s role grant-permission ROLE readwrite %s %s", standby.EtcdctlAsRoot(), begin, end)}
	}
	return err
}

// inScope decides about a write on the standby. A deletion whose object only
// could tell counts as in scope; comparing the key shows what it was. What the
// replication puts where only the object could tell is in scope.
func inScope(view *scope.View, c kv.Change, ours bool) bool {
	switch verdict := view.Scope.Key(c.Key); {
	case verdict != scope.AskObject:
		return verdict == scope.In
	case c.Delete || ours:
		return true
	}
	object, _ := view.InStandby(c.Key, c.Value)
	return object.In
}
