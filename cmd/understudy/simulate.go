package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

// primaryPatience is how long a simulation waits for a primary that has fallen
// silent: it can do without.
const primaryPatience = 10 * time.Second

type simulateOptions struct {
	limit       int
	standbyOnly bool
	output      output
}

func newSimulateCmd(app *app) *cobra.Command {
	var opts simulateOptions
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Say what a promotion of the standby now would do",
		Long: `Reads every object on the standby at one revision, its own ones too, and says what
its controllers and API server would make of them: what the garbage collector
would delete, what is being deleted already and by which finalizers, what cannot be
read, which custom resources have no definition, which webhooks have no backend,
which addresses collide. It needs the standby only; where the primary answers, it
adds what the scope leaves out. Writes nothing.

Findings are red (a promotion now would do harm), yellow (look first) or info; each is
explained in docs/simulate.md.

Exit status: 0 nothing red, 1 could not read the standby, 4 red findings,
8 etcd refuses the user.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.limit < 0 {
				return usageError(cmd, fmt.Errorf("--limit %d: it must be a number from 0 (all) on", opts.limit))
			}
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runSimulate(cmd.Context(), pair, opts, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&opts.limit, "limit", 20, "list at most `N` objects of each finding, 0 = all")
	cmd.Flags().BoolVar(&opts.standbyOnly, "standby-only", false, "leave the primary alone")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func runSimulate(ctx context.Context, pair *config.Pair, opts simulateOptions, stdout, stderr io.Writer) error {
	view, err := newView(pair)
	if err != nil {
		return err
	}
	encryption, err := readEncryption(pair, "standby.encryption", pair.Standby.Encryption)
	if err != nil {
		return err
	}
	standby, err := dial(ctx, pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	found, err := verify.Simulate(ctx, standby.Client, view.Scope, verify.SimulateOptions{
		Standby: encryption, Locals: view.Locals, Limit: opts.limit, LowFloor: func(primary, standby kv.Revision) bool { return console.MarginOf(primary, standby).Low() }, Progress: tellKeysEvery(stderr, plainEvery),
	})
	if err != nil {
		return &remedy.Error{Op: "read " + pair.Standby.Name, Err: err, Remedy: "understudy status says whether the standby answers"}
	}
	self, err := selfFindings(ctx, pair, view, standby.Client)
	if err != nil {
		return err
	}
	found.Merge(self)
	told := false
	if opts.standbyOnly {
		found.Notes = append(found.Notes, "the primary was not asked, as --standby-only wants it")
	} else if told, err = askPrimary(ctx, pair, view, standby, opts.limit, &found); err != nil {
		return err
	}
	if !told {
		found.Notes = append(found.Notes, "not checked: what the scope leaves out because of its owners, which only the primary knows; understudy status has the numbers of the last check")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// What cannot be read here, the findings tell of.
	if stands, err := readStandstill(ctx, standby.Client, describer(view)); err == nil {
		found.Notes = append(stands.Notes(time.Now()), found.Notes...)
	}
	for i := range found.Findings {
		found.Findings[i].Remedy = standby.Paste(found.Findings[i].Remedy)
	}
	shown := simulateReport{consoleSimulation(pair, found)}
	if err := opts.output.write(stdout, shown); err != nil {
		return err
	}
	if shown.Verdict == console.Red {
		return exitWith(remedy.Refused)
	}
	return nil
}

// askPrimary adds what only the primary knows; told: all of it. That it does
// not answer is a note, no error: the simulation is made for that day.
func askPrimary(ctx context.Context, pair *config.Pair, view *scope.View, standby *cluster.Cluster, limit int, found *verify.Simulation) (told bool, err error) {
	note := func(format string, args ...any) { found.Notes = append(found.Notes, fmt.Sprintf(format, args...)) }
	primary, err := dial(ctx, pair.Primary)
	if err != nil {
		note("the primary was not asked: %s", oneLine(err))
		return false, nil
	}
	defer primary.Close()
	id, err := primary.Identify(ctx, view.Scope.Prefix())
	if err != nil {
		note("the primary was not asked: %s", oneLine(err))
		return false, nil
	}
	self, err := standby.Identify(ctx, view.Scope.Prefix())
	if err != nil {
		return false, err
	}
	if err := differentClusters(pair, id.ID, self.ID); err != nil {
		return false, err
	}
	if c := found.Checkpoint; c != nil {
		switch {
		case c.SourceClusterID != cluster.FormatID(id.ID):
			note("the standby was filled from the cluster %s, but the primary is %s: it was not asked further", c.SourceClusterID, cluster.FormatID(id.ID))
			return false, nil
		case id.Revision > c.SourceRevision:
			note("the primary is at revision %d, %d ahead of the checkpoint: a failover now would lose what they changed in scope", id.Revision, id.Revision-c.SourceRevision)
		}
	}
	if c := found.Checkpoint; c != nil {
		restored, err := verify.Restored(ctx, primary.Client, *c)
		if err != nil {
			note("the primary was read in part only: %s", oneLine(err))
			return false, nil
		}
		if restored != "" {
			note("%s; find out which writes it lost", restored)
		}
	}
	left, err := verify.FindLeftOut(ctx, primary.Client, view, limit, primaryPatience)
	if err != nil {
		note("the primary was read in part only: %s", oneLine(err))
		return false, nil
	}
	found.Merge(left.Findings)
	return true, nil
}

// tellKeysEvery returns a progress function that writes a line now and then.
func tellKeysEvery(w io.Writer, every time.Duration) func(int64) {
	said := time.Now()
	return func(keys int64) {
		if time.Since(said) >= every {
			said = time.Now()
			fmt.Fprintf(w, "read %d keys\n", keys)
		}
	}
}

// consoleSimulation is the seam between a simulation and how it is shown.
func consoleSimulation(pair *config.Pair, s verify.Simulation) console.Simulation {
	shown := console.Simulation{
		Standby: pair.Standby.Name, ClusterID: s.ClusterID, StandbyRevision: s.Revision, Objects: s.Objects, Replicated: s.Replicated,
		Findings: []console.Finding{}, Notes: append([]string{}, s.Notes...), Time: s.Started, TookSeconds: s.Took.Seconds(),
	}
	if c := s.Checkpoint; c != nil {
		shown.Checkpoint = &console.Checkpoint{SourceRevision: c.SourceRevision, Time: c.Time, Phase: string(c.Phase), SourceClusterID: c.SourceClusterID}
	}
	for _, f := range s.Findings {
		finding := console.Finding{
			Finding: string(f.Problem), Severity: console.Severity(f.Severity), Title: f.Title, Remedy: f.Remedy,
			Count: f.Count, Replicated: f.Count - f.Own, Resources: f.Resources, Objects: []console.SimulatedObject{},
		}
		for _, item := range f.Items {
			finding.Objects = append(finding.Objects, console.SimulatedObject{Key: item.Key, Object: item.Object, Why: item.Why, Replicated: !item.Own})
		}
		shown.Findings = append(shown.Findings, finding)
	}
	shown.Conclude()
	return shown
}

// simulateReport is a simulation for output.
type simulateReport struct{ console.Simulation }

func (r simulateReport) writeTable(w io.Writer) error { return r.WriteText(w) }
