package console

import (
	"fmt"
	"strings"
	"time"
)

// Drift is what others did to keys in scope on the standby, as a daemon counted
// it since it started.
type Drift struct {
	Deleted  int64      `json:"deleted"`
	Changed  int64      `json:"changed"`
	Created  int64      `json:"created"` // the primary does not have them
	Repaired int64      `json:"repaired"`
	Pending  int64      `json:"pending"`            // keys that wait to be compared with the primary and repaired
	Unnoted  int64      `json:"unnoted,omitempty"`  // harmed keys beyond those that could be noted down
	Flapping []Incident `json:"flapping,omitempty"` // keys that are harmed again and again, and no longer repaired
	Recent   []Incident `json:"recent,omitempty"`   // the newest first
}

// Incident is one write of somebody else's.
type Incident struct {
	What      string    `json:"what"` // "deleted", "changed" or "created"
	Marked    bool      `json:"marked,omitempty"`
	Kind      string    `json:"kind,omitempty"`
	Resource  string    `json:"resource,omitempty"` // plural.group
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name,omitempty"`
	Key       string    `json:"key"`
	When      time.Time `json:"when"`
	By        string    `json:"by"`      // who probably did it
	Outcome   string    `json:"outcome"` // "reported", "pending", "repaired", "superseded", "stopped" or "failed"
}

// shownIncidents is how many incidents the screen lists.
const shownIncidents = 3

// any reports whether there is anything to tell.
func (d *Drift) any() bool {
	return d != nil && d.Deleted+d.Changed+d.Created+d.Repaired+d.Pending+d.Unnoted+int64(len(d.Flapping)) > 0
}

func (d *Drift) line() string {
	text := fmt.Sprintf("%s deleted, %s changed, %s created by others since the daemon started; %s repaired, %s pending",
		number(d.Deleted), number(d.Changed), number(d.Created), number(d.Repaired), number(d.Pending))
	if d.Unnoted > 0 {
		text += fmt.Sprintf("; %s more were deleted than can be repaired by itself", number(d.Unnoted))
	}
	return text
}

// object names it for people.
func (i Incident) object() string {
	if i.Name == "" {
		return i.Key
	}
	return i.Kind + " " + strings.TrimPrefix(i.Namespace+"/"+i.Name, "/")
}

func (i Incident) line(now time.Time) string {
	what := i.What
	if i.Marked {
		what = "marked for deletion"
	}
	return fmt.Sprintf("%s ago: %s %s, %s, %s", age(now.Sub(i.When)), i.object(), what, i.who(), i.Outcome)
}

// drift is what the daemon tells of it lately; nil = nothing is known.
func (f Facts) drift() *Drift {
	if !f.speaks() {
		return nil
	}
	return f.Report.Drift
}

// judgeFlapping: what is harmed again and again is at risk, whether or not it
// stands at this moment.
func judgeFlapping(f Facts) (text, next string) {
	d := f.drift()
	if d == nil || len(d.Flapping) == 0 {
		return "", ""
	}
	i := d.Flapping[0]
	text = fmt.Sprintf("%s is %s on the standby again and again, %s; it is no longer repaired", i.object(), i.What, i.who())
	if n := len(d.Flapping); n > 1 {
		text = fmt.Sprintf("%d keys are harmed on the standby again and again and are no longer repaired, such as %s, %s", n, i.object(), i.who())
	}
	return text, "stop who does it, then: understudy repair --apply"
}

func (b *screen) drift(d *Drift, now time.Time) {
	if !d.any() {
		return
	}
	b.row("drift", d.line())
	for i, incident := range d.Recent {
		if i == shownIncidents {
			break
		}
		b.row("", incident.line(now))
	}
}

// write is what a check says of it.
func (d *Drift) write(b *strings.Builder) {
	if !d.any() {
		return
	}
	fmt.Fprintf(b, "drift: %s\n", d.line())
	for _, i := range d.Flapping {
		fmt.Fprintf(b, "no longer repaired: %s  %s, %s again and again, %s\n", i.object(), i.Key, i.What, i.who())
	}
}

// who did it, as far as anything tells.
func (i Incident) who() string {
	if i.By == "" || i.By == "unknown" {
		return "nothing tells by whom"
	}
	return "probably by " + i.By
}
