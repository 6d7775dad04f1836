package demo

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// Object is an object of the demo's management cluster.
type Object struct {
	kv.Pair // as the primary stores it
	Key     registry.Key
	In      bool // takes part in the replication
	Alone   bool // it owns nothing, and nothing owns it: it may come and go
	meta    registry.Meta
	digest  Digest
}

// Generate makes n objects of a management cluster, encrypted for the primary.
func Generate(n int, encryption *registry.Encryption, view *scope.View) ([]Object, error) {
	objects := make([]Object, 0, n)
	for p := range fixture.Generate(fixture.Options{Seed: 1, Objects: n, Encryption: encryption}) {
		o, err := look(view, p)
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	owners := map[string]bool{}
	for _, o := range objects {
		for _, owner := range o.meta.Owners {
			owners[owner.UID] = true
		}
	}
	for i, o := range objects {
		whole := o.Key.Resource == "namespaces" || o.Key.Resource == "customresourcedefinitions"
		objects[i].Alone = !whole && len(o.meta.Owners) == 0 && !owners[o.meta.UID]
	}
	return objects, nil
}

func look(view *scope.View, p kv.Pair) (Object, error) {
	o := Object{Pair: p}
	o.Key, _ = view.Scope.Parse(p.Key)
	seen, err := view.InPrimary(p.Key, p.Value)
	if err != nil {
		return o, fmt.Errorf("read a generated object: %w", err)
	}
	o.meta = seen.Meta
	if o.In = seen.In; o.In {
		o.digest = DigestOf(seen.Plain)
	}
	return o, nil
}

// Fill writes the objects to the primary, many at a time.
func Fill(ctx context.Context, primary *clientv3.Client, objects []Object, ledger *Ledger) error {
	const atOnce = 100
	for len(objects) > 0 {
		part := objects[:min(atOnce, len(objects))]
		objects = objects[len(part):]
		ops := make([]clientv3.Op, len(part))
		for i, o := range part {
			ops[i] = clientv3.OpPut(o.Pair.Key, string(o.Value))
		}
		resp, err := primary.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return fmt.Errorf("fill the primary: %w", err)
		}
		now := time.Now()
		var writes []Write
		for _, o := range part {
			if o.In {
				writes = append(writes, Write{o.Pair.Key, o.digest, kv.Revision(resp.Header.Revision), now})
			}
		}
		ledger.Acknowledged(writes...)
	}
	return nil
}

// ReadStandby reads back what the standby holds in scope, decrypted with the
// standby's own keys.
func ReadStandby(ctx context.Context, standby *clientv3.Client, view *scope.View) (map[string]Digest, error) {
	begin, end := view.Range()
	cursor, err := source.Open(ctx, standby, begin, end, 0)
	if err != nil {
		return nil, fmt.Errorf("read the standby: %w", err)
	}
	defer cursor.Close()
	found := map[string]Digest{}
	for {
		p, ok, err := cursor.Next()
		if err != nil {
			return nil, fmt.Errorf("read the standby: %w", err)
		}
		if !ok {
			return found, nil
		}
		object, err := view.InStandby(p.Key, p.Value)
		if err != nil {
			return nil, fmt.Errorf("read the standby: %w", err)
		}
		if object.In {
			found[p.Key] = DigestOf(object.Plain)
		}
	}
}
