package console

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// judgeOperators: what an operator in a namespace that is left out looks after is
// replicated, the operator is not. Without one on the standby nobody acts on it
// after a switchover.
func judgeOperators(f PreflightFacts) []PreflightLine {
	const what = "operators that run on one side"
	get := func(s PreflightSide) Found[map[string][]string] {
		if !s.Workloads.Known {
			return NotFound[map[string][]string](s.Workloads.Why)
		}
		return s.Writers
	}
	p, s, missing := both(f, what, "set encryption of both sides to what their API servers run with", get)
	if missing != nil {
		return missing
	}
	served := map[string]bool{} // groups that somebody who runs on the standby may write
	there := map[string]bool{}
	for _, w := range f.Standby.Workloads.Value {
		if w.Running > 0 {
			there[w.Kind+" "+w.Namespace+"/"+w.Name] = true
			for _, group := range s[w.Account] {
				served[group] = true
			}
		}
	}
	count := map[string]int64{}
	for resource, n := range f.Primary.InScope.Value {
		if _, group, ok := strings.Cut(resource, "."); ok {
			count[group] += n
		}
	}
	lacking := map[string]string{} // by group
	for _, w := range f.Primary.Workloads.Value {
		name := w.Kind + " " + w.Namespace + "/" + w.Name
		if w.InScope || w.Running == 0 || there[name] {
			continue
		}
		for _, group := range p[w.Account] {
			if count[group] > 0 && !served[group] && (lacking[group] == "" || name < lacking[group]) {
				lacking[group] = name
			}
		}
	}
	byOperator := map[string][]string{}
	for _, group := range slices.Sorted(maps.Keys(lacking)) {
		byOperator[lacking[group]] = append(byOperator[lacking[group]], fmt.Sprintf("%s of %s", number(count[group]), group))
	}
	var lines []PreflightLine
	for _, operator := range slices.Sorted(maps.Keys(byOperator)) {
		lines = append(lines, checked(CheckWarn, "install it on the standby as on the primary, in the same version; it is left out of replication because of its namespace",
			"%s runs on %s and not on %s, where nobody else may write what it looks after, either: objects in scope %s", operator, f.Primary.Name, f.Standby.Name, some(byOperator[operator]))...)
	}
	if lines == nil {
		return checked(CheckOK, "", "no operator that %s lacks is known by its rights (RBAC)", f.Standby.Name)
	}
	return lines
}
