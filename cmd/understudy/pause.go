package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

type pauseOptions struct {
	reason string
	output output
}

func newPauseCmd(app *app) *cobra.Command {
	var opts pauseOptions
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Stop replication until resume; nothing is lost",
		Long: `Leaves an order in the standby's etcd. Every transaction of every daemon checks
it, so nothing is written to the standby from the moment this command ends. What
the primary writes meanwhile is replicated after understudy resume; where the
primary compacts it first, both sides are compared again.

Exit status: 0 paused, also where it was already.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runPause(cmd.Context(), pair, opts, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&opts.reason, "reason", "", "why, for those who see it in status")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// paused is what pause and resume tell.
type paused struct {
	Paused  bool        `json:"paused"`
	Changed bool        `json:"changed"` // by this command
	Order   *role.Pause `json:"order,omitempty"`
	standby string
	tripped bool // the breaker has stopped it before
}

func (p paused) writeTable(w io.Writer) error {
	next := "go on with: understudy resume"
	if p.tripped {
		next = "the breaker has stopped it as well; " + role.AnswerRemedy + "; either ends the pause"
	}
	text := "replication into %s is paused; " + next + "\n"
	switch {
	case p.Paused && !p.Changed:
		text = "replication into %s was paused already, " + p.Order.Since.Format(time.RFC3339) + " by " + p.Order.By + "; " + next + "\n"
	case p.Changed && !p.Paused:
		text = "replication into %s goes on\n"
	case !p.Paused:
		text = "replication into %s was not paused\n"
	}
	_, err := fmt.Fprintf(w, text, p.standby)
	return err
}

func runPause(ctx context.Context, pair *config.Pair, opts pauseOptions, stdout io.Writer) error {
	standby, err := dial(ctx, pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	if err := mustBeStandby(ctx, pair, standby); err != nil {
		return err
	}
	order := role.Pause{Since: time.Now().UTC(), By: whoami(), Reason: opts.reason}
	stands, err := role.SetPause(ctx, standby.Client, order)
	if err != nil {
		return err
	}
	trip, _ := standingTrip(ctx, standby.Client) // the pause stands, whether or not this can be said
	return opts.output.write(stdout, paused{Paused: true, Changed: stands == order, Order: &stands, standby: pair.Standby.Name, tripped: trip != nil})
}

// mustBeStandby refuses to write to a cluster that nothing was replicated into
// where that is the primary itself, or where nobody can tell. What has a role is
// written to also while the other side is gone.
func mustBeStandby(ctx context.Context, pair *config.Pair, standby *cluster.Cluster) error {
	state, err := role.Read(ctx, standby.Client)
	if err != nil || state.Role == role.Standby {
		return err
	}
	filled := false // forgotten its role, as a remedy has it: a primary that was never a standby has no checkpoint
	if c, err := sink.ReadCheckpoint(ctx, standby.Client); err == nil {
		filled = c.Exists()
	}
	interrupted := ctx.Err
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	primary, err := dial(ctx, pair.Primary)
	if err != nil {
		return cmp.Or(interrupted(), refuseUnknown(pair, state, filled, err))
	}
	defer primary.Close()
	other, err := role.Read(ctx, primary.Client)
	switch {
	case cluster.IsDenied(err) && filled: // it may be the standby by now, and the other one the primary
		return &remedy.Error{Op: "write to " + pair.Standby.Name, Code: remedy.Refused,
			Err:    fmt.Errorf("%[1]s was a standby and has no role, and %[2]s does not let its account read its own: is %[1]s the primary now?", pair.Standby.Name, pair.Primary.Name),
			Remedy: "understudy config view; where the sides are right, " + primary.EtcdctlAsRoot() + " role grant-permission ROLE read " + role.Key}
	case err != nil && !cluster.IsDenied(err): // a reader's account may not see the role
		return cmp.Or(interrupted(), refuseUnknown(pair, state, filled, err))
	}
	if other.Role == role.Standby {
		return &remedy.Error{Op: "write to " + pair.Standby.Name, Code: remedy.Refused,
			Err: fmt.Errorf("%s and %s are swapped in the configuration: %s is the standby of pair %q, and %s is the standby of none",
				pair.Standby.Name, pair.Primary.Name, pair.Primary.Name, other.Pair, pair.Standby.Name),
			Remedy: "write them the other way round in " + pair.File()}
	}
	here, err1 := standby.Identify(ctx, sink.CheckpointKey)
	there, err2 := primary.Identify(ctx, pair.Sync.Prefix)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return differentClusters(pair, there.ID, here.ID)
}

// refuseUnknown: a cluster without a role may be the primary, and the other side,
// which would know, cannot be asked.
func refuseUnknown(pair *config.Pair, state role.State, filled bool, err error) error {
	if state.Role != "" || filled {
		return nil
	}
	return &remedy.Error{Op: "write to " + pair.Standby.Name, Code: remedy.Refused,
		Err: fmt.Errorf("%s has no role, since nothing was ever replicated into it, and %s does not answer: are the sides swapped in the configuration? (%s)",
			pair.Standby.Name, pair.Primary.Name, oneLine(err)),
		Remedy: "understudy config view; where the sides are right, again when " + pair.Primary.Name + " answers"}
}

// whoami names the person at the keyboard, as far as the system knows.
func whoami() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	return name + "@" + host
}
