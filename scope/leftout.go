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
	WorthCustomResource Worth = "custom resource"             // left out for its namespace alone; a virtual machine that no controller made, likewise as a Pod
	WorthSecret         Worth = "Secret"                      // left out for its namespace alone
	WorthPod            Worth = "Pod that no controller made" // wherever its namespace takes part
	WorthRole           Worth = "changed bootstrap role"      // or binding of the API servers' own that somebody has changed
)

// LeftOut is how much of value the scope leaves out.
type LeftOut struct {
	CustomResources int64 `json:"customResources"`
	Secrets         int64 `json:"secrets"`
	Pods            int64 `json:"pods"`       // that no controller made
	Roles           int64 `json:"roles"`      // and bindings of the API servers' own that somebody has changed
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
	case WorthRole:
		l.Roles++
	default:
		return
	}
	if namespace == "" {
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

// LeftOut says what of value an object of the primary is that takes no part, as
// nobody may have noticed. Custom resources and Secrets: where a rule that names no
// more than namespaces leaves them out, and no other. Pods and virtual machine
// instances cannot run on other nodes than their own, so they always stay behind;
// those that no controller made, and that have not ended, come back from nowhere.
// What the API servers made is made on the standby, but not what somebody has added
// to it since. What cannot be read counts.
func (v *View) LeftOut(key string, stored []byte) Worth {
	k, ok := v.Scope.Parse(key)
	if !ok {
		return ""
	}
	gr := k.GroupResource()
	verdict := v.Scope.Key(key)
	role := verdict == AskObject && k.Group == "rbac.authorization.k8s.io"
	custom := strings.Contains(k.Group, ".") && !registry.BuiltIn(gr)
	runs := gr == "pods" || gr == "virtualmachineinstances.kubevirt.io"
	if !role && (verdict != Out || k.Namespace == "" || !custom && gr != "secrets" && gr != "pods") {
		return ""
	}
	var plain []byte
	var meta registry.Meta
	if !custom || runs {
		var err error
		if plain, err = v.Recoder.PlainOfPrimary(gr, key, stored); err == nil {
			meta, _ = registry.ReadMeta(plain)
		}
	}
	if role {
		if out, err := v.Scope.Judge(key, &meta, plain); err == nil && out == Out && changedByHand(meta.Marks) {
			return WorthRole
		}
		return ""
	}
	switch byNamespace := v.Scope.forItsNamespace(key, k, meta); {
	case runs && !byNamespace:
		if meta.Kind == "" || byController.made(meta) || ended(plain) || v.Scope.namespaceOut(key, k) {
			return ""
		}
		if custom {
			return WorthCustomResource
		}
		return WorthPod
	case byNamespace && custom:
		return WorthCustomResource
	case byNamespace && gr == "secrets" && !slices.Contains(unmissed, meta.Type):
		return WorthSecret
	}
	return ""
}

// controlPlane are the managers of fields that write bootstrap roles: the API
// server, the controller that aggregates them, and the processes that hold both in
// k3s and MicroK8s.
var controlPlane = []string{"kube-apiserver", "clusterrole-aggregation-controller", "kube-controller-manager", "hyperkube", "k3s", "kubelite"}

// changedByHand reports whether another one than the control plane has written a
// bootstrap role or binding: a rule or subject more, that no start takes away.
func changedByHand(m registry.Marks) bool {
	return m.Labels[registry.LabelBootstrapping] != "" &&
		slices.ContainsFunc(m.Managers, func(manager string) bool { return !slices.Contains(controlPlane, manager) })
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
