package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

func newFloorCmd(app *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "floor",
		Short: "Keep clients of the primary safe when they follow to the standby",
		Long: `Clients of an API server remember the revision that they have seen. When a name
leads them to the standby, a revision above the standby's makes them hang, and one
that its API servers have lived through makes them miss events in silence. Only a
revision below the one at which the API servers started is refused (410 Gone),
and the client lists everything anew.

So the standby's etcd is lifted once far above whatever the primary will reach,
and its API servers are restarted after it. See docs/floor.md.`,
	}
	cmd.AddCommand(newFloorShowCmd(app), newFloorVerifyCmd(app), newFloorRaiseCmd(app))
	return cmd
}

type floorShowOptions struct {
	verify bool
	output output
}

func newFloorShowCmd(app *app) *cobra.Command {
	var opts floorShowOptions
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show how far the standby's revision is above the primary's",
		Long: `Reads both etcds; with --verify it also asks the standby's API servers, see
understudy floor verify. Writes nothing.

Exit status: 0 the standby is far enough above, 3 it is not, or nobody knows.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runFloorShow(cmd.Context(), pair, opts, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&opts.verify, "verify", false, "also ask the standby's API servers")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func newFloorVerifyCmd(app *app) *cobra.Command {
	opts := floorShowOptions{verify: true}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Ask the standby's API servers whether they were restarted above the primary",
		Long: `Opens watches at each of the standby's API servers, through standby.kubeconfig,
at the newest revision that clients of the primary can have seen, or with the
primary gone at the last one that was replicated. 410 Gone is right. A watch that
is accepted means that the API server was not restarted since the revision was
lifted. Writes nothing.

Exit status: 0 every API server answers 410, 3 the margin is too small, or an API
server could not be asked, 4 one of them accepts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pair, err := app.loadConfig()
			if err != nil {
				return err
			}
			return runFloorShow(cmd.Context(), pair, opts, cmd.OutOrStdout())
		},
	}
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// floorReport is what floor show tells.
type floorReport struct {
	Primary console.Side   `json:"primary"`
	Standby console.Side   `json:"standby"`
	Margin  console.Margin `json:"margin"`
	// Asked is the revision that the API servers were asked about; 0 = they were not.
	Asked      kv.Revision   `json:"asked,omitempty"`
	APIServers []kube.Server `json:"apiServers,omitempty"`
	Unasked    string        `json:"unasked,omitempty"` // why none was asked
	verified   bool
}

func runFloorShow(ctx context.Context, pair *config.Pair, opts floorShowOptions, stdout io.Writer) error {
	view, err := newView(pair)
	if err != nil {
		return err
	}
	look := &observer{pair: pair, view: view}
	defer look.close()
	facts := look.facts(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	status := console.Judge(facts)
	r := floorReport{Primary: facts.Primary, Standby: facts.Standby, Margin: status.Floor, verified: opts.verify}
	if opts.verify {
		r.ask(ctx, pair, view, facts)
	}
	if err := opts.output.write(stdout, r); err != nil {
		return err
	}
	return r.exit()
}

// ask asks the API servers about the newest revision that anybody knows of.
func (r *floorReport) ask(ctx context.Context, pair *config.Pair, view *scope.View, f console.Facts) {
	if f.Primary.Reachable {
		r.Asked = f.Primary.Revision
	} else if f.Checkpoint != nil {
		r.Asked = f.Checkpoint.SourceRevision
	}
	switch {
	case r.Asked == 0:
		r.Unasked = "no revision of the primary is known"
	case pair.Standby.Kubeconfig == "":
		r.Unasked = "standby.kubeconfig is not set"
	}
	if r.Unasked != "" {
		r.Asked = 0
		return
	}
	var err error
	if r.APIServers, err = askFloor(ctx, pair, view, r.Asked); err != nil {
		r.Unasked = oneLine(err)
		if next := remedy.Of(err); next != "" {
			r.Unasked += "; " + next
		}
	}
}

func askFloor(ctx context.Context, pair *config.Pair, view *scope.View, at kv.Revision) ([]kube.Server, error) {
	standby, err := dial(ctx, pair.Standby)
	if err != nil {
		return nil, err
	}
	defer standby.Close()
	api, err := standbyAPI(ctx, pair, standby.Client, view)
	if err != nil {
		return nil, err
	}
	return api.AskFloor(ctx, at)
}

func (r floorReport) exit() error {
	accepted, unasked := r.counts()
	switch {
	case accepted > 0:
		return exitWith(remedy.Refused)
	case r.verified && (unasked > 0 || len(r.APIServers) == 0), !r.verified && !r.Margin.Known, r.Margin.Low():
		return exitWith(remedy.Degraded)
	}
	return nil
}

func (r floorReport) counts() (accepted, unasked int) {
	for _, s := range r.APIServers {
		switch s.Answer {
		case kube.Accepted:
			accepted++
		case kube.Unasked:
			unasked++
		}
	}
	return accepted, unasked
}

func (r floorReport) writeTable(w io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s%s\n", name, fmt.Sprintf(format, args...))
	}
	side := func(name string, s console.Side) {
		if !s.Reachable {
			row(name, "%s: unknown: %s", s.Name, s.Error)
			return
		}
		row(name, "%s, revision %d", s.Name, s.Revision)
	}
	side("primary", r.Primary)
	side("standby", r.Standby)
	row("floor", "%s", r.Margin.Text())
	if r.Margin.Low() {
		row("", "next: understudy floor raise")
	}
	if !r.verified {
		row("API servers", "not asked; see: understudy floor verify")
	}
	if r.Unasked != "" {
		row("API servers", "not checked: %s", r.Unasked)
	}
	for _, s := range r.APIServers {
		switch s.Answer {
		case kube.Expired:
			row("API server", "%s: 410 at revision %d: clients list anew", s.Address, r.Asked)
		case kube.Accepted:
			row("API server", "%s: accepts a watch of %s at revision %d: clients would miss events or hang", s.Address, s.Resource, r.Asked)
		default:
			row("API server", "%s: not checked: %s", s.Address, s.Error)
		}
	}
	if accepted, _ := r.counts(); accepted > 0 {
		row("", "next: restart it, with the standby above the primary: %s", restartAPIServer)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// restartAPIServer is how a static pod is restarted; there is no command for it.
const restartAPIServer = "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/ && sleep 30 && mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/"

// floorTarget is where a raise shall lead to.
func floorTarget(ctx context.Context, pair *config.Pair, standby *cluster.Cluster, opts floorRaiseOptions) (kv.Revision, error) {
	if opts.to > 0 {
		return kv.Revision(opts.to), nil
	}
	primary, err := dial(ctx, pair.Primary)
	if err != nil {
		return 0, noPrimary(err)
	}
	defer primary.Close()
	id, err := primary.Identify(ctx, pair.Sync.Prefix)
	if err != nil {
		return 0, noPrimary(err)
	}
	mine, err := standby.Identify(ctx, sink.CheckpointKey)
	if err != nil {
		return 0, err
	}
	if err := differentClusters(pair, id.ID, mine.ID); err != nil {
		return 0, err
	}
	if id.Revision > highest-kv.Revision(opts.margin) {
		return 0, &remedy.Error{Op: "raise the floor", Err: fmt.Errorf("%s is at revision %d, and %d more is above %d", pair.Primary.Name, id.Revision, opts.margin, int64(highest)),
			Remedy: "give a smaller --margin", Code: remedy.Usage}
	}
	return id.Revision + kv.Revision(opts.margin), nil
}

func noPrimary(err error) error {
	return &remedy.Error{Op: "read the primary's revision", Err: errors.New(oneLine(err)),
		Remedy: "with the primary gone, say how far with --to: its last revision (see: understudy status) and a generous margin", Code: remedy.CodeOf(err)}
}
