package scope

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/tables.txt anew")

// The tables of what is held and what is local, line by line. Nothing else fails where a row goes or a field is
// misspelt: its objects would act on the standby, or differ for ever. What changes here is meant.
func TestTablesAreAsTheyWere(t *testing.T) {
	var b strings.Builder
	for _, p := range Presets {
		for _, h := range p.Holds {
			for _, gr := range h.Resources {
				fmt.Fprintf(&b, "hold %s %s", gr, h.Patch)
				if h.When != nil {
					fmt.Fprintf(&b, " when %s", h.When)
				}
				b.WriteByte('\n')
			}
		}
	}
	for _, l := range DefaultLocals(DefaultProfile) {
		for _, gr := range l.Resources {
			fmt.Fprintf(&b, "local %s %s", gr, strings.Join(l.Fields, " "))
			if l.Types != nil {
				fmt.Fprintf(&b, " of %s", strings.Join(l.Types, " "))
			}
			b.WriteByte('\n')
		}
	}
	const file = "testdata/tables.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was, is := lines(string(want)), lines(b.String())
	for line := range was {
		if !is[line] {
			t.Errorf("gone: %s", line)
		}
	}
	for line := range is {
		if !was[line] {
			t.Errorf("new: %s", line)
		}
	}
	if string(want) != b.String() && !t.Failed() {
		t.Error("the lines are in another order, which is that in which holds are laid over each other")
	}
	if t.Failed() {
		t.Log("where it is meant: go test ./scope -run TestTablesAreAsTheyWere -update, and docs/holds.md")
	}
}

func lines(text string) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(text) {
		out[line] = true
	}
	return out
}
