package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/remedy"
)

type statusOptions struct {
	watch    bool
	waitFor  string        // a verdict; "" = do not wait
	timeout  time.Duration // of the wait
	interval time.Duration
	output   output
}

func newStatusCmd(app *app) *cobra.Command {
	var opts statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say on one screen whether the pair is protected",
		Long: `Asks both clusters by itself, and reads what the daemon last said of itself from
the standby's etcd. What cannot be found out is shown as unknown, and unknown is
never good. Writes nothing.

With --wait-for VERDICT it looks until the verdict is that one, or PROTECTED, and
shows the last look; for scripts.

Exit status: 0 PROTECTED, or the verdict that was waited for; 3 any other verdict.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.interval < 100*time.Millisecond {
				return usageError(cmd, fmt.Errorf("--interval %s: it must be 100ms or more", opts.interval))
			}
			opts.waitFor = strings.ToUpper(opts.waitFor)
			switch {
			case opts.waitFor != "" && !slices.Contains(console.Verdicts(), console.Verdict(opts.waitFor)):
				return usageError(cmd, fmt.Errorf("--wait-for %s: it takes a verdict, such as PROTECTED", opts.waitFor))
			case opts.waitFor != "" && opts.watch:
				return usageError(cmd, errors.New("--wait-for ends by itself; it does not go with --watch"))
			}
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			if opts.waitFor != "" {
				return waitForStatus(cmd.Context(), pair, opts, cmd.OutOrStdout())
			}
			return runStatus(cmd.Context(), pair, opts, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVarP(&opts.watch, "watch", "w", false, "refresh until interrupted")
	cmd.Flags().StringVar(&opts.waitFor, "wait-for", "", "look until this `VERDICT` is reached, such as PROTECTED")
	cmd.Flags().DurationVar(&opts.timeout, "timeout", 5*time.Minute, "how long --wait-for looks")
	cmd.Flags().DurationVar(&opts.interval, "interval", 2*time.Second, "time between refreshes")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func runStatus(ctx context.Context, pair *config.Pair, opts statusOptions, stdout io.Writer) error {
	view, err := newView(pair)
	if err != nil {
		return err
	}
	look := &observer{pair: pair, view: view}
	defer look.close()
	shown := statusReport{style: console.Style{Color: colorful(stdout)}, redraw: opts.watch && opts.output == "table" && isTerminal(stdout)}
	tick := time.NewTicker(opts.interval)
	defer tick.Stop()
	for again := false; ; again = true {
		status := console.Judge(look.facts(ctx))
		if shown.redraw {
			shown.style.Columns, shown.style.Lines = terminalSize(stdout)
		}
		if again && ctx.Err() != nil {
			return statusCode(shown.Verdict) // what was seen half is not shown
		}
		shown.Status = status
		if again && opts.output == "table" && !shown.redraw {
			fmt.Fprintln(stdout)
		}
		if err := opts.output.write(stdout, shown); err != nil {
			return err
		}
		if !opts.watch {
			return statusCode(shown.Verdict)
		}
		select {
		case <-ctx.Done():
			return statusCode(shown.Verdict)
		case <-tick.C:
		}
	}
}

// waitForStatus looks until the verdict is the one that is waited for, or better
// than any other, and shows the last look.
func waitForStatus(ctx context.Context, pair *config.Pair, opts statusOptions, stdout io.Writer) error {
	view, err := newView(pair)
	if err != nil {
		return err
	}
	look := &observer{pair: pair, view: view}
	defer look.close()
	end := time.After(opts.timeout)
	tick := time.NewTicker(opts.interval)
	defer tick.Stop()
	for {
		status := console.Judge(look.facts(ctx))
		reached := status.Verdict == console.Protected || status.Verdict == console.Verdict(opts.waitFor)
		over := reached
		if !over {
			select {
			case <-ctx.Done():
				over = true
			case <-end:
				over = true
			case <-tick.C:
			}
		}
		if !over {
			continue
		}
		if err := opts.output.write(stdout, statusReport{Status: status, style: console.Style{Color: colorful(stdout)}}); err != nil || reached {
			return err
		}
		return exitWith(remedy.Degraded)
	}
}

func statusCode(v console.Verdict) error {
	if v == console.Protected {
		return nil
	}
	return exitWith(remedy.Degraded)
}

// colorful reports whether w shows colours (see no-color.org).
func colorful(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// terminalSize is 0, 0 where w is no terminal, or does not say.
func terminalSize(w io.Writer) (columns, lines int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	columns, lines, err := term.GetSize(int(f.Fd())) //nolint:gosec // a file descriptor is small
	if err != nil {
		return 0, 0
	}
	return columns, lines
}

// statusReport is a status for output.
type statusReport struct {
	console.Status
	style  console.Style
	redraw bool
}

func (s statusReport) writeTable(w io.Writer) error {
	if s.redraw {
		if _, err := io.WriteString(w, "\x1b[H\x1b[2J"); err != nil { // to the upper left, and clear
			return err
		}
	}
	return s.WriteText(w, s.style)
}
