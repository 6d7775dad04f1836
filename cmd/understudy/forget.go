package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

type forgetOptions struct {
	records    []forgettable
	apply, yes bool
	output     output
}

func newForgetCmd(app *app) *cobra.Command {
	var opts forgetOptions
	cmd := &cobra.Command{
		Use:   "forget RECORD...",
		Short: "Take a record of understudy's own off the standby, damaged or no longer true",
		Long: `Shows the records, what is in them, and what follows when they are gone; deletes
nothing. With --apply it deletes them from the standby's etcd, in one transaction.
No object is touched. Records are

  checkpoint   how far the standby is: the next sync compares both sides anew
  role         that it is a standby, and whose: the next sync writes it anew
  breaker      why the breaker stopped replication, and the answer
  a key below /understudy/workloads/ or /understudy/held/, as other commands name it

It is refused where the cluster is not proven to be the standby of this pair, and
while a daemon replicates: pause it before.

Exit status: 0 done, nothing to forget, or it was shown; 4 refused; 5 something
changed meanwhile; 8 etcd refuses the user.`,
		Example: indent(`
understudy forget checkpoint
understudy forget checkpoint role --apply`),
		ValidArgs: []string{"checkpoint", "role", "breaker"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errNothingToForget
			}
			opts.records = nil
			for _, arg := range args {
				f, err := forgettableOf(arg)
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(opts.records, func(o forgettable) bool { return o.key == f.key }) {
					opts.records = append(opts.records, f)
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.yes && !opts.apply {
				return usageError(cmd, errors.New("--yes goes with --apply"))
			}
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runForget(cmd.Context(), pair, opts, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&opts.apply, "apply", false, "do it, instead of showing what would be done")
	cmd.Flags().BoolVar(&opts.yes, "yes", false, "do not ask")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// forgotten is a record, and what follows when it is gone.
type forgotten struct {
	Record  string   `json:"record,omitempty"` // as it is typed; "" = by its key
	Key     string   `json:"key"`
	There   bool     `json:"there"`
	Holds   string   `json:"holds,omitempty"`
	Damaged string   `json:"damaged,omitempty"` // why nobody can say what it holds
	Then    []string `json:"then,omitempty"`
}

// forgetReport is what forget tells.
type forgetReport struct {
	Standby string      `json:"standby"`
	Applied bool        `json:"applied"` // what was there is gone
	Records []forgotten `json:"records"`
	Notes   []string    `json:"notes,omitempty"`
	Next    string      `json:"next"`
}

func runForget(ctx context.Context, pair *config.Pair, opts forgetOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	command := "understudy forget"
	for _, r := range opts.records {
		command += " " + remedy.Quote(orKey(r))
	}
	command += " --apply"
	if opts.apply && !opts.yes && !canAsk(stdin) {
		return &remedy.Error{Op: "forget", Err: errors.New("there is no terminal to ask on"),
			Remedy: "look at it without --apply, then: " + command + " --yes", Code: remedy.Usage}
	}
	standby, err := dial(ctx, pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	facts, err := gatherForget(ctx, pair, standby, opts.records)
	if err != nil {
		return err
	}
	if err := facts.prove(); err != nil {
		return err
	}
	report, keys := facts.report(opts.records)
	report.Next = "understudy sync"
	switch {
	case opts.apply && len(keys) > 0:
		if !opts.yes {
			if err := confirm(ctx, stdin, stderr, "forget", report.question(), pair.Standby.Name); err != nil {
				return err
			}
		}
		if err := facts.memory.Forget(ctx, standby.Client, keys...); err != nil {
			return err
		}
		report.Applied = true
	case len(keys) > 0:
		report.Next = command
	}
	return opts.output.write(stdout, report)
}

func orKey(f forgettable) string {
	if f.name != "" {
		return f.name
	}
	return f.key
}

// gatherForget asks both sides who they are.
func gatherForget(ctx context.Context, pair *config.Pair, standby *cluster.Cluster, records []forgettable) (forgetFacts, error) {
	f := forgetFacts{file: pair.File(), pair: pair.Metadata.Name, primary: pair.Primary.Name, standby: pair.Standby.Name, etcdctl: standby.Etcdctl()}
	keys := []string{role.Key, sink.CheckpointKey, role.ReleaseKey}
	for _, r := range records {
		keys = append(keys, r.key)
		if object, held := strings.CutPrefix(r.key, scope.HeldPrefix); held {
			keys = append(keys, object)
		}
	}
	slices.Sort(keys)
	bounded, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	id, err := standby.Identify(bounded, sink.CheckpointKey)
	if err != nil {
		return f, err
	}
	f.standbyID = id.ID
	if f.memory, err = role.Recall(bounded, standby.Client, slices.Compact(keys)...); err != nil {
		return f, err
	}
	f.unseen = f.askPrimary(ctx, pair)
	return f, ctx.Err()
}

func (f *forgetFacts) askPrimary(ctx context.Context, pair *config.Pair) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	primary, err := dial(ctx, pair.Primary)
	if err != nil {
		return err
	}
	defer primary.Close()
	id, err := primary.Identify(ctx, pair.Sync.Prefix)
	if err != nil {
		return err
	}
	f.primaryID = id.ID
	f.primaryRole, err = role.Read(ctx, primary.Client)
	if f.hidden = cluster.IsDenied(err); f.hidden {
		return nil
	}
	return err
}

// report says what is there of the records, and the keys of what is.
func (f forgetFacts) report(records []forgettable) (r forgetReport, keys []string) {
	r.Standby, r.Records = f.standby, []forgotten{}
	for _, one := range records {
		raw, there := f.memory.Records[one.key]
		line := forgotten{Record: one.name, Key: one.key, There: there}
		if there {
			var err error
			if line.Holds, err = one.holds(raw); err != nil {
				line.Damaged = err.Error()
			}
			line.Then = one.then(raw)
			keys = append(keys, one.key)
		}
		if object, held := strings.CutPrefix(one.key, scope.HeldPrefix); held && there && f.memory.Revision(object) != 0 {
			keys = keys[:len(keys)-1]
			line.Then = []string{"it stays: the object is on the standby, held, and would never get its original back: understudy hold list"}
		}
		r.Records = append(r.Records, line)
	}
	if f.memory.Revision(role.ReleaseKey) > f.memory.Revision(sink.CheckpointKey) {
		r.Notes = append(r.Notes, "objects were released on "+f.standby+", or held by hand, since replication wrote there last: replication waits until understudy resume has shown what it would hold again and write over")
	}
	if f.unseen != nil {
		r.Notes = append(r.Notes, f.primary+" does not answer: "+oneLine(f.unseen))
	}
	return r, keys
}

func (r forgetReport) question() string {
	var names []string
	for _, one := range r.Records {
		if one.There {
			names = append(names, one.Key)
		}
	}
	text := "This deletes " + strings.Join(names, ", ") + " from " + r.Standby + "."
	for _, n := range r.Notes {
		text += "\nNote: " + n + "."
	}
	return text
}

func (r forgetReport) writeTable(w io.Writer) error {
	var b strings.Builder
	left := false
	for _, one := range r.Records {
		fmt.Fprintln(&b, one.Key)
		row := func(label, text string) { fmt.Fprintf(&b, "  %-8s%s\n", label, text) }
		switch {
		case !one.There:
			row("", r.Standby+" has none: there is nothing to forget")
			continue
		case one.Damaged != "":
			row("holds", "nothing that can be read: "+one.Damaged)
		default:
			row("holds", one.Holds)
		}
		for i, then := range one.Then {
			row([]string{"then", ""}[min(i, 1)], then)
		}
		left = true
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	switch {
	case r.Applied:
		fmt.Fprintf(&b, "\n%s has forgotten it. next: %s\n", r.Standby, r.Next)
	case left:
		fmt.Fprintf(&b, "\nNothing was deleted. next: %s\n", r.Next)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
