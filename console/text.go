package console

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Style is how a Status is written for people.
type Style struct {
	// Color allows the verdict to have one.
	Color bool
	// Columns and Lines are the terminal's, where all has to be seen at once;
	// 0 = 80 columns, and as many lines as it takes.
	Columns, Lines int
}

// columns is how long a line may get.
func (s Style) columns() int {
	if s.Columns == 0 {
		return width
	}
	return max(60, min(s.Columns, width))
}

const (
	// width is that of the screen: no line is longer, nor where the terminal is wider.
	width = 80
	// label is the width of the left column.
	label = 12
	// shownResources is how many resources the screen lists by themselves.
	shownResources = 6
)

var colors = map[Verdict]string{
	Split: "\x1b[1;31m", AtRisk: "\x1b[1;31m", OperationRunning: "\x1b[1;36m",
	Unverified: "\x1b[1;33m", Lagging: "\x1b[1;33m", Protected: "\x1b[1;32m",
}

// screen collects lines of at most columns characters.
type screen struct {
	strings.Builder
	columns int
}

// WriteText writes the status as one screen: the verdict, why it is not better and
// what to do, then what it was judged by. What a low terminal has no room for is
// left out at the end, and counted.
func (s Status) WriteText(w io.Writer, style Style) error {
	b := screen{columns: style.columns()}
	verdict := string(s.Verdict)
	head := fmt.Sprintf("%-*s%s", b.columns-19-len(verdict), "  "+cut(s.Pair, b.columns-40), s.Time.Format("2006-01-02 15:04:05"))
	if style.Color {
		verdict = colors[s.Verdict] + verdict + "\x1b[0m"
	}
	b.WriteString(verdict + head + "\n\n")
	b.reasons(s.Reasons)

	b.row("primary", s.Primary.line())
	b.row("standby", s.Standby.line())
	b.row("checkpoint", s.checkpointLine())
	b.row("lag", s.lagLine())
	b.row("floor", s.Floor.Text())
	if s.Held != nil && *s.Held > 0 {
		b.row("held", number(*s.Held)+" objects, inert until they are released: understudy hold list")
	}
	if r := s.Released; r != nil && r.Objects > 0 {
		b.row("released", number(r.Objects)+" objects since "+r.Since.Local().Format(time.DateTime)+": they act on "+s.Standby.Name)
	}
	b.row("daemon", s.daemonLine())
	if s.Operation != "" {
		b.row("operation", s.Operation)
	}
	b.row("last check", s.LastCheck.line(s.Time))
	if s.Live != nil {
		b.row("now", s.liveLine())
	}
	b.drift(s.Drift, s.Time)
	b.deletions(s.Deletions, s.Time)
	b.scope(s.Scope, s.counted())
	if text := s.LeftOut.Text(); text != "" {
		b.row("left out", text+": "+scopeList)
	}
	b.heldBack(s.HeldBack)
	for _, warning := range s.Warnings {
		b.row("warning", warning)
	}
	_, err := io.WriteString(w, fitting(b.String(), style.Lines, b.columns))
	return err
}

// fitting is text in at most n lines of a terminal, the cursor's own included; 0 = any
// number. A command that is longer than the terminal is wide takes several.
func fitting(text string, n, columns int) string {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	shown, rows := 0, 0
	for ; n >= 3 && shown < len(lines); shown++ {
		if rows += 1 + max(0, utf8.RuneCountInString(lines[shown])-2)/columns; rows > n-1 {
			break
		}
	}
	if n < 3 || shown == len(lines) {
		return text
	}
	shown = min(shown, n-2)
	return strings.Join(lines[:shown], "") + fmt.Sprintf("and %d more lines: understudy status\n", len(lines)-shown)
}

// row writes a label and a text, broken into lines where it is too long.
func (b *screen) row(name, text string) {
	for i, line := range wrap(text, b.columns-label) {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(b, "%-*s%s\n", label, name, line)
	}
}

func (b *screen) reasons(reasons []Reason) {
	for _, r := range reasons {
		b.row(string(r.Verdict), r.Text)
		if r.Next != "" {
			b.steps(strings.Repeat(" ", label), r.Next)
		}
	}
	if len(reasons) > 0 {
		b.WriteString("\n")
	}
}

// counted says when the scope's keys were.
func (s Status) counted() string {
	if s.ScopeTime == nil {
		return ""
	}
	return " (" + age(s.Time.Sub(*s.ScopeTime)) + " ago)"
}

func (b *screen) scope(scope map[string]Resource, counted string) {
	if len(scope) == 0 {
		b.row("scope", "unknown")
		return
	}
	var all Resource
	names := slices.Collect(maps.Keys(scope))
	for _, r := range scope {
		all.Replicated += r.Replicated
		all.Excluded += r.Excluded
		all.OwnersLeftOut += r.OwnersLeftOut
		all.ReferencesDropped += r.ReferencesDropped
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(scope[b].Replicated+scope[b].Excluded, scope[a].Replicated+scope[a].Excluded), cmp.Compare(a, b))
	})
	b.row("scope", fmt.Sprintf("%s keys of %d resources replicated, %s left out%s", number(all.Replicated), len(names), number(all.Excluded), counted))
	if all.OwnersLeftOut+all.ReferencesDropped > 0 {
		b.row("", fmt.Sprintf("%s of them with all their owners; %s owner references dropped", number(all.OwnersLeftOut), number(all.ReferencesDropped)))
	}
	for i, name := range names {
		if i == shownResources && len(names) > shownResources+1 {
			b.row("", fmt.Sprintf("and %d more: -o json", len(names)-i))
			break
		}
		r := scope[name]
		b.row("", fmt.Sprintf("%-*s %10s %10s out", b.columns-44, cut(name, b.columns-44), number(r.Replicated), number(r.Excluded)))
	}
}

func (s Side) line() string {
	name := fmt.Sprintf("%-16s ", cut(s.Name, 16))
	if !s.Reachable {
		return name + "unknown: " + cmp.Or(s.Error, "it does not answer")
	}
	return name + "revision " + cmp.Or(nonZero(int64(s.Revision)), "unknown") + "  cluster " + cmp.Or(s.ClusterID, "unknown")
}

func (s Status) checkpointLine() string {
	switch c := s.Checkpoint; {
	case c == nil && s.Standby.Reachable:
		return "none"
	case c == nil:
		return "unknown"
	case c.Phase != Streaming:
		return fmt.Sprintf("%s, of revision %s", c.Phase, number(int64(c.SourceRevision)))
	default:
		return fmt.Sprintf("revision %s of the primary, written %s ago", number(int64(c.SourceRevision)), age(s.Time.Sub(c.Time)))
	}
}

func (l Lag) line() string {
	if !l.known() {
		return "unknown"
	}
	return fmt.Sprintf("%s, %s revisions", age(time.Duration(*l.Seconds*float64(time.Second))), number(*l.Revisions))
}

func (s Status) lagLine() string {
	switch {
	case s.Lag.known() || !s.stands():
		return s.Lag.line()
	case s.Released != nil:
		return "unknown: objects are released, and replication waits"
	case s.Breaker != "":
		return "unknown: the breaker has stopped replication"
	}
	return "unknown: replication is paused"
}

func (s Status) daemonLine() string {
	line := s.Daemon.Leader + ", " + s.Daemon.State
	switch {
	case s.Daemon.Leader != "":
	case !s.Standby.Reachable:
		return "unknown"
	case s.Daemon.Speaker == "":
		return "none leads"
	default:
		line = "none leads; " + s.Daemon.Speaker + " said: " + s.Daemon.State
	}
	if s.Daemon.Since != nil {
		line += " for " + age(s.Time.Sub(*s.Daemon.Since))
	}
	return line
}

func (s *Summary) line(now time.Time) string {
	if s == nil {
		return "unknown"
	}
	when := age(now.Sub(s.Time)) + " ago"
	switch s.Verdict {
	case Consistent:
		return fmt.Sprintf("consistent, %s, at revision %s: %s keys in %.1f s", when, number(int64(s.SourceRevision)), number(s.Compared), s.TookSeconds)
	case Inconsistent:
		return fmt.Sprintf("inconsistent, %s, at revision %s: %s of %s keys", when, number(int64(s.SourceRevision)), s.differences(), number(s.Compared))
	}
	return fmt.Sprintf("unknown, %s: %s", when, s.Reason)
}

func (s Status) liveLine() string {
	switch {
	case s.Live.Verdict == Unknown:
		return "unknown: " + s.Live.Reason
	case s.stands():
		return s.Live.differences() + " as of the checkpoint; what the primary wrote since has not reached the standby"
	case s.Reported != nil:
		return s.Live.differences() + ", said " + age(s.Time.Sub(*s.Reported)) + " ago"
	}
	return s.Live.differences()
}

func nonZero(n int64) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-3]) + "..."
}

// wrap breaks text into lines of at most n characters, between words where it can.
func wrap(text string, n int) (lines []string) {
	if utf8.RuneCountInString(text) <= n && !strings.ContainsAny(text, "\n\t") {
		return []string{text}
	}
	line := ""
	for _, word := range strings.Fields(text) {
		for {
			room := n - utf8.RuneCountInString(line)
			if line != "" {
				room--
			}
			if utf8.RuneCountInString(word) <= room {
				break
			}
			if line != "" {
				lines, line = append(lines, line), ""
				continue
			}
			lines = append(lines, string([]rune(word)[:n]))
			word = string([]rune(word)[n:])
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}
