package hold

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// Look says of each workload how it stands in the standby's etcd now. That it
// is remembered does not mean that the API server has scaled it.
func Look(ctx context.Context, standby *clientv3.Client, view *scope.View, workloads []Workload) error {
	const resource = "deployments.apps"
	zero, err := scope.NewHolds([]scope.Hold{{Resources: []string{resource}, Patch: json.RawMessage(`{"spec":{"replicas":0}}`)}})
	if err != nil {
		return err
	}
	for i := range workloads {
		w := &workloads[i]
		key := registry.ResourcePrefix(view.Scope.RegistryPrefix(), resource) + w.Namespace + "/" + w.Name
		resp, err := standby.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("read Deployment %s/%s: %w", w.Namespace, w.Name, err)
		}
		if len(resp.Kvs) == 0 {
			w.State, w.Why = Gone, "somebody has deleted it"
			continue
		}
		plain, err := plainOf(view, key, resp.Kvs[0].Value)
		if err == nil {
			w.State, w.Why, err = stands(w.UID, plain, zero)
		}
		if err != nil {
			w.State, w.Why = Unreadable, err.Error()
		}
	}
	return nil
}

// stands judges a Deployment that was to be scaled to zero.
func stands(uid string, plain []byte, zero *scope.Holds) (State, string, error) {
	meta, err := registry.ReadMeta(plain)
	if err != nil {
		return "", "", err
	}
	_, wantsPods, err := zero.Apply("deployments.apps", plain)
	switch {
	case err != nil:
		return "", "", err
	case meta.UID != uid:
		return Changed, "it was deleted and made anew", nil
	case wantsPods:
		return Changed, "it has replicas: it could not be scaled, or somebody has scaled it up", nil
	}
	return AtZero, "", nil
}
