package console

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/kv"
)

// Member is one etcd member of a side, as it answers at this moment.
type Member struct {
	Name     string      `json:"name"`
	ID       string      `json:"id"`
	Version  string      `json:"version,omitempty"`
	Revision kv.Revision `json:"revision,omitempty"`
	Leads    bool        `json:"leads,omitempty"`
	Learner  bool        `json:"learner,omitempty"`
	Alarms   []string    `json:"alarms,omitempty"` // NOSPACE, CORRUPT
	Silent   string      `json:"silent,omitempty"` // why it does not answer
	Apart    bool        `json:"apart,omitempty"`  // it disagrees with the majority, and is not read
	Defects  []Defect    `json:"-"`                // known ones of its version
}

// Defect is a known fault of an etcd version.
type Defect struct{ ID, What, Fixed, Source string }

// The rules and checks about members.
const (
	ruleFull     = "etcd-full"        // NOSPACE
	ruleCorrupt  = "etcd-corrupt"     // CORRUPT
	ruleDisagree = "members-disagree" // another revision, or other data
)

// Ailment is something wrong with a side's members, and what helps: a line for
// each step, commands as they are.
type Ailment struct{ Rule, Text, Next string }

// FullMember is a member that has raised NOSPACE.
func FullMember(side, member, next string) Ailment {
	return Ailment{ruleFull, fmt.Sprintf("the etcd member %s of %s is full (alarm NOSPACE): creates and updates are refused there", member, side), next}
}

// CorruptMember is one that has raised CORRUPT; "" = etcd does not say which.
func CorruptMember(side, member, next string) Ailment {
	if member == "" {
		return Ailment{ruleCorrupt, "etcd says of " + side + " that a member's data is corrupt (alarm CORRUPT), and not of which", next}
	}
	return Ailment{ruleCorrupt, fmt.Sprintf("the data of the etcd member %s of %s is corrupt (alarm CORRUPT): it differs from that of the others", member, side), next}
}

// Disagreement is that of members of which one is not read any more.
func Disagreement(side, member string, how []string, next string) Ailment {
	return Ailment{ruleDisagree, fmt.Sprintf("etcd members of %s disagree: %s. %s is not read; the majority is", side, strings.Join(how, "; "), member), next}
}

// ailing is the rule that takes the verdict down by the first such ailment of a side.
func ailing(side func(Facts) Side, rule string) func(Facts) (string, string) {
	return func(f Facts) (string, string) {
		for _, a := range side(f).Ailments {
			if a.Rule == rule {
				return a.Text, a.Next
			}
		}
		return "", ""
	}
}

func primarySide(f Facts) Side { return f.Primary }
func standbySide(f Facts) Side { return f.Standby }

// judgeApart: what only the daemon knows, that has compared the data.
func judgeApart(f Facts) (string, string) {
	if !f.speaks() || len(f.Report.Apart) == 0 {
		return "", ""
	}
	for _, a := range append(f.Primary.Ailments, f.Standby.Ailments...) {
		if a.Rule == ruleDisagree {
			return "", "" // said already
		}
	}
	return "etcd members disagree, says the daemon: " + strings.Join(f.Report.Apart, "; "), "understudy check --deep"
}

// warnOfMembers: the primary is read as before while it is full, and without a
// member that is silent.
func warnOfMembers(f Facts) (out []string) {
	if text, _ := ailing(primarySide, ruleFull)(f); text != "" {
		out = append(out, text+". understudy preflight says what helps")
	}
	for _, side := range []Side{f.Primary, f.Standby} {
		for _, m := range side.Members {
			if m.Silent != "" {
				out = append(out, fmt.Sprintf("the etcd member %s of %s does not answer: %s", cmp.Or(m.Name, m.ID), side.Name, m.Silent))
			}
		}
	}
	return out
}

// steps writes what to do next, a line for each step. A command is not broken: it
// is to be pasted.
func (b *screen) steps(before, text string) {
	head := "next: "
	for step := range strings.SplitSeq(text, "\n") {
		lines := []string{step}
		if !strings.HasPrefix(step, "etcdctl ") {
			lines = wrap(step, cmp.Or(b.columns, width)-len(before)-len(head))
		}
		for _, line := range lines {
			b.WriteString(before + head + line + "\n")
			head = "      "
		}
	}
}

// judgeHealth is how the members of both sides are, in preflight.
func judgeHealth(f PreflightFacts) (lines []PreflightLine) {
	const all = "name every member in etcd.endpoints: understudy config view"
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		switch {
		case side.Kine != "":
			lines = append(lines, checked(CheckFail, "understudy replicates between etcds: understudy config view", "%s: %s", side.Name, side.Kine)...)
			continue
		case !side.Health.Known:
			lines = append(lines, unchecked(configView, "etcd members of "+side.Name, orUnknown(side.Health.Why))...)
			continue
		}
		bad := len(lines)
		for _, a := range side.Ailments {
			lines = append(lines, checked(CheckFail, a.Next, "%s", a.Text)...)
		}
		for _, m := range side.Health.Value {
			if m.Silent != "" {
				lines = append(lines, checked(CheckWarn, "start it, or remove it from the cluster", "the etcd member %s of %s does not answer: %s", cmp.Or(m.Name, m.ID), side.Name, m.Silent)...)
			}
		}
		switch {
		case side.Uncompared != "":
			lines = append(lines, unchecked(all, "whether the etcd members of "+side.Name+" agree", side.Uncompared)...)
		case bad == len(lines) && len(side.Health.Value) == 1:
			lines = append(lines, checked(CheckOK, "", "%s has one etcd member, without an alarm", side.Name)...)
		case bad == len(lines):
			lines = append(lines, checked(CheckOK, "", "the %d etcd members of %s hold the same data, and have no alarm", len(side.Health.Value), side.Name)...)
		}
	}
	return lines
}

// judgeDefects warns of what etcd's change logs say of the versions in use; it has
// nothing to say of versions without known defects.
func judgeDefects(f PreflightFacts) (lines []PreflightLine) {
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		said := map[string]bool{}
		for _, m := range side.Health.Value {
			for _, d := range m.Defects {
				if key := m.Version + d.ID; !said[key] {
					said[key] = true
					lines = append(lines, checked(CheckWarn, "upgrade etcd to "+d.Fixed+" or later", "%s runs etcd %s: %s (%s, mended in %s)", side.Name, m.Version, d.What, d.Source, d.Fixed)...)
				}
			}
		}
	}
	return lines
}
