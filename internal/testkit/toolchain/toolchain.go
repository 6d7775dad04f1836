// Package toolchain builds the outside programs that tests run: etcd and its
// tools, kube-apiserver, kube-controller-manager, Cluster API's core manager.
//
// Each is pinned by a nested module under internal/testkit/tools, built once
// per version into a cache directory and shared by every test process: a file
// lock keeps two of them from building the same program, and a rename makes a
// finished build appear whole. Building needs a Go module proxy the first time.
package toolchain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// modulePath names the module whose source tree holds the tool modules.
const modulePath = "github.com/understudy-dr/understudy"

// A tool is one program: the nested module that pins it and what to build there.
type tool struct {
	module string // directory under internal/testkit/tools
	pinned string // module whose version in go.mod is the program's version
	pkg    string // main package
	binary string // file name of the program
}

var tools = map[string]tool{
	"etcd@3.5":                {"etcd35", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", "etcd"},
	"etcd@3.6":                {"etcd36", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", "etcd"},
	"etcd@3.7":                {"etcd37", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", "etcd"},
	"etcdctl@3.6":             {"etcd36", "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdctl/v3", "etcdctl"},
	"etcdutl@3.6":             {"etcd36", "go.etcd.io/etcd/etcdutl/v3", "go.etcd.io/etcd/etcdutl/v3", "etcdutl"},
	"kube-apiserver":          {"kube", "k8s.io/kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"},
	"kube-controller-manager": {"kube", "k8s.io/kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"},
	"cluster-api@1.13":        {"capi", "sigs.k8s.io/cluster-api", "sigs.k8s.io/cluster-api", "cluster-api-manager"},
}

// Names returns the programs Path knows, sorted.
func Names() []string {
	names := make([]string, 0, len(tools))
	for name := range tools {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Path returns the absolute path of the program called name, such as
// "etcd@3.6" or "kube-apiserver", building it first if the cache has none.
// A build can take minutes; ctx ends it.
func Path(ctx context.Context, name string) (string, error) {
	return Build(ctx, name, os.Stderr)
}

// Build is Path with one line of progress per build written to progress.
func Build(ctx context.Context, name string, progress io.Writer) (string, error) {
	t, ok := tools[name]
	if !ok {
		return "", fmt.Errorf("no tool %q; there are %s", name, strings.Join(Names(), ", "))
	}
	root, err := sourceRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "internal", "testkit", "tools", t.module)
	version, err := pinnedVersion(filepath.Join(module, "go.mod"), t.pinned)
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "bin", t.binary+"-"+version)
	stamp := t.stamp(version)
	if stamp != "" {
		dir += "-stamped" // apart from what was built before there were stamps
	}
	path := filepath.Join(dir, t.binary)
	if present(path) {
		return path, nil
	}

	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return "", fmt.Errorf("lock the build of %s: %w", name, err)
	}
	defer unlock()
	if present(path) { // someone else built it while we waited
		return path, nil
	}
	start := time.Now()
	fmt.Fprintf(progress, "building %s %s … ", t.binary, version)
	if err := build(ctx, module, t.pkg, path, "-s -w "+stamp); err != nil {
		fmt.Fprintln(progress, "failed")
		return "", fmt.Errorf("build %s %s: %w", t.binary, version, err)
	}
	fmt.Fprintln(progress, time.Since(start).Round(time.Second))
	return path, nil
}

// stamp is what makes a program tell its version, as linker flags. Without it
// Kubernetes says v0.0.0, which Cluster API finds too old.
func (t tool) stamp(version string) string {
	if t.pinned != "k8s.io/kubernetes" {
		return ""
	}
	const in = "-X k8s.io/component-base/version."
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	return in + "gitVersion=v" + version + " " + in + "gitMajor=" + major + " " + in + "gitMinor=" + minor
}

// build compiles pkg of the module at dir and puts the program at path.
func build(ctx context.Context, dir, pkg, path, ldflags string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, filepath.Base(path))

	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", ldflags, "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly", "GOOS=", "GOARCH=")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, errors.Join(err, ctx.Err()), tail(output.String(), 20))
	}
	return os.Rename(out, path)
}

// Source returns the directory of the source tree that the program called name
// is built from, for the files that come with it. It is in Go's module cache
// and must not be written to.
func Source(ctx context.Context, name string) (string, error) {
	t, ok := tools[name]
	if !ok {
		return "", fmt.Errorf("no tool %q; there are %s", name, strings.Join(Names(), ", "))
	}
	root, err := sourceRoot()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", t.pinned)
	cmd.Dir = filepath.Join(root, "internal", "testkit", "tools", t.module)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	var module struct{ Dir, Error string }
	if json.Unmarshal(out, &module) != nil || module.Dir == "" {
		return "", fmt.Errorf("go mod download %s: %w %s", t.pinned, errors.Join(err, ctx.Err()), module.Error)
	}
	return module.Dir, nil
}

// lock takes an exclusive lock on the file at path, or gives up with ctx.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}

// pinnedVersion reads the version, without its v, that a go.mod requires of module.
func pinnedVersion(gomod, module string) (string, error) {
	text, err := os.ReadFile(gomod)
	if err != nil {
		return "", err
	}
	line := regexp.MustCompile(`(?m)^\s*(?:require\s+)?` + regexp.QuoteMeta(module) + ` v(\S+)`)
	m := line.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s requires no %s", gomod, module)
	}
	return string(m[1]), nil
}

// cacheDir is $UNDERSTUDY_CACHE, or understudy below the user's cache directory.
func cacheDir() (string, error) {
	if dir := os.Getenv("UNDERSTUDY_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "understudy"), nil
}

// sourceRoot finds the module's source tree: where this file was compiled
// from, or else (built with -trimpath) above the working directory.
func sourceRoot() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if root := above(filepath.Dir(file)); root != "" {
			return root, nil
		}
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if root := above(wd); root != "" {
		return root, nil
	}
	return "", fmt.Errorf("no source tree of %s above %s", modulePath, wd)
}

func above(dir string) string {
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte("module "+modulePath+"\n")) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func present(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
