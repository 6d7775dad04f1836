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

const asking = `echo asks >&2; read -r password </dev/tty; echo "got $password" >&2`

// A command that stops etcd may ask at the terminal, as sudo and ssh do, and a
// Ctrl-C there does not cut it off.
func TestStopCommandAtATerminal(t *testing.T) {
	if os.Getenv("UNDERSTUDY_AT_A_TERMINAL") != "" {
		signal.Notify(make(chan os.Signal, 1), os.Interrupt) // it has other plans with it
		fmt.Fprintln(os.Stderr, "ended:", shell(asking, os.Stderr)(context.Background()))
		return
	}
	keyboard, terminal := openKeyboard(t)
	defer terminal.Close()
	var out screen
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "UNDERSTUDY_AT_A_TERMINAL=1")
	cmd.Stdin, cmd.Stderr = terminal, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	says := func(text string) func() (bool, string) {
		return func() (bool, string) { return strings.Contains(out.String(), text), out.String() }
	}
	testkit.Eventually(t, 20*time.Second, "it asks", says("asks"))
	const ctrlC = "\x03"
	if _, err := keyboard.WriteString(ctrlC); err != nil {
		t.Fatal(err)
	}
	if _, err := keyboard.WriteString("secret\n"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, "it has the answer", says("got secret"))
	testkit.Eventually(t, 20*time.Second, "it has ended", says("ended: <nil>"))
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
