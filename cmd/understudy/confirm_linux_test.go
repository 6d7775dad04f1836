package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// openTerminal is a terminal at which somebody sits who types nothing.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	_, terminal := openKeyboard(t)
	return terminal // a read of it lasts until the keyboard is closed
}

// openKeyboard is a terminal, and what somebody types on who sits at it.
func openKeyboard(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal("a terminal is needed, and /dev/ptmx gives none: ", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

// screen is what a command has written so far.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// Who is asked for the cluster's name and presses Ctrl-C instead is heard at once,
// and nothing is changed.
func TestAQuestionEndsWithAnInterruption(t *testing.T) {
	primary, standby := testkit.StartEtcd(t), testkit.StartEtcd(t)
	for key, value := range map[string]string{
		"/understudy/role":               `{"role":"standby","term":1}`,
		"/registry/deployments/prod/web": `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"prod","uid":"u"},"spec":{"replicas":3,"selector":{},"template":{}}}`,
	} {
		if _, err := standby.Client().Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	file := pairFile(t, primary.Endpoints()[0], standby.Endpoints()[0], "")
	for name, args := range map[string][]string{
		"floor raise": {"floor", "raise", "--margin", "20000", "--apply"},
		"hold apply":  {"hold", "apply"},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := standby.Client().Get(t.Context(), "/understudy/role")
			if err != nil {
				t.Fatal(err)
			}
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			var out screen
			ended := make(chan error, 1)
			root := newRootCmd()
			root.SetArgs(append(args, "--config", file))
			root.SetIn(openTerminal(t))
			root.SetOut(&out)
			root.SetErr(&out)
			go func() { ended <- root.ExecuteContext(ctx) }()
			testkit.Eventually(t, time.Minute, "the question", func() (bool, string) {
				return strings.Contains(out.String(), "Type its name to go on: "), out.String()
			})
			interrupt()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) || exitCode(ctx, err) != 130 {
					t.Errorf("%v, exit status %d", err, exitCode(ctx, err))
				}
			case <-time.After(10 * time.Second):
				t.Error("it still waits for an answer")
			}
			after, err := standby.Client().Get(t.Context(), "/understudy/role")
			if err != nil || after.Header.Revision != before.Header.Revision {
				t.Errorf("something was written: revision %d, then %d, %v", before.Header.Revision, after.Header.Revision, err)
			}
		})
	}
}
