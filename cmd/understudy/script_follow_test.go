package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// followCommands do what a command has advised, as it was printed. An ID is what a
// command complains of: status:RULE, check:KIND, preflight:CHECK or simulate:FINDING.
//
//	advised ID REGEXP [args...]  wait until the command complains of ID, with advice that matches;
//	                       what it advises is what "follow" looks at
//	follow STATUS|&NAME REGEXP [args...]  run the command that the first group of REGEXP finds
//	                       in what the last command wrote; it ends with STATUS, or goes on as
//	                       the daemon NAME
//	gone ID [args...]      wait until the command complains of it no more
var followCommands = map[string]func(*testscript.TestScript, bool, []string){
	"advised": waitAdvised,
	"follow":  follow,
	"gone":    waitGone,
}

func follow(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "follow STATUS|&NAME REGEXP [args...]")
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	said := strings.Join(strings.Fields(ts.ReadFile("stdout")+" "+ts.ReadFile("stderr")), " ") // a screen breaks its lines
	found := pattern.FindStringSubmatch(said)
	if len(found) < 2 {
		ts.Fatalf("nobody has said %q:\n%s", args[1], said)
	}
	words := append(strings.Fields(found[1]), args[2:]...)
	if words[0] != "understudy" {
		ts.Fatalf("%q is no command of ours", found[1])
	}
	if name, ok := strings.CutPrefix(args[0], "&"); ok {
		startDaemon(ts, false, append([]string{name}, words[1:]...))
		return
	}
	got := 0
	var ended *exec.ExitError
	if err := ts.Exec(words[0], words[1:]...); errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%q ends with %d, want %s", found[1], got, args[0])
	}
}

func waitAdvised(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "advised ID REGEXP [args...]")
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	until(ts, args[0]+" is complained of", func(context.Context) error {
		there, advice, err := complaints(ts, args[0], args[2:])
		if err == nil && (!there || !pattern.MatchString(advice)) {
			err = fmt.Errorf("complained of: %v, advised: %q", there, advice)
		}
		if err == nil {
			_, err = fmt.Fprintln(ts.Stdout(), advice)
		}
		return err
	})
}

func waitGone(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "gone ID [args...]")
	until(ts, args[0]+" is gone", func(context.Context) error {
		there, advice, err := complaints(ts, args[0], args[1:])
		if err == nil && there {
			err = fmt.Errorf("it is still complained of, and advised: %q", advice)
		}
		return err
	})
}

// complaints runs the command of an ID, and says whether it complains of it, with
// which advice. A command that says nothing that can be read is an error: its silence
// is no end.
func complaints(ts *testscript.TestScript, id string, args []string) (there bool, advice string, err error) {
	command, name, _ := strings.Cut(id, ":")
	run := exec.Command("understudy", append([]string{command, "-o", "json"}, args...)...)
	run.Dir, run.Env = ts.MkAbs("."), append(run.Environ(), "UNDERSTUDY_CONFIG="+ts.Getenv("UNDERSTUDY_CONFIG"))
	var stderr bytes.Buffer
	run.Stderr = &stderr
	out, failed := run.Output()
	var said struct {
		Reasons  []struct{ Rule, Next string }           // status
		Lines    []struct{ Check, State, Remedy string } // preflight
		Findings []struct{ Finding, Remedy string }      // simulate
		Verdict  string                                  // status, check
		Remedy   string                                  // check
		Breaker  string                                  // check
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return false, "", fmt.Errorf("%s: %w, %v: %s", command, err, failed, stderr.String())
	}
	complain := func(of string, with string) {
		if of == name {
			there, advice = true, strings.TrimSpace(advice+"\n"+with)
		}
	}
	for _, r := range said.Reasons {
		complain(r.Rule, r.Next)
	}
	for _, l := range said.Lines {
		if l.State == "warn" || l.State == "fail" || l.State == "not checked" {
			complain(l.Check, l.Remedy)
		}
	}
	for _, f := range said.Findings {
		complain(f.Finding, f.Remedy)
	}
	if command == "check" {
		var kinds map[string]json.RawMessage
		if err := json.Unmarshal(out, &kinds); err != nil {
			return false, "", err
		}
		for _, kind := range checkKinds {
			var keys struct{ Count int64 }
			switch {
			case kind == "unknown" && said.Verdict == kind:
				complain(kind, said.Remedy)
			case kind == "opaque" && string(kinds[kind]) != "0":
				complain(kind, "")
			case json.Unmarshal(kinds[kind], &keys) == nil && keys.Count > 0:
				complain(kind, said.Remedy)
			}
		}
	}
	return there, advice, nil
}

// checkKinds are what a check may complain of.
var checkKinds = []string{"unknown", "missed", "surplus", "differing", "undecodable", "conflict", "otherVersion", "opaque"}
