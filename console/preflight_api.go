package console

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

const bothKubeconfigs = "it needs primary.kubeconfig and standby.kubeconfig, of users that may read this"

// comparedFlags are those that both sides' API servers should agree on: they
// decide what is stored, admitted or accepted.
var comparedFlags = []string{"api-audiences", "disable-admission-plugins", "enable-admission-plugins", "feature-gates", "runtime-config",
	"service-account-issuer", "service-cluster-ip-range", "storage-media-type"}

func judgeFlags(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "API server flags", "they show where API servers run as Pods in kube-system; else compare them by hand",
		func(s PreflightSide) Found[map[string]map[string]string] { return s.Flags })
	if missing != nil {
		return missing
	}
	var lines []PreflightLine
	prefixes := map[string]bool{}
	for _, side := range []struct {
		name  string
		flags map[string]map[string]string
	}{{f.Primary.Name, p}, {f.Standby.Name, s}} {
		for _, flags := range side.flags {
			prefix := flags["etcd-prefix"]
			if prefix == "" {
				prefix = "/registry"
			}
			prefixes[strings.TrimSuffix(prefix, "/")+"/"] = true
		}
		for _, flag := range comparedFlags {
			if among(side.flags, flag) > 1 {
				lines = append(lines, checked(CheckWarn, "give all API servers of a cluster the same flags", "%s: its API servers have different --%s", side.name, flag)...)
			}
		}
	}
	if len(prefixes) > 1 || f.Prefix != "/" && !prefixes[f.Prefix] {
		lines = append(lines, checked(CheckFail, "both sides' --etcd-prefix and sync.prefix must be the same", "--etcd-prefix is %s, sync.prefix is %s",
			strings.Join(slices.Sorted(maps.Keys(prefixes)), " and "), f.Prefix)...)
	}
	for _, flag := range comparedFlags {
		a, b := values(p, flag), values(s, flag)
		if !slices.Equal(a, b) {
			lines = append(lines, checked(CheckWarn, "make them equal, or know why they differ", "--%s: %s on %s, %s on %s", flag, given(a), f.Primary.Name, given(b), f.Standby.Name)...)
		}
	}
	if lines == nil {
		return checked(CheckOK, "", "the API servers agree on %d flags that matter", len(comparedFlags)+1)
	}
	return lines
}

// among is how many different values a flag has among the servers of a side.
func among(servers map[string]map[string]string, flag string) int {
	seen := map[string]bool{}
	for _, flags := range servers {
		seen[flags[flag]] = true
	}
	return len(seen)
}

const notGiven = "not given"

func given(values []string) string {
	if len(values) == 0 {
		return notGiven
	}
	return strings.Join(values, " and ")
}

func judgeCRDs(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "CRDs and their versions", bothKubeconfigs, func(s PreflightSide) Found[map[string]CRDFacts] { return s.CRDs })
	if missing != nil {
		return missing
	}
	var lines []PreflightLine
	var absent, extra []string
	same := 0
	for _, name := range slices.Sorted(maps.Keys(p)) {
		theirs, there := s[name]
		if !there {
			absent = append(absent, name)
			continue
		}
		lacking := without(p[name].Served, theirs.Served)
		unserved := without(theirs.Stored, p[name].Served)
		switch {
		case len(unserved) > 0:
			lines = append(lines, checked(CheckFail, "migrate what is stored there, or bring both sides to one release of what owns the CRD",
				"%s: %s has stored version %s, which %s does not serve", name, f.Standby.Name, strings.Join(unserved, ", "), f.Primary.Name)...)
		case len(lacking) > 0:
			lines = append(lines, checked(CheckWarn, "bring both sides to one release of what owns the CRD", "%s: %s serves %s, %s serves %s",
				name, f.Primary.Name, strings.Join(p[name].Served, ", "), f.Standby.Name, strings.Join(theirs.Served, ", "))...)
		default:
			same++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if _, there := p[name]; !there {
			extra = append(extra, name)
		}
	}
	if len(extra) > 0 {
		lines = append(lines, checked(CheckWarn, "replication leaves them; delete them or know why", "%d CRDs are on %s only: %s", len(extra), f.Standby.Name, some(extra))...)
	}
	if len(absent) > 0 {
		lines = append(lines, checked(CheckOK, "", "%d CRDs are on %s only: sync copies them where they are in scope", len(absent), f.Primary.Name)...)
	}
	return append(checked(CheckOK, "", "%d CRDs fit on both sides", same), lines...)
}

// without are those of a that b does not have.
func without(a, b []string) (out []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// some are the first names of many.
func some(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

func judgeSigners(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "ServiceAccount signing keys and issuer", bothKubeconfigs, func(s PreflightSide) Found[SignerFacts] { return s.Signers })
	if missing != nil {
		return missing
	}
	const remedy = "without it every ServiceAccount token, agents' too, dies with the primary: give both sides the same --service-account-issuer and key files"
	var lines []PreflightLine
	if p.Issuer != s.Issuer {
		lines = append(lines, checked(CheckWarn, remedy, "ServiceAccount issuers differ: %s, %s", p.Issuer, s.Issuer)...)
	}
	if n := len(without(p.Keys, s.Keys)); n > 0 {
		lines = append(lines, checked(CheckWarn, remedy, "%s does not accept tokens that %s signed: %d of its %d keys are missing", f.Standby.Name, f.Primary.Name, n, len(p.Keys))...)
	} else if n := len(without(s.Keys, p.Keys)); n > 0 {
		lines = append(lines, checked(CheckWarn, remedy, "%s accepts tokens of %s, but not the other way round", f.Standby.Name, f.Primary.Name)...)
	}
	if lines == nil {
		return checked(CheckOK, "", "both sides sign ServiceAccount tokens with the same %d keys as %s", len(p.Keys), p.Issuer)
	}
	return lines
}

func judgeEncryption(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "encryption of stored values", "understudy config view", func(s PreflightSide) Found[[]EncryptedValues] { return s.Encrypted })
	if missing != nil {
		return missing
	}
	if len(p) == 0 && len(s) == 0 {
		return checked(CheckOK, "", "nothing in scope is stored encrypted on either side")
	}
	const give = "set encryption of both sides to what their API servers run with"
	var lines []PreflightLine
	for _, side := range []struct {
		name   string
		values []EncryptedValues
	}{{f.Primary.Name, p}, {f.Standby.Name, s}} {
		for _, v := range side.values {
			if v.Read.Known && !v.Read.Value {
				lines = append(lines, checked(CheckFail, "set encryption of this side to the file that its API servers run with (--encryption-provider-config)",
					"%s: %s of %s values begin %s, and its configured encryption does not read them: %s", side.name, number(v.Unread), number(v.Count), v.Prefix, v.Read.Why)...)
			}
		}
	}
	var clear, refused, raw int64
	for _, v := range s {
		raw += v.Raw
	}
	var why string
	for _, v := range p {
		clear, refused, why = clear+v.Clear, refused+v.Refused, cmp.Or(why, v.Why)
	}
	given := f.Primary.EncryptionGiven && f.Standby.EncryptionGiven
	switch {
	case len(lines) > 0:
	case raw > 0:
		lines = checked(CheckWarn, "understudy sync writes them anew, so that they can be read there",
			"%s values of %s were copied as %s encrypts them: its API servers can list none of their resources", number(raw), f.Standby.Name, f.Primary.Name)
	case refused > 0:
		lines = checked(CheckFail, give+"; a file with {identity: {}} alone where they store in clear",
			"sync cannot store %s encrypted values of %s on %s: %s", number(refused), f.Primary.Name, f.Standby.Name, why)
	case clear > 0:
		lines = checked(CheckWarn, "encrypt on the standby too", "%s values of %s are encrypted and are stored in clear on %s", number(clear), f.Primary.Name, f.Standby.Name)
	case given && f.SameEncryption:
		lines = checked(CheckOK, "", "both sides have the same encryption configuration, and it reads %s", prefixes(p, s))
	case given:
		lines = checked(CheckOK, "", "the encryption configurations differ; values are encrypted anew on the way (%s)", prefixes(p, s))
	case len(p) == 0 && f.Standby.EncryptionGiven, f.Primary.EncryptionGiven: // what is out of scope stays where it is
		lines = checked(CheckOK, "", "nothing in scope is stored encrypted on %s", f.Primary.Name)
	case len(p) == 0:
		lines = checked(Unchecked, give, "%s stores values as %s, and nobody can tell whether it reads what is in clear on %s", f.Standby.Name, prefixes(s), f.Primary.Name)
	case len(without(names(p), names(s))) > 0:
		lines = checked(CheckFail, give, "%s stores values as %s, which is not found on %s (%s): its API servers could not read copies",
			f.Primary.Name, strings.Join(names(p), ", "), f.Standby.Name, nothingOr(strings.Join(names(s), ", ")))
	default:
		lines = checked(Unchecked, give, "both sides store %s, but nobody can tell whether the secrets behind the names are the same", prefixes(p, s))
	}
	return lines
}

func names(values []EncryptedValues) (out []string) {
	for _, v := range values {
		out = append(out, v.Prefix)
	}
	return out
}

func prefixes(sides ...[]EncryptedValues) string {
	var all []string
	for _, s := range sides {
		all = append(all, names(s)...)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

func nothingOr(s string) string {
	if s == "" {
		return "nothing encrypted"
	}
	return s
}

func judgeRegistry(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "registry credentials", bothKubeconfigs, func(s PreflightSide) Found[map[string]string] { return s.PullSecrets })
	if missing != nil {
		return missing
	}
	if !f.Primary.UsedSecrets.Known {
		return unchecked(bothKubeconfigs, "registry credentials", f.Primary.Name+": "+orUnknown(f.Primary.UsedSecrets.Why))
	}
	wanted := slices.Concat(f.RegistrySecrets, f.Primary.UsedSecrets.Value)
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	if len(wanted) == 0 && f.Images.Known {
		return checked(CheckOK, "", "no ServiceAccount of %s names registry credentials; whether images can be pulled without, the check images says", f.Primary.Name)
	}
	if len(wanted) == 0 {
		return checked(Unchecked, "name them: access.registrySecrets", "registry credentials: no ServiceAccount of %s names any, and none are configured", f.Primary.Name)
	}
	lines := judgeEmptyCredentials(f, wanted)
	for _, name := range wanted {
		_, here := p[name]
		_, there := s[name]
		switch {
		case !here && slices.Contains(f.RegistrySecrets, name):
			lines = append(lines, checked(CheckFail, "create it, or correct access.registrySecrets", "registry credentials %s are not on %s", name, f.Primary.Name)...)
		case !here:
			lines = append(lines, checked(CheckWarn, "create it, or take the reference away", "ServiceAccounts of %s name registry credentials %s, which are not there", f.Primary.Name, name)...)
		case !there:
			lines = append(lines, checked(CheckWarn, "sync copies it where it is in scope (understudy config explain); else create it", "registry credentials %s are not on %s", name, f.Standby.Name)...)
		case p[name] != s[name]:
			lines = append(lines, checked(CheckWarn, "see that both still let images be pulled", "registry credentials %s differ", name)...)
		}
	}
	if lines == nil {
		return checked(CheckOK, "", "%d registry credentials are on both sides", len(wanted))
	}
	return lines
}
