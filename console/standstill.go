package console

import (
	"fmt"
	"strings"
	"time"
)

// Standstill is why nothing is replicated until a person has decided: objects were
// released, the breaker has stopped it, an order to pause, or several of them. The
// zero value is none.
type Standstill struct {
	Released *Released  `json:"released,omitempty"`
	Breaker  string     `json:"breaker,omitempty"`  // what the breaker saw and nobody has answered; "" = it has not tripped
	Tripped  *time.Time `json:"tripped,omitempty"`  // when, by the daemon's clock
	HeldBack []Loss     `json:"heldBack,omitempty"` // the deletions that it keeps from the standby
	Paused   *Pause     `json:"paused,omitempty"`
	Answer   string     `json:"-"` // what to do about the breaker
}

// Pause is an order to replicate nothing.
type Pause struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Released is what was released from its hold, and nobody has said since whether
// replication may hold it again.
type Released struct {
	Objects     int64     `json:"objects"` // that are released now; 0 = all are held again
	Since       time.Time `json:"since"`
	By          string    `json:"by,omitempty"`
	PrimaryGone bool      `json:"primaryGone"` // it did not answer then
	Text        string    `json:"-"`
	Next        string    `json:"-"`
}

// Loss is what the primary deletes of one resource.
type Loss struct {
	Resource string   `json:"resource"`
	Deleted  int64    `json:"deleted"`
	Of       int64    `json:"of"`
	Applied  int64    `json:"applied"`         // of the deleted: gone from the standby already
	Named    int      `json:"named"`           // how many of those that the standby still has were recorded by name
	Objects  []Object `json:"objects"`         // the first of them
	Gone     []Object `json:"gone,omitempty"`  // the first of the applied
	Along    bool     `json:"along,omitempty"` // not too much by itself: it goes with the others
}

// Object is one, for people and for etcd.
type Object struct {
	Object string `json:"object"` // "Machine prod/worker-1"
	Key    string `json:"key"`
}

// left is how many of them the standby still has.
func (l Loss) left() int64 { return l.Deleted - l.Applied }

// What a pause needs that stands beside something else.
const (
	answerEndsPause  = "nothing more: the answer to the breaker ends the pause as well"
	releaseEndsPause = "leave it so until that is decided"
)

// reasons are what to decide, in the order in which it is done.
func (s Standstill) reasons(now time.Time) (out []Reason) {
	for _, r := range []struct {
		rule  string
		judge func(time.Time) (text, next string)
	}{{"released", s.judgeReleased}, {"breaker", s.judgeBreaker}, {"paused", s.judgePause}} {
		if text, next := r.judge(now); text != "" {
			out = append(out, Reason{AtRisk, r.rule, text, next})
		}
	}
	return out
}

func (s Standstill) judgeReleased(time.Time) (text, next string) {
	if s.Released == nil {
		return "", ""
	}
	return s.Released.Text, s.Released.Next
}

func (s Standstill) judgeBreaker(time.Time) (text, next string) {
	if s.Breaker == "" {
		return "", ""
	}
	return "the breaker has stopped replication: " + s.Breaker, s.Answer
}

func (s Standstill) judgePause(now time.Time) (text, next string) {
	if s.Paused == nil {
		return "", ""
	}
	text = "replication is paused"
	if !s.Paused.Since.IsZero() {
		text += " for " + age(now.Sub(s.Paused.Since))
	}
	if s.Paused.Reason != "" {
		text += ": " + s.Paused.Reason
	}
	switch {
	case s.Released != nil:
		return text, releaseEndsPause
	case s.Breaker != "":
		return text, answerEndsPause
	}
	return text, "understudy resume"
}

// stands reports whether anything does.
func (s Standstill) stands() bool { return s.Released != nil || s.Breaker != "" || s.Paused != nil }

// Notes say it for the outcome of another command: each with what to do.
func (s Standstill) Notes(now time.Time) (out []string) {
	for _, r := range s.reasons(now) {
		note := r.Text
		if r.Next != "" {
			note += "; next: " + r.Next
		}
		out = append(out, note)
	}
	return out
}

// How many objects of one resource the screen of status names, and of how many
// resources.
const (
	objectsShown = 3
	lossesShown  = 4
)

// heldBack names the first objects that the breaker keeps on the standby.
func (b *screen) heldBack(losses []Loss) {
	name := "held back"
	for i, l := range losses {
		if i == lossesShown {
			b.row("", fmt.Sprintf("and of %d other resources", len(losses)-i))
			break
		}
		b.row(name, number(l.left())+" "+l.Resource+":")
		name = ""
		shown := l.Objects[:min(len(l.Objects), objectsShown)]
		for _, o := range shown {
			b.row("", o.Object)
		}
		if more := l.left() - int64(len(shown)); more > 0 {
			b.row("", "and "+number(more)+" more")
		}
	}
	if len(losses) > 0 {
		b.row("", "understudy check names them")
	}
}

// Limited lists at most limit objects of each resource; 0 = all that were recorded.
func (s Standstill) Limited(limit int) Standstill {
	losses := s.HeldBack
	s.HeldBack = nil
	for _, l := range losses {
		if limit > 0 {
			l.Objects, l.Gone = l.Objects[:min(len(l.Objects), limit)], l.Gone[:min(len(l.Gone), limit)]
		}
		s.HeldBack = append(s.HeldBack, l)
	}
	return s
}

// write lists what the breaker holds back.
func (s Standstill) write(b *strings.Builder) {
	for _, l := range s.HeldBack {
		if l.Applied > 0 {
			fmt.Fprintf(b, "\n%s %s gone before it stopped: the standby has them no more\n", number(l.Applied), l.Resource)
			for _, o := range l.Gone {
				fmt.Fprintf(b, "  %s  %s\n", o.Object, o.Key)
			}
			if more := l.Applied - int64(len(l.Gone)); more > 0 && len(l.Gone) > 0 {
				fmt.Fprintf(b, "  and %s more\n", number(more))
			}
		}
		if l.left() == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s %s held back: the primary deletes them, the standby still has them\n", number(l.left()), l.Resource)
		for _, o := range l.Objects {
			fmt.Fprintf(b, "  %s  %s\n", o.Object, o.Key)
		}
		switch more := l.left() - int64(len(l.Objects)); {
		case more <= 0:
		case len(l.Objects) < l.Named:
			fmt.Fprintf(b, "  and %s more; --limit 0 lists them\n", number(more))
		default:
			fmt.Fprintf(b, "  and %s more, which were counted, not recorded by name\n", number(more))
		}
	}
}
