package kube

import (
	"context"
	"errors"
	"strconv"

	"github.com/understudy-dr/understudy/kv"
)

// Identity says which etcd an API server reads.
type Identity struct {
	UID      string      // of the Namespace kube-system
	Revision kv.Revision // the etcd's when that was read
}

// Identify reads the Namespace kube-system as it is now. It is asked for as a
// list, which alone comes with the revision of the whole etcd.
func (a *API) Identify(ctx context.Context) (Identity, error) {
	const path = "/api/v1/namespaces?fieldSelector=metadata.name%3Dkube-system"
	var list struct {
		Metadata struct {
			Revision string `json:"resourceVersion"`
		} `json:"metadata"`
		Items []struct {
			Metadata struct {
				UID string `json:"uid"`
			} `json:"metadata"`
		} `json:"items"`
	}
	if err := a.read(ctx, path, &list); err != nil {
		return Identity{}, err
	}
	if len(list.Items) != 1 || list.Items[0].Metadata.UID == "" {
		return Identity{}, errors.New("it has no Namespace kube-system")
	}
	at, err := strconv.ParseInt(list.Metadata.Revision, 10, 64)
	if err != nil {
		return Identity{}, errors.New("it does not say at which revision it has read kube-system")
	}
	return Identity{UID: list.Items[0].Metadata.UID, Revision: kv.Revision(at)}, nil
}
