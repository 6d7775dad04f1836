package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

// homeOf is by what the primary itself is known: from the configuration, and from what the
// standby remembers of it.
func homeOf(ctx context.Context, pair *config.Pair, standby *clientv3.Client) (hold.Home, error) {
	home := configuredHome(pair)
	return home, home.Recall(ctx, standby)
}

func configuredHome(pair *config.Pair) hold.Home {
	home := hold.NewHome()
	for _, endpoint := range pair.Primary.Etcd.Endpoints {
		home.AddHost(endpoint, "a member of the primary's etcd")
	}
	home.AddHost(pair.Primary.VIP, "the primary's VIP")
	home.AddHost(pair.Access.Address, "access.address")
	if raw, err := os.ReadFile(pair.Primary.Kubeconfig); err == nil {
		for _, server := range hold.Servers(raw) {
			home.AddServer(server, "the server of primary.kubeconfig")
		}
	}
	return home
}

// rememberPrimary keeps on the standby by what the primary is known, for the day when it
// is gone, and when the standby's present revision was written.
func rememberPrimary(ctx context.Context, pair *config.Pair, view *scope.View, primary, standby *clientv3.Client) error {
	home := configuredHome(pair)
	if err := home.ReadPrimary(ctx, primary, view); err != nil {
		return err
	}
	if err := home.Remember(ctx, standby); err != nil {
		return err
	}
	return hold.Note(ctx, standby, time.Now())
}

// rememberAfter is rememberPrimary for a copy that ends by itself.
func rememberAfter(ctx context.Context, pair *config.Pair) error {
	view, err := newView(pair)
	if err != nil {
		return err
	}
	primary, err := dial(ctx, pair.Primary)
	if err != nil {
		return err
	}
	defer primary.Close()
	standby, err := dial(ctx, pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	return rememberPrimary(ctx, pair, view, primary.Client, standby.Client)
}

func (h holder) self(ctx context.Context) ([]hold.Self, error) {
	home, err := homeOf(ctx, h.pair, h.client)
	if err != nil {
		return nil, err
	}
	return hold.FindSelf(ctx, h.client, h.view, home)
}

// divide takes from items what describes the primary itself, unless it is named.
func (h holder) divide(ctx context.Context, items []hold.Item) (release, stay []hold.Item, err error) {
	self, err := h.self(ctx)
	if err != nil {
		return nil, nil, err
	}
	release, stay, err = hold.Divide(items, self, h.opts.self)
	if err != nil {
		return nil, nil, err
	}
	for _, item := range stay {
		if h.opts.cluster != "" && item.IsSelf && item.Namespace+"/"+item.Name == h.opts.cluster {
			return nil, nil, &remedy.Error{Op: "hold release", Err: fmt.Errorf("Cluster %s %s", h.opts.cluster, item.Self), Code: remedy.Refused,
				Remedy: "its controllers would act on the primary's own machines; to release it all the same: understudy hold release --self-managed " + h.opts.cluster}
		}
	}
	if h.opts.self != nil && h.opts.cluster != "" {
		return nil, nil, &remedy.Error{Op: "hold release", Err: errors.New("--cluster and --self-managed exclude each other"), Code: remedy.Usage,
			Remedy: "name the one that describes the primary itself with --self-managed alone"}
	}
	return release, stay, nil
}

// selfFindings are what a simulation says of what describes the primary itself.
func selfFindings(ctx context.Context, pair *config.Pair, view *scope.View, standby *clientv3.Client) ([]verify.Finding, error) {
	home, err := homeOf(ctx, pair, standby)
	if err != nil {
		return nil, err
	}
	self, err := hold.FindSelf(ctx, standby, view, home)
	if err != nil {
		return nil, err
	}
	held := verify.Finding{Problem: verify.DescribesPrimary, Severity: verify.Info, Title: "describe the primary itself: a release leaves them held",
		Remedy: "a release leaves them; to release one all the same: understudy hold release --self-managed NAME", Resources: map[string]int64{}}
	acting := verify.Finding{Problem: verify.DescribesPrimary, Severity: verify.Red, Title: "describe the primary itself and are not held: controllers of the standby act on the primary's own machines, or take one cluster for the other",
		Remedy: "hold them by hold.objects, or leave them out by sync.exclude: docs/holds.md", Resources: map[string]int64{}}
	for _, s := range self {
		of := &acting
		if s.Held {
			of = &held
		}
		of.Count++
		of.Items = append(of.Items, verify.Item{Key: s.Key, Object: s.Kind + " " + s.Name, Why: s.Why})
		if k, ok := view.Scope.Parse(s.Key); ok {
			of.Resources[k.GroupResource()]++
		}
	}
	var out []verify.Finding
	for _, f := range []verify.Finding{acting, held} {
		if f.Count > 0 {
			out = append(out, f)
		}
	}
	return out, nil
}
