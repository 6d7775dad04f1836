package console

import (
	"fmt"
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

// hardeningFlags say how much an API server lets through, and what it writes down.
// Where presence is set, it is the file behind the flag that matters, and whether
// there is one can be compared.
var hardeningFlags = []struct {
	flag, says string
	presence   bool
}{
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
		a, b := values(p, h.flag), values(s, h.flag)
		switch {
		case h.presence && (len(a) > 0) != (len(b) > 0):
			has, lacks := f.Primary.Name, f.Standby.Name
			if len(b) > 0 {
				has, lacks = lacks, has
			}
			lines = append(lines, checked(CheckWarn, "give both sides the same", "%s has %s (--%s), %s has not", has, h.says, h.flag, lacks)...)
		case !h.presence && !slices.Equal(a, b):
			lines = append(lines, checked(CheckWarn, "make them equal, or know why they differ", "--%s: %s on %s, %s on %s", h.flag, given(a), f.Primary.Name, given(b), f.Standby.Name)...)
		}
	}
	if lines == nil {
		return checked(CheckOK, "", "the API servers are hardened alike: %s", strings.Join(hardened(p), ", "))
	}
	return lines
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
