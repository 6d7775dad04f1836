package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// listensAnywhere is what a configuration says that takes a free port.
var listensAnywhere = regexp.MustCompile(`(?m)^listen: (127\.0\.0\.1:0|"\[::1\]:0")$`)

// No script takes the default port: two suites on one machine, or a daemon that
// runs there for real, would be in its way. Those of the command config start nothing.
func TestScriptsTakeNoFixedPort(t *testing.T) {
	dir := os.DirFS("testdata/script")
	names, err := fs.Glob(dir, "*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d scripts: %v", len(names), err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "config_") {
			continue
		}
		archive, err := txtar.ParseFile(filepath.Join("testdata", "script", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.Contains(string(file.Data), "kind: Pair\n") && !listensAnywhere.Match(file.Data) {
				t.Errorf("%s: %s does not say listen: 127.0.0.1:0", name, file.Name)
			}
		}
	}
}
