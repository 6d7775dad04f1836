package source

import "testing"

// A member that lags sends what it has as one whole batch; the window must not
// end there, or what the member has yet to learn would be lost.
func TestWindowEndsOnlyWhereTheMemberKnewAllOfIt(t *testing.T) {
	for name, tc := range map[string]struct {
		events Events
		want   bool
	}{
		"changes up to the end":             {Events{Through: 900}, true},
		"a whole batch, all known":          {Events{Through: 17, whole: true, known: 5000}, true},
		"a whole batch of a member behind":  {Events{Through: 17, whole: true, known: 17}, false},
		"a member one revision behind":      {Events{Through: 899, whole: true, known: 899}, false},
		"a fragment":                        {Events{Through: 17, known: 5000}, false},
		"progress beyond":                   {Events{Through: 5000}, true},
		"progress of a member that is late": {Events{Through: 12, known: 12}, false},
	} {
		if got := tc.events.reaches(900); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
