package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/twin"
)

type proposeOptions struct {
	write  string
	output output
}

func newScopeProposeCmd(app *app) *cobra.Command {
	var opts proposeOptions
	cmd := &cobra.Command{
		Use:   "propose",
		Short: "Propose rules by which the standby keeps what it has of its own",
		Long: `Reads both sides for objects of the standby's own under the name of one of the
primary's, as two clusters have them that run the same platform, and prints rules
for sync.exclude by which they stay, each with its reason. What only the primary
has takes part without a rule. Lines marked DECIDE ask what no program can know.

A namespace that is each cluster's own is left out as a whole where nothing else
is in it; otherwise objects are named one by one. What an object that is left out
owns alone is left out with it.

With --write the rules go into a copy of the configuration, which is otherwise as
it is; FILE may be the configuration itself. No other file is replaced, and nothing
is written to a cluster.

Exit status: 0 printed or written, 1 a side cannot be read, 4 FILE exists, or
sync.include takes in what the standby has of its own, 8 etcd refuses the user.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runScopePropose(cmd.Context(), pair, opts, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&opts.write, "write", "", "write the configuration with the rules to `FILE`")
	_ = cmd.MarkFlagFilename("write", "yaml", "yml") // fails for an unknown flag only
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func runScopePropose(ctx context.Context, pair *config.Pair, opts proposeOptions, stdout io.Writer) error {
	var target *proposedFile
	if opts.write != "" {
		var err error
		if target, err = newProposedFile(pair.File(), opts.write); err != nil {
			return err
		}
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
	r := proposeReport{Primary: pair.Primary.Name, Standby: pair.Standby.Name}
	if r.Proposal, err = propose(ctx, s, pair, view); err != nil {
		return err
	}
	for _, p := range r.Rules {
		r.Decisions += len(p.Decide)
	}
	if target != nil {
		if err := target.put(r.ruleLines()); err != nil {
			return err
		}
		r.Written = opts.write
	}
	return opts.output.write(stdout, r)
}

// propose makes rules and proves that no twin takes part by them.
func propose(ctx context.Context, s *sides, pair *config.Pair, view *scope.View) (p twin.Proposal, err error) {
	found, err := bothSides(ctx, s, view)
	if err != nil {
		return p, err
	}
	by := func(p twin.Proposal) (*twin.Survey, error) {
		if len(p.Rules) == 0 {
			return found, nil
		}
		with := *pair
		with.Sync.Exclude = append([]config.Rule{}, pair.Sync.Exclude...)
		for _, r := range p.Rules {
			with.Sync.Exclude = append(with.Sync.Exclude, config.Rule(r.Rule))
		}
		changed := *view
		if changed.Scope, err = newScope(&with); err != nil {
			return nil, err
		}
		left, err := bothSides(ctx, s, &changed)
		if err != nil {
			return nil, err
		}
		if twins := left.Twins(); len(twins) > 0 {
			return nil, &remedy.Error{Op: "propose rules", Code: remedy.Refused,
				Err:    fmt.Errorf("%d objects of %s's own take part whatever sync.exclude says, such as %s: %s", len(twins), pair.Standby.Name, twins[0].Key, changed.Scope.Explain(twins[0].Key).Rule),
				Remedy: "take them out of that rule, or name them in sync.replace; then: understudy scope propose"}
		}
		return left, nil
	}
	left, err := by(twin.Propose(found, nil)) // each by its name: what is left then?
	if err != nil {
		return p, err
	}
	p = twin.Propose(found, left)
	left, err = by(p)
	if err != nil {
		return p, err
	}
	return twin.Propose(found, left), nil // the same rules, with what takes part by them
}

// proposedFile is where the rules go.
type proposedFile struct {
	config, file string
	same         bool // the configuration itself is extended
}

// newProposedFile refuses what must not be written before anybody waits for it.
func newProposedFile(configFile, file string) (*proposedFile, error) {
	op := "write " + file
	f := &proposedFile{config: configFile, file: file}
	was, err := os.Stat(configFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	now, err := os.Stat(file)
	switch {
	case err == nil && os.SameFile(was, now):
		f.same = true
		return f, nil
	case err == nil:
		return nil, &remedy.Error{Op: op, Err: errors.New("the file exists"), Remedy: "name another one, or the configuration itself: --write " + configFile, Code: remedy.Refused}
	}
	data, err := os.ReadFile(configFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	written, err := config.Parse(configFile, data)
	if err != nil {
		return nil, err
	}
	here, _ := filepath.Abs(filepath.Dir(configFile))
	there, _ := filepath.Abs(filepath.Dir(file))
	if relative := written.RelativeFiles(); here != there && len(relative) > 0 {
		return nil, &remedy.Error{Op: op, Err: fmt.Errorf("the paths in %s count from its directory, such as %s", configFile, relative[0]),
			Remedy: "understudy scope propose --write " + filepath.Join(filepath.Dir(configFile), filepath.Base(file)), Code: remedy.Usage}
	}
	return f, nil
}

func (f *proposedFile) put(rules []string) error {
	data, err := os.ReadFile(f.config)
	if err != nil {
		return fmt.Errorf("write %s: %w", f.file, err)
	}
	if len(rules) > 0 {
		if data, err = config.AddExclude(data, rules); err != nil {
			return &remedy.Error{Op: "write " + f.file, Err: err, Remedy: "paste them by hand: understudy scope propose"}
		}
	}
	extended, err := config.Parse(f.file, data)
	if err != nil {
		return err
	}
	if _, err := newScope(extended); err != nil {
		return err
	}
	return writeNew(f.file, data, f.same)
}

// proposeReport is a proposal for output.
type proposeReport struct {
	Primary string `json:"primary"`
	Standby string `json:"standby"`
	twin.Proposal
	Decisions int    `json:"decisions"` // lines marked DECIDE
	Written   string `json:"written,omitempty"`
}

func (r proposeReport) writeTable(w io.Writer) error {
	var b strings.Builder
	switch {
	case r.Written != "":
		fmt.Fprintf(&b, "wrote %s: %d rules for what %s has of its own", r.Written, len(r.Rules), r.Standby)
		if r.Decisions > 0 {
			fmt.Fprintf(&b, "; %d lines are marked DECIDE", r.Decisions)
		}
		fmt.Fprintf(&b, "\n%s\nnext: read it, then understudy sync --config %s\n", r.takesPart(), r.Written)
	case len(r.Rules) == 0:
		fmt.Fprintf(&b, "%s has nothing of its own under a name of %s's: no rule is needed\n%s\n", r.Standby, r.Primary, r.takesPart())
	default:
		fmt.Fprintf(&b, "# %s\nsync:\n  exclude:\n", r.takesPart())
		for _, line := range r.ruleLines() {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r proposeReport) takesPart() string {
	return fmt.Sprintf("what only %s has takes part without a rule: %d objects in %d namespaces and in none", r.Primary, r.OnlyPrimary, r.Namespaces)
}

// ruleLines are the rules as they stand in the configuration, with comments.
func (r proposeReport) ruleLines() (lines []string) {
	for _, p := range r.Rules {
		for _, comment := range p.Comment(r.Standby) {
			lines = append(lines, "# "+comment)
		}
		for i, line := range ruleYAML(p.Rule) {
			lead := "  "
			if i == 0 {
				lead = "- "
			}
			lines = append(lines, lead+line)
		}
	}
	return lines
}

// namesOnALine is how many names stand in brackets; more have a line each.
const namesOnALine = 4

func ruleYAML(rule scope.Rule) (lines []string) {
	for _, list := range []struct {
		name   string
		values []string
	}{{"namespaces", rule.Namespaces}, {"resources", rule.Resources}, {"names", rule.Names}} {
		switch quoted := quotedAll(list.values); {
		case len(quoted) == 0:
		case len(quoted) <= namesOnALine:
			lines = append(lines, list.name+": ["+strings.Join(quoted, ", ")+"]")
		default:
			lines = append(lines, list.name+":")
			for _, v := range quoted {
				lines = append(lines, "  - "+v)
			}
		}
	}
	return lines
}

// quotedAll writes texts so that they stand for themselves in brackets as well.
func quotedAll(values []string) (out []string) {
	for _, v := range values {
		raw, err := yaml.Marshal(v)
		text := strings.TrimSuffix(string(raw), "\n")
		if err != nil || strings.ContainsAny(v, "[]{},:#*&!|>'\"%@`\\ \n") {
			text = "'" + strings.ReplaceAll(v, "'", "''") + "'"
		}
		out = append(out, text)
	}
	return out
}
