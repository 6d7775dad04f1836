package console

import (
	"fmt"
	"strings"
)

// OperatorFacts are a workload of the standby's own that will act on replicated objects.
type OperatorFacts struct {
	Kind, Namespace, Name string
	Says                  string // "cert-manager in cert-manager: 41 certificates.cert-manager.io"
	Kept                  bool   // hold.workloads keeps it at zero
}

// judgeActing: two operators that act on the same objects issue, create and delete everything twice.
func judgeActing(f PreflightFacts) []PreflightLine {
	const what = "running operators of the standby that will act on replicated objects"
	if !f.Operators.Known {
		return unchecked("understudy config view", what, orUnknown(f.Operators.Why))
	}
	var lines []PreflightLine
	kept := 0
	for _, o := range f.Operators.Value {
		switch {
		case o.Kept:
			kept++
		case o.Kind != "Deployment":
			lines = append(lines, checked(CheckWarn, fmt.Sprintf("scale it to zero yourself while %s is the standby: hold.workloads takes Deployments only", f.Standby.Name),
				"%s %s acts on replicated objects: %s", o.Kind, o.Namespace+"/"+o.Name, o.Says)...)
		default:
			lines = append(lines, checked(CheckWarn, WorkloadLine(o), "%s acts on replicated objects: %s", f.Standby.Name, o.Says)...)
		}
	}
	switch {
	case lines != nil:
		return lines
	case kept > 0:
		return checked(CheckOK, "", "hold.workloads keeps the %d %s at zero", kept, what)
	}
	return checked(CheckOK, "", "no operator of %s is known to act on replicated objects", f.Standby.Name)
}

// WorkloadLine is what keeps an operator at zero, as it stands in the configuration.
func WorkloadLine(o OperatorFacts) string {
	return fmt.Sprintf("hold: {workloads: [{namespace: %s, name: %s}]}", o.Namespace, o.Name)
}

// OperatorsWarning tells of them where preflight was not asked; "" = there are none.
func OperatorsWarning(operators []OperatorFacts) (says, remedy string) {
	var named, lines []string
	for _, o := range operators {
		if o.Kept {
			continue
		}
		named = append(named, o.Says)
		if o.Kind == "Deployment" {
			lines = append(lines, fmt.Sprintf("{namespace: %s, name: %s}", o.Namespace, o.Name))
		}
	}
	const shown = 5
	if more := len(named) - shown; more > 0 {
		named = append(named[:shown], fmt.Sprintf("and %d more: understudy preflight", more))
	}
	if len(lines) > 0 {
		remedy = "hold: {workloads: [" + strings.Join(lines, ", ") + "]}"
	}
	return strings.Join(named, "; "), remedy
}
