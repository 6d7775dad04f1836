package main

import (
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/registry"
)

// grants are who may write custom resources of which groups, by RBAC. They tell
// which workload is the operator of what, also of one that nobody here has heard
// of. A role that may write everything tells nothing, and does not count.
type grants struct {
	roles map[string][]string // API groups by "ClusterRole/NAME" or "Role/NAMESPACE/NAME"
	bound map[string][]string // roles by ServiceAccount, namespace/name
}

// builtInGroups have a dot, as those of CRDs have. Who may write them is no operator.
var builtInGroups = map[string]bool{
	"admissionregistration.k8s.io": true, "apiextensions.k8s.io": true, "apiregistration.k8s.io": true, "authentication.k8s.io": true,
	"authorization.k8s.io": true, "certificates.k8s.io": true, "coordination.k8s.io": true, "discovery.k8s.io": true, "events.k8s.io": true,
	"flowcontrol.apiserver.k8s.io": true, "internal.apiserver.k8s.io": true, "metrics.k8s.io": true, "networking.k8s.io": true, "node.k8s.io": true,
	"rbac.authorization.k8s.io": true, "resource.k8s.io": true, "scheduling.k8s.io": true, "storage.k8s.io": true, "storagemigration.k8s.io": true,
}

func newGrants() grants { return grants{map[string][]string{}, map[string][]string{}} }

func (s *survey) seeRole(k registry.Key, _ bool, fields registry.Fields) error {
	var role struct {
		Rules []struct {
			Groups []string `json:"apiGroups"`
			Verbs  []string `json:"verbs"`
		} `json:"rules"`
	}
	if err := into(fields, &role); err != nil {
		return err
	}
	name := "ClusterRole/" + k.Name
	if k.Namespace != "" {
		name = "Role/" + k.Namespace + "/" + k.Name
	}
	for _, rule := range role.Rules {
		if !slices.ContainsFunc(rule.Verbs, func(v string) bool { return slices.Contains([]string{"create", "update", "patch", "*"}, v) }) {
			continue
		}
		for _, group := range rule.Groups {
			if strings.Contains(group, ".") && !builtInGroups[group] {
				s.grants.roles[name] = append(s.grants.roles[name], group)
			}
		}
	}
	return nil
}

func (s *survey) seeBinding(k registry.Key, _ bool, fields registry.Fields) error {
	var binding struct {
		Role struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"roleRef"`
		Subjects []struct {
			Kind      string `json:"kind"`
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"subjects"`
	}
	if err := into(fields, &binding); err != nil {
		return err
	}
	role := binding.Role.Kind + "/" + binding.Role.Name
	if binding.Role.Kind == "Role" {
		role = "Role/" + k.Namespace + "/" + binding.Role.Name
	}
	for _, subject := range binding.Subjects {
		if subject.Kind == "ServiceAccount" {
			account := subject.Namespace + "/" + subject.Name
			s.grants.bound[account] = append(s.grants.bound[account], role)
		}
	}
	return nil
}

// writers are the groups that each ServiceAccount may write.
func (g grants) writers() map[string][]string {
	out := map[string][]string{}
	for account, roles := range g.bound {
		for _, role := range roles {
			out[account] = append(out[account], g.roles[role]...)
		}
		slices.Sort(out[account])
		if out[account] = slices.Compact(out[account]); len(out[account]) == 0 {
			delete(out, account)
		}
	}
	return out
}
