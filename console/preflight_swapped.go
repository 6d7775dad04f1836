package console

import (
	"fmt"
	"strings"
)

// precious are what a management cluster is there for. Which side has them says
// which one is in use.
var precious = []string{
	"clusters.cluster.x-k8s.io",
	"clusters.management.cattle.io",
	"managedclusters.cluster.open-cluster-management.io",
	"clusters.platform.tkestack.io",
}

const (
	// fewToJudge: below so many objects on the standby alone nothing is said.
	fewToJudge = 50
	// emptySide: the primary has less than this share of what the standby has.
	emptySide = 0.1
)

// SwappedSides says what speaks for it that primary and standby are the wrong way
// round, before the first copy has given them roles; "" = nothing. A copy makes
// the standby what the primary is, so it must not begin then.
func SwappedSides(f PreflightFacts) string {
	if !f.Only.Known || f.Standby.Role.Value.Standby {
		return ""
	}
	o := f.Only.Value
	for _, resource := range precious {
		here, there := f.Primary.InScope.Value[resource], f.Standby.InScope.Value[resource]
		if f.Primary.InScope.Known && f.Standby.InScope.Known && here == 0 && there > 0 {
			return fmt.Sprintf("%s has %s %s, and %s none", f.Standby.Name, number(there), resource, f.Primary.Name)
		}
	}
	here, there := total(o.Primary)+o.Both, total(o.Standby)+o.Both
	if total(o.Standby) >= fewToJudge && float64(here) < emptySide*float64(there) {
		return fmt.Sprintf("%s has %s objects in scope, and %s %s", f.Standby.Name, number(there), f.Primary.Name, number(here))
	}
	return ""
}

func judgeSwapped(f PreflightFacts) []PreflightLine {
	switch why := SwappedSides(f); {
	case !f.Only.Known && !f.Standby.Role.Value.Standby:
		return unchecked("understudy status", "whether the sides are swapped", orUnknown(f.Only.Why))
	case why != "":
		return checked(CheckFail, "write the sides the other way round ("+strings.Join([]string{"primary: " + f.Standby.Name, "standby: " + f.Primary.Name}, ", ")+
			"); if they are right, empty the standby first, or exclude what it shall keep: sync.exclude",
			"the sides look swapped: %s. sync would make %s what %s is", why, f.Standby.Name, f.Primary.Name)
	case f.Standby.Role.Value.Standby:
		return nil // a pair: roles say it
	}
	return checked(CheckOK, "", "nothing that the sides hold says that they are swapped")
}
