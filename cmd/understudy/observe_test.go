package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/internal/testkit"
)

// A standby that dies while status looks at it is said not to answer, soon
// enough that no older verdict stands for it.
func TestStatusDoesNotWaitForAStandbyThatDies(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a dead etcd")
	}
	primary, standby := testkit.StartEtcd(t), testkit.StartEtcd(t)
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	text := `apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: moscow-spb}
primary: {name: moscow, etcd: {endpoints: ["` + primary.Endpoints()[0] + `"]}}
standby: {name: spb, etcd: {endpoints: ["` + standby.Endpoints()[0] + `"]}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	view, err := newView(pair)
	if err != nil {
		t.Fatal(err)
	}
	look := &observer{pair: pair, view: view}
	defer look.close()
	if f := look.facts(t.Context()); !f.Standby.Reachable {
		t.Fatalf("the standby does not answer: %+v", f.Standby)
	}
	standby.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var f console.Facts
	if err := look.readStandby(ctx, &f); err == nil || ctx.Err() != nil {
		t.Errorf("reading a standby that has died: %v, %v", err, ctx.Err())
	}
	if f := look.facts(ctx); f.Standby.Reachable || ctx.Err() != nil {
		t.Errorf("after that: %+v, %v", f.Standby, ctx.Err())
	}
}
