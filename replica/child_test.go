package replica_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
)

// childEnv holds a childConfig. The test binary that finds it set is a daemon
// and runs no tests: something that can be killed and frozen for real.
const childEnv = "UNDERSTUDY_TEST_DAEMON"

type childConfig struct {
	Primary, Standby cluster.Config
	Identity         string
	LeaseTTL         time.Duration
	Once             bool
	MemoryLimit      int64
}

func TestMain(m *testing.M) {
	if raw := os.Getenv(childEnv); raw != "" {
		if err := beDaemon(raw); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func beDaemon(raw string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		return err
	}
	if c.MemoryLimit != 0 {
		debug.SetMemoryLimit(c.MemoryLimit)
	}
	s, err := scope.New(scope.Config{})
	if err != nil {
		return err
	}
	r, err := replica.New(replica.Config{
		Primary: c.Primary, Standby: c.Standby, Pair: "test", Identity: c.Identity, LeaseTTL: c.LeaseTTL,
		View: &scope.View{Scope: s, Recoder: registry.NewRecoder(nil, nil)},
		Log:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if c.Once {
		_, err := r.Once(ctx)
		return err
	}
	return r.Run(ctx)
}

// child is a replica in a process of its own.
type child struct{ *proc.Process }

// spawn starts a daemon, or with once a single copy, that ends with the test.
func (p *pair) spawn(t *testing.T, identity string, change ...func(*childConfig)) *child {
	t.Helper()
	c := childConfig{Primary: p.config.Primary, Standby: p.config.Standby, Identity: identity, LeaseTTL: p.config.LeaseTTL}
	for _, f := range change {
		f(&c)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process, err := proc.Start(proc.Spec{Path: self, Env: []string{childEnv + "=" + string(raw)},
		Log: filepath.Join(t.TempDir(), identity+".log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", identity, process.LogTail(25))
		}
		process.Kill()
	})
	return &child{process}
}

func once(c *childConfig) { c.Once = true }

// logged counts the lines of the child's log that contain text.
func (c *child) logged(t *testing.T, text string) int {
	t.Helper()
	raw, err := os.ReadFile(c.LogPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// says waits until the child has logged text more than before times.
func (c *child) says(t *testing.T, text string, before int) {
	t.Helper()
	testkit.Eventually(t, 60*time.Second, fmt.Sprintf("%q in the log", text), func() (bool, string) {
		return c.logged(t, text) > before, c.LogTail(3)
	})
}
