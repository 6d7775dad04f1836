package hold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// Through are the objects that Release has left and ReleaseThrough may release.
func (o Outcome) Through() bool {
	return slices.ContainsFunc(o.Left, func(l Left) bool { return l.through })
}

// ReleaseThrough releases through the standby's API server what Release has left
// because that has stored it in another version of the API than its original. It
// takes back what the hold has changed, and nothing else, by a merge patch that
// demands that nobody has written the object meanwhile; then it deletes the record.
// That the object is released is recorded before. Cut off in between, the same call
// again does the rest.
//
// An object that was changed besides is left, where its API server still serves the
// version of the original and so can tell. Where it does not, what was changed stays.
func (h Hand) ReleaseThrough(ctx context.Context, standby *clientv3.Client, view *scope.View, api *kube.API, out *Outcome) error {
	_, fence, err := role.Quiet(ctx, standby)
	if err != nil {
		return as("release", err)
	}
	a := act{op: "release", hand: h, standby: standby, view: view, fence: fence}
	if err := a.begin(ctx); err != nil {
		return as("release", err)
	}
	left := out.Left
	out.Left = []Left{}
	for i, l := range left {
		if !l.through {
			out.Left = append(out.Left, l)
			continue
		}
		why, err := a.through(ctx, api, l.Key)
		if err != nil {
			out.Left = append(out.Left, left[i:]...)
			return as("release", err)
		}
		if why != "" {
			out.Left = append(out.Left, Left{Key: l.Key, Why: why})
			continue
		}
		out.Done++
	}
	return nil
}

// through releases one object, or says why it is left.
func (a *act) through(ctx context.Context, api *kube.API, key string) (why string, err error) {
	for attempt := 1; ; attempt++ {
		stands, err := a.look(ctx, []string{key})
		if err != nil {
			return "", err
		}
		record, object := stands[scope.HeldKey(key)], stands[key]
		if record == nil {
			return "", nil // somebody has released it meanwhile
		}
		if object == nil {
			return "deleted on the standby since it was held", nil
		}
		p, why, err := plan(ctx, a.view, api, key, record, object)
		if err != nil {
			return "its API server does not answer for it: " + err.Error(), nil
		}
		if why != "" {
			return why, nil
		}
		compares := append(slices.Clone(a.fence), clientv3.Compare(clientv3.ModRevision(record.Key), "=", int64(record.ModRevision)))
		done, err := a.commit(ctx, compares, []clientv3.Op{clientv3.OpPut(role.ReleasedKey(key), "")})
		if err != nil {
			return "", err
		}
		if done && !p.done {
			err := api.Merge(ctx, p.key, p.version, p.uid, object.ModRevision, p.undo)
			if done = err == nil; err != nil && (!apierrors.IsConflict(err) || attempt == attempts) {
				if _, undone := a.commit(ctx, compares, []clientv3.Op{clientv3.OpDelete(role.ReleasedKey(key))}); undone != nil {
					return "", undone
				}
				return "its API server does not release it: " + err.Error(), nil
			}
		}
		if done {
			ops := []clientv3.Op{clientv3.OpDelete(record.Key)}
			if kept := stands[sink.SurplusPrefix+key]; kept != nil {
				ops = append(ops, clientv3.OpPut(kept.Key, sink.SurplusReleased))
			}
			if done, err = a.commit(ctx, compares, ops); done || err != nil {
				return "", err
			}
		}
		if attempt == attempts {
			return "", &remedy.Error{Err: fmt.Errorf("%s is written all the time", key), Remedy: "the same command again does the rest", Code: remedy.LostRace}
		}
		select {
		case <-time.After(time.Duration(attempt) * 20 * time.Millisecond):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// planned is how one object is released through its API server.
type planned struct {
	key          registry.Key
	version, uid string
	undo         map[string]any // the merge patch
	done         bool           // it was released before, and only its record is left
}

// plan says how, or why not. Where the API server serves the version of the original,
// it also tells whether the object was changed.
func plan(ctx context.Context, view *scope.View, api *kube.API, key string, record, object *kv.Pair) (p planned, why string, err error) {
	unreadable := func(err error) (planned, string, error) { return p, "cannot be read: " + err.Error(), nil }
	parsed, ok := view.Scope.Parse(key)
	if !ok {
		return p, "it is no object of an API server", nil
	}
	gr := parsed.GroupResource()
	original, err := plainOf(view, key, record.Value)
	if err != nil {
		return unreadable(err)
	}
	now, err := plainOf(view, key, object.Value)
	if err != nil {
		return unreadable(err)
	}
	held, _, err := view.Holds.Apply(gr, original)
	if err != nil {
		return unreadable(err)
	}
	was, errWas := registry.ReadMeta(original)
	is, errIs := registry.ReadMeta(now)
	fields, errNow := registry.ReadFields(now)
	undo, errUndo := registry.Undo(held, original)
	if err := errors.Join(errWas, errIs, errNow, errUndo); err != nil {
		return unreadable(err)
	}
	_, acts, err := view.Holds.Apply(gr, now)
	p = planned{key: parsed, version: was.APIVersion, uid: is.UID, undo: undo}
	switch {
	case err != nil:
		return unreadable(err)
	case was.UID != is.UID:
		return p, changedSince, nil
	case acts && scope.Lies(undo, fields):
		p.done = true
		return p, "", nil
	case acts:
		return p, changedSince, nil
	}
	served, at, ok, err := api.Object(ctx, parsed, was.APIVersion)
	switch {
	case err != nil:
		return p, "", err
	case !ok:
		p.version = is.APIVersion // then in the one that it is stored in
	case at == object.ModRevision && view.Locals.CompareServed(gr, held, served) == scope.Different:
		return p, changedSince, nil
	}
	return p, "", nil
}

const changedSince = "changed on the standby since it was held"
