package hold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// WorkloadDir holds one Workload for every Deployment of the standby's own
// that is kept at zero.
const WorkloadDir = sink.Root + "workloads/"

// Workload is a Deployment of the standby's own that is kept at zero replicas,
// and how many it had before.
type Workload struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       string    `json:"uid"`
	Replicas  int32     `json:"replicas"` // before
	Since     time.Time `json:"since"`
	// State and Why are Look's; they are not kept.
	State State  `json:"state,omitempty"` // at zero, changed, gone, unreadable
	Why   string `json:"why,omitempty"`

	revision kv.Revision
}

func (w Workload) key() string { return WorkloadDir + w.Namespace + "/" + w.Name }

// Selection chooses Deployments: the one with Name, or those with the labels
// of Selector.
type Selection struct{ Namespace, Name, Selector string }

// Workloads are those that are kept at zero, by namespace and name.
func Workloads(ctx context.Context, standby *clientv3.Client) ([]Workload, error) {
	out := []Workload{}
	err := source.Each(ctx, standby, WorkloadDir, kv.PrefixEnd(WorkloadDir), 0, func(p kv.Pair) error {
		w := Workload{revision: p.ModRevision}
		if err := json.Unmarshal(p.Value, &w); err != nil || WorkloadDir+w.Namespace+"/"+w.Name != p.Key {
			return fmt.Errorf("%s holds no workload", p.Key)
		}
		out = append(out, w)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which workloads are held: %w", err)
	}
	return out, nil
}

// Standing are the compares that hold as long as the cluster is a standby, its
// replication is not paused, and nothing is released that nobody has answered for;
// false where it is otherwise already. That is when workloads are kept at zero
// without anybody's asking.
func Standing(ctx context.Context, standby *clientv3.Client) ([]clientv3.Cmp, bool, error) {
	state, err := role.Read(ctx, standby)
	if err != nil {
		return nil, false, err
	}
	pause, err := role.ReadPause(ctx, standby)
	if err != nil || pause != nil || state.Role != role.Standby {
		return nil, false, err
	}
	checkpoint, err := sink.ReadCheckpoint(ctx, standby)
	if err != nil {
		return nil, false, err
	}
	release, err := role.ReadRelease(ctx, standby)
	if err != nil || release.Stands(checkpoint.Revision) {
		return nil, false, err
	}
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(role.Key), "=", state.Revision),
		clientv3.Compare(clientv3.CreateRevision(role.PausedKey), "=", 0),
		release.Unchanged(),
	}, true, nil
}

// KeepAtZero scales the chosen Deployments to zero and remembers how many
// replicas they had, as long as the compares of fence hold. It returns those
// that it has scaled. What it cannot do for one does not keep it from the others.
func KeepAtZero(ctx context.Context, standby *clientv3.Client, api *kube.API, chosen []Selection, fence []clientv3.Cmp) ([]Workload, error) {
	var done []Workload
	var problems []error
	for _, s := range chosen {
		running, err := choose(ctx, api, s)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, d := range running {
			w, err := zero(ctx, standby, api, d, fence)
			switch {
			case err != nil:
				problems = append(problems, fmt.Errorf("scale Deployment %s/%s to zero: %w", d.Namespace, d.Name, err))
			case w != nil:
				done = append(done, *w)
			}
		}
	}
	return done, errors.Join(problems...)
}

// choose returns the Deployments of a selection that want Pods.
func choose(ctx context.Context, api *kube.API, s Selection) ([]kube.Deployment, error) {
	var all []kube.Deployment
	if s.Name == "" {
		list, err := api.Deployments(ctx, s.Namespace, s.Selector)
		if err != nil {
			return nil, err
		}
		all = list
	} else {
		d, there, err := api.Deployment(ctx, s.Namespace, s.Name)
		if err != nil {
			return nil, err
		}
		if there {
			all = []kube.Deployment{d}
		}
	}
	return slices.DeleteFunc(all, func(d kube.Deployment) bool { return d.Replicas == 0 }), nil
}

// zero remembers first and scales then, so that no crash between the two
// forgets a number. nil: nothing was done, since the fence no longer holds.
func zero(ctx context.Context, standby *clientv3.Client, api *kube.API, d kube.Deployment, fence []clientv3.Cmp) (*Workload, error) {
	w := Workload{Namespace: d.Namespace, Name: d.Name, UID: d.UID, Replicas: d.Replicas, Since: time.Now().UTC()}
	before, err := standby.Get(ctx, w.key())
	if err != nil {
		return nil, err
	}
	var known Workload
	seen := int64(0)
	if len(before.Kvs) > 0 {
		seen = before.Kvs[0].ModRevision
		// Somebody has scaled it up meanwhile. What it had before the hold stays
		// what it comes back to, unless it is another Deployment by now.
		if json.Unmarshal(before.Kvs[0].Value, &known) == nil && known.UID == w.UID && known.Replicas > 0 {
			w.Replicas, w.Since = known.Replicas, known.Since
		}
	}
	raw, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	unchanged := clientv3.Compare(clientv3.ModRevision(w.key()), "=", seen)
	resp, err := standby.Txn(ctx).If(append(slices.Clone(fence), unchanged)...).Then(clientv3.OpPut(w.key(), string(raw))).Commit()
	if err != nil || !resp.Succeeded {
		return nil, err
	}
	now, err := api.Scale(ctx, d, 0)
	if apierrors.IsConflict(err) {
		return nil, nil // somebody was faster; the next round looks again
	}
	if err != nil {
		return nil, err
	}
	// Where it was released between the two, it is not to stay at zero.
	after, err := standby.Get(ctx, w.key(), clientv3.WithKeysOnly())
	if err == nil && len(after.Kvs) == 0 {
		_, err = api.Scale(ctx, now, w.Replicas)
		return nil, err
	}
	return &w, err
}

// ReleaseWorkloads scales the workloads back to what they had, and forgets them.
// One that has Pods again is left as it is and forgotten too; one that does not
// answer, is gone or is another Deployment by now stays remembered: how many
// replicas it had is written nowhere else.
func ReleaseWorkloads(ctx context.Context, standby *clientv3.Client, api *kube.API, workloads []Workload) (Outcome, error) {
	out := Outcome{Left: []Left{}}
	_, fence, err := role.Quiet(ctx, standby)
	if err != nil {
		return out, as("release", err)
	}
	for _, w := range workloads {
		scaled, err := scaleBack(ctx, api, w)
		if err != nil {
			out.Left = append(out.Left, Left{Key: w.key(), Why: err.Error()})
			continue
		}
		unchanged := clientv3.Compare(clientv3.ModRevision(w.key()), "=", int64(w.revision))
		resp, err := standby.Txn(ctx).If(append(slices.Clone(fence), unchanged)...).Then(clientv3.OpDelete(w.key())).Commit()
		if err != nil {
			return out, fmt.Errorf("forget workload %s/%s: %w", w.Namespace, w.Name, err)
		}
		switch {
		case !resp.Succeeded:
			out.Left = append(out.Left, Left{Key: w.key(), Why: "it was held again meanwhile"})
		case scaled:
			out.Done++
		default:
			out.Already++
		}
	}
	return out, nil
}

// scaleBack is false without an error where the Deployment has replicas again.
func scaleBack(ctx context.Context, api *kube.API, w Workload) (scaled bool, err error) {
	for attempt := 1; ; attempt++ {
		d, there, err := api.Deployment(ctx, w.Namespace, w.Name)
		switch {
		case err != nil:
			return false, err
		case !there:
			return false, fmt.Errorf("it is gone; it had %d replicas. If that is right: understudy forget %s --apply", w.Replicas, remedy.Quote(w.key()))
		case d.UID != w.UID:
			return false, fmt.Errorf("it was deleted and made anew; it had %d replicas, and has %d. If that is right: understudy forget %s --apply", w.Replicas, d.Replicas, remedy.Quote(w.key()))
		case d.Replicas != 0:
			return false, nil
		}
		_, err = api.Scale(ctx, d, w.Replicas)
		if !apierrors.IsConflict(err) || attempt == attempts {
			return err == nil, err
		}
	}
}
