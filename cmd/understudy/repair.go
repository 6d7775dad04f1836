package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

type repairOptions struct {
	apply, yes bool
	only       []string // kinds of differences; nil = all
	keys       []string // nil = all that differ
	limit      int
	output     output
}

func newRepairCmd(app *app) *cobra.Command {
	var opts repairOptions
	cmd := &cobra.Command{
		Use:   "repair [KEY...]",
		Short: "Make the standby equal again where a check finds that it is not",
		Long: `Compares both sides, then shows what would be done: missed and differing keys are
written from the primary, surplus keys are deleted from the standby. With --apply
it is done. The primary is only read. With KEYs, as check lists them, or --only, the
rest stays as it is.

A daemon may run meanwhile: every transaction is refused where the replication
moved, and tried again. Keys that change on the standby between the comparison
and the repair are left alone.

Exit status: 0 nothing was or is left to repair, or the plan was shown, 1 could
not compare, 4 refused, 5 the replication left no moment free, 6 some keys are
left as they were, 7 outcome unknown, 8 etcd refuses the user.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, keys []string) error {
			opts.keys = keys
			for _, kind := range opts.only {
				if !slices.Contains(verify.Kinds, verify.Kind(kind)) {
					return usageError(cmd, fmt.Errorf("--only %s: it takes missed, surplus, differing and undecodable, with commas between", kind))
				}
			}
			if opts.limit < 0 {
				return usageError(cmd, fmt.Errorf("--limit %d: it must be a number from 0 (all) on", opts.limit))
			}
			if opts.yes && !opts.apply {
				return usageError(cmd, errors.New("--yes goes with --apply"))
			}
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runRepair(cmd.Context(), pair, opts, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&opts.apply, "apply", false, "do it, instead of showing what would be done")
	cmd.Flags().BoolVar(&opts.yes, "yes", false, "do not ask")
	cmd.Flags().StringSliceVar(&opts.only, "only", nil, "repair only `KINDS` of differences: missed,surplus,differing,undecodable")
	cmd.Flags().IntVar(&opts.limit, "limit", 100, "list at most `N` keys, 0 = all; all are repaired")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// again is the command that does what this one shows.
func (o repairOptions) again() string {
	words := []string{"understudy repair --apply"}
	if len(o.only) > 0 {
		words = append(words, "--only "+strings.Join(o.only, ","))
	}
	return strings.Join(append(words, o.keys...), " ")
}

func runRepair(ctx context.Context, pair *config.Pair, opts repairOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	if opts.apply && !opts.yes && !canAsk(stdin) {
		return &remedy.Error{Op: "repair", Err: errors.New("there is no terminal to ask on"),
			Remedy: "look at the plan without --apply, then: understudy repair --apply --yes", Code: remedy.Usage}
	}
	view, err := newView(pair)
	if err != nil {
		return err
	}
	s, err := openSides(ctx, pair, view)
	if err != nil {
		return err
	}
	defer s.close()
	state, err := role.Read(ctx, s.standby.Client)
	if err != nil {
		return err
	}
	if err := state.AcceptsReplication(cluster.FormatID(s.primaryID.ID)); err != nil {
		return err
	}
	if release, err := standingRelease(ctx, s.standby.Client); err != nil {
		return err
	} else if release != nil && opts.apply {
		return &remedy.Error{Op: "repair", Err: errors.New(release.String()), Remedy: release.Remedy(), Code: remedy.Refused}
	}
	plan, equal, err := planRepair(ctx, s, view, opts, stderr)
	if err != nil {
		return blameBreaker(ctx, s, view, err)
	}
	shown := repairReport{plan: plan, view: view, standby: pair.Standby.Name, again: opts.again(), Steps: limited(plan.Steps, opts.limit),
		SourceRevision: int64(plan.Report.SourceRevision), StandbyRevision: int64(plan.Report.StandbyRevision)}
	shown.Writes, shown.Deletes = plan.Work()
	shown.Left = len(plan.Steps) - shown.Writes - shown.Deletes
	if shown.Notes, err = repairNotes(ctx, s, view, shown.Deletes); err != nil {
		return err
	}
	for _, key := range equal {
		shown.Notes = append(shown.Notes, key+" does not differ, or takes no part; understudy config explain says which")
	}
	if !opts.apply || shown.Writes+shown.Deletes == 0 {
		if err := opts.output.write(stdout, shown); err != nil {
			return err
		}
		return leftover(opts.apply && shown.Left > 0)
	}
	if !opts.yes {
		what := fmt.Sprintf("This writes %s to %s and deletes %d.", plural(shown.Writes, "key", "keys"), shown.standby, shown.Deletes)
		if err := confirm(ctx, stdin, stderr, "repair", what, shown.standby); err != nil {
			return err
		}
	}
	limits := sink.Limits{MaxOps: pair.Standby.Etcd.MaxTxnOps, MaxBytes: int(pair.Standby.Etcd.MaxRequestBytes)}
	outcome, err := verify.Repair(ctx, s.clients(), view, plan, limits)
	shown.Outcome = &outcome
	if err := errors.Join(err, opts.output.write(stdout, shown)); err != nil {
		return err
	}
	return leftover(len(outcome.Left) > 0)
}

// blameBreaker says why both sides can no longer be compared where the breaker has
// stopped replication for so long that the primary has compacted the checkpoint.
func blameBreaker(ctx context.Context, s *sides, view *scope.View, err error) error {
	stands, readErr := readStandstill(ctx, s.standby.Client, describer(view))
	if readErr != nil || stands.Breaker == "" {
		return err
	}
	return &remedy.Error{Op: "the breaker has stopped replication", Err: err, Remedy: "understudy check names the objects; " + stands.Answer, Code: remedy.CodeOf(err)}
}

// repairNotes say what to know before the plan is carried out.
func repairNotes(ctx context.Context, s *sides, view *scope.View, deletes int) ([]string, error) {
	trip, err := role.ReadTrip(ctx, s.standby.Client)
	if err != nil {
		return nil, err
	}
	stands, err := readStandstill(ctx, s.standby.Client, describer(view))
	if err != nil {
		return nil, err
	}
	notes := stands.Notes(time.Now())
	if stands.Breaker != "" {
		notes = append(notes, "a repair compares as of the checkpoint: what the breaker holds back stays on the standby")
	}
	if kept := trip.Kept(); kept != "" && deletes > 0 {
		notes = append(notes, kept)
	}
	return notes, nil
}

func leftover(some bool) error {
	if some {
		return exitWith(remedy.Mismatch)
	}
	return nil
}

// planRepair also gives those of the keys asked for that are equal on both sides.
func planRepair(ctx context.Context, s *sides, view *scope.View, opts repairOptions, stderr io.Writer) (plan verify.Plan, equal []string, err error) {
	found, err := verify.Run(ctx, s.clients(), view, verify.Options{Progress: tellEvery(stderr, plainEvery)})
	if err != nil {
		return plan, nil, &remedy.Error{Op: "compare both sides", Err: err, Remedy: "understudy status says which side does not answer"}
	}
	if !found.Complete() {
		return plan, nil, &remedy.Error{Op: "compare both sides", Err: errors.New(found.Reason), Remedy: found.Hint}
	}
	var kinds []verify.Kind
	for _, kind := range opts.only {
		kinds = append(kinds, verify.Kind(kind))
	}
	part, equal := found.Restrict(kinds, opts.keys)
	plan, err = verify.MakePlan(ctx, s.clients(), view, part)
	plan.OwnersOf(view, found.Missed.Keys)
	for i := range plan.Steps {
		plan.Steps[i].Leave = s.standby.Paste(plan.Steps[i].Leave)
	}
	return plan, equal, err
}

func limited(steps []verify.Step, limit int) []verify.Step {
	if limit > 0 && len(steps) > limit {
		steps = steps[:limit]
	}
	return append([]verify.Step{}, steps...)
}

// repairReport is a plan and, with --apply, what became of it.
type repairReport struct {
	SourceRevision  int64           `json:"sourceRevision"`
	StandbyRevision int64           `json:"standbyRevision"`
	Writes          int             `json:"writes"`  // planned
	Deletes         int             `json:"deletes"` // planned
	Left            int             `json:"left"`    // nothing can be done about these
	Steps           []verify.Step   `json:"steps"`   // in their order, cut off at --limit
	Notes           []string        `json:"notes,omitempty"`
	Outcome         *verify.Outcome `json:"outcome,omitempty"`

	plan    verify.Plan
	view    *scope.View
	standby string
	again   string
}

func (r repairReport) writeTable(w io.Writer) error {
	var b strings.Builder
	describe := describer(r.view)
	if r.Outcome == nil {
		r.writePlan(&b, describe)
	} else {
		r.writeOutcome(&b, describe)
	}
	if len(r.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r repairReport) writePlan(b *strings.Builder, describe console.Describe) {
	if len(r.plan.Steps) == 0 {
		if r.again != (repairOptions{}).again() {
			b.WriteString("nothing to repair of what was asked for\n")
			return
		}
		b.WriteString("nothing to repair: both sides are equal as of the checkpoint\n")
		return
	}
	for _, s := range r.Steps {
		do := "write "
		switch {
		case s.Leave != "":
			do = "leave "
		case s.Delete:
			do = "delete"
		}
		fmt.Fprintf(b, "%s  %-11s  %s  %s\n", do, s.Kind, describe(s.Key), s.Key)
		if s.Leave != "" {
			fmt.Fprintf(b, "        %s\n", s.Leave)
		}
		for _, field := range s.Fields {
			fmt.Fprintf(b, "        %s\n", field)
		}
	}
	if more := len(r.plan.Steps) - len(r.Steps); more > 0 {
		fmt.Fprintf(b, "and %d more; --limit 0 lists them all\n", more)
	}
	fmt.Fprintf(b, "\nwould write %s to %s and delete %d; %s left. Nothing was changed.\n", plural(r.Writes, "key", "keys"), r.standby, r.Deletes, plural(r.Left, "is", "are"))
	if r.Writes+r.Deletes > 0 {
		b.WriteString("do it: " + r.again + "\n")
	}
}

func (r repairReport) writeOutcome(b *strings.Builder, describe console.Describe) {
	for i, l := range r.Outcome.Left {
		if i == len(r.Steps) {
			fmt.Fprintf(b, "and %d more\n", len(r.Outcome.Left)-i)
			break
		}
		fmt.Fprintf(b, "left    %s  %s\n        %s\n", describe(l.Key), l.Key, l.Why)
	}
	fmt.Fprintf(b, "wrote %s to %s and deleted %d; %s equal by now, %s left\n",
		plural(r.Outcome.Written, "key", "keys"), r.standby, r.Outcome.Deleted, plural(r.Outcome.Equal, "was", "were"), plural(len(r.Outcome.Left), "is", "are"))
	b.WriteString("make sure: understudy check\n")
}
