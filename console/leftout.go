package console

import "strings"

// scopeList is the command that names what takes no part.
const scopeList = "understudy scope list"

// LeftOut is how much of value on the primary takes no part in replication.
type LeftOut struct {
	CustomResources int64 `json:"customResources"` // for their namespaces alone
	Secrets         int64 `json:"secrets"`         // likewise
	Pods            int64 `json:"pods"`            // that no controller made
	Roles           int64 `json:"roles"`           // and bindings of the API servers' own that somebody has changed
	Namespaces      int   `json:"namespaces"`      // in which these are
}

// Text is "12 custom resources and 4 Secrets in 3 namespaces", "" for nothing.
func (l *LeftOut) Text() string {
	if l == nil {
		return ""
	}
	var parts []string
	for _, one := range []struct {
		count        int64
		name, plural string
	}{
		{l.Roles, "bootstrap role or binding that somebody has changed", "bootstrap roles or bindings that somebody has changed"},
		{l.CustomResources, "custom resource", "custom resources"}, {l.Secrets, "Secret", "Secrets"},
		{l.Pods, "Pod that no controller made", "Pods that no controller made"},
	} {
		switch {
		case one.count == 1:
			parts = append(parts, "1 "+one.name)
		case one.count > 1:
			parts = append(parts, number(one.count)+" "+one.plural)
		}
	}
	where := ""
	switch {
	case l.Namespaces == 1:
		where = " in 1 namespace"
	case l.Namespaces > 1:
		where = " in " + number(int64(l.Namespaces)) + " namespaces"
	}
	switch n := len(parts); n {
	case 0:
		return ""
	case 1:
		return parts[0] + where
	default:
		return strings.Join(parts[:n-1], ", ") + " and " + parts[n-1] + where
	}
}
