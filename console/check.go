package console

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/kv"
)

// The outcomes of a comparison.
const (
	Consistent   = "consistent"
	Inconsistent = "inconsistent"
	Unknown      = "unknown"
)

// Keys are keys that differ in one way: how many, and the first of them.
type Keys struct {
	Count int64    `json:"count"`
	Keys  []string `json:"keys"`
}

// Resource counts the keys of one resource on the primary.
type Resource struct {
	Replicated        int64 `json:"replicated"`
	Excluded          int64 `json:"excluded"`
	OwnersLeftOut     int64 `json:"ownersLeftOut"`     // of the excluded: because all their owners are
	ReferencesDropped int64 `json:"referencesDropped"` // of the replicated: to owners that are excluded
}

// Check is the outcome of a comparison of both sides. Its JSON is a contract.
type Check struct {
	Verdict         string      `json:"verdict"`
	Reason          string      `json:"reason,omitempty"` // why it is unknown
	Remedy          string      `json:"remedy,omitempty"` // the next command
	SourceRevision  kv.Revision `json:"sourceRevision"`
	StandbyRevision kv.Revision `json:"standbyRevision"`
	Compared        int64       `json:"compared"`
	Missed          Keys        `json:"missed"`
	Surplus         Keys        `json:"surplus"`
	Differing       Keys        `json:"differing"`
	Undecodable     Keys        `json:"undecodable"`
	Conflict        Keys        `json:"conflict"` // the standby has an object of its own there, which stays until somebody decides
	// OtherVersion are objects that the sides store in two versions of the API, and
	// that nobody here can compare: no difference, and not known to be equal.
	OtherVersion Keys `json:"otherVersion"`
	// ByResource counts the differing keys, the unlisted as well, by resource and
	// kind; not in a live answer.
	ByResource map[string]map[string]int64 `json:"byResource,omitempty"`
	// Why says what is wrong with the undecodable keys that are listed, and in which
	// versions those of another one are stored.
	Why map[string]string `json:"why,omitempty"`
	// Fields says for the differing keys that are listed in which fields, the primary's
	// value first: "spec.replicas: 3 → 1". Of a Secret without values. Not in a live answer.
	Fields map[string][]string `json:"fields,omitempty"`
	// Opaque counts the encrypted values that are equal as bytes, while no
	// configuration says whether the standby can read them.
	Opaque int64 `json:"opaque"`
	// Pending counts keys that others wrote on the standby and that are yet to
	// be compared; in a live answer only.
	Pending     int64               `json:"pending,omitempty"`
	Drift       *Drift              `json:"drift,omitempty"` // in a live answer only
	Asked       *time.Time          `json:"asked,omitempty"` // in a live answer only: the differences are of that moment, all else of Time
	Standstill                      // why nothing is replicated: the comparison is that of the checkpoint
	Notes       []string            `json:"notes,omitempty"`
	Time        time.Time           `json:"time"` // when the full comparison began
	TookSeconds float64             `json:"tookSeconds"`
	Scope       map[string]Resource `json:"scope,omitempty"`
}

// Summary is a Check without its keys.
type Summary struct {
	Verdict         string      `json:"verdict"`
	Reason          string      `json:"reason,omitempty"`
	Time            time.Time   `json:"time"`
	SourceRevision  kv.Revision `json:"sourceRevision"`
	StandbyRevision kv.Revision `json:"standbyRevision"`
	Compared        int64       `json:"compared"`
	Missed          int64       `json:"missed"`
	Surplus         int64       `json:"surplus"`
	Differing       int64       `json:"differing"`
	Undecodable     int64       `json:"undecodable"`
	Conflict        int64       `json:"conflict"`
	OtherVersion    int64       `json:"otherVersion,omitempty"`
	Opaque          int64       `json:"opaque"`
	TookSeconds     float64     `json:"tookSeconds"`
}

// Summary leaves the keys out.
func (c Check) Summary() *Summary {
	return &Summary{
		Verdict: c.Verdict, Reason: c.Reason, Time: c.Time, SourceRevision: c.SourceRevision, StandbyRevision: c.StandbyRevision,
		Compared: c.Compared, Missed: c.Missed.Count, Surplus: c.Surplus.Count, Differing: c.Differing.Count,
		Undecodable: c.Undecodable.Count, Conflict: c.Conflict.Count, OtherVersion: c.OtherVersion.Count, Opaque: c.Opaque, TookSeconds: c.TookSeconds,
	}
}

// Differences is how many keys differ, in any way but for conflicts.
func (s Summary) Differences() int64 { return s.Missed + s.Surplus + s.Differing + s.Undecodable }

func (s Summary) differences() string {
	var parts []string
	for _, p := range []struct {
		n    int64
		kind string
	}{{s.Missed, "missed"}, {s.Surplus, "surplus"}, {s.Differing, "differing"}, {s.Undecodable, "undecodable"}, {s.Conflict, "in conflict"}} {
		if p.n > 0 {
			parts = append(parts, number(p.n)+" "+p.kind)
		}
	}
	if len(parts) == 0 {
		return "nothing differs"
	}
	return strings.Join(parts, ", ")
}

// As is the check of a pair that may stand still. Equal as of a checkpoint that
// does not move is not consistent: nobody knows how far the primary has gone.
func (c Check) As(s Standstill) Check {
	c.Standstill = s
	if c.Verdict == Consistent && s.stands() {
		c.Verdict, c.Reason = Unknown, equalThen
	}
	return c
}

// equalThen is all that can be said of a pair that stands still.
const equalThen = "nothing differs as of the checkpoint, which does not move: what the primary has written since is not on the standby"

// StandsStill reports whether the standby equals the primary, as of a checkpoint
// that does not move.
func (c Check) StandsStill() bool { return c.Verdict == Unknown && c.Reason == equalThen }

// next is the command for what was found.
func (c Check) next() string {
	switch {
	case c.Remedy != "":
		return c.Remedy
	case c.Released != nil, c.StandsStill(): // a repair would hold again what was released
		return ""
	case c.Surplus.Count > 0:
		return "understudy repair shows what would be written, and what DELETED; understudy repair --apply does it"
	case c.Missed.Count+c.Differing.Count > 0:
		return "understudy repair shows what would be written; understudy repair --apply writes it"
	case c.Undecodable.Count > 0:
		return "compare both sides' encryption in the configuration with what their API servers run with; a torn value is written again by: understudy repair --apply; it leaves what only the standby has: look at it, then delete the key there with etcdctl"
	case c.OtherVersion.Count > 0:
		return c.rewrite()
	case c.Verdict == Unknown:
		return "understudy status"
	}
	return ""
}

// remedies are what to do, in that order.
func (c Check) remedies(now time.Time) (out []string) {
	for _, r := range c.reasons(now) {
		out = append(out, r.Next)
	}
	if next := c.next(); next != "" {
		out = append(out, next)
	}
	if c.Conflict.Count > 0 {
		out = append(out, "for what is in conflict: "+decideTwins)
	}
	return out
}

// Advised is the check with all that is to be done in its one field, for JSON.
func (c Check) Advised() Check {
	c.Remedy = strings.Join(c.remedies(c.Time), "; then: ")
	return c
}

// decideTwins is what to do about objects of the standby's own.
const decideTwins = "understudy scope propose --write proposed.yaml; read it, then restart understudy sync with it"

// writeVerdict says what was found, and when that was.
func (c Check) writeVerdict(b *strings.Builder) {
	as := ""
	if c.stands() {
		as = " as of the checkpoint"
	}
	counted := number(c.Compared) + " keys compared"
	switch {
	case c.Verdict == Consistent && c.Asked != nil:
		b.WriteString("consistent: nothing differs now\n")
	case c.Verdict == Consistent:
		fmt.Fprintf(b, "consistent: %s keys in scope are equal\n", number(c.Compared))
	case c.Verdict == Inconsistent && c.Asked != nil:
		fmt.Fprintf(b, "inconsistent%s: %s now\n", as, c.Summary().differences())
	case c.Verdict == Inconsistent:
		fmt.Fprintf(b, "inconsistent%s: %s; %s\n", as, c.Summary().differences(), counted)
	default:
		fmt.Fprintf(b, "unknown: %s\n", c.Reason)
	}
	switch {
	case c.SourceRevision == 0:
	case c.Asked != nil:
		fmt.Fprintf(b, "last full check %s ago: %s, primary at revision %d, standby at revision %d, %.1f s\n",
			age(c.Asked.Sub(c.Time)), counted, c.SourceRevision, c.StandbyRevision, c.TookSeconds)
	default:
		fmt.Fprintf(b, "compared as of the primary's revision %d and the standby's %d, %.1f s\n", c.SourceRevision, c.StandbyRevision, c.TookSeconds)
	}
}

// Describe names the object of a key for people, "ConfigMap prod/app"; it
// returns "" for a key that belongs to no object.
type Describe func(key string) string

// WriteText writes the outcome for people: a line, the keys, the remedy.
func (c Check) WriteText(w io.Writer, describe Describe) error {
	var b strings.Builder
	now := c.Time
	if c.Asked != nil {
		now = *c.Asked
	}
	for _, r := range c.reasons(now) {
		fmt.Fprintf(&b, "%s\n", r.Text)
	}
	c.writeVerdict(&b)
	c.writeKeys(&b, describe)
	c.Standstill.write(&b)
	if c.Opaque > 0 {
		fmt.Fprintf(&b, "note: %s encrypted values are equal as bytes; without encryption: in the configuration nobody can tell whether the standby reads them\n", number(c.Opaque))
	}
	c.Drift.write(&b)
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	for _, next := range c.remedies(now) {
		fmt.Fprintf(&b, "remedy: %s\n", next)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c Check) writeKeys(b *strings.Builder, describe Describe) {
	for _, kind := range []struct {
		Keys
		name, title string
	}{
		{c.Missed, "missed", "the primary has them, the standby does not"},
		{c.Surplus, "surplus", "the standby has them, the primary does not"},
		{c.Differing, "differing", "the primary's value → the standby's"},
		{c.Undecodable, "undecodable", "a value cannot be read"},
		{c.Conflict, "conflict", "the standby has an object of its own there, which stays; the primary's is not replicated"},
		{c.OtherVersion, "other version", "stored in another version of the API on each side, and not compared"},
	} {
		if kind.Count == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s %s: %s\n", number(kind.Count), kind.name, kind.title)
		if line := CountsLine(c.resources(kind.name)); line != "" && kind.Count > 1 {
			fmt.Fprintf(b, "  in all %s\n", line)
		}
		for _, key := range kind.Keys.Keys {
			name := describe(key)
			if name == "" {
				name = "key"
			}
			fmt.Fprintf(b, "  %s  %s\n", name, key)
			if why := c.Why[key]; why != "" {
				fmt.Fprintf(b, "      %s\n", why)
			}
			for _, field := range c.Fields[key] {
				fmt.Fprintf(b, "      %s\n", field)
			}
		}
		if more := kind.Count - int64(len(kind.Keys.Keys)); more > 0 && len(kind.Keys.Keys) > 0 {
			fmt.Fprintf(b, "  and %s more; --limit 0 lists them all\n", number(more))
		}
	}
	if c.Summary().Differences()+c.Conflict.Count+c.OtherVersion.Count > 0 {
		b.WriteString("\n")
	}
}

// resources counts the keys of one kind.
func (c Check) resources(kind string) map[string]int64 {
	counts := map[string]int64{}
	for resource, kinds := range c.ByResource {
		if n := kinds[kind]; n > 0 {
			counts[resource] = n
		}
	}
	return counts
}

// number writes n with a comma between thousands.
func number(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
