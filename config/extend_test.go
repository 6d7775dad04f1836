package config

import (
	"strings"
	"testing"
)

// Whatever the file looks like, the rules come in and nothing else changes.
func TestAddExclude(t *testing.T) {
	rules := []string{"# why", "- namespaces: [x]"}
	for name, tc := range map[string]struct {
		sync string
		want int // rules
	}{
		"no sync":              {"", 1},
		"sync without fields":  {"sync:\n", 1},
		"no exclude":           {"sync:\n  # where\n  prefix: /registry/\n\n  profile: everything\n", 1},
		"exclude without list": {"sync:\n  exclude:\n  prefix: /registry/\n", 1},
		"list in lines":        {"sync:\n    exclude:\n    # mine\n    - namespaces: [a]\n    - names: [b]\n", 3},
		"indented list":        {"sync:\n  exclude:\n      - namespaces: [a]\n  profile: everything\n", 2},
		"list in brackets":     {"sync:\n  exclude: [{namespaces: [\"a]\"]}, {names: [b]}] # mine\n  profile: everything\n", 3},
		"over lines":           {"sync:\n  exclude: [{namespaces: [a]},\n    {names: [b]}]\n  profile: everything\n", 3},
		"empty brackets":       {"sync:\n  exclude: []\n", 1},
		"all in braces":        {"sync: {profile: everything, exclude: [{names: [b]}]}\n", 2},
		"other order":          {"sync: {profile: everything}\n# the end\nlisten: 127.0.0.1:0\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			before := minimal + "# a remark\n\n" + tc.sync
			parse(t, before)
			after, err := AddExclude([]byte(before), rules)
			if err != nil {
				t.Fatal(err)
			}
			p := parse(t, string(after))
			if len(p.Sync.Exclude) != tc.want {
				t.Errorf("%d rules, want %d:\n%s", len(p.Sync.Exclude), tc.want, after)
			}
			if !strings.HasPrefix(string(after), minimal+"# a remark\n\n") || !strings.Contains(string(after), "# why\n") {
				t.Errorf("something else has changed:\n%s", after)
			}
			for _, remark := range []string{"# where", "# mine", "# the end", "prefix: /registry/\n\n"} {
				if strings.Contains(before, remark) && !strings.Contains(string(after), remark) {
					t.Errorf("%q is gone:\n%s", remark, after)
				}
			}
			if p.Sync.Profile != parse(t, before).Sync.Profile {
				t.Errorf("the profile is %q now", p.Sync.Profile)
			}
		})
	}
}
