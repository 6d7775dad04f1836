package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/verify"
)

// child is a contestant: a process that is timed from its start.
type child struct {
	*proc.Process
	name  string
	began time.Time
	last  chan usage
}

// start runs a program as a contestant.
func (b *bench) start(name string, spec proc.Spec) (*child, error) {
	b.children++
	spec.Log = filepath.Join(b.dir, fmt.Sprintf("%s-%d.log", strings.ReplaceAll(name, " ", "-"), b.children))
	began := time.Now()
	p, err := proc.Start(spec)
	if err != nil {
		return nil, err
	}
	c := &child{Process: p, name: name, began: began, last: make(chan usage, 1)}
	go c.watchUsage()
	return c, nil
}

// end waits until the process ends by itself, and returns how long it ran.
func (c *child) end(ctx context.Context) (time.Duration, error) {
	select {
	case <-c.Exited():
		return time.Since(c.began), nil
	case <-ctx.Done():
		c.Kill()
		return 0, fmt.Errorf("wait for %s: %w\n%s", c.name, ctx.Err(), c.LogTail(10))
	}
}

// said tells whether the output holds a text.
func (c *child) said(text string) error {
	log, err := os.ReadFile(c.LogPath())
	if err != nil {
		return err
	}
	if !strings.Contains(strings.ReplaceAll(string(log), `": `, `":`), text) {
		return fmt.Errorf("%s did not say %s:\n%s", c.name, text, c.LogTail(10))
	}
	return nil
}

// This program runs itself as those contestants that are not programs of their
// own: the ceiling, and understudy where its library is to be measured.

// childEnv holds, in a process that shall be such a contestant, its order.
const childEnv = "UNDERSTUDY_BENCH_CHILD"

// order says what a contestant shall do.
type order struct {
	Task             string
	Primary, Standby []string // endpoints
	Page, Writers    int
	Profile          string // file for a CPU profile; empty = none
}

var tasks = map[string]func(context.Context, order) error{
	"sync":         syncForever,
	"sync once":    syncOnce,
	"check":        checkOnce,
	"ceiling copy": ceilingCopy,
	"ceiling read": ceilingRead,
}

// self starts this program with an order.
func (b *bench) self(name string, o order) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return b.start(name, proc.Spec{Path: exe, Env: []string{childEnv + "=" + string(raw)}})
}

func runChild(raw string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := obey(ctx, raw); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

func obey(ctx context.Context, raw string) error {
	var o order
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		return err
	}
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return tasks[o.Task](ctx, o)
}

func (o order) replica() (*replica.Replica, error) {
	debug.SetMemoryLimit(memoryLimit)
	view, err := newView()
	if err != nil {
		return nil, err
	}
	return replica.New(replica.Config{
		Primary:  cluster.Config{Name: "primary", Endpoints: o.Primary},
		Standby:  cluster.Config{Name: "standby", Endpoints: o.Standby},
		View:     view,
		Pair:     "bench",
		Identity: fmt.Sprintf("bench-%d", os.Getpid()),
		Log:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// memoryLimit is what `understudy sync` sets for itself.
const memoryLimit = 192 << 20

func syncForever(ctx context.Context, o order) error {
	r, err := o.replica()
	if err != nil {
		return err
	}
	return r.Run(ctx)
}

func syncOnce(ctx context.Context, o order) error {
	r, err := o.replica()
	if err != nil {
		return err
	}
	_, err = r.Once(ctx)
	return err
}

func checkOnce(ctx context.Context, o order) error {
	view, err := newView()
	if err != nil {
		return err
	}
	primary, standby, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer primary.Close()
	defer standby.Close()
	report, err := verify.Run(ctx, verify.Sides{Primary: primary.Client, Standby: standby.Client}, view, verify.Options{Limit: 100})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// dial connects to both sides the way understudy does, for the ceiling too:
// they shall differ in what they do, not in the settings of a connection.
func (o order) dial(ctx context.Context) (primary, standby *cluster.Cluster, err error) {
	if primary, err = cluster.Dial(ctx, cluster.Config{Name: "primary", Endpoints: o.Primary}); err != nil {
		return nil, nil, err
	}
	if standby, err = cluster.Dial(ctx, cluster.Config{Name: "standby", Endpoints: o.Standby}); err != nil {
		primary.Close()
		return nil, nil, err
	}
	return primary, standby, nil
}
