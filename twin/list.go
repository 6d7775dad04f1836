// Package twin is about objects of the standby's own under names that the
// primary uses too: each of two clusters has installed the same platform.
//
// It says what they are and proposes who keeps what. It decides by what both
// sides have stored, reads and writes nothing, and is pure. Whether an object of
// the standby came from the primary once, it cannot tell; who calls it does.
package twin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// Place is one resource in one namespace; "" = cluster-scoped.
type Place struct{ Namespace, Resource string }

func (p Place) compare(o Place) int {
	return cmp.Or(cmp.Compare(p.Namespace, o.Namespace), cmp.Compare(p.Resource, o.Resource))
}

// Workload is a workload of the standby's own that runs.
type Workload struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Runs      string `json:"runs"`           // "2 of 3 ready", "3 Pods"
	Part      string `json:"part,omitempty"` // of the platform: "CNI (Calico)"; "" = nothing known
}

func (w Workload) String() string {
	text := fmt.Sprintf("%s %s/%s (%s", w.Kind, w.Namespace, w.Name, w.Runs)
	if w.Part != "" {
		text += ", " + w.Part
	}
	return text + ")"
}

// List counts twins as they are found. The zero List is empty.
type List struct {
	Count     int64
	places    map[Place]int64
	running   int64
	workloads []Workload // the first of them, in key order
}

const (
	// maxWorkloads bounds what a List names, maxNamespaces and maxResources what
	// its text counts one by one.
	maxWorkloads  = 20
	maxNamespaces = 12
	maxResources  = 6
)

// Add takes in what the standby has at a key.
func (l *List) Add(k registry.Key, standby scope.Object) {
	if l.places == nil {
		l.places = map[Place]int64{}
	}
	l.Count++
	l.places[Place{k.Namespace, k.GroupResource()}]++
	w, runs := WorkloadOf(k, standby.Plain)
	if !runs {
		return
	}
	if l.running++; len(l.workloads) < maxWorkloads {
		l.workloads = append(l.workloads, w)
	}
}

// Text says what was found, a line for each namespace.
func (l *List) Text() string {
	var b strings.Builder
	for i, w := range l.workloads {
		if i == 0 {
			b.WriteString("running there:")
		}
		fmt.Fprintf(&b, "\n  %s", w)
	}
	if more := l.running - int64(len(l.workloads)); more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	if l.running > 0 {
		b.WriteString("\n")
	}
	b.WriteString("in all:")
	byNamespace := map[string][]Place{}
	for _, p := range slices.SortedFunc(maps.Keys(l.places), Place.compare) {
		byNamespace[p.Namespace] = append(byNamespace[p.Namespace], p)
	}
	for i, namespace := range slices.Sorted(maps.Keys(byNamespace)) {
		if i == maxNamespaces {
			fmt.Fprintf(&b, "\n  and in %d more namespaces", len(byNamespace)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s: %s", cmp.Or(namespace, "in no namespace"), l.counts(byNamespace[namespace]))
	}
	return b.String()
}

// counts are the largest of some places.
func (l *List) counts(places []Place) string {
	slices.SortStableFunc(places, func(a, b Place) int { return cmp.Compare(l.places[b], l.places[a]) })
	var parts []string
	for i, p := range places {
		if i == maxResources {
			parts = append(parts, fmt.Sprintf("and %d more resources", len(places)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%d %s", l.places[p], p.Resource))
	}
	return strings.Join(parts, ", ")
}
