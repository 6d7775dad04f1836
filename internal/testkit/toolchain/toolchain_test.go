package toolchain

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPathGivesTheSameProgramTwice(t *testing.T) {
	first, err := Path(t.Context(), "etcd@3.6")
	if err != nil {
		t.Fatal(err)
	}
	second, err := Path(t.Context(), "etcd@3.6")
	if err != nil || second != first {
		t.Fatalf("second Path: %q, %v; want %q", second, err, first)
	}
	out, err := exec.CommandContext(t.Context(), first, "--version").Output()
	if err != nil || !strings.HasPrefix(string(out), "etcd Version: 3.6.") {
		t.Fatalf("%s --version: %q, %v", first, out, err)
	}
}

func TestSourceHasWhatComesWithTheProgram(t *testing.T) {
	dir, err := Source(t.Context(), "cluster-api@1.13")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "config", "crd", "bases", "cluster.x-k8s.io_machines.yaml")); err != nil {
		t.Error(err)
	}
}

func TestUnknownNameIsRefused(t *testing.T) {
	if _, err := Path(t.Context(), "etcd@2"); err == nil || !strings.Contains(err.Error(), "etcd@3.6") {
		t.Fatalf("Path: %v, want an error that lists the known names", err)
	}
}

func TestEveryToolIsPinned(t *testing.T) {
	root, err := sourceRoot()
	if err != nil {
		t.Fatal(err)
	}
	for name, tool := range tools {
		gomod := filepath.Join(root, "internal", "testkit", "tools", tool.module, "go.mod")
		version, err := pinnedVersion(gomod, tool.pinned)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, series, ok := strings.Cut(name, "@"); ok && !strings.HasPrefix(version, series+".") {
			t.Errorf("%s is pinned to %s", name, version)
		}
	}
}

func TestLockIsExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("second lock: %v, want a timeout", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatalf("lock after unlock: %v", err)
	}
	unlock()
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	err := build(t.Context(), dir, "example.com/none", filepath.Join(dir, "none"), "")
	if err == nil {
		t.Fatal("build of a package that does not exist succeeded")
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 0 {
		t.Fatalf("left behind: %v", entries)
	}
}
