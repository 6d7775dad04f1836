package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/hold"
)

// holdReport is what is held and, after release and apply, what became of it.
type holdReport struct {
	Standby string      `json:"standby"`
	Cluster string      `json:"cluster,omitempty"` // that the list is restricted to
	Action  string      `json:"action"`            // list, release, apply
	Count   int         `json:"count"`
	Changed int         `json:"changed"` // how many of them somebody has changed or deleted, or cannot be read
	Items   []hold.Item `json:"items"`   // cut off at --limit
	Stay    []hold.Item `json:"stay"`    // describe the primary itself, and are not released unless they are named
	Others  int64       `json:"others"`  // held objects besides, where the list is restricted to a Cluster
	// Resources counts them all.
	Resources map[string]int64 `json:"resources"`
	// Workloads of the standby's own that are kept at zero; not those of a Cluster.
	Workloads []hold.Workload `json:"workloads"`
	Outcome   *hold.Outcome   `json:"outcome,omitempty"` // of the objects
	Scaled    *hold.Outcome   `json:"scaled,omitempty"`  // of the workloads

	describe func(key string) string
	stay     bool // workloads are configured, and this is about one Cluster
}

func newHoldReport(h holder, action string, items []hold.Item, workloads []hold.Workload) holdReport {
	r := holdReport{Workloads: append([]hold.Workload{}, workloads...), Standby: h.pair.Standby.Name, Cluster: h.opts.cluster, Action: action, Count: len(items), describe: describer(h.view)}
	r.Stay = []hold.Item{}
	r.stay = r.Cluster != "" && len(h.pair.Hold.Workloads) > 0
	r.Resources = map[string]int64{}
	for _, i := range items {
		if k, ok := h.view.Scope.Parse(i.Key); ok {
			r.Resources[k.GroupResource()]++
		}
		if i.State != hold.Held && i.State != "" {
			r.Changed++
		}
	}
	if h.opts.limit > 0 && len(items) > h.opts.limit {
		items = items[:h.opts.limit]
	}
	r.Items = append([]hold.Item{}, items...)
	return r
}

func (r holdReport) writeTable(w io.Writer) error {
	var b strings.Builder
	if r.Outcome == nil {
		r.writeList(&b)
	} else {
		r.writeOutcome(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r holdReport) writeList(b *strings.Builder) {
	if r.Count+len(r.Workloads) == 0 {
		switch {
		case r.Cluster != "":
			fmt.Fprintf(b, "nothing of %s is held on %s; %d other objects are\n", r.Cluster, r.Standby, r.Others)
		default:
			b.WriteString("nothing is held on " + r.Standby + "\n")
		}
		return
	}
	for _, i := range r.Items {
		since := "unknown"
		if i.Since != nil {
			since = i.Since.Local().Format(time.DateTime)
		}
		what := strings.Join(i.Patch, ", ")
		if what == "" {
			what = "no longer held by the configuration: the next sync releases it"
		}
		fmt.Fprintf(b, "%-10s  %-20s  %s  %s\n", i.State, since, r.describe(i.Key), what)
		for _, why := range []string{i.Why, i.Self} {
			if why != "" {
				fmt.Fprintf(b, "            %s\n", why)
			}
		}
	}
	for _, w := range r.Workloads {
		fmt.Fprintf(b, "%-10s  %-20s  Deployment %s/%s  shall have 0 replicas, had %d\n", w.State, w.Since.Local().Format(time.DateTime), w.Namespace, w.Name, w.Replicas)
		if w.Why != "" {
			fmt.Fprintf(b, "            %s\n", w.Why)
		}
	}
	if more := r.Count - len(r.Items); more > 0 {
		fmt.Fprintf(b, "and %d more; --limit 0 lists them all\n", more)
	}
	fmt.Fprintf(b, "\n%s held on %s", plural(r.Count, "object is", "objects are"), r.Standby)
	if line := console.CountsLine(r.Resources); line != "" {
		b.WriteString(": " + line)
	}
	if r.Others > 0 {
		fmt.Fprintf(b, "; %d others are not of %s", r.Others, r.Cluster)
	}
	if r.Changed > 0 {
		fmt.Fprintf(b, "; %d of them are no longer as they were written, and a release would leave them", r.Changed)
	}
	b.WriteString("\n")
}

func (r holdReport) writeOutcome(b *strings.Builder) {
	for _, l := range r.Outcome.Left {
		fmt.Fprintf(b, "left    %s  %s\n        %s\n", r.describe(l.Key), l.Key, l.Why)
	}
	if r.Scaled != nil {
		for _, l := range r.Scaled.Left {
			fmt.Fprintf(b, "left    %s\n        %s\n", l.Key, l.Why)
		}
		done := map[string]string{"apply": "scaled %d Deployments of its own to zero\n", "release": "scaled %d Deployments of its own back\n"}
		fmt.Fprintf(b, done[r.Action], r.Scaled.Done)
	}
	if r.Action == "apply" {
		fmt.Fprintf(b, "held %s on %s; %s left as they are\n", plural(r.Outcome.Done, "object", "objects"), r.Standby, plural(len(r.Outcome.Left), "is", "are"))
		return
	}
	fmt.Fprintf(b, "released %s on %s; %s left as they are\n", plural(r.Outcome.Done, "object", "objects"), r.Standby, plural(len(r.Outcome.Left), "is", "are"))
	r.writeStay(b)
	if r.stay {
		b.WriteString("Deployments that hold.workloads keeps at zero stay there: understudy hold release scales them back\n")
	}
	if len(r.Outcome.Left) > 0 {
		b.WriteString("what was changed there: understudy hold list; put it right with kubectl\n")
	}
	b.WriteString("replication waits from now on, until understudy resume has shown what it would hold again and write over, and somebody agrees\n")
}

// released says of each item what has become of it.
func (r *holdReport) released(outcome hold.Outcome) {
	left := map[string]string{}
	for _, l := range outcome.Left {
		left[l.Key] = l.Why
	}
	for i := range r.Items {
		item := &r.Items[i]
		if why, stays := left[item.Key]; stays {
			item.Why = why
		} else if item.State == hold.Held {
			item.State = hold.Released
		}
	}
}

// writeStay names what describes the primary itself, and how it is released all the same.
func (r holdReport) writeStay(b *strings.Builder) {
	hanging := 0
	for _, i := range r.Stay {
		if !i.IsSelf {
			hanging++
			continue
		}
		fmt.Fprintf(b, "stays held  %s\n            %s\n            to release it all the same: understudy hold release --self-managed %s\n",
			r.describe(i.Key), i.Self, strings.TrimPrefix(i.Namespace+"/"+i.Name, "/"))
	}
	if hanging > 0 {
		fmt.Fprintf(b, "stays held  %s on it\n", plural(hanging, "object that hangs", "objects that hang"))
	}
}
