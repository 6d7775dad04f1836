// Package house keeps the rules of DESIGN.md's "The house" by looking at the
// source: who may import whom, what stays pure, how tests wait, how long a file gets.
package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/understudy-dr/understudy/"

// Levels of the house. A package may import what its level allows.
var (
	vocabulary = []string{"kv", "remedy"}
	pure       = []string{"registry", "scope", "twin"}
	systems    = []string{"source", "sink", "role", "cluster", "node", "store", "dns", "pki", "datadir", "kube", "images"}
	features   = []string{"vigil", "replica", "verify", "backup", "restore", "objects", "failover", "hold"}
	faces      = []string{"config", "console"}
)

// allowed says for every package of the product which others it may import.
// A new package gets its line here before it gets its first user.
var allowed = map[string][]string{
	"kv":     {},
	"remedy": {},

	"registry": vocabulary,
	"scope":    union(vocabulary, []string{"registry"}),
	"twin":     union(vocabulary, []string{"registry", "scope"}),

	"source":  union(vocabulary, pure),
	"sink":    union(vocabulary, pure),
	"role":    union(vocabulary, pure),
	"cluster": union(vocabulary, pure),
	"node":    union(vocabulary, pure),
	"store":   union(vocabulary, pure),
	"dns":     union(vocabulary, pure),
	"pki":     union(vocabulary, pure),
	"datadir": union(vocabulary, pure),
	"kube":    union(vocabulary, pure),
	"images":  {},

	"vigil":    union(vocabulary, pure, systems), // for the next two
	"replica":  union(vocabulary, pure, systems, []string{"vigil"}),
	"verify":   union(vocabulary, pure, systems, []string{"vigil"}),
	"backup":   union(vocabulary, pure, systems),
	"restore":  union(vocabulary, pure, systems, []string{"backup"}),
	"objects":  union(vocabulary, pure, systems, []string{"backup"}),
	"failover": union(vocabulary, pure, systems),
	"hold":     union(vocabulary, pure, systems),

	"config":  vocabulary,
	"console": vocabulary,

	"cmd/understudy": union(vocabulary, pure, systems, features, faces, []string{"internal/fixture", "internal/demo"}),

	"internal/acceptance": {},
	"internal/house":      {},
	"internal/fixture":    union(vocabulary, pure),
	"internal/demo":       union(vocabulary, pure, systems, []string{"internal/fixture"}),
}

// The test kit stands outside: it uses nothing of the product, and the product
// nothing of it. The benchmark alone drives both.
const (
	kit   = "internal/testkit"
	bench = "internal/bench"
)

// impure are standard packages that reach the world, tell the time or log.
var impure = regexp.MustCompile(`^(os|net|log|syscall|io/fs|io/ioutil|path/filepath|time|math/rand|crypto/rand|database|plugin|testing|expvar)(/|$)`)

// reaching are other modules' packages that do.
var reaching = regexp.MustCompile(`^(go\.etcd\.io/etcd/(client|server)|google\.golang\.org/grpc|k8s\.io/(client-go|klog)|go\.uber\.org/zap|sigs\.k8s\.io/controller-runtime)(/|$)`)

type listed struct {
	ImportPath   string
	Imports      []string
	Dir          string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

func (p listed) name() string { return strings.TrimPrefix(p.ImportPath, module) }

func TestImportsPointDownward(t *testing.T) {
	for _, p := range packages(t) {
		name := p.name()
		may, known := allowed[name]
		if !known && !within(name, kit) && !within(name, bench) {
			t.Errorf("%s has no line in the table of internal/house: say what it may import", name)
			continue
		}
		for _, path := range p.Imports {
			other, ours := strings.CutPrefix(path, module)
			switch {
			case !ours, within(name, bench):
			case within(name, kit):
				if !within(other, kit) {
					t.Errorf("%s imports %s: the test kit judges the product from outside", name, other)
				}
			case !slices.Contains(may, other):
				t.Errorf("%s imports %s, allowed are %v", name, other, may)
			}
		}
	}
}

func TestCheckerIsIndependent(t *testing.T) {
	for _, p := range packages(t) {
		if p.name() != kit+"/checker" {
			continue
		}
		for _, path := range p.Imports {
			if strings.HasPrefix(path, module) {
				t.Errorf("%s imports %s", p.name(), path)
			}
		}
		return
	}
	t.Error("the checker is gone")
}

func TestVocabularyNeedsTheStandardLibraryOnly(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.Contains(vocabulary, p.name()) {
			continue
		}
		for _, path := range p.Imports {
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s", p.name(), path)
			}
		}
	}
}

// One exception: Kubernetes' transformers take a context as an argument, so
// registry hands them an empty one. Nothing here obeys one.
func TestPurePackagesReachNothing(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.Contains(pure, p.name()) {
			continue
		}
		for _, path := range p.Imports {
			if path == "context" && p.name() != "registry" {
				t.Errorf("%s imports context: pure code is not cancelled", p.name())
			}
			if impure.MatchString(path) || reaching.MatchString(path) {
				t.Errorf("%s imports %s: it has no I/O, no clock and no logger", p.name(), path)
			}
		}
	}
}

func TestTestsWaitForConditions(t *testing.T) {
	for _, p := range packages(t) {
		files := slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		if within(p.name(), kit) {
			files = slices.Concat(files, p.GoFiles)
		}
		for _, file := range files {
			text := read(t, filepath.Join(p.Dir, file))
			if bytes.Contains(text, []byte("time.Sleep"+"(")) {
				t.Errorf("%s/%s sleeps; wait for a condition, see testkit.Eventually", p.name(), file)
			}
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	const split = 800
	for _, p := range packages(t) {
		for _, file := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			if n := bytes.Count(read(t, filepath.Join(p.Dir, file)), []byte("\n")); n > split {
				t.Errorf("%s/%s has %d lines; split it at %d", p.name(), file, n, split)
			}
		}
	}
}

// packages lists the module. Files of every build tag but none of other modules count.
func packages(t *testing.T) []listed {
	t.Helper()
	noteSources(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,Dir,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < len(vocabulary) {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}

// noteSources opens every directory, so that go test's cache learns what this
// test depends on and runs it again after a file has come or gone.
func noteSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		return nil // what cannot be read is none of the module's source
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func within(name, tree string) bool { return name == tree || strings.HasPrefix(name, tree+"/") }

func union(lists ...[]string) []string { return slices.Concat(lists...) }
