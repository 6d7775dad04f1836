package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// atTerminal runs the test again as the foreground of a terminal, with what in
// UNDERSTUDY_AT_A_TERMINAL.
func atTerminal(t *testing.T, what string, env ...string) (keyboard *os.File, out *screen) {
	t.Helper()
	keyboard, terminal := openKeyboard(t)
	t.Cleanup(func() { terminal.Close() })
	out = &screen{}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), append(env, "UNDERSTUDY_AT_A_TERMINAL="+what)...)
	cmd.Stdin, cmd.Stderr = terminal, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	return keyboard, out
}

const ctrlC = "\x03"

func types(t *testing.T, keyboard *os.File, text string) {
	t.Helper()
	if _, err := keyboard.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// A command that stops etcd may ask at the terminal, as sudo and ssh do. A Ctrl-C
// there does not cut it off, and is heard.
func TestStopCommandAtATerminal(t *testing.T) {
	if os.Getenv("UNDERSTUDY_AT_A_TERMINAL") != "" {
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, os.Interrupt)
		const asks = `sh -c 'echo asks >&2; read -r password </dev/tty; echo "got $password" >&2'`
		fmt.Fprintln(os.Stderr, "ended:", shell(uncut+asks, os.Stderr)(context.Background()))
		fmt.Fprintln(os.Stderr, "heard", <-heard)
		return
	}
	keyboard, out := atTerminal(t, "understudy")
	says := func(text string) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, text, func() (bool, string) { return strings.Contains(out.String(), text), out.String() })
	}
	says("asks")
	types(t, keyboard, ctrlC+"secret\n")
	says("got secret")
	says("ended: <nil>")
	says("heard interrupt")
}
