package console

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/kv"
)

// Severity says what a finding means for a promotion.
type Severity string

// The severities, the worst first.
const (
	Red    Severity = "red"    // a promotion now would do harm
	Yellow Severity = "yellow" // look first
	Info   Severity = "info"
)

// SimulatedObject is one object that a finding is about.
type SimulatedObject struct {
	Key    string `json:"key"`
	Object string `json:"object,omitempty"` // "Machine prod/worker-1"
	Why    string `json:"why,omitempty"`
	// Replicated: in scope. Otherwise it is the standby's own.
	Replicated bool `json:"replicated"`
}

// Finding is all objects with one problem and one severity.
type Finding struct {
	Finding    string            `json:"finding"` // "garbage-collected"; docs/simulate.md explains each
	Severity   Severity          `json:"severity"`
	Title      string            `json:"title"`
	Remedy     string            `json:"remedy,omitempty"`
	Count      int64             `json:"count"`
	Replicated int64             `json:"replicated"` // how many of them are in scope
	Resources  map[string]int64  `json:"resources,omitempty"`
	Objects    []SimulatedObject `json:"objects"` // the first of them
}

// Simulation is what a promotion would do. Its JSON is a contract.
type Simulation struct {
	Verdict         Severity    `json:"verdict"` // "green" where nothing red or yellow was found
	Standby         string      `json:"standby"`
	ClusterID       string      `json:"clusterID"`
	StandbyRevision kv.Revision `json:"standbyRevision"`
	Checkpoint      *Checkpoint `json:"checkpoint"`
	Objects         int64       `json:"objects"`
	Replicated      int64       `json:"replicated"` // how many of them are in scope
	Findings        []Finding   `json:"findings"`
	Notes           []string    `json:"notes"`
	Time            time.Time   `json:"time"`
	TookSeconds     float64     `json:"tookSeconds"`
}

// Green is the verdict where nothing speaks against a promotion.
const Green Severity = "green"

var verdictTexts = map[Severity]string{
	Red:    "red: a promotion now would do harm",
	Yellow: "yellow: look at the findings before a promotion",
	Green:  "green: nothing was found that speaks against a promotion",
}

// Conclude sets the verdict.
func (s *Simulation) Conclude() {
	s.Verdict = Green
	for _, f := range s.Findings {
		if f.Severity == Red || f.Severity == Yellow && s.Verdict == Green {
			s.Verdict = f.Severity
		}
	}
}

// WriteText writes the outcome for people: the verdict, the findings, the notes.
func (s Simulation) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, verdictTexts[s.Verdict])
	fmt.Fprintf(&b, "%s at revision %d: %s objects, %s of them replicated, %.1f s\n", s.Standby, s.StandbyRevision, number(s.Objects), number(s.Replicated), s.TookSeconds)
	if c := s.Checkpoint; c != nil {
		fmt.Fprintf(&b, "checkpoint: revision %d of the primary, written %s ago\n", c.SourceRevision, age(s.Time.Sub(c.Time)))
	}
	for _, f := range s.Findings {
		f.writeText(&b)
	}
	if len(s.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f Finding) writeText(b *strings.Builder) {
	fmt.Fprintf(b, "\n%-6s  %s %s  [%s]\n", strings.ToUpper(string(f.Severity)), number(f.Count), f.Title, f.Finding)
	if line := f.resourcesLine(); line != "" {
		fmt.Fprintf(b, "        %s\n", line)
	}
	for _, o := range f.Objects {
		own := ""
		if !o.Replicated {
			own = "  (the standby's own)"
		}
		name := ""
		if o.Object != "" {
			name = o.Object + "  "
		}
		fmt.Fprintf(b, "  %s%s%s\n", name, o.Key, own)
		if o.Why != "" {
			fmt.Fprintf(b, "      %s\n", o.Why)
		}
	}
	if more := f.Count - int64(len(f.Objects)); more > 0 {
		fmt.Fprintf(b, "  and %s more; --limit 0 lists them all\n", number(more))
	}
	if f.Remedy != "" {
		fmt.Fprintf(b, "  remedy: %s\n", f.Remedy)
	}
}

// resourcesLine counts by resource, where there is more than one object:
// "1,000 machines.cluster.x-k8s.io, 4 secrets; 3 of them the standby's own".
func (f Finding) resourcesLine() string {
	if f.Count < 2 || len(f.Resources) == 0 {
		return ""
	}
	line := CountsLine(f.Resources)
	if own := f.Count - f.Replicated; own > 0 {
		line += fmt.Sprintf("; %s of them the standby's own", number(own))
	}
	return line
}

// CountsLine writes counts by resource, the largest first: "1,000
// machines.cluster.x-k8s.io, 4 secrets".
func CountsLine(counts map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var parts []string
	for i, name := range names {
		if i == shownResources && len(names) > shownResources+1 {
			parts = append(parts, fmt.Sprintf("and of %d other resources", len(names)-i))
			break
		}
		parts = append(parts, number(counts[name])+" "+name)
	}
	return strings.Join(parts, ", ")
}
