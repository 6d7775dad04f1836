package main

import (
	"errors"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// followCommands do what a command has advised, as it was printed.
//
//	follow STATUS REGEXP [args...]   run the command that the first group of REGEXP finds
//	                       in what the last command wrote; it ends with STATUS
var followCommands = map[string]func(*testscript.TestScript, bool, []string){"follow": follow}

func follow(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "follow STATUS REGEXP [args...]")
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
