package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

// A preflight is kept, so that the next one shows what has changed: in the etcd of
// the standby once it is proven to be the standby of this pair, where everybody
// finds it. Before the first sync it is a file beside the configuration, since the
// sides may be swapped and nothing is written to what may be the primary; so it is
// where etcd lets this user write nothing.

// keptFile is that file.
func (g *preflight) keptFile() string { return keptFileOf(g.pair) }

func keptFileOf(pair *config.Pair) string { return pair.File() + ".preflight.json" }

// kept is the last preflight of the pair; false where none can be read.
func (g *preflight) kept(ctx context.Context, f console.PreflightFacts) (last console.Preflight, ok bool) {
	decode := func(raw []byte) {
		var p console.Preflight
		if json.Unmarshal(raw, &p) == nil && p.Pair == g.pair.Metadata.Name && p.Time.After(last.Time) {
			last, ok = p, true
		}
	}
	if raw, err := os.ReadFile(g.keptFile()); err == nil {
		decode(raw)
	}
	if !ofThisPair(f) {
		return last, ok
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	standby, err := dial(ctx, g.pair.Standby)
	if err != nil {
		return last, ok
	}
	defer standby.Close()
	if resp, err := standby.Client.Get(ctx, sink.PreflightKey); err == nil && len(resp.Kvs) > 0 {
		decode(resp.Kvs[0].Value)
	}
	return last, ok
}

// keptAt is when the last preflight of the pair was; the zero time where none is
// kept, nil where nobody can tell.
func keptAt(ctx context.Context, standby *clientv3.Client, pair *config.Pair) *time.Time {
	var last time.Time
	decode := func(raw []byte) {
		var p struct {
			Pair string    `json:"pair"`
			Time time.Time `json:"time"`
		}
		if json.Unmarshal(raw, &p) == nil && p.Pair == pair.Metadata.Name && p.Time.After(last) {
			last = p.Time
		}
	}
	if raw, err := os.ReadFile(keptFileOf(pair)); err == nil {
		decode(raw)
	}
	resp, err := standby.Get(ctx, sink.PreflightKey)
	if err != nil {
		return nil
	}
	for _, one := range resp.Kvs {
		decode(one.Value)
	}
	return &last
}

// ofThisPair reports whether the standby is proven to be one, of this pair.
func ofThisPair(f console.PreflightFacts) bool {
	r := f.Standby.Role
	return r.Known && r.Value.Standby && r.Value.Refuses == "" && r.Value.Pair == f.Pair && !f.Same && !f.Primary.Role.Value.Standby
}

// keep writes a preflight down. It says where it could not.
func (g *preflight) keep(ctx context.Context, f console.PreflightFacts, p console.Preflight, stderr io.Writer) {
	p.Before, p.Changes = nil, nil
	raw, err := json.Marshal(p)
	if err == nil && ofThisPair(f) {
		if g.keepInEtcd(ctx, raw) == nil {
			return
		}
	}
	if err == nil {
		err = writeWhole(g.keptFile(), raw)
	}
	if err != nil {
		fmt.Fprintf(stderr, "not kept for the next time: %v\n", err)
	}
}

// keepInEtcd writes to a cluster that is a standby at that moment.
func (g *preflight) keepInEtcd(ctx context.Context, raw []byte) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	standby, err := dial(ctx, g.pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	state, err := role.Read(ctx, standby.Client)
	if err != nil {
		return err
	}
	if state.Role != role.Standby || state.Pair != g.pair.Metadata.Name {
		return errors.New("it is no standby of this pair")
	}
	resp, err := standby.Client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(role.Key), "=", state.Revision)).
		Then(clientv3.OpPut(sink.PreflightKey, string(raw))).Commit()
	if err == nil && !resp.Succeeded {
		err = errors.New("its role has changed")
	}
	return err
}

// writeWhole replaces a file by one with this content, or leaves it as it is.
func writeWhole(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".understudy-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
