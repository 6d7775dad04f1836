package twin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/scope"
)

// Proposal is a list of rules for sync.exclude by which the standby keeps all
// that it has of its own, and how many objects take part then.
type Proposal struct {
	Rules []Proposed `json:"exclude"`
	// OnlyPrimary counts what only the primary has, and takes part without a rule.
	OnlyPrimary int64 `json:"onlyPrimary"`
	Namespaces  int   `json:"namespaces"` // that those are in
}

// Proposed is a rule with its reason.
type Proposed struct {
	Rule    scope.Rule `json:"-"`
	Text    string     `json:"rule"` // as it stands in the configuration file
	Why     string     `json:"why"`
	Objects int        `json:"objects"` // twins that it is for
	// Running are the workloads among them.
	Running []Workload `json:"running,omitempty"`
	// Decide are questions that only a person can answer.
	Decide []string `json:"decide,omitempty"`
}

// Propose makes rules for the twins of a survey, each by its name.
//
// With whole, a survey by the scope that those rules make, a namespace is left
// out as a whole where nothing but the platform itself is left in it.
func Propose(s *Survey, whole *Survey) Proposal {
	byNamespace := map[string][]Twin{}
	for _, t := range s.twins {
		byNamespace[t.Namespace] = append(byNamespace[t.Namespace], t)
	}
	var p Proposal
	for _, namespace := range slices.Sorted(maps.Keys(byNamespace)) {
		twins := byNamespace[namespace]
		left := onlyPrimary(whole, namespace)
		if namespace != "" && whole != nil && len(left) == 0 && slices.ContainsFunc(twins, func(t Twin) bool { return t.Resource == "namespaces" }) {
			p.Rules = append(p.Rules, proposed(scope.Rule{Namespaces: []string{namespace}}, twins, "the namespace is each cluster's own"))
			continue
		}
		p.Rules = append(p.Rules, precise(namespace, twins, left)...)
	}
	for _, n := range p.counted(whole) {
		p.OnlyPrimary += n
	}
	return p
}

// counted fills in Namespaces.
func (p *Proposal) counted(s *Survey) (out []int64) {
	if s == nil {
		return nil
	}
	namespaces := map[string]bool{}
	for _, r := range s.rows {
		if r.TakesPart && r.OnlyPrimary > 0 {
			out = append(out, r.OnlyPrimary)
			if r.Namespace != "" {
				namespaces[r.Namespace] = true
			}
		}
	}
	p.Namespaces = len(namespaces)
	return out
}

// onlyPrimary are the resources of a namespace of which only the primary has
// some, but for what Helm notes of an installation, each with how many.
func onlyPrimary(s *Survey, namespace string) map[string]int64 {
	if s == nil || namespace == "" {
		return nil
	}
	left := map[string]int64{}
	for _, r := range s.rows {
		if r.Namespace != namespace || !r.TakesPart {
			continue
		}
		n := r.OnlyPrimary
		if r.Resource == "secrets" {
			n -= s.releases[namespace]
		}
		if n += r.Primary - r.OnlyPrimary; n > 0 { // what both have and share counts as well
			left[r.Resource] = n
		}
	}
	return left
}

// precise are rules that name each twin of one namespace, or of none.
func precise(namespace string, twins []Twin, left map[string]int64) []Proposed {
	byResource := map[string][]Twin{}
	for _, t := range twins {
		byResource[t.Resource] = append(byResource[t.Resource], t)
	}
	var out []Proposed
	for _, resource := range slices.Sorted(maps.Keys(byResource)) {
		some := byResource[resource]
		rule := scope.Rule{Resources: []string{resource}}
		if namespace != "" {
			rule.Namespaces = []string{namespace}
		}
		for _, t := range some {
			rule.Names = append(rule.Names, literal(t.Name))
		}
		out = append(out, proposed(rule, some, "each cluster's own"))
	}
	if len(left) > 0 && len(out) > 0 {
		out[0].Decide = append(out[0].Decide, fmt.Sprintf("what else the primary has in %s takes part: %s; to leave all of it out: {namespaces: [%s]}", namespace, listed(left), namespace))
	}
	return out
}

func listed(counts map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(b2i(valued(b)), b2i(valued(a))), cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var parts []string
	for i, name := range names {
		if i == maxResources {
			parts = append(parts, fmt.Sprintf("and %d more resources", len(names)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
	}
	return strings.Join(parts, ", ")
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// proposed adds to a rule what is to be said of the twins that it is for.
func proposed(rule scope.Rule, twins []Twin, why string) Proposed {
	p := Proposed{Rule: rule, Text: rule.String(), Why: why, Objects: len(twins)}
	differing := map[string][]string{}
	for _, t := range twins {
		if t.Workload != nil {
			p.Running = append(p.Running, *t.Workload)
		}
		if t.Differs && asked(t) {
			differing[t.Resource] = append(differing[t.Resource], t.Name)
		}
	}
	for _, resource := range slices.Sorted(maps.Keys(differing)) {
		p.Decide = append(p.Decide, question(resource, differing[resource]))
	}
	return p
}

// asked reports whether a twin that differs is anybody's decision: settings, and
// what the whole cluster goes by. That workloads differ goes without saying.
func asked(t Twin) bool {
	switch t.Resource {
	case "secrets", "customresourcedefinitions.apiextensions.k8s.io", "storageclasses.storage.k8s.io", "clusterroles.rbac.authorization.k8s.io",
		"clusterrolebindings.rbac.authorization.k8s.io", "priorityclasses.scheduling.k8s.io", "ingressclasses.networking.k8s.io":
		return true
	}
	return valued(t.Resource)
}

func question(resource string, names []string) string {
	shown := names[:min(len(names), 5)]
	text := strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	switch resource {
	case "secrets":
		return "Secrets with other data on each side, the standby keeps its own: " + text
	case "customresourcedefinitions.apiextensions.k8s.io":
		return "definitions that differ; custom resources of the primary may be of a version that the standby's does not serve: " + text
	}
	return resource + " that differ, the standby keeps its own; to take the primary's, move them to sync.replace: " + text
}

// literal is a name as a pattern that matches it alone.
func literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// Comment says what a rule is for, a line each.
func (p Proposed) Comment(standby string) []string {
	lines := []string{fmt.Sprintf("%s: %s", p.Why, counted1(p.Objects))}
	for i, w := range p.Running {
		if i == maxWorkloads {
			lines = append(lines, fmt.Sprintf("and %d more", len(p.Running)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("runs on %s: %s", standby, w))
	}
	for _, q := range p.Decide {
		lines = append(lines, "DECIDE: "+q)
	}
	return lines
}

func counted1(n int) string {
	if n == 1 {
		return "1 object on both sides"
	}
	return fmt.Sprintf("%d objects on both sides", n)
}
