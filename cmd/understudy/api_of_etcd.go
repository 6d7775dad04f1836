package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
)

// etcdIdentity is what an API server that reads an etcd must agree with.
type etcdIdentity struct {
	uid           string      // of kube-system; "" = it has none
	before, after kv.Revision // the etcd's, before and after the API server was asked
}

// notOf says why the API server is not one of the cluster name, whose etcd says
// so; "" where it is. The UID alone would not do: where kube-system is
// replicated, or the standby began as a restored primary, both sides have it.
func notOf(etcd etcdIdentity, api kube.Identity, name string) string {
	switch {
	case etcd.uid == "":
		return fmt.Sprintf("is not proven to be %s's, whose etcd has no kube-system", name)
	case api.UID != etcd.uid:
		return fmt.Sprintf("is another cluster's: its kube-system has the UID %s, the one in %s's etcd %s", api.UID, name, etcd.uid)
	case api.Revision < etcd.before || api.Revision > etcd.after:
		return fmt.Sprintf("is another cluster's: it is at revision %d, %s's etcd at %d", api.Revision, name, etcd.after)
	}
	return ""
}

// notOwn is the error that says why an API server is not of the side it is to be of.
type notOwn string

func (why notOwn) Error() string { return "it " + string(why) }

// decrypt is what one side's API servers do to what they have stored.
type decrypt func(groupResource, key string, stored []byte) ([]byte, error)

// standbyAPI opens the standby's API server. It refuses one that does not serve
// from the standby's etcd: what is scaled or asked there would be another
// cluster's, most likely the primary's.
func standbyAPI(ctx context.Context, pair *config.Pair, client *clientv3.Client, view *scope.View) (*kube.API, error) {
	api, err := kube.Open(pair.Standby.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := ownAPI(ctx, pair, pair.Standby, api, client, view.Scope.RegistryPrefix(), view.Recoder.PlainOfStandby); err != nil {
		return nil, err
	}
	return api, nil
}

// ownPatience bounds what the proof takes.
const ownPatience = 20 * time.Second

// ownAPI is nil where the API server provably serves from the etcd of its side.
func ownAPI(ctx context.Context, pair *config.Pair, side config.Cluster, api *kube.API, client *clientv3.Client, prefix string, plain decrypt) error {
	op := fmt.Sprintf("use the API server at %s, from the kubeconfig of %s", api.Address(), side.Name)
	ctx, cancel := context.WithTimeout(ctx, ownPatience) // either of them may be silent
	defer cancel()
	const resource = "namespaces"
	key := registry.ResourcePrefix(prefix, resource) + "kube-system"
	stored, err := client.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("%s: read kube-system in the etcd: %w", op, err)
	}
	seen, err := api.Identify(ctx)
	if err != nil {
		return &remedy.Error{Op: op, Err: err,
			Remedy: "it has to show whose it is; this must work, as must a list: kubectl --kubeconfig " + remedy.Quote(side.Kubeconfig) + " get namespace kube-system"}
	}
	after, err := client.Get(ctx, key, clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("%s: read kube-system in the etcd: %w", op, err)
	}
	etcd := etcdIdentity{before: kv.Revision(stored.Header.Revision), after: kv.Revision(after.Header.Revision)}
	if len(stored.Kvs) > 0 {
		raw, err := plain(resource, key, stored.Kvs[0].Value)
		var meta registry.Meta
		if err == nil {
			meta, err = registry.ReadMeta(raw)
		}
		if err != nil {
			return &remedy.Error{Op: op, Err: fmt.Errorf("it is not proven to be %s's: %s: %w", side.Name, key, err),
				Remedy: "set the encryption file of " + side.Name + " to what its API servers run with", Code: remedy.Refused}
		}
		etcd.uid = meta.UID
	}
	if why := notOf(etcd, seen, side.Name); why != "" {
		return &remedy.Error{Op: op, Err: notOwn(why),
			Remedy: fmt.Sprintf("correct the context or the address in %s, or etcd.endpoints of %s in %s; see: understudy config view", side.Kubeconfig, side.Name, pair.File()),
			Code:   remedy.Refused}
	}
	return nil
}

// ownAPI is the fact for preflight, and the error for which nothing is asked of
// an API server that is another cluster's.
func (g *preflight) ownAPI(ctx context.Context, side config.Cluster, api *kube.API) (console.Found[string], error) {
	opened, err := dial(ctx, side)
	if err != nil {
		return console.NotFound[string](oneLine(err)), nil
	}
	defer opened.Close()
	plain := g.view.Recoder.PlainOfStandby
	if side.Name == g.pair.Primary.Name {
		plain = g.view.Recoder.PlainOfPrimary
	}
	err = ownAPI(ctx, g.pair, side, api, opened.Client, g.view.Scope.RegistryPrefix(), plain)
	var other notOwn
	if errors.As(err, &other) {
		return console.Found[string]{Known: true, Value: string(other)}, errors.New("its kubeconfig leads to another cluster")
	}
	return console.FoundIf("", err), nil
}
