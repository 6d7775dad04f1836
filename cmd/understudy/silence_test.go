package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
)

// pairFile configures two etcds, and more.
func pairFile(t *testing.T, primary, standby, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	text := fmt.Sprintf("apiVersion: understudy.dev/v1alpha1\nkind: Pair\nmetadata: {name: moscow-spb}\n"+
		"primary: {name: moscow, etcd: {endpoints: [%q]}}\nstandby: {name: spb, etcd: {endpoints: [%q]}}\n", primary, standby) + more
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// largeEtcd has more keys than a slow line brings at once.
func largeEtcd(t *testing.T, prefix string) (*faultproxy.Proxy, string) {
	t.Helper()
	e := testkit.StartEtcd(t)
	for i := range 3000 {
		if _, err := e.Client().Put(t.Context(), fmt.Sprintf("%s%05d", prefix, i), strings.Repeat("x", 4000)); err != nil {
			t.Fatal(err)
		}
	}
	proxy, url := e.Proxy(0)
	proxy.Throttle(4 << 20)
	return proxy, url
}

// midway waits until some of the keys have come.
func midway(t *testing.T, proxy *faultproxy.Proxy) {
	t.Helper()
	before := proxy.Bytes(faultproxy.ToClient)
	testkit.Eventually(t, time.Minute, "some of the keys have come", func() (bool, string) {
		n := proxy.Bytes(faultproxy.ToClient) - before
		return n > 2<<20, fmt.Sprint(n, " bytes")
	})
}

// A side that falls silent while preflight reads it is said not to answer, and
// the other lines are there.
func TestPreflightDoesNotWaitForASideThatFallsSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a silent etcd")
	}
	proxy, url := largeEtcd(t, "/registry/configmaps/a/")
	standby := testkit.StartEtcd(t)
	pair, err := config.Load(pairFile(t, url, standby.Endpoints()[0], ""))
	if err != nil {
		t.Fatal(err)
	}
	view, err := newView(pair)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told := make(chan console.PreflightFacts, 1)
	go func() {
		g := &preflight{pair: pair, view: view, httpsPort: "443", silence: 4 * time.Second}
		told <- g.facts(ctx)
	}()
	midway(t, proxy)
	proxy.Blackhole(faultproxy.Both)
	f := <-told
	if ctx.Err() != nil {
		t.Fatal("it took too long")
	}
	if f.Primary.Keys.Known || !strings.Contains(f.Primary.Keys.Why, "read the primary: no answer for 4s") {
		t.Errorf("the primary's keys: %+v", f.Primary.Keys)
	}
	if f.Primary.Role.Known || !f.Standby.Role.Known || f.Only.Known {
		t.Errorf("roles %+v and %+v, one-sided %+v", f.Primary.Role, f.Standby.Role, f.Only)
	}
}

// A standby that dies before hold has read it is said not to answer.
func TestHoldDoesNotWaitForAStandbyThatDies(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a dead etcd")
	}
	standby := testkit.StartEtcd(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	a := &app{configFlag: pairFile(t, "http://127.0.0.1:1", standby.Endpoints()[0], "")}
	err := withStandby(cmd, a, holdOptions{}, func(ctx context.Context, h holder) error {
		standby.Kill()
		return h.list(ctx)
	})
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "read the standby: no answer for 20s") {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}
