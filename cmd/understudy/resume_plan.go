package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

// resumePlan is what replication would do to the standby that somebody may miss, if
// it went on. Its ID stands for these very objects: where others are concerned by
// then, it is another plan.
type resumePlan struct {
	ID      string         `json:"plan"`
	Standby string         `json:"standby"`
	Groups  []resumeEffect `json:"effects"`
	// Changes of the primary that nobody has to miss: they are not part of the ID.
	Changes int64 `json:"changes"`
	Stays   int64 `json:"stays"` // objects that only the standby has, and keeps

	all    []replica.Effect
	losses []role.Loss // that the breaker has shown, and an answer accepts
}

// resumeEffect are all objects to which one thing is done.
type resumeEffect struct {
	What      string           `json:"what"`
	Count     int              `json:"count"`
	Resources map[string]int64 `json:"resources"`
	Objects   []console.Object `json:"objects"` // cut off at --limit
}

// effects in the order in which they are shown.
var effects = []string{replica.Deletes, replica.WritesOver, replica.BringsBack, replica.HoldsAgain}

func newResumePlan(standby string, all []replica.Effect, about string) *resumePlan {
	slices.SortFunc(all, func(a, b replica.Effect) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Key, b.Key), cmp.Compare(a.UID, b.UID))
	})
	all = slices.Compact(all)
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n", about)
	for _, e := range all {
		fmt.Fprintf(hash, "%s\x00%s\x00%s\n", e.What, e.Key, e.UID)
	}
	return &resumePlan{ID: hex.EncodeToString(hash.Sum(nil))[:12], Standby: standby, all: all}
}

// harmless: nobody has to be asked.
func (p *resumePlan) harmless() bool { return p == nil || len(p.all)+len(p.losses) == 0 }

// group sorts what is to be shown, with the names of limit objects each; 0 = all.
func (p *resumePlan) group(view *scope.View, limit int) {
	describe := describer(view)
	p.groupLosses(describe, limit)
	for _, what := range effects {
		g := resumeEffect{What: what, Resources: map[string]int64{}, Objects: []console.Object{}}
		for _, e := range p.all {
			if e.What != what {
				continue
			}
			g.Count++
			if k, ok := view.Scope.Parse(e.Key); ok {
				g.Resources[k.GroupResource()]++
			}
			if limit == 0 || len(g.Objects) < limit {
				g.Objects = append(g.Objects, console.Object{Object: cmp.Or(describe(e.Key), "key"), Key: e.Key})
			}
		}
		if g.Count > 0 {
			p.Groups = append(p.Groups, g)
		}
	}
}

// groupLosses sorts what the breaker has shown. Its record names some thousand objects
// at most; the others are counted.
func (p *resumePlan) groupLosses(describe console.Describe, limit int) {
	for _, gone := range []bool{true, false} {
		g := resumeEffect{What: replica.Deletes, Resources: map[string]int64{}, Objects: []console.Object{}}
		if gone {
			g.What = alreadyGone
		}
		for _, l := range p.losses {
			n, keys := l.Deleted-l.Applied, l.Keys
			if gone {
				n, keys = l.Applied, l.Gone
			}
			if n == 0 {
				continue
			}
			g.Count += int(n)
			g.Resources[l.Resource] += n
			if limit > 0 {
				keys = keys[:min(len(keys), limit)]
			}
			for _, key := range keys {
				g.Objects = append(g.Objects, console.Object{Object: cmp.Or(describe(key), "key"), Key: key})
			}
		}
		if g.Count > 0 {
			p.Groups = append(p.Groups, g)
		}
	}
}

// alreadyGone is what no answer changes any more.
const alreadyGone = "deleted already, before the breaker stopped:"

func (p *resumePlan) writeTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "replication into %s would\n", p.Standby)
	for _, g := range p.Groups {
		objects := "objects"
		if g.Count == 1 {
			objects = "object"
		}
		fmt.Fprintf(&b, "\n%s %d %s: %s\n", g.What, g.Count, objects, console.CountsLine(g.Resources))
		for _, o := range g.Objects {
			fmt.Fprintf(&b, "  %s  %s\n", o.Object, o.Key)
		}
		if more := g.Count - len(g.Objects); more > 0 {
			fmt.Fprintf(&b, "  and %d more; --limit 0 names them all\n", more)
		}
	}
	if p.Changes > 0 {
		fmt.Fprintf(&b, "\nChanges of the primary that nobody would miss: %d.\n", p.Changes)
	}
	if p.Stays > 0 {
		fmt.Fprintf(&b, "\nWhat only %s has stays there: %d.\n", p.Standby, p.Stays)
	}
	fmt.Fprintf(&b, "\nplan %s\n", p.ID)
	_, err := io.WriteString(w, b.String())
	return err
}

// planResume is what replication would do if it went on; nil = nothing that anybody has
// to be asked about.
func planResume(ctx context.Context, pair *config.Pair, view *scope.View, standby *cluster.Cluster, opts resumeOptions, release *role.Release, trip *role.Trip) (*resumePlan, error) {
	if release == nil && (trip == nil || !opts.accept) {
		return nil, nil
	}
	about, found := "", replica.Preview{}
	if release != nil {
		var err error
		if found, err = foretell(ctx, pair, view, standby, release); err != nil {
			return nil, err
		}
		about = release.Since.String()
	}
	if opts.resync { // which deletes nothing
		found.Effects = slices.DeleteFunc(found.Effects, func(e replica.Effect) bool { return e.What == replica.Deletes })
	}
	var losses []role.Loss
	if trip != nil && opts.accept {
		losses = slices.Concat(trip.Losses, trip.Along)
		about += " " + trip.At.String() // a trip stands for the objects that it has shown
	}
	plan := newResumePlan(pair.Standby.Name, found.Effects, about)
	plan.Changes, plan.Stays, plan.losses = found.New, found.Stays, losses
	return plan, nil
}

// foretell looks at both sides of a pair on whose standby objects were released.
func foretell(ctx context.Context, pair *config.Pair, view *scope.View, standby *cluster.Cluster, r *role.Release) (replica.Preview, error) {
	primary, err := dial(ctx, pair.Primary)
	if err != nil {
		return replica.Preview{}, &remedy.Error{Op: "resume", Code: remedy.Refused,
			Err:    fmt.Errorf("%s, and %s does not answer: nobody can say what replication would write over (%s)", r, pair.Primary.Name, oneLine(err)),
			Remedy: "there is nothing to replicate while it is gone: leave replication paused; when it answers, again: understudy resume"}
	}
	defer primary.Close()
	ctx, end := verify.Attend(ctx, 0, view.Scope.Prefix(), map[string]*clientv3.Client{"primary": primary.Client, "standby": standby.Client})
	defer end()
	found, err := replica.Foretell(ctx, primary, standby, view)
	if err == nil {
		return found, nil
	}
	if silent := context.Cause(ctx); errors.Is(silent, verify.ErrSilent) {
		err = silent
	}
	return found, &remedy.Error{Op: "look what replication would write over", Err: err, Remedy: cmp.Or(remedy.Of(err), "understudy status says which side does not answer"), Code: remedy.CodeOf(err)}
}

// agreed returns nil where somebody has agreed to the plan, and shows it to who has
// not. One that harms nothing needs no word.
func agreed(cmd *cobra.Command, opts resumeOptions, view *scope.View, plan *resumePlan, release *role.Release) error {
	if plan.harmless() {
		return nil
	}
	refuse := func(why string) error {
		again := "understudy resume"
		switch {
		case opts.accept:
			again += " --accept-deletes"
		case opts.resync:
			again += " --resync"
		}
		return &remedy.Error{Op: "resume", Err: errors.New(why + "; nothing was changed"), Code: remedy.Refused,
			Remedy: "if that is meant: " + again + " --plan " + plan.ID + " --yes"}
	}
	plan.group(view, opts.limit)
	show := func(why string) error {
		if err := opts.output.write(cmd.OutOrStdout(), plan); err != nil {
			return err
		}
		return refuse(why)
	}
	switch {
	case opts.plan != "" && opts.plan != plan.ID:
		return show("it would not do what plan " + opts.plan + " has shown any more, but what is shown above")
	case opts.plan != "" && opts.yes:
		return nil
	case opts.plan == "" && release != nil && release.PrimaryGone:
		return show("objects were released while the primary did not answer, so the standby may have taken over, and this would undo it")
	case opts.yes:
		return show("--yes goes with the ID of a plan that was shown")
	case !canAsk(cmd.InOrStdin()):
		return show("nobody has agreed to this, and there is no terminal to ask on")
	}
	if err := plan.writeTable(cmd.ErrOrStderr()); err != nil {
		return err
	}
	return confirm(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), "resume", "This changes "+plan.Standby+" as shown.", plan.Standby)
}
