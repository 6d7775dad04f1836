package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
)

// daemonCommands let a script run understudy in the background, as a process
// that can be killed for real.
//
//	daemon NAME args...         start understudy args...; its output goes to NAME.log
//	says NAME REGEXP [N]        wait until N lines (1) of its output match
//	end NAME DURATION [STATUS]  SIGTERM; it ends within DURATION with STATUS (0)
//	ends NAME STATUS            it ends by itself
//	sigkill NAME
//	caught-up                   wait until the standby is where the primary is now
//	await NAME KEY              wait until an etcd has a key
//	asks NAME PATH STATUS REGEXP  wait until a daemon answers so over HTTP
var daemonCommands = map[string]func(*testscript.TestScript, bool, []string){
	"daemon":    startDaemon,
	"says":      daemonSays,
	"end":       endDaemon,
	"ends":      daemonEnds,
	"sigkill":   killDaemon,
	"caught-up": catchUp,
	"await":     awaitKey,
	"asks":      askDaemon,
}

// daemons are those of one script, by name.
type daemons map[string]*proc.Process

type daemonsKey struct{}

func daemonOf(ts *testscript.TestScript, name string) *proc.Process {
	d := ts.Value(daemonsKey{}).(daemons)[name]
	if d == nil {
		ts.Fatalf("no daemon %q was started", name)
	}
	return d
}

func startDaemon(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "daemon NAME args...")
	path, err := exec.LookPath("understudy")
	ts.Check(err)
	process, err := proc.Start(proc.Spec{Path: path, Args: args[1:], Dir: ts.MkAbs("."), Log: ts.MkAbs(args[0] + ".log"),
		Env: []string{"UNDERSTUDY_CONFIG=" + ts.Getenv("UNDERSTUDY_CONFIG")}})
	ts.Check(err)
	ts.Defer(func() {
		process.Kill()
		ts.Logf("output of %s:\n%s", args[0], process.LogTail(40))
	})
	ts.Value(daemonsKey{}).(daemons)[args[0]] = process
}

func daemonSays(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "says NAME REGEXP [N]")
	process := daemonOf(ts, args[0])
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	want := 1
	if len(args) > 2 {
		want, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	until(ts, fmt.Sprintf("%s says %q", args[0], args[1]), func(context.Context) error {
		if n := len(pattern.FindAllString(ts.ReadFile(args[0]+".log"), -1)); n < want {
			return fmt.Errorf("it did %d times; last:\n%s", n, process.LogTail(3))
		}
		return nil
	})
}

func endDaemon(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "end NAME DURATION [STATUS]")
	process := daemonOf(ts, args[0])
	limit, err := time.ParseDuration(args[1])
	ts.Check(err)
	want := 0
	if len(args) > 2 {
		want, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	if !process.Running() {
		ts.Fatalf("%s has ended already, with %d", args[0], process.ExitCode())
	}
	began := time.Now()
	ts.Check(process.Signal(syscall.SIGTERM))
	select {
	case <-process.Exited():
	case <-time.After(patience):
		ts.Fatalf("%s does not end", args[0])
	}
	if took := time.Since(began); took > limit {
		ts.Fatalf("%s took %s to end, allowed are %s", args[0], took, limit)
	}
	if code := process.ExitCode(); code != want {
		ts.Fatalf("%s ended with %d, want %d", args[0], code, want)
	}
}

func daemonEnds(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "ends NAME STATUS")
	process := daemonOf(ts, args[0])
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	select {
	case <-process.Exited():
	case <-time.After(patience):
		ts.Fatalf("%s goes on", args[0])
	}
	if code := process.ExitCode(); code != want {
		ts.Fatalf("%s ended with %d, want %d", args[0], code, want)
	}
}

func killDaemon(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "sigkill NAME")
	daemonOf(ts, args[0]).Kill()
}

func catchUp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: caught-up")
	}
	ctx, cancel := bounded()
	defer cancel()
	now, err := etcdOf(ts, "primary").Client().Get(ctx, "/")
	ts.Check(err)
	until(ts, fmt.Sprintf("the checkpoint is at %d", now.Header.Revision), func(ctx context.Context) error {
		c, err := checker.ReadCheckpoint(ctx, etcdOf(ts, "standby").Client())
		if err == nil && c.SourceRevision < now.Header.Revision {
			err = fmt.Errorf("it is at %d", c.SourceRevision)
		}
		return err
	})
}

func awaitKey(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "await NAME KEY")
	until(ts, args[0]+" has "+args[1], func(ctx context.Context) error {
		resp, err := etcdOf(ts, args[0]).Client().Get(ctx, args[1])
		if err == nil && len(resp.Kvs) == 0 {
			err = errors.New("it has not")
		}
		return err
	})
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

func askDaemon(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 4, "asks NAME PATH STATUS REGEXP")
	pattern, err := regexp.Compile("(?m)" + args[3])
	ts.Check(err)
	until(ts, fmt.Sprintf("%s answers %s on %s with %q", args[0], args[2], args[1], args[3]), func(ctx context.Context) error {
		at := listening.FindStringSubmatch(ts.ReadFile(args[0] + ".log"))
		if at == nil {
			return errors.New("it does not listen yet")
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at[1]+args[1], nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && (fmt.Sprint(answer.StatusCode) != args[2] || !pattern.Match(body)) {
			err = fmt.Errorf("%s\n%s", answer.Status, body)
		}
		return err
	})
}

// until polls a condition of a script.
func until(ts *testscript.TestScript, what string, cond func(context.Context) error) {
	ctx, cancel := bounded()
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("waited %s in vain until %s: %v", patience, what, err)
		}
	}
}
