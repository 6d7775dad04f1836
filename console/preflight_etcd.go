package console

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-dr/understudy/kv"
)

// judgeRoles: what writes to the standby must not write to the primary.
func judgeRoles(f PreflightFacts) []PreflightLine {
	const other = "write them the other way round in the configuration: understudy config view"
	p, s, missing := both(f, "which side is the standby", "understudy config view", func(s PreflightSide) Found[RoleFacts] { return s.Role })
	switch {
	case f.Same:
		return checked(CheckFail, "correct etcd.endpoints of one side: understudy config view", "%s and %s are the same etcd cluster", f.Primary.Name, f.Standby.Name)
	case missing != nil:
		return missing
	case p.Standby && !s.Standby:
		return checked(CheckFail, other, "primary and standby are swapped: %s is the standby of pair %q, and %s of none", f.Primary.Name, p.Pair, f.Standby.Name)
	case p.Standby:
		return checked(CheckFail, "a standby has one primary that is nobody's standby: understudy config view", "%s is a standby itself, of pair %q", f.Primary.Name, p.Pair)
	case s.Refuses != "":
		return checked(CheckFail, "understudy config view; understudy sync refuses as well, and says how to go on", "%s: %s", f.Standby.Name, s.Refuses)
	case s.Standby && p.Hidden:
		return checked(CheckOK, "", "%s is the standby of pair %q; what %s is, its account may not read", f.Standby.Name, s.Pair, f.Primary.Name)
	case s.Standby:
		return checked(CheckOK, "", "%s is the standby of pair %q, %s is nobody's", f.Standby.Name, s.Pair, f.Primary.Name)
	case p.Hidden:
		return checked(CheckOK, "", "%[1]s has no role yet: understudy sync makes it the standby; what %[2]s is, its account may not read", f.Standby.Name, f.Primary.Name)
	}
	return checked(CheckOK, "", "neither side has a role yet: understudy sync makes %s the standby", f.Standby.Name)
}

// judgeGuard: a daemon that may not watch the standby does not replicate into it.
func judgeGuard(f PreflightFacts) []PreflightLine {
	switch g := f.Standby.Guard; {
	case !g.Known:
		return unchecked("understudy config view", "whether the daemon may watch "+f.Standby.Name, orUnknown(g.Why))
	case g.Value.Why != "":
		return checked(CheckFail, g.Value.Remedy, "%s", g.Value.Why)
	}
	return checked(CheckOK, "", "the daemon may watch %s", f.Standby.Name)
}

// judgeTripped: a pair whose replication stands still cannot swap its roles.
func judgeTripped(f PreflightFacts) []PreflightLine {
	if text, next := f.judgeBreaker(f.Now); text != "" {
		return checked(CheckFail, next, "%s", text)
	}
	return nil
}

func judgePaused(f PreflightFacts) []PreflightLine {
	if text, next := f.judgePause(f.Now); text != "" {
		return checked(CheckWarn, next, "%s", text)
	}
	return nil
}

// version takes "v1.36.3" apart; false where it is no version. A build that was
// not given one calls itself v0.0.0.
func version(text string) (major, minor int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(text, "v"), ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err1 == nil && err2 == nil && major > 0
}

func judgeKubernetes(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "Kubernetes versions", "set kubeconfig of both sides", func(s PreflightSide) Found[string] { return s.Kubernetes })
	if missing != nil {
		return missing
	}
	pMajor, pMinor, ok1 := version(p)
	sMajor, sMinor, ok2 := version(s)
	text := fmt.Sprintf("Kubernetes: %s runs %s, %s runs %s", f.Primary.Name, p, f.Standby.Name, s)
	switch {
	case !ok1 || !ok2:
		return unchecked("compare them by hand", "Kubernetes versions", text)
	case pMajor == sMajor && pMinor == sMinor:
		return checked(CheckOK, "", "%s", text)
	case sMajor < pMajor || sMajor == pMajor && sMinor < pMinor:
		return checked(CheckFail, "upgrade the standby first: it may not know what the primary stores", "%s", text)
	case sMajor > pMajor || sMinor-pMinor > 1:
		return checked(CheckFail, "at most one minor version apart: the newer one may have dropped what the older one stores", "%s", text)
	}
	return checked(CheckWarn, "right while upgrading, the standby first; then upgrade the primary", "%s", text)
}

func judgeEtcd(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "etcd versions", "understudy config view", func(s PreflightSide) Found[string] { return s.Etcd })
	if missing != nil {
		return missing
	}
	pMajor, pMinor, ok1 := version(p)
	sMajor, sMinor, ok2 := version(s)
	text := fmt.Sprintf("etcd: %s runs %s, %s runs %s", f.Primary.Name, p, f.Standby.Name, s)
	switch {
	case !ok1 || !ok2:
		return unchecked("compare them by hand", "etcd versions", text)
	case pMajor == sMajor && pMinor == sMinor:
		return checked(CheckOK, "", "%s", text)
	}
	return checked(CheckWarn, "replication does not mind; bring both to one minor version before a switchover", "%s", text)
}

func judgePrefix(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "keys below "+f.below(), "understudy config view", func(s PreflightSide) Found[int64] { return s.Keys })
	if missing != nil {
		return missing
	}
	var lines []PreflightLine
	for _, side := range []struct {
		name string
		keys int64
	}{{f.Primary.Name, p}, {f.Standby.Name, s}} {
		if side.keys == 0 {
			lines = append(lines, checked(CheckFail, "set sync.prefix to the API servers' --etcd-prefix with a slash at the end, the same on both sides", "%s has no key below %s", side.name, f.below())...)
		}
	}
	if lines != nil {
		return lines
	}
	return checked(CheckOK, "", "below %s: %s keys on %s, %s on %s", f.below(), number(p), f.Primary.Name, number(s), f.Standby.Name)
}

// judgeOverrides looks for resources that lie in another etcd.
func judgeOverrides(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "whether resources lie in another etcd (--etcd-servers-overrides)", "look at the API servers' flags by hand",
		func(s PreflightSide) Found[map[string]map[string]string] { return s.Flags })
	if missing != nil {
		return missing
	}
	state, remedy, text := CheckOK, "", "no resource lies in another etcd (--etcd-servers-overrides)"
	for _, side := range []struct {
		name  string
		flags map[string]map[string]string
	}{{f.Primary.Name, p}, {f.Standby.Name, s}} {
		for _, value := range values(side.flags, "etcd-servers-overrides") {
			for one := range strings.SplitSeq(value, ",") {
				resource, _, _ := strings.Cut(one, "#")
				if strings.TrimPrefix(resource, "/") == "events" || resource == "events.k8s.io/events" {
					if state == CheckOK {
						text = side.name + " keeps events in another etcd; they are out of scope"
					}
				} else if resource != "" {
					state, remedy, text = CheckFail, "move them into the main etcd, or exclude them: sync.exclude", fmt.Sprintf("%s keeps %s in another etcd, which is not replicated", side.name, resource)
				}
			}
		}
	}
	return checked(state, remedy, "%s", text)
}

// values are those that a flag has on any of the API servers.
func values(servers map[string]map[string]string, flag string) []string {
	var out []string
	for _, flags := range servers {
		if v := flags[flag]; v != "" {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func judgeOnly(f PreflightFacts) []PreflightLine {
	if !f.Only.Known {
		return unchecked("understudy check", "objects that only one side has", orUnknown(f.Only.Why))
	}
	o := f.Only.Value
	lines := checked(CheckOK, "", "%s objects in scope are on both sides", number(o.Both))
	if n := total(o.Primary); n > 0 {
		lines = append(lines, checked(CheckOK, "", "%s objects are on %s only (%s): sync copies them", number(n), f.Primary.Name, most(o.Primary))...)
	}
	if n := total(o.Standby); n > 0 {
		next := "understudy check names them; exclude them (sync.exclude), or delete them: understudy repair"
		if f.stands() {
			next = "some of them may be what is held back: answer that first, see replication above"
		}
		lines = append(lines, checked(CheckWarn, next,
			"%s objects in scope are on %s only (%s): replication leaves them", number(n), f.Standby.Name, most(o.Standby))...)
	}
	return lines
}

// judgeReplaced: before the first copy nothing else tells whether it is the
// standby that loses its own objects. In a pair it is the check that compares.
func judgeReplaced(f PreflightFacts) []PreflightLine {
	n := total(f.Only.Value.Replaced)
	if n == 0 || !f.Only.Known || f.Standby.Role.Value.Standby {
		return nil
	}
	return checked(CheckFail, "understudy scope propose --write proposed.yaml, where the sides are not swapped",
		"%s objects of %s have the name of another on %s (%s): sync refuses to replace them", number(n), f.Standby.Name, f.Primary.Name, most(f.Only.Value.Replaced))
}

func total(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// most are the three largest counts, for people.
func most(m map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for i, name := range names {
		if i == 3 {
			parts = append(parts, "...")
			break
		}
		parts = append(parts, number(m[name])+" "+name)
	}
	return strings.Join(parts, ", ")
}

// judgeNamed: what is configured for a resource that is not there does nothing.
func judgeNamed(f PreflightFacts) []PreflightLine {
	const what = "the resources that breaker.rules, hold.objects and local name"
	switch {
	case f.Named == 0:
		return nil
	case !f.Unmatched.Known:
		return unchecked("understudy config view", what, orUnknown(f.Unmatched.Why))
	}
	var lines []PreflightLine
	for _, lost := range f.Unmatched.Value {
		remedy := "what fits nothing guards and holds nothing: correct it"
		if lost.Near != "" {
			remedy = "did you mean " + lost.Near + "? " + remedy
		}
		lines = append(lines, checked(CheckWarn, remedy, "neither side has %s (%s)", lost.Pattern, lost.At)...)
	}
	if lines == nil {
		return checked(CheckOK, "", "%s are all there", what)
	}
	return lines
}

func judgeFloor(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "the revision floor", "understudy floor show", func(s PreflightSide) Found[int64] {
		return Found[int64]{int64(s.Revision.Value), s.Revision.Known, s.Revision.Why}
	})
	if missing != nil {
		return missing
	}
	if MarginOf(kv.Revision(p), kv.Revision(s)).Low() {
		return checked(CheckWarn, "understudy floor raise", "no revision floor: %s is at revision %s, %s at %s; clients that follow a name would hang or miss events",
			f.Standby.Name, number(s), f.Primary.Name, number(p))
	}
	floor := f.Standby.Floor.Value
	switch {
	case !f.Standby.Floor.Known:
		return unchecked("understudy floor verify", "whether the API servers of "+f.Standby.Name+" were restarted above the floor", orUnknown(f.Standby.Floor.Why))
	case len(floor.Accepted) > 0:
		return checked(CheckWarn, "restart it, then: understudy floor verify", "%s was not restarted above the floor of %s: clients that follow a name would miss events",
			strings.Join(floor.Accepted, ", "), f.Standby.Name)
	case len(floor.Unasked) > 0 || len(floor.Expired) == 0:
		return unchecked("understudy floor verify", "whether the API servers of "+f.Standby.Name+" were restarted above the floor", strings.Join(floor.Unasked, ", ")+" could not be asked")
	}
	return checked(CheckOK, "", "%s is %s revisions above %s, and its API servers were restarted there", f.Standby.Name, number(s-p), f.Primary.Name)
}
