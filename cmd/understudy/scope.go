package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/twin"
	"github.com/understudy-dr/understudy/verify"
)

func newScopeCmd(app *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scope",
		Short: "What takes part in replication, and rules for what the standby has of its own",
		Long: `list shows what takes part and what is left out. propose writes the rules by
which the standby keeps what it has of its own; see docs/twins.md.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newScopeListCmd(app), newScopeProposeCmd(app))
	return cmd
}

func newScopeListCmd(app *app) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show per namespace and resource what takes part and what does not",
		Long: `Reads every key of both sides and counts the objects of each resource in each
namespace: what takes part, and what is left out, with the rule. Of what is left
out, custom resources and Secrets are named, 20 of each kind, whichever rule leaves
them out, Pods that no controller made and bootstrap roles that somebody has
changed; so are the objects of the standby's own that have the name of one of the
primary's. Writes nothing.

Exit status: 0 shown, 1 a side cannot be read, 8 etcd refuses the user.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runScopeList(cmd.Context(), pair, out, cmd.OutOrStdout())
		},
	}
	addOutputFlag(cmd, &out)
	return cmd
}

func runScopeList(ctx context.Context, pair *config.Pair, out output, stdout io.Writer) error {
	view, err := newView(pair)
	if err != nil {
		return err
	}
	s, err := openSides(ctx, pair, view)
	if err != nil {
		return err
	}
	defer s.close()
	found, err := bothSides(ctx, s, view)
	if err != nil {
		return err
	}
	r := scopeReport{Pair: pair.Metadata.Name, Primary: pair.Primary.Name, Standby: pair.Standby.Name, Rows: found.Rows(), Twins: found.Twins()}
	if r.Twins == nil {
		r.Twins = []twin.Twin{}
	}
	return out.write(stdout, r)
}

func bothSides(ctx context.Context, s *sides, view *scope.View) (*twin.Survey, error) {
	found, err := verify.Survey(ctx, s.clients(), view)
	if err != nil {
		return nil, &remedy.Error{Op: "read both sides", Err: err, Remedy: "understudy status says which side does not answer", Code: remedy.CodeOf(err)}
	}
	return found, nil
}

// scopeReport is what stands where.
type scopeReport struct {
	Pair    string      `json:"pair"`
	Primary string      `json:"primary"` // the names of the sides
	Standby string      `json:"standby"`
	Rows    []twin.Row  `json:"rows"`
	Twins   []twin.Twin `json:"twins"`
}

// twinsShown is how many twins the table names; -o json names all.
const twinsShown = 50

func (r scopeReport) writeTable(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var part, out int64
	fmt.Fprintf(tab, "TAKES PART\t\t%s\t%s\t\n", r.Primary, r.Standby)
	for _, row := range r.Rows {
		if row.TakesPart {
			part += row.Primary
			fmt.Fprintf(tab, "%s\t%s\t%d\t%d\t%s\n", inNamespace(row), row.Resource, row.Primary, row.Standby, marks(row))
		}
	}
	fmt.Fprintf(tab, "\nLEFT OUT\t\t%s\t%s\tWHY\n", r.Primary, r.Standby)
	for _, row := range r.Rows {
		if row.TakesPart {
			continue
		}
		out += row.Primary
		fmt.Fprintf(tab, "%s\t%s\t%d\t%d\t%s\n", inNamespace(row), row.Resource, row.Primary, row.Standby, leftOutBy(row))
		for _, line := range named(row) {
			fmt.Fprintf(tab, "\t  %s\t\t\t\n", line)
		}
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d objects of %s take part, %d are left out\n", part, r.Primary, out)
	if len(r.Twins) > 0 {
		fmt.Fprintf(&b, "\n%d objects of %s have the name of one of %s and are other ones:\n", len(r.Twins), r.Standby, r.Primary)
	}
	for i, t := range r.Twins {
		if i == twinsShown {
			fmt.Fprintf(&b, "  and %d more; -o json names them all\n", len(r.Twins)-i)
			break
		}
		what := "twin"
		if t.Conflict {
			what = "twin that stays"
		}
		if t.Workload != nil {
			what += ", " + t.Workload.Runs
		}
		fmt.Fprintf(&b, "  %s  (%s)\n", t.Key, what)
	}
	if len(r.Twins) > 0 {
		b.WriteString("rules for them: understudy scope propose\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func inNamespace(row twin.Row) string {
	if row.Namespace == "" {
		return "-"
	}
	return row.Namespace
}

func marks(row twin.Row) string {
	switch {
	case row.Twins == 0:
		return ""
	case row.Conflicts == row.Twins:
		return fmt.Sprintf("%d twins that stay", row.Twins)
	case row.Conflicts > 0:
		return fmt.Sprintf("%d twins, %d of them stay", row.Twins, row.Conflicts)
	}
	return fmt.Sprintf("%d twins", row.Twins)
}

// leftOutBy is where the rule stands, without its lists, and why.
func leftOutBy(row twin.Row) string {
	rule, _, _ := strings.Cut(row.Rule, " {")
	return rule + ": " + row.Why
}

// named are the objects of value that a row leaves out, a few on each line.
func named(row twin.Row) (lines []string) {
	for i := 0; i < len(row.Names); i += 4 {
		lines = append(lines, strings.Join(row.Names[i:min(i+4, len(row.Names))], ", "))
	}
	if more := row.Valued - int64(len(row.Names)); more > 0 && len(lines) > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}
