package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

const (
	// defaultMargin lasts for years, whatever the primary writes.
	defaultMargin = 1_000_000_000
	// highest is as far as revisions are raised: JSON readers take numbers above it
	// for others, and an etcd near the end of its revisions, 1<<63, cannot be written to.
	highest = 1 << 53
	// usualRate is what filler writes reach on a small machine.
	usualRate = 10_000
)

type floorRaiseOptions struct {
	margin, to   int64
	offline      bool
	rate         int
	maxDuration  time.Duration
	targetDir    string
	dataDir      string
	stop, start  string
	stopPatience time.Duration
	apply, yes   bool
	output       output
}

func newFloorRaiseCmd(app *app) *cobra.Command {
	var opts floorRaiseOptions
	cmd := &cobra.Command{
		Use:   "raise",
		Short: "Lift the standby's revision above the primary's",
		Long: `Three ways, each shown first and done with --apply:

Online, for small gaps: writes ` + cluster.FillerKey + ` again and again (some 10,000
revisions a second), drops the history of it and deletes it. It touches no other
key, goes on where it was when it is run again, and refuses what would take
longer than --max-duration.

Offline with --target-dir: makes a data directory for each member from a snapshot
of the standby, with the revision lifted and everything older compacted, and
prints the commands that put it in place. What is written to the standby after
the snapshot is lost with the old data: stop its API servers first. Replication
takes up again from the checkpoint in the data.

Offline with --data-dir, --stop-command and --start-command, on the host of a
standby with one etcd: stops it, makes the lifted data from its own, swaps, and
starts it. The old data stays beside the new. Nothing is lost.

Offline gives the cluster and its members new IDs, so all members are swapped
together. Afterwards the standby's API servers must be restarted, every one;
understudy floor verify asks them.

Exit status: 0 done, also where it was high enough, or the plan was shown,
1 failed, 4 refused, 7 the lifted data is in place, but nobody has seen etcd serve
it, 8 wrong key or credentials.`,
		Example: indent(`
understudy floor raise --margin 5000000 --apply
understudy floor raise --offline --target-dir /root/lifted --apply
understudy floor raise --offline --data-dir /var/lib/etcd --stop-command 'systemctl stop etcd' --start-command 'systemctl start etcd' --apply`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.check(); err != nil {
				return usageError(cmd, err)
			}
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runFloorRaise(cmd.Context(), pair, opts, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.Int64Var(&opts.margin, "margin", defaultMargin, "`REVISIONS` above the primary's newest")
	f.Int64Var(&opts.to, "to", 0, "lift to this `REVISION`, without asking the primary")
	f.IntVar(&opts.rate, "rate", 0, "most filler writes a second, 0 = as fast as they go")
	f.DurationVar(&opts.maxDuration, "max-duration", 15*time.Minute, "refuse filler writes that would take longer")
	f.BoolVar(&opts.offline, "offline", false, "lift a copy of the data instead of writing")
	f.StringVar(&opts.targetDir, "target-dir", "", "make the data directories below this new `DIR`")
	f.StringVar(&opts.dataDir, "data-dir", "", "swap the data `DIR` of the etcd on this host; with --target-dir, as it is called on the members (default /var/lib/etcd)")
	f.StringVar(&opts.stop, "stop-command", "", "shell `COMMAND` that ends etcd in good order and keeps it ended")
	f.StringVar(&opts.start, "start-command", "", "shell `COMMAND` that starts etcd")
	f.DurationVar(&opts.stopPatience, "stop-timeout", time.Minute, "how long etcd may take to end")
	f.BoolVar(&opts.apply, "apply", false, "do it, instead of showing what would be done")
	f.BoolVar(&opts.yes, "yes", false, "do not ask")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func (o floorRaiseOptions) check() error {
	inPlace := o.stop != "" || o.start != ""
	switch {
	case o.margin < 1 || o.to < 0 || o.rate < 0:
		return errors.New("--margin, --to and --rate must be positive numbers")
	case o.margin > highest || o.to > highest:
		return fmt.Errorf("--margin and --to go up to %d", int64(highest))
	case o.yes && !o.apply:
		return errors.New("--yes goes with --apply")
	case !o.offline && (o.targetDir != "" || o.dataDir != "" || inPlace):
		return errors.New("--target-dir, --data-dir, --stop-command and --start-command go with --offline")
	case o.offline && o.targetDir == "" && !inPlace:
		return errors.New("--offline needs --target-dir, or --data-dir with --stop-command and --start-command")
	case inPlace && (o.targetDir != "" || o.dataDir == "" || o.stop == "" || o.start == ""):
		return errors.New("--stop-command and --start-command go together, with --data-dir and without --target-dir")
	}
	return nil
}

// raise is what floor raise tells.
type raise struct {
	Way  string      `json:"way"` // online, prepare, swap
	From kv.Revision `json:"from"`
	To   kv.Revision `json:"to"`
	Done bool        `json:"done"`
	// Expected is how long the filler writes take, about.
	Expected string  `json:"expected,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`
	Writes   int64   `json:"writes,omitempty"` // of the filler
	// ClusterID is the new one after an offline raise.
	ClusterID string            `json:"clusterID,omitempty"`
	Members   map[string]string `json:"members,omitempty"`  // name → prepared directory
	Commands  []string          `json:"commands,omitempty"` // to put them in place
	Kept      string            `json:"kept,omitempty"`     // the old data
	GoBack    string            `json:"goBack,omitempty"`
	Notes     []string          `json:"notes"`
	standby   string
}

const (
	online  = "online"
	prepare = "prepare"
	swap    = "swap"
)

func (o floorRaiseOptions) way() string {
	switch {
	case !o.offline:
		return online
	case o.targetDir != "":
		return prepare
	}
	return swap
}

func runFloorRaise(ctx context.Context, pair *config.Pair, opts floorRaiseOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	if opts.apply && !opts.yes && opts.way() != prepare && !canAsk(stdin) {
		return &remedy.Error{Op: "raise the floor", Err: errors.New("there is no terminal to ask on"),
			Remedy: "look at the plan without --apply, then add --apply --yes", Code: remedy.Usage}
	}
	standby, err := dial(ctx, pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	state, err := role.Read(ctx, standby.Client)
	if err != nil {
		return err
	}
	if state.Role == role.Primary {
		return &remedy.Error{Op: "raise the floor of " + pair.Standby.Name,
			Err:    fmt.Errorf("it is the primary of pair %q since %s", state.Pair, state.Since.Format(time.RFC3339)),
			Remedy: "if the roles have changed, swap primary and standby in the config", Code: remedy.Refused}
	}
	if err := mustBeStandby(ctx, pair, standby); err != nil {
		return err
	}
	to, err := floorTarget(ctx, pair, standby, opts)
	if err != nil {
		return err
	}
	id, err := standby.Identify(ctx, sink.CheckpointKey)
	if err != nil {
		return err
	}
	r := raise{Way: opts.way(), From: id.Revision, To: to, standby: pair.Standby.Name, Notes: []string{}}
	if id.Revision >= to {
		r.Done, r.To = true, id.Revision
		r.Notes = append(r.Notes, "it is high enough already; are the API servers? understudy floor verify")
		return opts.output.write(stdout, r)
	}
	if r.Way == online {
		r.Expected = opts.takes(int64(to - id.Revision))
		if err := opts.fits(int64(to-id.Revision), otherWays(ctx, standby, opts, int64(to-id.Revision))); err != nil {
			return err
		}
	}
	if !opts.apply {
		r.Notes = append(r.Notes, "nothing was changed; do it with --apply")
		return opts.output.write(stdout, r)
	}
	if !opts.yes && r.Way != prepare {
		if err := confirm(ctx, stdin, stderr, "raise the floor", r.what(), r.standby); err != nil {
			return err
		}
	}
	switch r.Way {
	case online:
		err = raiseOnline(ctx, standby, state, opts, &r, stderr)
	case prepare:
		err = raisePrepare(ctx, standby, opts, &r, stderr)
	case swap:
		err = raiseSwap(ctx, pair, standby, id, opts, &r, stderr)
	}
	if err != nil {
		return err
	}
	return opts.output.write(stdout, r)
}

// speed is how many revisions a second filler writes reach, about.
func (o floorRaiseOptions) speed() int {
	if o.rate > 0 {
		return min(o.rate, usualRate)
	}
	return usualRate
}

// takes is how long filler writes need for a gap, about, for people.
func (o floorRaiseOptions) takes(gap int64) string {
	seconds := float64(gap) / float64(o.speed()) // a Duration ends after 292 years
	if seconds < 100*24*60*60 {
		return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%.0f days", seconds/(24*60*60))
}

// fits refuses a gap that would take too long, and says what to do instead.
func (o floorRaiseOptions) fits(gap int64, instead string) error {
	if float64(gap)/float64(o.speed()) <= o.maxDuration.Seconds() {
		return nil
	}
	return &remedy.Error{Op: "raise the floor by filler writes",
		Err:    fmt.Errorf("%d revisions take about %s at %d a second, more than --max-duration %s", gap, o.takes(gap), o.speed(), o.maxDuration),
		Remedy: instead, Code: remedy.Refused}
}

// otherWays are the commands that lift this standby in time.
func otherWays(ctx context.Context, standby *cluster.Cluster, o floorRaiseOptions, gap int64) string {
	bounded, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	members, err := standby.Client.MemberList(bounded)
	way := "in seconds, on the host of the standby's etcd, its API servers stopped (docs/floor.md says how for a static pod):\n" +
		"  understudy floor raise --offline --data-dir /var/lib/etcd --stop-command 'systemctl stop etcd' --start-command 'systemctl start etcd' --apply"
	if err != nil || len(members.Members) > 1 {
		way = "in seconds, by a lifted copy of the data for each member, which it says how to put in place:\n" +
			"  understudy floor raise --offline --target-dir /root/lifted --apply"
	}
	const round = 100_000
	fits := int64(o.maxDuration.Seconds()) * usualRate
	if margin := (o.margin - (gap - fits)) / round * round; o.to == 0 && o.rate == 0 && margin >= 10*round {
		way += fmt.Sprintf("\nor a smaller margin, in less than %s, to be raised again before the primary catches up:\n  understudy floor raise --margin %d --apply", o.maxDuration, margin)
	}
	return way
}

// what it is about to do.
func (r raise) what() string {
	if r.Way == swap {
		return fmt.Sprintf("This stops the etcd of %s and swaps its data.", r.standby)
	}
	return fmt.Sprintf("This lifts the revision of %s from %d to %d, which cannot be undone.", r.standby, r.From, r.To)
}

func raiseOnline(ctx context.Context, standby *cluster.Cluster, state role.State, opts floorRaiseOptions, r *raise, stderr io.Writer) error {
	said, began := time.Now(), time.Now()
	from := r.From
	done, err := standby.Lift(ctx, cluster.Lift{
		To: r.To, Rate: opts.rate,
		While: []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(role.Key), "=", state.Revision)},
		Progress: func(at kv.Revision) {
			if now := time.Now(); now.Sub(said) >= plainEvery || isTerminal(stderr) && now.Sub(said) >= time.Second {
				said = now
				fmt.Fprintf(stderr, "revision %d of %d, %.0f a second\n", at, r.To, float64(at-from)/now.Sub(began).Seconds())
			}
		},
	})
	r.Writes, r.Seconds = done.Writes, done.Took.Seconds()
	if err != nil {
		return err
	}
	r.Done, r.To = true, done.To
	r.Notes = append(r.Notes, fmt.Sprintf("%.0f revisions a second", float64(done.To-done.From)/done.Took.Seconds()), restartNote)
	return nil
}

const restartNote = "now restart every API server of the standby, then: understudy floor verify"

func (r raise) writeTable(w io.Writer) error {
	var b strings.Builder
	how := map[string]string{online: "by filler writes", prepare: "in prepared data directories", swap: "by swapping its data"}[r.Way]
	switch {
	case !r.Done:
		fmt.Fprintf(&b, "would lift %s from revision %d to %d, %s", r.standby, r.From, r.To, how)
		if r.Expected != "" {
			b.WriteString(", which takes about " + r.Expected)
		}
		b.WriteString("\n")
	case r.From == r.To:
		fmt.Fprintf(&b, "%s is at revision %d\n", r.standby, r.From)
	case r.Way == prepare:
		fmt.Fprintf(&b, "prepared: %s from revision %d to %d, in %.1f s\n", r.standby, r.From, r.To, r.Seconds)
	default:
		fmt.Fprintf(&b, "lifted %s from revision %d to %d %s, in %.1f s\n", r.standby, r.From, r.To, how, r.Seconds)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Members)) {
		fmt.Fprintf(&b, "  %-16s %s\n", name, r.Members[name])
	}
	if r.ClusterID != "" {
		fmt.Fprintf(&b, "the cluster's new ID is %s\n", r.ClusterID)
	}
	if r.Kept != "" {
		fmt.Fprintf(&b, "the old data is kept in %s; to go back, with etcd stopped:\n  %s\n", r.Kept, r.GoBack)
	}
	if len(r.Commands) > 0 {
		b.WriteString("\n" + strings.Join(r.Commands, "\n") + "\n\n")
	}
	for _, note := range r.Notes {
		b.WriteString(note + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
