package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
)

// Our own names: as every other contestant measures, writing the same bytes as
// the primary's; and with the holds and local fields that a user has by default.
const (
	ourName  = "understudy"
	heldName = "understudy with holds"
)

// understudy is the program under test: a binary, or where that is empty its
// library inside this program, which can write CPU profiles.
type understudy struct{ binary, name string }

func (u understudy) String() string { return u.name }

func findUnderstudy(ctx context.Context, b *bench) (understudy, error) {
	switch {
	case b.options.understudy == "self" || b.profiles != "":
		return understudy{name: "understudy's library inside the benchmark's program"}, nil
	case b.options.understudy != "":
		path, err := filepath.Abs(b.options.understudy)
		return understudy{path, path}, err
	}
	path := filepath.Join(b.dir, "understudy")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/understudy-dr/understudy/cmd/understudy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return understudy{}, fmt.Errorf("build understudy: %w\n%s", err, out)
	}
	return understudy{path, "understudy, built from ./cmd/understudy"}, nil
}

// commands are understudy's command lines for its tasks.
var commands = map[string][]string{
	"sync once": {"sync", "--once"},
	"sync":      {"sync"},
	"check":     {"check", "-o", "json"},
}

// startOnce starts a single copy; startSync the daemon; startCheck a full comparison.
func (b *bench) startOnce(primary, standby *etcdproc.Cluster, profile string) (*child, error) {
	return b.startUnderstudy("sync once", profile, primary, standby)
}

func (b *bench) startSync(primary, standby *etcdproc.Cluster, profile string) (*child, error) {
	return b.startUnderstudy("sync", profile, primary, standby)
}

func (b *bench) startCheck(primary, standby *etcdproc.Cluster, profile string) (*child, error) {
	return b.startUnderstudy("check", profile, primary, standby)
}

// startHeld starts a task with holds and local fields.
func (b *bench) startHeld(task string, primary, standby *etcdproc.Cluster) (*child, error) {
	config, err := b.writeConfig(primary, standby, true)
	if err != nil {
		return nil, err
	}
	return b.start(heldName, proc.Spec{Path: b.understudy.binary, Args: append(slices.Clone(commands[task]), "--config", config)})
}

func (b *bench) startUnderstudy(task, profile string, primary, standby *etcdproc.Cluster) (*child, error) {
	if b.understudy.binary == "" {
		return b.self(ourName, order{Task: task, Primary: primary.Endpoints(), Standby: standby.Endpoints(), Profile: profile})
	}
	config, err := b.writeConfig(primary, standby, false)
	if err != nil {
		return nil, err
	}
	return b.start(ourName, proc.Spec{Path: b.understudy.binary, Args: append(slices.Clone(commands[task]), "--config", config)})
}

// writeConfig writes the configuration of a pair, with every default as it is
// but the port, which must be free, and the holds, which change what is written.
func (b *bench) writeConfig(primary, standby *etcdproc.Cluster, holds bool) (string, error) {
	keys := filepath.Join(b.dir, "encryption.yaml")
	if err := os.WriteFile(keys, []byte(encryptionConfig), 0o600); err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, "understudy.yaml")
	text := fmt.Sprintf(`apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: bench}
primary: {name: primary, encryption: encryption.yaml, etcd: {endpoints: [%q]}}
standby: {name: standby, encryption: encryption.yaml, etcd: {endpoints: [%q]}}
hold: {defaults: %v}
listen: 127.0.0.1:0
`, primary.Endpoints()[0], standby.Endpoints()[0], holds)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// copyOnce brings the standby in step outside of any measurement.
func (b *bench) copyOnce(ctx context.Context, primary, standby *etcdproc.Cluster) error {
	return b.copyWith(ctx, primary, standby, func() (*child, error) { return b.startOnce(primary, standby, "") })
}

func (b *bench) copyWith(ctx context.Context, primary, standby *etcdproc.Cluster, start func() (*child, error)) error {
	c, err := start()
	if err != nil {
		return err
	}
	if _, err := c.end(ctx); err != nil {
		return err
	}
	if err := expectReached(ctx, primary, standby); err != nil {
		return fmt.Errorf("%w\n%s", err, c.LogTail(10))
	}
	return nil
}
