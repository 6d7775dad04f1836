package hold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// Outcome is what a release or an application did.
type Outcome struct {
	Done    int    `json:"done"`    // objects written
	Already int    `json:"already"` // objects that needed nothing
	Left    []Left `json:"left"`    // objects that were left as they are
}

// Left is an object that was left as it is.
type Left struct {
	Key string `json:"key"`
	Why string `json:"why"`

	through bool // ReleaseThrough may do it
}

// Hand is who releases, and what they knew of the primary then.
type Hand struct {
	By          string
	PrimaryGone bool // it did not answer
}

// Release is Hand.Release of nobody that is known.
func Release(ctx context.Context, standby *clientv3.Client, view *scope.View, items []Item, limits sink.Limits) (Outcome, error) {
	return Hand{}.Release(ctx, standby, view, items, limits)
}

// Release puts the originals of items back and deletes their records, a tree
// in one transaction where it fits, owners first. Objects that somebody has
// changed are left. That they are released is recorded in the same transactions;
// see role.Release.
func (h Hand) Release(ctx context.Context, standby *clientv3.Client, view *scope.View, items []Item, limits sink.Limits) (Outcome, error) {
	_, fence, err := role.Quiet(ctx, standby)
	if err != nil {
		return Outcome{Left: []Left{}}, as("release", err)
	}
	lost, err := lostClaims(ctx, standby, view, items)
	if err != nil {
		return Outcome{Left: []Left{}}, as("release", err)
	}
	a := act{op: "release", hand: h, standby: standby, view: view, fence: fence, decide: func(view *scope.View, key string, record, object *kv.Pair) write {
		if w := release(view, key, record, object); w.value == nil || lost[key] == "" {
			return w
		}
		return write{leave: lost[key]}
	}}
	return a.all(ctx, items, limits)
}

// Apply puts every object in scope that a hold is for into its held form, and
// what it was beside it. Keys that only the standby has by its own are left
// alone. It may be repeated. The items are those of Candidates.
func Apply(ctx context.Context, standby *clientv3.Client, view *scope.View, items []Item, limits sink.Limits) (Outcome, error) {
	state, fence, err := role.Quiet(ctx, standby)
	if err != nil {
		return Outcome{Left: []Left{}}, as("apply", err)
	}
	if state.Role != role.Standby {
		return Outcome{Left: []Left{}}, &remedy.Error{Op: "apply the holds", Code: remedy.Refused,
			Err:    fmt.Errorf("the cluster is not a standby; its role is %q", state.Role),
			Remedy: "see: understudy status; where it was one, understudy sync makes it one again once the primary answers"}
	}
	a := act{op: "apply", standby: standby, view: view, fence: fence, decide: apply}
	if _, err := a.all(ctx, items, limits); err != nil {
		return a.out, err
	}
	return a.out, a.settle(ctx, limits)
}

func as(op string, err error) error {
	return &remedy.Error{Op: op + " the holds", Err: err, Remedy: remedy.Of(err), Code: remedy.CodeOf(err)}
}

// Candidates are the objects of the standby that Apply would change: in scope,
// of a kind that is held, not inert, and not the standby's own.
func Candidates(ctx context.Context, standby *clientv3.Client, view *scope.View, cluster string) ([]Item, error) {
	own := map[string]bool{}
	err := source.Each(ctx, standby, sink.SurplusPrefix+"/", kv.PrefixEnd(sink.SurplusPrefix+"/"), 0, func(p kv.Pair) error {
		own[p.Key[len(sink.SurplusPrefix):]] = string(p.Value) != sink.SurplusReleased
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which keys are the standby's own: %w", err)
	}
	checkpoint, err := sink.ReadCheckpoint(ctx, standby)
	if err != nil {
		return nil, err
	}
	replicated := func(p kv.Pair) bool { // nothing comes from the primary without a checkpoint
		return !own[p.Key] && (checkpoint.Phase != sink.Streaming || p.CreateRevision <= checkpoint.Revision)
	}
	items := []Item{}
	begin, end := view.Range()
	err = source.Each(ctx, standby, begin, end, 0, func(p kv.Pair) error {
		if item, ok := candidate(view, p); ok && replicated(p) {
			items = append(items, item)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is to be held: %w", err)
	}
	if cluster != "" {
		belongs, err := hangsOn(ctx, standby, view, cluster, 0, nil)
		if err != nil {
			return nil, err
		}
		items = slices.DeleteFunc(items, func(i Item) bool { return !belongs(i.Key) })
	}
	return items, nil
}

func candidate(view *scope.View, p kv.Pair) (Item, bool) {
	w := apply(view, p.Key, nil, &p)
	if w.value == nil && w.leave == "" {
		return Item{}, false
	}
	parsed, _ := view.Scope.Parse(p.Key) // apply has done so
	gr := parsed.GroupResource()
	item := Item{Key: p.Key, Kind: registry.Kind(gr), Namespace: parsed.Namespace, Name: parsed.Name, Patch: []string{}, Why: w.leave}
	if plain, err := plainOf(view, p.Key, p.Value); err == nil {
		item.meta, _ = registry.ReadMeta(plain)
		if held, _, err := view.Holds.Apply(gr, plain); err == nil {
			item.Patch = registry.Differences(gr, plain, held)
		}
	}
	return item, true
}

// act carries decisions out, tree by tree.
type act struct {
	op      string
	hand    Hand
	record  role.Release // what stands, or begins with the first that is released
	standby *clientv3.Client
	view    *scope.View
	fence   []clientv3.Cmp
	decide  func(view *scope.View, key string, record, object *kv.Pair) write
	out     Outcome
}

func (a *act) all(ctx context.Context, items []Item, limits sink.Limits) (Outcome, error) {
	a.out.Left = []Left{}
	if err := a.begin(ctx); err != nil {
		return a.out, err
	}
	for _, tree := range trees(items) {
		for some := range slices.Chunk(tree, a.most(limits)) {
			keys := make([]string, len(some))
			for i, item := range some {
				keys[i] = item.Key
			}
			if err := a.some(ctx, keys, limits); err != nil {
				return a.out, err
			}
		}
	}
	return a.out, nil
}

// most is how many objects fit a transaction: four operations at most, and two
// compares each.
func (a *act) most(limits sink.Limits) int {
	ops := limits.MaxOps
	if ops == 0 {
		ops = 128
	}
	return min(atOnce, max(1, (ops-len(a.fence)-2)/4))
}

// begin goes on with the release that stands, or begins another one. What is held
// again by hand ends none: what else was done to the standby meanwhile is still there.
func (a *act) begin(ctx context.Context) error {
	checkpoint, err := a.standby.Get(ctx, sink.CheckpointKey, clientv3.WithKeysOnly()) // one that is damaged stops no release
	if err != nil {
		return fmt.Errorf("read the standby's checkpoint: %w", err)
	}
	written := kv.Revision(0)
	if len(checkpoint.Kvs) > 0 {
		written = kv.Revision(checkpoint.Kvs[0].ModRevision)
	}
	was, err := role.ReadRelease(ctx, a.standby)
	if err != nil {
		return err
	}
	if was.Stands(written) {
		a.record = *was
	}
	if a.op != "release" {
		return nil
	}
	if a.record.Since.IsZero() {
		a.record.Since, a.record.By = time.Now().UTC(), a.hand.By
	}
	a.record.PrimaryGone = a.record.PrimaryGone || a.hand.PrimaryGone
	return nil
}

// some acts on a few keys at once, or one by one where they are too large for that.
func (a *act) some(ctx context.Context, keys []string, limits sink.Limits) error {
	for attempt := 1; ; attempt++ {
		stands, err := a.look(ctx, keys)
		if err != nil {
			return err
		}
		records, objects := map[string]*kv.Pair{}, map[string]*kv.Pair{}
		for _, key := range keys {
			records[key], objects[key] = stands[scope.HeldKey(key)], stands[key]
		}
		size, result := 0, Outcome{}
		compares, ops := slices.Clone(a.fence), []clientv3.Op{}
		for _, key := range keys {
			w := a.decide(a.view, key, records[key], objects[key])
			switch {
			case w.leave != "":
				result.Left = append(result.Left, Left{key, w.leave, w.through})
				continue
			case w.value == nil:
				result.Already++
				continue
			}
			result.Done++
			size += 2*len(key) + len(w.value) + len(w.record) + 128
			compares = append(compares,
				clientv3.Compare(clientv3.ModRevision(key), "=", int64(modRevision(objects[key]))),
				clientv3.Compare(clientv3.ModRevision(scope.HeldKey(key)), "=", int64(modRevision(records[key]))))
			ops = append(ops, clientv3.OpPut(key, string(w.value)))
			kept := stands[sink.SurplusPrefix+key]
			if kept != nil && (w.keep || w.record != nil) {
				ops = append(ops, clientv3.OpPut(kept.Key, sink.SurplusKept))
			}
			switch {
			case w.keep:
			case w.record != nil:
				ops = append(ops, clientv3.OpPut(scope.HeldKey(key), string(w.record)))
			default:
				ops = append(ops, clientv3.OpDelete(scope.HeldKey(key)))
			}
			if w.keep || w.record != nil {
				ops = append(ops, clientv3.OpDelete(role.ReleasedKey(key)))
			} else {
				ops = append(ops, clientv3.OpPut(role.ReleasedKey(key), ""))
				if kept != nil {
					ops = append(ops, clientv3.OpPut(kept.Key, sink.SurplusReleased))
				}
			}
		}
		if room := limits.MaxBytes * 2 / 3; len(keys) > 1 && size > max(room, 1<<19) {
			half := len(keys) / 2
			if err := a.some(ctx, keys[:half], limits); err != nil {
				return err
			}
			return a.some(ctx, keys[half:], limits)
		}
		done, err := a.commit(ctx, compares, ops)
		if errors.Is(err, rpctypes.ErrRequestTooLarge) && len(keys) == 1 {
			a.out.Left = append(a.out.Left, Left{Key: keys[0], Why: "is too large to be written with its original: raise --max-request-bytes of the standby's etcd"})
			return nil
		}
		if err != nil {
			return err
		}
		if done {
			a.out.Done += result.Done
			a.out.Already += result.Already
			a.out.Left = append(a.out.Left, result.Left...)
			return nil
		}
		if attempt == attempts {
			return &remedy.Error{Op: a.op + " the holds", Err: fmt.Errorf("%s is written all the time", keys[0]),
				Remedy: "the same command again does the rest", Code: remedy.LostRace}
		}
		select {
		case <-time.After(time.Duration(attempt) * 20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// commit reports whether the compares held. Where those of the fence do not,
// it is an error.
func (a *act) commit(ctx context.Context, compares []clientv3.Cmp, ops []clientv3.Op) (bool, error) {
	if len(ops) == 0 {
		return true, nil
	}
	by := "hold " + a.op + " " + time.Now().UTC().Format(time.RFC3339)
	a.record.Last = by
	raw, err := json.Marshal(a.record)
	if err != nil {
		return false, err
	}
	ops = append(ops, clientv3.OpPut(sink.OperatorKey, by), clientv3.OpPut(role.ReleaseKey, string(raw)))
	resp, err := a.standby.Txn(ctx).If(compares...).Then(ops...).Commit()
	if err != nil {
		return false, &remedy.Error{Op: a.op + " the holds", Err: err,
			Remedy: "whether the last ones were written is unknown; the same command again does the rest", Code: remedy.Unknown}
	}
	if resp.Succeeded {
		return true, nil
	}
	fence, err := a.standby.Txn(ctx).If(a.fence...).Commit()
	if err != nil {
		return false, fmt.Errorf("read who may write to the standby: %w", err)
	}
	if !fence.Succeeded {
		return false, &remedy.Error{Op: a.op + " the holds", Err: errors.New("the role of the cluster has changed, or replication was resumed meanwhile"),
			Remedy: "see: understudy status; the same command again does the rest", Code: remedy.LostRace}
	}
	return false, nil
}

// look reads objects and all that is recorded of them, as they are now.
func (a *act) look(ctx context.Context, keys []string) (map[string]*kv.Pair, error) {
	there := map[string]*kv.Pair{}
	for some := range slices.Chunk(keys, atOnce/3) {
		var all []string
		for _, key := range some {
			all = append(all, key, scope.HeldKey(key), sink.SurplusPrefix+key)
		}
		pairs, err := source.Get(ctx, a.standby, all, 0)
		if err != nil {
			return nil, fmt.Errorf("read the standby: %w", err)
		}
		for i := range pairs {
			there[pairs[i].Key] = &pairs[i]
		}
	}
	return there, nil
}

func modRevision(p *kv.Pair) kv.Revision {
	if p == nil {
		return 0
	}
	return p.ModRevision
}
