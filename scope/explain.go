package scope

import (
	"fmt"
	"slices"
	"strings"
)

// Explanation says why a key is in scope or not.
type Explanation struct {
	// Verdict is what Key says.
	Verdict Verdict
	// Rule decides: "profile management-cluster {resources: [pods, …]}",
	// "sync.exclude[0] {…}", or "no rule".
	Rule string
	// Why in words.
	Why string
	// Also lists earlier rules that match too and were overruled, the
	// strongest first.
	Also []string
}

// Explain says which rule decides about key, and why.
func (s *Scope) Explain(key string) Explanation {
	if why := locked(key); why != "" {
		return Explanation{Rule: "built in", Why: why}
	}
	if !s.below(key) {
		return Explanation{Rule: "sync.prefix", Why: "the key is not below " + strings.Join(s.prefixes, " or ")}
	}
	k, parsed := s.Parse(key)
	e := Explanation{Verdict: s.Key(key)}
	// The rules with types that may decide, and the one that decides for all other types.
	var deciding []*rule
	decided := false
	for i := range slices.Backward(s.rules) {
		r := &s.rules[i]
		switch {
		case !r.matches(key, k, parsed):
		case decided:
			e.Also = append(e.Also, r.describe())
		case r.asks() && e.Verdict != AskObject:
			// Whatever the object is, the rule below says the same.
		default:
			deciding = append(deciding, r)
			decided = !r.asks()
		}
	}
	if !decided {
		none := &rule{origin: "no rule", why: "what no rule keeps out is replicated"}
		if !parsed {
			none.why = "not an object of an API server; replicated as it is"
		}
		deciding = append(deciding, none)
	}
	e.Rule, e.Why = deciding[0].describe(), deciding[0].reason()
	for _, r := range deciding[1:] {
		e.Why += "; otherwise: " + r.describe()
	}
	return e
}

func (r *rule) describe() string {
	if r.empty() && r.maker == nil {
		return r.origin
	}
	if r.maker != nil {
		return r.origin + " " + r.String() + ", " + r.maker.name
	}
	return r.origin + " " + r.String()
}

func (r *rule) reason() string {
	why := r.why
	if why == "" {
		why = map[Verdict]string{Out: "the configuration leaves it out", In: "the configuration takes it in"}[r.verdict]
	}
	if r.maker != nil {
		return fmt.Sprintf("depends on who made it: left out where %s (%s)", r.maker.name, why)
	}
	if len(r.Types) > 0 {
		return fmt.Sprintf("depends on the type of the Secret: %s for %s (%s)",
			map[Verdict]string{Out: "left out", In: "taken in"}[r.verdict], strings.Join(r.Types, ", "), why)
	}
	return why
}
