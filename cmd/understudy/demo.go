package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/internal/demo"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

type demoOptions struct {
	keep   bool
	output output
}

func newDemoCmd(app *app) *cobra.Command {
	var opts demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Replicate, break and prove between two etcds in this process",
		Long: `Starts two etcd clusters in this process, on loopback and in a temporary
directory, fills one like a management cluster, and replicates it to the other
while it is being written. Then it deletes keys behind the standby's back, which
the guard puts back, changes and creates others, lets the exact check find them
and puts them right, kills the primary in the middle of writes, and counts
what was acknowledged and is not on the standby. It takes some seconds, needs no
root and no network, and leaves nothing behind.

With --keep nothing is killed: both clusters and a daemon between them go on
until they are interrupted, for trying the other commands on them.

Exit status: 0 all went as promised, 1 it could not be shown, 6 the check missed
a difference or the standby lacks what it should have.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), app, opts, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&opts.keep, "keep", false, "leave both clusters running until interrupted, with a configuration for other commands")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// What is shown.
const (
	demoObjects  = 5000
	demoSpare    = 500 // at most, to be created while it runs
	demoWriters  = 4
	demoInterval = 8 * time.Millisecond // between two writes of one writer
	demoStream   = 3 * time.Second      // for how long the lag is measured
	demoBurst    = time.Second          // of writes as fast as they go, before the end
	demoPatience = 20 * time.Second     // with whatever should take no time
)

// stage is the demo while it runs.
type stage struct {
	app    *app
	opts   demoOptions
	story  *story
	bar    *copyBar
	facts  demoFacts
	stdout io.Writer
	dir    string

	primaryEtcd, standbyEtcd *demo.Etcd
	pair                     *config.Pair
	encryption               *registry.Encryption // of the primary
	view                     *scope.View
	primary, standby         *cluster.Cluster

	objects, spare []demo.Object
	broken         verify.Report // what the check found after the tampering
	ledger         *demo.Ledger
	meter          *demo.Meter
	writers        *demo.Writers

	replica  *replica.Replica
	halt     context.CancelFunc // ends the replication and the meter
	ended    chan error         // of the replication
	resynced chan replica.CopyProgress
	foreign  chan replica.Write
}

func runDemo(ctx context.Context, a *app, opts demoOptions, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "understudy-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	quiet := *a
	if !a.verbose {
		quiet.log = slog.New(slog.DiscardHandler)
	}
	s := &stage{
		app: &quiet, opts: opts, bar: newCopyBar(stderr), stdout: stdout, dir: dir,
		ledger: demo.NewLedger(), halt: func() {},
		ended: make(chan error, 1), resynced: make(chan replica.CopyProgress, 1), foreign: make(chan replica.Write, 100),
	}
	s.story = newStory(stdout, opts.output == "table")
	defer func() { err = errors.Join(err, s.close()) }()

	acts := []func(context.Context) error{s.open, s.fill, s.copy, s.stream, s.check, s.tamper, s.forge, s.find, s.repair}
	if opts.keep {
		acts = append(acts, s.linger)
	} else {
		acts = append(acts, s.kill, s.settle, s.end)
	}
	for _, act := range acts {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// open starts both clusters and connects to them.
func (s *stage) open(ctx context.Context) error {
	type started struct {
		etcd *demo.Etcd
		err  error
	}
	second := make(chan started)
	go func() {
		e, err := demo.StartEtcd("spb", s.dir)
		second <- started{e, err}
	}()
	var err error
	s.primaryEtcd, err = demo.StartEtcd("moscow", s.dir)
	other := <-second
	s.standbyEtcd = other.etcd
	if err = errors.Join(err, other.err); err != nil {
		return err
	}
	if s.facts.Config, err = demo.WriteConfig(s.dir, s.primaryEtcd, s.standbyEtcd); err != nil {
		return err
	}
	// From here on all is wired as it is for a pair of one's own.
	if s.pair, err = config.Load(s.facts.Config); err != nil {
		return err
	}
	if s.view, err = newView(s.pair); err != nil {
		return err
	}
	if s.encryption, err = readEncryption(s.pair, "primary.encryption", s.pair.Primary.Encryption); err != nil {
		return err
	}
	if s.primary, err = dial(ctx, s.pair.Primary); err != nil {
		return err
	}
	if s.standby, err = dial(ctx, s.pair.Standby); err != nil {
		return err
	}
	s.facts.Primary = demoCluster{s.pair.Primary.Name, s.primaryEtcd.Endpoint, demo.PrimaryProvider}
	s.facts.Standby = demoCluster{s.pair.Standby.Name, s.standbyEtcd.Endpoint, demo.StandbyProvider}
	s.story.opened(s.facts)
	return nil
}

// sides are both clusters as the check wants them.
func (s *stage) sides() verify.Sides {
	return verify.Sides{Primary: s.primary.Client, Standby: s.standby.Client}
}

// start begins the replication.
func (s *stage) start(ctx context.Context) error {
	var err error
	s.replica, err = newReplica(s.app, s.pair, replica.Hooks{
		Copying:  s.bar.update,
		Resynced: func(p replica.CopyProgress) { offer(s.resynced, p) },
		Seen:     s.seen,
	})
	if err != nil {
		return err
	}
	ctx, s.halt = context.WithCancel(ctx)
	s.meter = demo.NewMeter(ctx, s.standby.Client)
	go func() { s.ended <- s.replica.Run(ctx) }()
	return nil
}

// offer sends unless the channel is full: a hook must not wait.
func offer[T any](c chan<- T, x T) {
	select {
	case c <- x:
	default:
	}
}

// await returns what the channel delivers, or why nothing came of it.
func await[T any](ctx context.Context, s *stage, what string, c <-chan T) (T, error) {
	late := time.NewTimer(demoPatience)
	defer late.Stop()
	var none T
	select {
	case x := <-c:
		return x, nil
	case err := <-s.ended:
		s.ended <- err
		return none, fmt.Errorf("wait for %s: the replication ended: %w", what, errors.Join(err, ctx.Err()))
	case <-late.C:
		return none, fmt.Errorf("wait for %s: nothing after %s", what, demoPatience)
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// close ends and removes all that is there, whatever that is.
func (s *stage) close() error {
	if s.writers != nil {
		_ = s.writers.Stop()
	}
	s.halt()
	if s.replica != nil {
		<-s.ended
	}
	for _, c := range []*cluster.Cluster{s.primary, s.standby} {
		if c != nil {
			_ = c.Close()
		}
	}
	for _, e := range []*demo.Etcd{s.primaryEtcd, s.standbyEtcd} {
		if e != nil {
			e.Kill()
			e.Close()
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Clean(s.dir), err)
	}
	return nil
}
