package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/remedy"
)

// skipped is why a check does not apply, by its name.
func (g *preflight) skipped() map[string]string {
	out := map[string]string{}
	for _, s := range g.pair.Access.Skip {
		for _, check := range s.Checks {
			out[check] = s.Why
		}
	}
	return out
}

// wrongSkips is nil where access.skip names checks that there are, and that may be
// left out.
func wrongSkips(pair *config.Pair) error {
	may, never := console.PreflightChecks()
	var all []error
	for i, s := range pair.Access.Skip {
		for j, check := range s.Checks {
			field := fmt.Sprintf("access.skip[%d].checks[%d]", i, j)
			switch {
			case slices.Contains(may, check):
			case slices.Contains(never, check):
				all = append(all, fmt.Errorf("%s: %s: %q cannot be skipped: replication itself needs it", pair.At(field), field, check))
			default:
				hint := "see docs/preflight.md"
				if near := config.Nearest(check, may); near != "" {
					hint = fmt.Sprintf("did you mean %q?", near)
				}
				all = append(all, fmt.Errorf("%s: %s: no check is called %q; %s", pair.At(field), field, check, hint))
			}
		}
	}
	if all == nil {
		return nil
	}
	return &remedy.Error{Err: errors.Join(all...), Code: remedy.Usage, Remedy: "correct the file, then: understudy config validate --config " + pair.File()}
}
