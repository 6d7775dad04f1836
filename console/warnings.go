package console

import (
	"fmt"
	"time"
)

// expiresSoon is when a certificate is worth a warning.
const expiresSoon = 14 * 24 * time.Hour

// warnings do not change the verdict.
var warnings = []func(Facts) []string{
	warnOfFloor,
	warnOfMembers,
	warnOfPreflight,
	func(f Facts) (out []string) {
		for _, c := range f.certificates() {
			if left := c.NotAfter.Sub(f.Now); left > 0 && left < expiresSoon {
				out = append(out, fmt.Sprintf("a certificate of %s expires in %s: %s", c.Side, age(left), c.File))
			}
		}
		return out
	},
	func(f Facts) []string {
		if f.Kept != "" && f.differing() != nil {
			return []string{f.Kept + ". understudy repair --apply would delete it"}
		}
		return nil
	},
	func(f Facts) (out []string) {
		if f.speaks() {
			for i, text := range f.Report.PrimaryItself {
				if i == 3 {
					return append(out, fmt.Sprintf("%d more objects describe the primary itself: understudy simulate", len(f.Report.PrimaryItself)-i))
				}
				out = append(out, "describes the primary itself, and stays held until hold release --self-managed names it: "+text)
			}
		}
		return out
	},
	func(f Facts) []string {
		if f.speaks() && f.Report.HoldError != "" {
			return []string{"workloads of the standby may have Pods that hold.workloads keeps at zero: " + f.Report.HoldError}
		}
		return nil
	},
}

// preflightHolds is for how long what a preflight found may be relied on.
const preflightHolds = 7 * 24 * time.Hour

// warnOfPreflight: what makes two clusters fit to be a pair changes, and only
// preflight looks at it.
func warnOfPreflight(f Facts) []string {
	switch {
	case f.Preflight == nil:
	case f.Preflight.IsZero():
		return []string{"no preflight of this pair is kept: understudy preflight says whether both sides fit, their clocks too"}
	case f.Now.Sub(*f.Preflight) > preflightHolds:
		return []string{fmt.Sprintf("the last preflight was %s ago: understudy preflight says what has changed since", age(f.Now.Sub(*f.Preflight)))}
	}
	return nil
}
