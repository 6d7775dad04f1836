package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/sink"
)

type syncOptions struct {
	once   bool
	output output
}

func newSyncCmd(app *app) *cobra.Command {
	var opts syncOptions
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Keep the standby in step with the primary",
		Long: `Replicates the primary's etcd into the standby's until it is told to end, checks
both sides every check.interval, and answers on listen: /check, /status, /livez,
/readyz, /metrics.

Several may run for one pair: one leads, the others wait. A lost connection is
retried for ever. What only a person can decide (another primary, a primary that
was rolled back, a wrong key, a value the standby does not accept) stops it
before anything is written or skipped: at the start with an error, later in the
state "halted", which status and /readyz show.

With --once it brings the standby up to the primary's revision of now, and ends.

Exit status: 0 done or told to end, 2 configuration, 4 refused as unsafe,
5 another daemon leads (--once), 8 wrong key or credentials.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			debug.SetMemoryLimit(memoryLimit)
			if opts.once {
				return runSyncOnce(cmd.Context(), app, pair, opts, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return runSync(cmd.Context(), app, pair)
		},
	}
	cmd.Flags().BoolVar(&opts.once, "once", false, "copy what is there now, and end")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// memoryLimit makes the garbage collector work harder before the process grows
// beyond it. What is live stays far below: see docs/benchmarks.md.
const memoryLimit = 192 << 20

// newReplica makes the replica that the configuration describes.
func newReplica(app *app, pair *config.Pair, hooks replica.Hooks) (*replica.Replica, error) {
	view, err := newView(pair)
	if err != nil {
		return nil, err
	}
	return replica.New(replica.Config{
		Primary:  clusterConfig(pair.Primary),
		Standby:  clusterConfig(pair.Standby),
		View:     view,
		Pair:     pair.Metadata.Name,
		Identity: identity(),
		LeaseTTL: pair.Sync.LeaseTTL.Duration,
		Limits:   sink.Limits{MaxOps: pair.Standby.Etcd.MaxTxnOps, MaxBytes: int(pair.Standby.Etcd.MaxRequestBytes)},
		Breaker:  breakerOf(pair.Breaker),
		Guard:    guardOf(pair.Guard),
		Log:      app.log,
		Hooks:    hooks,
	})
}

// fewAndPrecious are resources of which a cluster has few objects, each of which
// owns many others.
var fewAndPrecious = []string{"clusters.cluster.x-k8s.io", "*.controlplane.cluster.x-k8s.io",
	"machinedeployments.cluster.x-k8s.io", "customresourcedefinitions.apiextensions.k8s.io"}

func breakerOf(c config.Breaker) replica.Breaker {
	b := replica.Breaker{Share: float64(c.Share), Floor: int64(c.Floor), Window: c.Window.Duration}
	precious := replica.BreakerRule{Resources: fewAndPrecious, Share: b.Share, Floor: min(3, b.Floor)}
	b.Rules = []replica.BreakerRule{precious}
	for _, r := range c.Rules {
		floor := int64(-1) // as without the rule
		if r.Floor != nil {
			floor = int64(*r.Floor)
		}
		b.Rules = append(b.Rules, replica.BreakerRule{Resources: r.Resources, Share: float64(r.Share), Floor: floor})
	}
	precious.AtMost = true // a pattern for others that happens to fit loosens nothing
	b.Rules = append(b.Rules, precious)
	return b
}

// identity names this process among the daemons of a pair.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

// copied is what sync --once did.
type copied struct {
	SourceRevision  int64   `json:"sourceRevision"`
	StandbyRevision int64   `json:"standbyRevision"`
	Reason          string  `json:"reason,omitempty"` // of a comparison; empty where the stream was enough
	Read            int64   `json:"read"`
	Written         int64   `json:"written"`
	Deleted         int64   `json:"deleted"`
	Surplus         int64   `json:"surplus"`
	Conflicts       int64   `json:"conflicts"` // keys under which the standby has an object of its own, which stays
	Seconds         float64 `json:"seconds"`

	prefix string
}

func runSyncOnce(ctx context.Context, app *app, pair *config.Pair, opts syncOptions, stdout, stderr io.Writer) error {
	bar := newCopyBar(stderr)
	r, err := newReplica(app, pair, replica.Hooks{Copying: bar.update})
	if err != nil {
		return err
	}
	warnOfOperators(ctx, app, pair)
	began := time.Now()
	state, err := r.Once(ctx)
	bar.end(err == nil)
	if err != nil {
		return err
	}
	if err := rememberAfter(ctx, pair); err != nil {
		app.log.Warn("cannot keep what the primary is known by", "error", err)
	}
	deletes := state.Copy.Deleted
	written := state.Copy.Written + state.Events - state.Deletes
	return opts.output.write(stdout, copied{
		SourceRevision: int64(state.Checkpoint.SourceRevision), StandbyRevision: int64(state.Checkpoint.Revision),
		Reason: state.Copy.Reason, Read: state.Copy.Read, Written: written, Deleted: deletes + state.Deletes,
		Surplus: state.Copy.Surplus, Conflicts: state.Copy.Conflicts, Seconds: time.Since(began).Seconds(),
		prefix: pair.Sync.Prefix,
	})
}

func (c copied) writeTable(w io.Writer) error {
	_, err := fmt.Fprintf(w, "The standby has everything up to the primary's revision %d: %s written, %d deleted in %.1f s.\n",
		c.SourceRevision, plural(c.Written, "key", "keys"), c.Deleted, c.Seconds)
	if err == nil && c.Reason != "" && c.Read == 0 {
		_, err = fmt.Fprintf(w, "The primary has no key below %s: is sync.prefix the API servers' --etcd-prefix, with a slash at its end?\n", c.prefix)
	}
	if err == nil && c.Surplus > 0 {
		_, err = fmt.Fprintf(w, "%s only on the standby and left alone; see: understudy check\n", plural(c.Surplus, "key in scope is", "keys in scope are"))
	}
	if err == nil && c.Conflicts > 0 {
		_, err = fmt.Fprintf(w, "%s in conflict: the standby has an object of its own there, which stays; see: understudy check\n", plural(c.Conflicts, "key is", "keys are"))
	}
	return err
}
