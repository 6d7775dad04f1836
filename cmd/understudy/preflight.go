package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/remedy"
)

func newPreflightCmd(app *app) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "preflight",
		Short: "Say whether the two clusters are fit to be a pair",
		Long: `Compares both clusters in everything that has to fit before one can stand in for
the other: versions, members and machines, clocks and the way between them, API
server flags, CRDs, identity and encryption, images and registries, addresses,
ports and certificates, and what access.checks of the configuration adds. Each check
is ok, warn or fail with the next step, or "not checked" with what it lacks: that is
never ok. access.skip names what does not apply to this pair.

It needs both etcds; kubeconfig and vip of both sides and access.address let it
check more. Connections are tried from this machine. Reads all keys, and writes
none but its own result, to show the next time what has changed: into the standby's
etcd, and before the first sync into a file beside the configuration.
See docs/preflight.md.

Exit status: 0 all ok, 3 warnings, or something was not checked, 4 something fails.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runPreflight(cmd.Context(), pair, out, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	addOutputFlag(cmd, &out)
	return cmd
}

func runPreflight(ctx context.Context, pair *config.Pair, out output, stdout, stderr io.Writer) error {
	g, err := newPreflight(pair)
	if err != nil {
		return err
	}
	quiet := g.waiting.tell(stderr)
	facts := g.facts(ctx)
	quiet()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	judged := console.JudgePreflight(facts)
	judged.Time = time.Now().UTC()
	if last, ok := g.kept(ctx, facts); ok {
		judged.Since(last)
	}
	if err := out.write(stdout, preflightReport{judged, console.Style{Color: colorful(stdout)}}); err != nil {
		return err
	}
	g.keep(ctx, facts, judged, stderr)
	switch judged.State {
	case console.CheckOK:
		return nil
	case console.CheckFail:
		return exitWith(remedy.Refused)
	}
	return exitWith(remedy.Degraded)
}

// preflightReport is a preflight for output.
type preflightReport struct {
	console.Preflight
	style console.Style
}

func (r preflightReport) writeTable(w io.Writer) error { return r.WriteText(w, r.style) }
