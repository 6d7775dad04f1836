package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

type holdOptions struct {
	cluster      string
	self         []string // what describes the primary itself and is to be released all the same
	yes          bool
	primaryAlive bool // and they are to be released all the same
	warning      string
	limit        int
	output       output
}

func newHoldCmd(app *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "Show what is kept inert on the standby, release it, or hold it again",
		Long: `Objects that would act on what the primary still owns stand on the standby in an
inert form: Clusters paused, Deployments at no replicas, CronJobs suspended, and
what the configuration names. Their originals are kept beside them in its etcd.

All three need the standby only; the primary may be gone. See docs/holds.md.`,
	}
	cmd.AddCommand(newHoldListCmd(app), newHoldReleaseCmd(app), newHoldApplyCmd(app))
	return cmd
}

func newHoldListCmd(app *app) *cobra.Command {
	var opts holdOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what is held, since when, and what the hold changes",
		Long: `Also says which of them somebody has changed on the standby since: a release
leaves those alone. Writes nothing.

Exit status: 0 listed, 6 some were changed, or are not at zero.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStandby(cmd, app, opts, func(ctx context.Context, h holder) error { return h.list(ctx) })
		},
	}
	addHoldFlags(cmd, &opts)
	return cmd
}

func newHoldReleaseCmd(app *app) *cobra.Command {
	var opts holdOptions
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Put the originals of held objects back, so that the standby's controllers act on them",
		Long: `Each original goes back with the fields that are the standby's own, and its record
is deleted, in one transaction for an owner and what hangs on it. What somebody
has changed on the standby since it was held is left, and named. What the standby's
API server has stored in another version of the API is released through it
(standby.kubeconfig), by a patch that takes back what the hold has changed.

It is refused while a daemon replicates: that would hold them again. Afterwards
replication waits, whoever starts it, until understudy resume has shown what it would
hold again and write over.

While the primary answers, what is released acts on both sides at once, on the same
machines and volumes: that is refused without --primary-is-alive.

Exit status: 0 released, 4 refused, 5 lost a race, 6 some were left, 7 outcome unknown.`,
		Example: indent(`
understudy pause --reason "primary is lost"
understudy hold release --cluster clusters-a/prod   # the canary
understudy hold release`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStandby(cmd, app, opts, func(ctx context.Context, h holder) error { return h.release(ctx) })
		},
	}
	addHoldFlags(cmd, &opts)
	cmd.Flags().StringSliceVar(&opts.self, "self-managed", nil, "release nothing but the `NAME` (NAMESPACE/NAME) that describes the primary itself, and what hangs on it")
	cmd.Flags().BoolVar(&opts.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&opts.primaryAlive, "primary-is-alive", false, "release although the primary answers: both sides would act on the same things")
	return cmd
}

func newHoldApplyCmd(app *app) *cobra.Command {
	var opts holdOptions
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Hold again what was released, or what somebody has set going",
		Long: `Puts every replicated object that the configuration holds into its inert form, and
keeps what it was. What is inert already stays as it is, so it may be repeated.
Refused while a daemon replicates, and on a cluster that is no standby.

Exit status: 0 held, 4 refused, 5 lost a race, 6 some were left, 7 outcome unknown.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStandby(cmd, app, opts, func(ctx context.Context, h holder) error { return h.apply(ctx) })
		},
	}
	addHoldFlags(cmd, &opts)
	cmd.Flags().BoolVar(&opts.yes, "yes", false, "do not ask")
	return cmd
}

func addHoldFlags(cmd *cobra.Command, opts *holdOptions) {
	cmd.Flags().StringVar(&opts.cluster, "cluster", "", "only the Cluster of Cluster API `NAMESPACE/NAME` and what hangs on it")
	cmd.Flags().IntVar(&opts.limit, "limit", 100, "list at most `N` objects, 0 = all")
	addOutputFlag(cmd, &opts.output)
}

// holder is what the three commands share.
type holder struct {
	pair           *config.Pair
	view           *scope.View
	standby        *cluster.Cluster
	client         *clientv3.Client
	opts           holdOptions
	stdin          io.Reader
	stdout, stderr io.Writer
}

func withStandby(cmd *cobra.Command, app *app, opts holdOptions, run func(context.Context, holder) error) error {
	if opts.limit < 0 {
		return usageError(cmd, fmt.Errorf("--limit %d: it must be a number from 0 (all) on", opts.limit))
	}
	pair, err := app.loadConfig()
	if err != nil {
		return err
	}
	view, err := newView(pair)
	if err != nil {
		return err
	}
	standby, err := dial(cmd.Context(), pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	ctx, end := verify.Attend(cmd.Context(), 0, role.Key, map[string]*clientv3.Client{"standby": standby.Client})
	defer end()
	err = run(ctx, holder{pair, view, standby, standby.Client, opts, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()})
	if silent := context.Cause(ctx); err != nil && errors.Is(silent, verify.ErrSilent) {
		return &remedy.Error{Err: silent, Remedy: remedy.Of(err), Code: remedy.CodeOf(err)}
	}
	return err
}

func (h holder) limits() sink.Limits {
	return sink.Limits{MaxOps: h.pair.Standby.Etcd.MaxTxnOps, MaxBytes: int(h.pair.Standby.Etcd.MaxRequestBytes)}
}

func (h holder) list(ctx context.Context) error {
	items, err := hold.List(ctx, h.client, h.view, h.opts.cluster)
	if err != nil {
		return err
	}
	workloads, err := hold.Workloads(ctx, h.client)
	if err != nil {
		return err
	}
	if err := hold.Look(ctx, h.client, h.view, workloads); err != nil {
		return err
	}
	self, err := h.self(ctx)
	if err != nil {
		return err
	}
	hold.Mark(items, self)
	r := newHoldReport(h, "list", items, workloads)
	if h.opts.cluster != "" {
		all, err := hold.Count(ctx, h.client)
		if err != nil {
			return err
		}
		r.Others = all - int64(len(items))
	}
	if err := h.opts.output.write(h.stdout, r); err != nil {
		return err
	}
	return leftover(r.Changed > 0 || slices.ContainsFunc(workloads, func(w hold.Workload) bool { return w.State != hold.AtZero }))
}

func (h holder) release(ctx context.Context) error {
	if err := h.may(ctx, "release"); err != nil {
		return err
	}
	if _, _, err := role.Quiet(ctx, h.client); err != nil {
		return &remedy.Error{Op: "hold release", Err: err, Remedy: remedy.Of(err), Code: remedy.CodeOf(err)}
	}
	items, err := hold.List(ctx, h.client, h.view, h.opts.cluster)
	if err != nil {
		return err
	}
	items, stay, err := h.divide(ctx, items)
	if err != nil {
		return err
	}
	var workloads []hold.Workload
	if h.opts.cluster == "" && h.opts.self == nil {
		if workloads, err = hold.Workloads(ctx, h.client); err != nil {
			return err
		}
	}
	hand := hold.Hand{By: whoami(), PrimaryGone: true}
	if len(items)+len(workloads) > 0 {
		twice, err := h.actTwice(ctx, items, workloads)
		if err != nil {
			return err
		}
		if hand.PrimaryGone = twice == ""; twice != "" && !h.opts.primaryAlive {
			return h.refuseTwice(twice)
		}
		h.opts.warning = twice
	}
	r := newHoldReport(h, "release", items, workloads)
	r.Stay = append(r.Stay, stay...)
	return h.act(ctx, r, func(r *holdReport) error {
		outcome, err := hand.Release(ctx, h.client, h.view, items, h.limits())
		r.Outcome = &outcome
		r.released(outcome)
		through := outcome.Through() && h.pair.Standby.Kubeconfig != ""
		if err != nil || len(workloads) == 0 && !through {
			return err
		}
		api, err := h.api(ctx)
		if err != nil {
			return err
		}
		if through {
			err = hand.ReleaseThrough(ctx, h.client, h.view, api, &outcome)
		}
		if err != nil || len(workloads) == 0 {
			return err
		}
		scaled, err := hold.ReleaseWorkloads(ctx, h.client, api, workloads)
		r.Scaled = &scaled
		return err
	})
}

func (h holder) apply(ctx context.Context) error {
	if err := h.may(ctx, "apply"); err != nil {
		return err
	}
	items, err := hold.Candidates(ctx, h.client, h.view, h.opts.cluster)
	if err != nil {
		return err
	}
	return h.act(ctx, newHoldReport(h, "apply", items, nil), func(r *holdReport) error {
		outcome, err := hold.Apply(ctx, h.client, h.view, items, h.limits())
		if r.Outcome = &outcome; err != nil || len(h.pair.Hold.Workloads) == 0 || h.opts.cluster != "" {
			return err
		}
		_, fence, err := role.Quiet(ctx, h.client)
		if err != nil {
			return err
		}
		api, err := h.api(ctx)
		if err != nil {
			return err
		}
		scaled, err := hold.KeepAtZero(ctx, h.client, api, selections(h.pair), fence)
		r.Scaled = &hold.Outcome{Done: len(scaled), Left: []hold.Left{}}
		return err
	})
}

// api is the standby's API server.
func (h holder) api(ctx context.Context) (*kube.API, error) {
	if h.pair.Standby.Kubeconfig == "" {
		return nil, &remedy.Error{Op: "scale the workloads", Err: errors.New("standby.kubeconfig is not set"),
			Remedy: "set it in " + h.pair.File() + ", then again", Code: remedy.Usage}
	}
	return standbyAPI(ctx, h.pair, h.client, h.view)
}

// may refuses to act where nobody has said yes and nobody can be asked, and on
// what may be the primary.
func (h holder) may(ctx context.Context, action string) error {
	if h.opts.yes || canAsk(h.stdin) {
		return mustBeStandby(ctx, h.pair, h.standby)
	}
	which := ""
	if h.opts.cluster != "" {
		which = " --cluster " + h.opts.cluster
	}
	return &remedy.Error{Op: "hold " + action, Err: errors.New("there is no terminal to ask on"),
		Remedy: "understudy hold list" + which + ", then: understudy hold " + action + which + " --yes", Code: remedy.Usage}
}

func (h holder) act(ctx context.Context, r holdReport, do func(*holdReport) error) error {
	if !h.opts.yes && r.Count+len(r.Workloads) > 0 {
		what := fmt.Sprintf("This writes up to %d objects on %s.", r.Count+len(r.Workloads), r.Standby)
		if h.opts.warning != "" {
			what = h.opts.warning + ".\n" + what
		}
		if err := confirm(ctx, h.stdin, h.stderr, "hold "+r.Action, what, r.Standby); err != nil {
			return err
		}
	}
	err := do(&r)
	if err := errors.Join(err, h.opts.output.write(h.stdout, r)); err != nil {
		return err
	}
	return leftover(len(r.Outcome.Left) > 0 || r.Scaled != nil && len(r.Scaled.Left) > 0)
}
