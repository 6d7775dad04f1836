package console

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// OwnCheck is one check of one's own, of one side.
type OwnCheck struct {
	Name, Side string
	Wrong      string // "" = it came out as it should
}

func judgeOwnChecks(f PreflightFacts) (lines []PreflightLine) {
	for _, c := range f.Checks {
		if c.Wrong != "" {
			lines = append(lines, checked(CheckFail, "put it right, or correct access.checks", "%s on %s: %s", c.Name, c.Side, c.Wrong)...)
		} else {
			lines = append(lines, checked(CheckOK, "", "%s on %s", c.Name, c.Side)...)
		}
	}
	return lines
}

// judgeEqualSecrets compares digests: nobody is shown what is in a Secret.
func judgeEqualSecrets(f PreflightFacts) []PreflightLine {
	if len(f.EqualSecrets) == 0 {
		return nil
	}
	p, s, missing := both(f, "Secrets that must be equal", "set encryption of both sides to what their API servers run with", func(s PreflightSide) Found[map[string]string] { return s.Secrets })
	if missing != nil {
		return missing
	}
	var lines []PreflightLine
	for _, name := range f.EqualSecrets {
		a, b := p[name], s[name]
		switch {
		case a == "" && b == "":
			lines = append(lines, checked(CheckFail, "create it, or correct access.equalSecrets", "the Secret %s is on neither side", name)...)
		case a == "" || b == "":
			lacks := f.Primary.Name
			if b == "" {
				lacks = f.Standby.Name
			}
			lines = append(lines, checked(CheckFail, "create it there as on the other side; sync copies it to the standby where it is in scope (understudy config explain)", "the Secret %s is not on %s", name, lacks)...)
		case a != b:
			lines = append(lines, checked(CheckFail, "make it equal, as the platform's vendor says", "the Secret %s does not hold the same on both sides", name)...)
		}
	}
	if lines == nil {
		return checked(CheckOK, "", "%d Secrets that must be equal are", len(f.EqualSecrets))
	}
	return lines
}

// judgeEmptyCredentials: a registry that takes a pull without a password from one
// side may not from the other.
func judgeEmptyCredentials(f PreflightFacts, wanted []string) (lines []PreflightLine) {
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		for _, name := range wanted {
			for _, c := range side.Credentials.Value[name] {
				if c.Lacks != "" {
					lines = append(lines, checked(CheckFail, "write user and password of the registry into it", "registry credentials %s on %s lack for %s: %s", name, side.Name, nothingAt(c.Registry), c.Lacks)...)
				}
			}
		}
	}
	return lines
}

type hardeningFlag struct {
	flag, says string
	presence   bool
}

// hardeningFlags say how much an API server lets through, and what it writes down.
// Where presence is set, it is the file behind the flag that matters, and whether
// there is one can be compared.
var hardeningFlags = []hardeningFlag{
	{"anonymous-auth", "", false},
	{"authorization-mode", "", false},
	{"tls-min-version", "", false},
	{"tls-cipher-suites", "", false},
	{"profiling", "", false},
	{"audit-policy-file", "an audit policy", true},
	{"encryption-provider-config", "encryption of stored values", true},
	{"admission-control-config-file", "a configuration of admission (PodSecurity's defaults)", true},
	{"authentication-config", "an authentication configuration", true},
	{"authorization-config", "an authorization configuration", true},
	{"authentication-token-webhook-config-file", "a webhook for tokens", true},
	{"oidc-issuer-url", "", false},
}

// judgeHardening: what is refused on one side must not be let through on the other.
func judgeHardening(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "hardening of the API servers", "it shows where API servers run as Pods in kube-system; else compare the flags by hand", func(s PreflightSide) Found[map[string]map[string]string] { return s.Flags })
	if missing != nil {
		return missing
	}
	var lines []PreflightLine
	for _, h := range hardeningFlags {
		onPrimary, onStandby := h.settings(p), h.settings(s)
		mixed := false
		for _, side := range []struct {
			name     string
			settings map[string][]string
		}{{f.Primary.Name, onPrimary}, {f.Standby.Name, onStandby}} {
			if len(side.settings) > 1 {
				mixed = true
				lines = append(lines, checked(CheckWarn, "give all API servers of a cluster the same flags", "the API servers of %s are hardened differently: --%s is %s", side.name, h.flag, byServer(side.settings))...)
			}
		}
		a, b := joined(onPrimary), joined(onStandby)
		switch {
		case mixed, a == b:
		case h.presence:
			has, lacks := f.Primary.Name, f.Standby.Name
			if a == notGiven {
				has, lacks = lacks, has
			}
			lines = append(lines, checked(CheckWarn, "give both sides the same", "%s has %s (--%s), %s has not", has, h.says, h.flag, lacks)...)
		default:
			lines = append(lines, checked(CheckWarn, "make them equal, or know why they differ", "--%s: %s on %s, %s on %s", h.flag, a, f.Primary.Name, b, f.Standby.Name)...)
		}
	}
	if lines == nil {
		return checked(CheckOK, "", "the API servers are hardened alike: %s", strings.Join(hardened(p), ", "))
	}
	return lines
}

// settings are what the flag is on the API servers of a side, and on which. A server
// that lacks it is one like any other: what is let through there is let through.
func (h hardeningFlag) settings(servers map[string]map[string]string) map[string][]string {
	out := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		is := servers[name][h.flag]
		switch {
		case is == "":
			is = notGiven
		case h.presence:
			is = "given"
		}
		out[is] = append(out[is], name)
	}
	return out
}

func joined(settings map[string][]string) string {
	return strings.Join(slices.Sorted(maps.Keys(settings)), " and ")
}

func byServer(settings map[string][]string) string {
	var out []string
	for _, is := range slices.Sorted(maps.Keys(settings)) {
		out = append(out, is+" on "+some(settings[is]))
	}
	return strings.Join(out, ", ")
}

func hardened(servers map[string]map[string]string) (out []string) {
	for _, h := range hardeningFlags {
		if v := values(servers, h.flag); len(v) > 0 && h.presence {
			out = append(out, h.says)
		} else if len(v) > 0 {
			out = append(out, fmt.Sprintf("--%s=%s", h.flag, strings.Join(v, ",")))
		}
	}
	if out == nil {
		out = []string{"none of the flags that matter is given"}
	}
	return out
}
