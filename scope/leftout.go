package scope

import (
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/registry"
)

// Worth is what of value an object is that takes no part; "" = nothing of value.
type Worth string

// What would be missed on the standby.
const (
	WorthCustomResource Worth = "custom resource"             // left out for its namespace alone
	WorthSecret         Worth = "Secret"                      // likewise
	WorthPod            Worth = "Pod that no controller made" // wherever its namespace takes part
)

// LeftOut is how much of value the scope leaves out.
type LeftOut struct {
	CustomResources int64 `json:"customResources"`
	Secrets         int64 `json:"secrets"`
	Pods            int64 `json:"pods"`       // that no controller made
	Namespaces      int   `json:"namespaces"` // in which these are
}

// LeftOutTally counts it. The zero LeftOutTally has counted nothing.
type LeftOutTally struct {
	LeftOut
	namespaces map[string]struct{}
}

// Add counts an object, if it is of worth.
func (l *LeftOutTally) Add(namespace string, w Worth) {
	switch w {
	case WorthCustomResource:
		l.CustomResources++
	case WorthSecret:
		l.Secrets++
	case WorthPod:
		l.Pods++
	default:
		return
	}
	if l.namespaces == nil {
		l.namespaces = map[string]struct{}{}
	}
	l.namespaces[namespace] = struct{}{}
	l.Namespaces = len(l.namespaces)
}

// unmissed are the types of Secrets that every cluster makes for itself: a token
// for new nodes, and what Helm remembers of what it has installed there.
var unmissed = []string{ServiceAccountToken, "bootstrap.kubernetes.io/token", "helm.sh/release.v1"}

// LeftOut says what of value an object of the primary is that takes no part for
// its namespace, as nobody may have noticed: a rule that names no more than
// namespaces leaves it out, and no other. Pods cannot run on other nodes than their
// own, so they always stay behind; those that no controller made, and that have
// not ended, come back from nowhere. What cannot be read counts.
func (v *View) LeftOut(key string, stored []byte) Worth {
	if v.Scope.Key(key) != Out {
		return ""
	}
	k, ok := v.Scope.Parse(key)
	if !ok || k.Namespace == "" {
		return ""
	}
	gr := k.GroupResource()
	custom := strings.Contains(k.Group, ".") && !registry.BuiltIn(gr)
	if !custom && gr != "secrets" && gr != "pods" {
		return ""
	}
	var plain []byte
	var meta registry.Meta
	if !custom {
		var err error
		if plain, err = v.Recoder.PlainOfPrimary(gr, key, stored); err == nil {
			meta, _ = registry.ReadMeta(plain)
		}
	}
	switch byNamespace := v.Scope.forItsNamespace(key, k, meta); {
	case gr == "pods":
		if !byNamespace && meta.Kind != "" && !slices.ContainsFunc(meta.Owners, func(o registry.Owner) bool { return o.Controller }) && !ended(plain) && !v.Scope.namespaceOut(key, k) {
			return WorthPod
		}
	case byNamespace && custom:
		return WorthCustomResource
	case byNamespace && !slices.Contains(unmissed, meta.Type):
		return WorthSecret
	}
	return ""
}

// forItsNamespace reports whether an object would take part in another namespace.
func (s *Scope) forItsNamespace(key string, k registry.Key, m registry.Meta) bool {
	left := false
	for i := range slices.Backward(s.rules) {
		r := &s.rules[i]
		switch {
		case !r.matches(key, k, true) || !r.matchesType(m.Type) || r.maker != nil && !r.maker.made(m):
		case r.verdict == Out && r.onlyNamespaces():
			left = true
		default:
			return left && r.verdict == In
		}
	}
	return left
}

// namespaceOut reports whether a rule leaves out all that is in the namespace of k.
func (s *Scope) namespaceOut(key string, k registry.Key) bool {
	return slices.ContainsFunc(s.rules, func(r rule) bool { return r.verdict == Out && r.onlyNamespaces() && r.matches(key, k, true) })
}

func (r *rule) onlyNamespaces() bool {
	return len(r.namespaces) > 0 && len(r.resources)+len(r.names)+len(r.Keys)+len(r.Types) == 0 && r.maker == nil
}

var podPhase = []registry.Path{{"status", "phase"}}

// ended reports whether a Pod has nothing left to do.
func ended(plain []byte) bool {
	parts, err := registry.ReadParts(plain, podPhase)
	if err != nil {
		return false
	}
	status, _ := parts["status"].(map[string]any)
	return status["phase"] == "Succeeded" || status["phase"] == "Failed"
}
