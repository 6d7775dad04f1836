package console

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
)

// PreflightChange is a check that came out otherwise than the last time.
type PreflightChange struct {
	Check string         `json:"check"`
	Was   PreflightState `json:"was,omitempty"` // "" = it was not made, or had nothing to say
	Is    PreflightState `json:"is,omitempty"`
	Text  string         `json:"text"` // what it says now; what it said, where it says nothing now
}

// Since adds to a preflight what has changed since an earlier one of the pair. It
// is pure.
func (p *Preflight) Since(before Preflight) {
	p.Before = &before.Time
	p.Changes = changesBetween(before, *p)
}

// changesBetween compares check by check: the worst of its states, and where that
// is the same, what there is to say against the pair. Measured numbers change all
// the time, and say nothing by themselves.
func changesBetween(before, now Preflight) (out []PreflightChange) {
	was, is := byCheck(before), byCheck(now)
	for _, check := range checksOf(now, before) {
		a, b := was[check], is[check]
		one := PreflightChange{Check: check, Was: worstOf(a), Is: worstOf(b)}
		if one.Was != one.Is {
			one.Text = textOf(b, one.Is)
			if one.Is == "" {
				one.Text = textOf(a, one.Was)
			}
			out = append(out, one)
			continue
		}
		for _, line := range b {
			same := func(old PreflightLine) bool {
				return old.State == line.State && wordsOf(old.Text) == wordsOf(line.Text)
			}
			if line.State != CheckOK && line.State != NotApplicable && !slices.ContainsFunc(a, same) {
				one.Text = line.Text
				out = append(out, one)
			}
		}
	}
	return out
}

func byCheck(p Preflight) map[string][]PreflightLine {
	out := map[string][]PreflightLine{}
	for _, line := range p.Lines {
		out[line.Check] = append(out[line.Check], line)
	}
	return out
}

// checksOf are the names of all checks, in the order of the lines.
func checksOf(all ...Preflight) (names []string) {
	for _, p := range all {
		for _, line := range p.Lines {
			if !slices.Contains(names, line.Check) {
				names = append(names, line.Check)
			}
		}
	}
	return names
}

func worstOf(lines []PreflightLine) (worst PreflightState) {
	for _, line := range lines {
		if worst == "" || slices.Index(preflightStates, line.State) > slices.Index(preflightStates, worst) {
			worst = line.State
		}
	}
	return worst
}

func textOf(lines []PreflightLine, state PreflightState) string {
	for _, line := range lines {
		if line.State == state {
			return line.Text
		}
	}
	return ""
}

// wordsOf is a text without its numbers.
func wordsOf(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsDigit(r) || r == '.' || r == ',' || r == ' ' }), " ")
}

func (p Preflight) writeChanges(w io.Writer) {
	if p.Before == nil {
		return
	}
	since := fmt.Sprintf("%s (%s ago)", p.Before.Format(time.RFC3339), age(p.Time.Sub(*p.Before)))
	if len(p.Changes) == 0 {
		fmt.Fprintf(w, "\nnothing has changed since %s\n", since)
		return
	}
	fmt.Fprintf(w, "\nchanged since %s\n", since)
	for _, c := range p.Changes {
		state := fmt.Sprintf("%s: %s, now %s: ", c.Check, orNothing(c.Was), orNothing(c.Is))
		if c.Was == c.Is {
			state = fmt.Sprintf("%s: still %s, but: ", c.Check, c.Is)
		}
		for i, text := range wrap(state+c.Text, width-4) {
			fmt.Fprintf(w, "%*s%s\n", 2+2*min(i, 1), "", text)
		}
	}
}

func orNothing(s PreflightState) string {
	if s == "" {
		return "nothing"
	}
	return string(s)
}
