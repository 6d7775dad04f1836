package console

import (
	"fmt"
	"strings"
	"time"
)

// Deletion is a run of deletions of one resource that reached the standby because the
// primary had deleted the objects: fewer than the breaker stops.
type Deletion struct {
	Resource string           `json:"resource,omitempty"`
	Cause    string           `json:"cause,omitempty"` // instead of a resource: a Namespace or a definition that takes others along
	Along    map[string]int64 `json:"along,omitempty"` // those, by resource
	Deleted  int64            `json:"deleted"`
	Of       int64            `json:"of,omitempty"` // that were there before; 0 = not known
	First    []string         `json:"first"`        // some of them
	At       time.Time        `json:"at"`
	Last     time.Time        `json:"last"`
}

// shownDeletions is how many runs the screen has room for.
const shownDeletions = 4

func (d Deletion) line(now time.Time) string {
	when := fmt.Sprintf(" at %s, %s ago: ", d.At.Local().Format(time.TimeOnly), age(now.Sub(d.At)))
	if d.Cause != "" {
		return d.Cause + when + CountsLine(d.Along) + " go along"
	}
	of := ""
	if d.Of > 0 {
		of = " of " + number(d.Of)
	}
	names := strings.Join(d.First, ", ")
	if more := d.Deleted - int64(len(d.First)); more > 0 {
		names += " and " + number(more) + " more"
	}
	return number(d.Deleted) + of + " " + d.Resource + when + names
}

// deletions lists what the primary has deleted lately, and the standby with it.
func (b *screen) deletions(all []Deletion, now time.Time) {
	name := "deleted"
	for i, d := range all {
		if i == shownDeletions {
			b.row("", fmt.Sprintf("and %d more times: -o json", len(all)-i))
			break
		}
		b.row(name, d.line(now))
		name = ""
	}
}
