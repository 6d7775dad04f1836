package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

type checkOptions struct {
	deep   bool
	limit  int
	output output
}

func newCheckCmd(app *app) *cobra.Command {
	var opts checkOptions
	cmd := &cobra.Command{
		Use:     "check",
		Aliases: []string{"verify"},
		Short:   "Compare the standby with the primary, exactly",
		Long: `Reads every key in scope on both sides, at the revision of the primary that the
standby has reached and at the standby's own of that moment, and compares the
values as their API servers would read them. It raises no false alarm while both
are written, and needs no running daemon. Writes nothing.

Where replication stands still, nothing is consistent: what the primary has written
since is not on the standby. Where the breaker has stopped it, it also names what that
holds back, as many objects as its record has room for.

With --deep it also compares the members of each cluster with each other.

Exit status: 0 consistent, 1 could not compare, 3 nothing differs, but replication
is paused or stopped, 6 they differ, 8 etcd refuses the user.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.limit < 0 {
				return usageError(cmd, fmt.Errorf("--limit %d: it must be a number from 0 (all) on", opts.limit))
			}
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runCheck(cmd.Context(), pair, opts, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&opts.deep, "deep", false, "also compare the members of each cluster with each other")
	cmd.Flags().IntVar(&opts.limit, "limit", 100, "list at most `N` keys of each kind, 0 = all")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func runCheck(ctx context.Context, pair *config.Pair, opts checkOptions, stdout, stderr io.Writer) error {
	view, err := newView(pair)
	if err != nil {
		return err
	}
	s, err := openSides(ctx, pair, view)
	if err != nil {
		return err
	}
	defer s.close()
	found, err := verify.Run(ctx, s.clients(), view, verify.Options{Limit: opts.limit, Progress: tellEvery(stderr, plainEvery)})
	if err != nil {
		return &remedy.Error{Op: "compare both sides", Err: err, Remedy: "understudy status says which side does not answer"}
	}
	unexplained := verify.Explain(ctx, s.clients(), view, &found)
	check := consoleCheck(found)
	if unexplained != nil {
		check.Notes = append(check.Notes, "not looked at, in which fields objects differ: "+oneLine(unexplained))
	}
	stands, err := readStandstill(ctx, s.standby.Client, describer(view))
	if err != nil {
		check.Notes = append(check.Notes, "not checked, whether the breaker has stopped replication: "+oneLine(err))
	}
	check = check.As(stands.Limited(opts.limit))
	if note := leftBehind(ctx, s.standby.Client); note != "" && check.Verdict != console.Unknown {
		check.Notes = append(check.Notes, note)
	}
	if opts.deep {
		if err := checkMembers(ctx, s, &check); err != nil {
			return err
		}
	}
	shown := check
	if opts.output == "json" || opts.output == "yaml" {
		shown = check.Advised()
	}
	if err := opts.output.write(stdout, checkReport{shown, view}); err != nil {
		return err
	}
	return checkStatus(check)
}

// leftBehind says that the checkpoint does not move: a check says nothing of
// what the primary has written since.
func leftBehind(ctx context.Context, standby *clientv3.Client) string {
	leader, err := role.CurrentLeader(ctx, standby)
	if err == nil && leader != "" {
		return ""
	}
	who := "no daemon replicates"
	if err != nil {
		who = "nobody knows whether a daemon replicates (" + oneLine(err) + ")"
	}
	return who + ": what the primary has written since the checkpoint was not compared; next: understudy status"
}

// checkStatus is the exit status of a check whose outcome has been printed.
func checkStatus(c console.Check) error {
	switch c.Verdict {
	case console.Consistent:
		return nil
	case console.Inconsistent:
		return exitWith(remedy.Mismatch)
	}
	if c.StandsStill() {
		return exitWith(remedy.Degraded)
	}
	return exitWith(remedy.Failed)
}

// checkMembers makes members that differ from each other a finding.
func checkMembers(ctx context.Context, s *sides, c *console.Check) error {
	for _, one := range []*cluster.Cluster{s.primary, s.standby} {
		agreed, err := one.Compare(ctx, true)
		switch {
		case err != nil && len(agreed.Disagree) == 0:
			return membersError(one.Name, err)
		case len(agreed.Disagree) == 0 && agreed.Unasked != "":
			return membersError(one.Name, errors.New(agreed.Unasked))
		case len(agreed.Disagree) == 0:
			continue
		}
		c.Verdict = console.Inconsistent
		for _, text := range agreed.Disagree {
			c.Notes = append(c.Notes, "members of "+one.Name+" disagree: "+text)
		}
		c.Remedy = remedy.Of(err)
		one.Stay(agreed)
		if health, err := one.Health(ctx); err == nil && len(agreed.Deviants) > 0 {
			c.Remedy = one.Replace(agreed.Deviants[0], health, false)
		}
	}
	return nil
}

func membersError(name string, err error) error {
	return &remedy.Error{Op: "compare the members of " + name, Err: err,
		Remedy: "name every member of " + name + " in etcd.endpoints, each running; or leave --deep out"}
}

// tellEvery returns a progress function that writes a line now and then.
func tellEvery(w io.Writer, every time.Duration) func(int64) {
	said := time.Now()
	return func(keys int64) {
		if time.Since(said) >= every {
			said = time.Now()
			fmt.Fprintf(w, "compared %d keys\n", keys)
		}
	}
}

// checkReport is a check for output.
type checkReport struct {
	console.Check
	view *scope.View
}

func (r checkReport) writeTable(w io.Writer) error { return r.WriteText(w, describer(r.view)) }
