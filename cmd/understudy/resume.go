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

  --accept-deletes  what status names is deleted on the standby as well. Where
                    the primary has deleted more, or something else, the
                    breaker stops replication again.
  --resync          both sides are compared, what differs is written, and
                    nothing is deleted: what the primary lost stays on the
                    standby as surplus, until the primary has it again or
                    understudy repair deletes it.

Exit status: 0 replication goes on, also where it was not stopped; 4 the breaker
has stopped it, and neither answer was given, or one was given and it has not, or
it has for another primary than the configured one; 5 the breaker has seen something else
meanwhile, or somebody else has answered.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.accept && opts.resync {
				return usageError(cmd, errors.New("--accept-deletes and --resync are two different answers"))
			}
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runResume(cmd.Context(), app, pair, opts, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&opts.accept, "accept-deletes", false, "delete on the standby what the breaker stopped")
	cmd.Flags().BoolVar(&opts.resync, "resync", false, "go on, and keep on the standby what the breaker stopped")
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
		then = fmt.Sprintf("accepted: %s; more than that, or anything else, stops it again", r.losses)
	}
	if r.unpaused {
		then += "; the pause is over as well"
	}
	_, err := fmt.Fprintf(w, "replication into %s goes on; %s\n", r.standby, then)
	return err
}

func runResume(ctx context.Context, app *app, pair *config.Pair, opts resumeOptions, stdout io.Writer) error {
	standby, err := dial(ctx, pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	if err := mustBeStandby(ctx, pair, standby); err != nil {
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
	case trip != nil:
		now, err := primaryNow(ctx, app, pair, trip.SourceClusterID)
		if err != nil {
			return err
		}
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
	cleared, err := role.ClearPause(ctx, standby.Client)
	if err != nil {
		return err
	}
	r.Changed, r.unpaused = cleared || r.Answer != nil, cleared
	return opts.output.write(stdout, r)
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
