package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
)

type resumeOptions struct {
	accept, resync bool
	plan           string // that was shown
	yes            bool
	limit          int
	output         output
}

func newResumeCmd(app *app) *cobra.Command {
	var opts resumeOptions
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Let replication go on after pause, or after the breaker stopped it",
		Long: `Takes the order to pause away, also together with an answer to the breaker.

Where the breaker has stopped replication before deletions of the primary reached
the standby, understudy check names the objects, and it takes one of two answers:

  --accept-deletes  what is shown is deleted on the standby as well, with what
                    hangs on it, whenever the primary deletes it: these very
                    objects, by UID. Where it deletes too much of anything
                    else, the breaker stops replication again.
  --resync          both sides are compared, what differs is written, and
                    nothing is deleted: what the primary lost stays on the
                    standby as surplus, until the primary has it again or
                    understudy repair deletes it.

Where held objects were released, or deletions are accepted, it first shows what
replication would write over, hold again, bring back and delete on the standby, and
wants the cluster's name typed; without a terminal, --yes together with the ID of the
plan that was shown. Where the primary did not answer when they were released, the
standby may have taken over: then it always wants the ID.

Exit status: 0 replication goes on, also where it was not stopped; 4 the breaker
has stopped it, and neither answer was given, or one was given and it has not, or
it has for another primary than the configured one; or a plan was shown, and nobody has
agreed to it, or to another one; or the cluster has become a primary; 5 the breaker has
seen something else meanwhile, or somebody else has answered.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.accept && opts.resync {
				return usageError(cmd, errors.New("--accept-deletes and --resync are two different answers"))
			}
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			if opts.limit < 0 {
				return usageError(cmd, fmt.Errorf("--limit %d: it must be a number from 0 (all) on", opts.limit))
			}
			return runResume(cmd, app, pair, opts)
		},
	}
	cmd.Flags().BoolVar(&opts.accept, "accept-deletes", false, "delete on the standby what the breaker stopped")
	cmd.Flags().BoolVar(&opts.resync, "resync", false, "go on, and keep on the standby what the breaker stopped")
	cmd.Flags().StringVar(&opts.plan, "plan", "", "go on only if it would do what the plan with this `ID` has shown")
	cmd.Flags().BoolVar(&opts.yes, "yes", false, "do not ask; together with --plan")
	cmd.Flags().IntVar(&opts.limit, "limit", 20, "name at most `N` objects for each thing that would be done, 0 = all")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// resumed is what resume tells.
type resumed struct {
	paused
	Breaker string       `json:"breaker,omitempty"` // what it had seen
	Answer  *role.Answer `json:"answer,omitempty"`
	losses  string

	unpaused bool
}

func (r resumed) writeTable(w io.Writer) error {
	if r.Answer == nil {
		return r.paused.writeTable(w)
	}
	then := "the standby keeps what was deleted, as surplus; both sides are compared now"
	if r.Answer.Accept {
		then = fmt.Sprintf("accepted: %s; too much of anything else stops it again", r.losses)
	}
	if r.unpaused {
		then += "; the pause is over as well"
	}
	_, err := fmt.Fprintf(w, "replication into %s goes on; %s\n", r.standby, then)
	return err
}

func runResume(cmd *cobra.Command, app *app, pair *config.Pair, opts resumeOptions) error {
	ctx, stdout := cmd.Context(), cmd.OutOrStdout()
	view, err := newView(pair)
	if err != nil {
		return err
	}
	standby, err := dial(ctx, pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	if err := mayResume(ctx, pair, standby); err != nil {
		return err
	}
	trip, err := standingTrip(ctx, standby.Client)
	if err != nil {
		return err
	}
	r := resumed{paused: paused{standby: pair.Standby.Name}}
	switch {
	case trip == nil && (opts.accept || opts.resync):
		return &remedy.Error{Op: "answer the breaker", Err: role.ErrNotTripped, Remedy: "understudy status; after pause, resume needs no flag", Code: remedy.Refused}
	case trip != nil && !opts.accept && !opts.resync:
		return &remedy.Error{Op: "resume", Err: fmt.Errorf("the breaker has stopped replication: %s", trip),
			Remedy: "understudy check names the objects; " + role.AnswerRemedy, Code: remedy.Refused}
	}
	release, err := standingRelease(ctx, standby.Client)
	if err != nil {
		return err
	}
	plan, err := planResume(ctx, pair, view, standby, opts, release, trip)
	if err != nil {
		return err
	}
	var now kv.Revision
	if trip != nil {
		if now, err = primaryNow(ctx, app, pair, trip.SourceClusterID); err != nil {
			return err
		}
	}
	if err := agreed(cmd, opts, view, plan, release); err != nil {
		return err
	}
	if trip != nil {
		r.losses = trip.What()
		r.Breaker, r.Answer = trip.String(), &role.Answer{Accept: opts.accept, Through: max(trip.Through, now), By: whoami(), At: time.Now().UTC()}
		err = role.AnswerTrip(ctx, standby.Client, *trip, *r.Answer)
		if errors.Is(err, role.ErrTripChanged) {
			return &remedy.Error{Op: "answer the breaker", Err: err, Remedy: "understudy status, then again", Code: remedy.LostRace}
		}
		if err != nil {
			return err
		}
	}
	if release != nil {
		err := role.AnswerRelease(ctx, standby.Client, *release, role.ReleaseAnswer{By: whoami(), At: time.Now().UTC(), Plan: plan.ID})
		if errors.Is(err, role.ErrReleaseChanged) {
			return &remedy.Error{Op: "resume", Err: err, Remedy: "understudy status, then again", Code: remedy.LostRace}
		}
		if err != nil {
			return err
		}
	}
	cleared, err := role.ClearPause(ctx, standby.Client)
	if err != nil {
		return err
	}
	r.Changed, r.unpaused = cleared || r.Answer != nil || release != nil, cleared
	return opts.output.write(stdout, r)
}

// mayResume refuses where the cluster is no standby any more: what it holds is then
// the newer state.
func mayResume(ctx context.Context, pair *config.Pair, standby *cluster.Cluster) error {
	state, err := role.Read(ctx, standby.Client)
	if err != nil {
		return err
	}
	if state.Role == role.Primary {
		return &remedy.Error{Op: "resume", Code: remedy.Refused,
			Err:    fmt.Errorf("%s has been the primary of pair %q since %s (term %d): replication would write over what it is in charge of", pair.Standby.Name, state.Pair, state.Since.Format(time.RFC3339), state.Term),
			Remedy: "swap primary and standby in " + pair.File()}
	}
	return mustBeStandby(ctx, pair, standby)
}

// primaryNow is the revision of the primary that the breaker's trip is about; 0
// where it does not answer, and then the answer reaches no further than what the
// breaker saw. Another cluster's revision would let the answer reach anywhere.
func primaryNow(ctx context.Context, app *app, pair *config.Pair, clusterID string) (kv.Revision, error) {
	primary, err := dial(ctx, pair.Primary)
	if err == nil {
		defer primary.Close()
		id, idErr := primary.Identify(ctx, pair.Sync.Prefix)
		if err = idErr; err == nil && cluster.FormatID(id.ID) != clusterID {
			return 0, &remedy.Error{Op: "answer the breaker",
				Err:    fmt.Errorf("%w: it was stopped for %s, the configured primary is %s", replica.ErrOtherSource, clusterID, cluster.FormatID(id.ID)),
				Remedy: "check the endpoints of primary in the config; nothing was written", Code: remedy.Refused}
		}
		if err == nil {
			return id.Revision, nil
		}
	}
	app.log.Warn("the primary does not answer; what it deleted after the breaker looked is not covered", "error", err)
	return 0, nil
}
