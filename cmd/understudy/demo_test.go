package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/verify"
)

// What --keep leaves running is a pair that other commands can work with, and
// nothing of it is left when it has been interrupted.
func TestDemoKeep(t *testing.T) {
	if testing.Short() {
		t.Skip("the script runs the demo in the quick round")
	}
	t.Setenv("TMPDIR", t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := runDemo(ctx, &app{}, demoOptions{keep: true, output: "json"}, stdout, t.Output())
		stdout.CloseWithError(io.EOF)
		ended <- err
	}()
	var facts demoFacts
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&facts); err != nil {
		t.Fatalf("read the facts: %v; the demo ended with %v", err, <-ended)
	}
	if facts.Killed != nil {
		t.Errorf("the primary was killed: %+v", facts.Killed)
	}

	other := &app{configFlag: facts.Config}
	pair, err := other.loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	view, err := newView(pair)
	if err != nil {
		t.Fatal(err)
	}
	primary, err := dial(t.Context(), pair.Primary)
	if err != nil {
		t.Fatal(err)
	}
	defer primary.Close()
	standby, err := dial(t.Context(), pair.Standby)
	if err != nil {
		t.Fatal(err)
	}
	defer standby.Close()
	report, err := verify.Run(t.Context(), verify.Sides{Primary: primary.Client, Standby: standby.Client}, view, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Verdict != verify.Consistent {
		t.Errorf("the pair is %s: %+v", report.Verdict, report)
	}
	var simulated bytes.Buffer
	err = runSimulate(t.Context(), pair, simulateOptions{limit: 3, output: "table"}, &simulated, io.Discard)
	if text := simulated.String(); err != nil || strings.Count(text, "YELLOW") != 1 || !strings.Contains(text, "[revision-floor-missing]") {
		t.Errorf("%v: what it replicates is not whole:\n%s", err, text)
	}

	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
