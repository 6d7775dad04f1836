package main

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

// servedBy is the standby's API server for a comparison, nil where no kubeconfig
// leads to it. It is not looked for, nor proven to be the standby's, before it has to
// be asked.
func servedBy(pair *config.Pair, standby *clientv3.Client, view *scope.View) verify.Served {
	if pair.Standby.Kubeconfig == "" {
		return nil
	}
	return &lateAPI{open: func(ctx context.Context) (*kube.API, error) { return standbyAPI(ctx, pair, standby, view) }}
}

// provenFor is how long the proof counts that the API server is the standby's.
const provenFor = time.Minute

type lateAPI struct {
	open func(context.Context) (*kube.API, error)

	mu    sync.Mutex
	api   *kube.API
	until time.Time // look again after that
	err   error
}

func (l *lateAPI) Object(ctx context.Context, key registry.Key, apiVersion string) ([]byte, kv.Revision, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.After(l.until) {
		l.api, l.err = l.open(ctx)
		l.until = now.Add(provenFor)
	}
	if l.err != nil {
		return nil, 0, false, l.err
	}
	return l.api.Object(ctx, key, apiVersion)
}
