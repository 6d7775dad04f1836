// Package hold lists, releases and applies the holds of a standby: objects
// that stand there in an inert form, each with its original kept beside it.
//
// It needs the standby alone. Every transaction demands that nobody has
// written the object, its record or the role since they were read, and that no
// daemon can write; so a release cannot undo what is replicated, nor the other
// way round. Deciding is pure, in decide.go. What somebody has changed on the
// standby is never written over.
//
// A transaction that lost a race is decided anew, a few times. After an error
// what was done so far stays done; the same call again does the rest.
package hold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// State is what has become of a held object since it was written.
type State string

// The states.
const (
	Held       State = "held"       // it stands as it was written, apart from local fields
	Changed    State = "changed"    // somebody has changed it on the standby
	Gone       State = "gone"       // somebody has deleted it on the standby
	Unreadable State = "unreadable" // nothing can be said
	Released   State = "released"   // its original is back
	// OtherVersion: the standby's API server has stored it in another version of the
	// API, and whether it was changed besides only that can tell.
	OtherVersion State = "other version"
	AtZero       State = "at zero" // a workload that wants no Pod
)

// Item is one held object, or rather the record of its original.
type Item struct {
	Key       string `json:"key"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// SinceRevision of the standby the object is held; Since is the time of
	// that, to ten minutes where it is long ago, nil where nobody knows it.
	SinceRevision kv.Revision `json:"sinceRevision"`
	Since         *time.Time  `json:"since,omitempty"`
	// Patch says what the hold changes, field by field: "spec.replicas: 3 → 0".
	// Empty where the configuration no longer holds such objects.
	Patch []string `json:"patch"`
	State State    `json:"state"`
	Why   string   `json:"why,omitempty"` // it is unreadable
	// Self says how it describes the primary itself: a release leaves it unless it is named.
	Self   string `json:"describesPrimary,omitempty"`
	IsSelf bool   `json:"-"` // it does itself, and does not only hang on what does

	meta    registry.Meta
	cluster string // value of the label cluster.x-k8s.io/cluster-name
	claim   claim  // of a volume; see lostClaims
}

// List returns what is held on the standby, in key order. A cluster, written
// as namespace/name, restricts it to that Cluster of Cluster API and what hangs
// on it.
func List(ctx context.Context, standby *clientv3.Client, view *scope.View, cluster string) ([]Item, error) {
	for attempt := 1; ; attempt++ {
		items, err := list(ctx, standby, view, cluster)
		if !errors.Is(err, source.ErrCompacted) || attempt == attempts {
			return items, err
		}
	}
}

// attempts is how often something is read or decided again.
const attempts = 5

func list(ctx context.Context, standby *clientv3.Client, view *scope.View, cluster string) ([]Item, error) {
	dir := scope.HeldPrefix + "/"
	cursor, err := source.Open(ctx, standby, dir, kv.PrefixEnd(dir), 0)
	if err != nil {
		return nil, fmt.Errorf("read what is held: %w", err)
	}
	defer cursor.Close()
	items := []Item{}
	var records []kv.Pair
	flush := func() error {
		some, err := judgeAll(ctx, standby, view, records, cursor.Revision())
		items, records = append(items, some...), nil
		return err
	}
	for {
		record, ok, err := cursor.Next()
		if err != nil {
			return nil, fmt.Errorf("read what is held: %w", err)
		}
		if ok {
			records = append(records, record)
		}
		if len(records) == atOnce || !ok {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		if !ok {
			break
		}
	}
	if cluster != "" {
		belongs, err := hangsOn(ctx, standby, view, cluster, cursor.Revision(), items)
		if err != nil {
			return nil, err
		}
		items = slices.DeleteFunc(items, func(i Item) bool { return !belongs(i.Key) })
	}
	return items, tellSince(ctx, standby, items)
}

// Count is the number of objects that are held on the standby.
func Count(ctx context.Context, standby *clientv3.Client) (int64, error) {
	resp, err := standby.Get(ctx, scope.HeldPrefix+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("count what is held: %w", err)
	}
	return resp.Count, nil
}

// atOnce keeps one answer below the client's limit even where every value is
// as large as etcd takes them by default.
const atOnce = 32

func judgeAll(ctx context.Context, standby *clientv3.Client, view *scope.View, records []kv.Pair, rev kv.Revision) ([]Item, error) {
	if len(records) == 0 {
		return nil, nil
	}
	keys := make([]string, len(records))
	for i, r := range records {
		keys[i] = strings.TrimPrefix(r.Key, scope.HeldPrefix)
	}
	pairs, err := source.Get(ctx, standby, keys, rev)
	if err != nil {
		return nil, fmt.Errorf("read the held objects: %w", err)
	}
	objects := map[string]*kv.Pair{}
	for i := range pairs {
		objects[pairs[i].Key] = &pairs[i]
	}
	items := make([]Item, len(records))
	for i := range records {
		items[i] = newItem(view, &records[i], objects[keys[i]])
	}
	return items, nil
}

// newItem says how things stand with one record. Its object is nil where it is gone.
func newItem(view *scope.View, record, object *kv.Pair) Item {
	key := strings.TrimPrefix(record.Key, scope.HeldPrefix)
	item := Item{Key: key, SinceRevision: record.CreateRevision, Patch: []string{}}
	parsed, ok := view.Scope.Parse(key)
	if !ok {
		item.State, item.Why = Unreadable, "it is no object of an API server"
		return item
	}
	item.Kind, item.Namespace, item.Name = registry.Kind(parsed.GroupResource()), parsed.Namespace, parsed.Name
	original, err := plainOf(view, key, record.Value)
	if err != nil {
		item.State, item.Why = Unreadable, "its original: "+err.Error()
		return item
	}
	item.meta, _ = registry.ReadMeta(original) // plainOf has read it
	item.cluster = labelOf(original)
	item.claim = claimOf(view, parsed.GroupResource(), original)
	held, changes, err := view.Holds.Apply(parsed.GroupResource(), original)
	if err == nil && changes {
		item.Patch = registry.Differences(parsed.GroupResource(), original, held)
	}
	item.State, err = judge(view, parsed.GroupResource(), original, record, object)
	if err != nil {
		item.Why = err.Error()
	}
	if item.State == OtherVersion {
		item.Why = "the standby's API server has stored it in another version than " + item.meta.APIVersion + ": a release goes through that API server"
	}
	return item
}

// plainOf decrypts what the standby stores, whether or not it is in scope.
func plainOf(view *scope.View, key string, stored []byte) ([]byte, error) {
	parsed, ok := view.Scope.Parse(key)
	if !ok {
		return nil, errors.New("no object of an API server")
	}
	plain, err := view.Recoder.PlainOfStandby(parsed.GroupResource(), key, stored)
	if err != nil {
		return nil, err
	}
	_, err = registry.ReadMeta(plain)
	return plain, err
}

// tellSince looks up when the objects were first held. Every transaction of the
// replication writes the checkpoint with its time, so the checkpoint at an
// object's first revision tells, as long as the standby keeps that revision. Of
// older ones Note has kept a time.
func tellSince(ctx context.Context, standby *clientv3.Client, items []Item) error {
	revisions := map[kv.Revision][]int{}
	for i, item := range items {
		revisions[item.SinceRevision] = append(revisions[item.SinceRevision], i)
	}
	var newest []kv.Revision
	for r := range revisions {
		newest = append(newest, r)
	}
	slices.SortFunc(newest, func(a, b kv.Revision) int { return int(b - a) })
	known, _, err := moments(ctx, standby)
	if err != nil {
		return err
	}
	compacted := false
	for i, r := range newest {
		at := writtenBy(known, r)
		if !compacted && i < sinceLookups {
			resp, err := standby.Get(ctx, sink.CheckpointKey, clientv3.WithRev(int64(r)))
			compacted = err != nil // and so are all older ones
			if err == nil && len(resp.Kvs) > 0 && kv.Revision(resp.Kvs[0].ModRevision) == r {
				if exact, ok := checkpointTime(resp.Kvs[0].Value); ok {
					at = &exact
				}
			}
		}
		for _, i := range revisions[r] {
			items[i].Since = at
		}
	}
	return ctx.Err()
}

// sinceLookups bounds the questions that only make the list prettier.
const sinceLookups = 200
