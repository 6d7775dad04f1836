package main

import (
	"errors"
	"maps"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this very binary as "understudy".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"understudy": main})
}

// Each script shows one behaviour of the command line, or one bug. Besides
// testscript's own commands there is:
//
//	exits STATUS command [args...]
//
// which runs like exec and demands that very exit status; and there are
// etcdCommands, daemonCommands, statusCommands, damageCommands and followCommands.
func TestScripts(t *testing.T) {
	cmds := map[string]func(*testscript.TestScript, bool, []string){"exits": exits}
	maps.Copy(cmds, etcdCommands)
	maps.Copy(cmds, daemonCommands)
	maps.Copy(cmds, statusCommands)
	maps.Copy(cmds, damageCommands)
	maps.Copy(cmds, alarmCommands)
	maps.Copy(cmds, followCommands)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                cmds,
		Setup: func(env *testscript.Env) error {
			env.Setenv("UNDERSTUDY_CONFIG", "")
			env.Values[etcdsKey{}] = etcds{}
			env.Values[rememberedKey{}] = remembered{}
			env.Values[daemonsKey{}] = daemons{}
			return nil
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var ended *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &ended):
		got = ended.ExitCode()
	default:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
