package scope

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/registry"
)

// Rule matches keys. Every list that is not empty must have a match; a Rule
// with no list at all is refused by New. The patterns are those of path.Match.
type Rule struct {
	// Namespaces matches by namespace. A Namespace object counts as being in
	// itself; other cluster-scoped objects never match.
	Namespaces []string
	// Resources matches by plural.group: "pods", "deployments.apps",
	// "*.example.com".
	Resources []string
	// Names matches by the object's name.
	Names []string
	// Keys are prefixes of raw etcd keys. A rule of nothing but Keys is the
	// only kind that matches keys which no API server made.
	Keys []string
	// Types are types of Secrets, and make the rule match Secrets only.
	Types []string
}

// String is the rule as it stands in the configuration file.
func (r Rule) String() string {
	var parts []string
	for _, list := range []struct {
		name   string
		values []string
	}{{"namespaces", r.Namespaces}, {"resources", r.Resources}, {"names", r.Names}, {"keys", r.Keys}, {"types", r.Types}} {
		if len(list.values) > 0 {
			parts = append(parts, list.name+": ["+strings.Join(list.values, ", ")+"]")
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (r Rule) empty() bool {
	return len(r.Namespaces)+len(r.Resources)+len(r.Names)+len(r.Keys)+len(r.Types) == 0
}

// sorted is the rule with its lists in order, which says nothing; nil for an
// empty one.
func (r Rule) sorted() Rule {
	for _, list := range []*[]string{&r.Namespaces, &r.Resources, &r.Names, &r.Keys, &r.Types} {
		*list = slices.Sorted(slices.Values(*list))
	}
	return r
}

// RuleError says what is wrong with a configured rule.
type RuleError struct {
	Field string // "sync.exclude[0].resources"
	Err   error
}

func (e *RuleError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *RuleError) Unwrap() error { return e.Err }

// rule is a Rule with its verdict and where it comes from.
type rule struct {
	Rule
	verdict Verdict
	origin  string // "profile management-cluster", "sync.exclude[0]"
	why     string // "" for a configured rule
	maker   *maker // nil = whoever made it

	namespaces, resources, names []pattern
}

func compile(r Rule, v Verdict, origin string) (rule, error) {
	wrong := func(list string, format string, args ...any) (rule, error) {
		return rule{}, &RuleError{strings.TrimSuffix(origin+"."+list, "."), fmt.Errorf(format, args...)}
	}
	if r.empty() {
		return wrong("", "an empty rule would match every key")
	}
	out := rule{Rule: r, verdict: v, origin: origin}
	for _, list := range []struct {
		name string
		from []string
		to   *[]pattern
	}{{"namespaces", r.Namespaces, &out.namespaces}, {"resources", r.Resources, &out.resources}, {"names", r.Names, &out.names}} {
		for _, text := range list.from {
			p, err := newPattern(text)
			if err != nil {
				return wrong(list.name, "%w", err)
			}
			*list.to = append(*list.to, p)
		}
	}
	for _, text := range r.Resources {
		if err := checkResource(text); err != nil {
			return wrong("resources", "%w", err)
		}
	}
	if slices.Contains(r.Keys, "") {
		return wrong("keys", "an empty prefix would match every key")
	}
	if len(r.Types) > 0 && len(r.Resources) > 0 && !matchAny(out.resources, "secrets") {
		return wrong("types", "only Secrets have a type, and resources leaves them out")
	}
	return out, nil
}

// checkResource finds the built-in resources that are written in a way that
// would silently match nothing.
func checkResource(text string) error {
	if strings.ContainsAny(text, ".*?[\\") {
		return nil
	}
	if strings.ToLower(text) != text || strings.Contains(text, "/") {
		return fmt.Errorf("%q is no resource; write the plural in lower case, and the group after a dot: deployments.apps", text)
	}
	if registry.EtcdName(text) != text { // nodes and others that etcd calls differently
		return nil
	}
	k, ok := registry.ParseKey("/", "/"+text+"/namespace/name")
	switch {
	case !ok:
		return fmt.Errorf("%q belongs to an API group; write it as plural.group", text)
	case k.GroupResource() != text:
		return fmt.Errorf("the resource stored as %q is called %q; write that", text, k.GroupResource())
	}
	return nil
}

// matches reports whether the rule fits a key, types aside. parsed is false
// for a key that no API server made; k is meaningless then.
func (r *rule) matches(key string, k registry.Key, parsed bool) bool {
	if len(r.Keys) > 0 && !slices.ContainsFunc(r.Keys, func(p string) bool { return strings.HasPrefix(key, p) }) {
		return false
	}
	if !parsed {
		return r.onlyKeys()
	}
	return r.matchesResource(k) && r.matchesNamespace(k.Group, k.Resource, k.Namespace, k.Name) &&
		(len(r.names) == 0 || matchAny(r.names, k.Name))
}

func (r *rule) onlyKeys() bool {
	return len(r.namespaces)+len(r.resources)+len(r.names)+len(r.Types) == 0
}

func (r *rule) matchesResource(k registry.Key) bool {
	if len(r.Types) > 0 && !isSecrets(k) {
		return false
	}
	return len(r.resources) == 0 || matchAny(r.resources, k.GroupResource())
}

func (r *rule) matchesNamespace(group, resource, namespace, name string) bool {
	if len(r.namespaces) == 0 {
		return true
	}
	if group == "" && resource == "namespaces" {
		namespace = name
	}
	return namespace != "" && matchAny(r.namespaces, namespace)
}

func (r *rule) makerName() string {
	if r.maker == nil {
		return ""
	}
	return r.maker.name
}

// asks reports whether the rule cannot decide by the key alone.
func (r *rule) asks() bool { return len(r.Types) > 0 || r.maker != nil }

func (r *rule) matchesType(secretType string) bool {
	return len(r.Types) == 0 || slices.Contains(r.Types, secretType)
}

func isSecrets(k registry.Key) bool    { return k.Group == "" && k.Resource == "secrets" }
func isNamespaces(k registry.Key) bool { return k.Group == "" && k.Resource == "namespaces" }

// pattern is a glob; the two simple kinds need no path.Match.
type pattern struct {
	text    string
	literal bool
	prefix  bool // text is what stands before a single * at the end
}

func newPattern(text string) (pattern, error) {
	if text == "" {
		return pattern{}, errors.New("an empty pattern matches nothing")
	}
	if _, err := path.Match(text, ""); err != nil {
		return pattern{}, fmt.Errorf("%q is not a pattern: %w", text, err)
	}
	if !strings.ContainsAny(text, `*?[\`) {
		return pattern{text: text, literal: true}, nil
	}
	if head, ok := strings.CutSuffix(text, "*"); ok && !strings.ContainsAny(head, `*?[\`) {
		return pattern{text: head, prefix: true}, nil
	}
	return pattern{text: text}, nil
}

func (p pattern) match(s string) bool {
	switch {
	case p.literal:
		return s == p.text
	case p.prefix:
		return strings.HasPrefix(s, p.text) && !strings.Contains(s[len(p.text):], "/")
	}
	ok, _ := path.Match(p.text, s)
	return ok
}

func matchAny(patterns []pattern, s string) bool {
	for _, p := range patterns {
		if p.match(s) {
			return true
		}
	}
	return false
}
