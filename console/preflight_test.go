package console

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/understudy-dr/understudy/kv"
)

func found[T any](v T) Found[T] { return FoundIf(v, nil) }

// fit are the facts of two clusters that lack nothing.
func fit() PreflightFacts {
	side := func(name, vip string, rev kv.Revision) PreflightSide {
		return PreflightSide{
			Name: name, VIP: vip, Revision: found(rev), Role: found(RoleFacts{}), Guard: found(Refusal{}), Etcd: found("3.6.16"), Health: found([]Member{{Name: "m0", Version: "3.6.16"}}), Keys: found(int64(12345)), Outside: found([]OutsideFacts{}),
			Encrypted:       found([]EncryptedValues{{Prefix: "k8s:enc:aescbc:v1:key1:", Count: 40, Read: found(true)}}),
			EncryptionGiven: true, APIAddress: vip + ":6443", OwnAPI: found(""), Kubernetes: found("v1.36.3"),
			Flags:   found(map[string]map[string]string{"kube-apiserver-m0": {"service-cluster-ip-range": "10.96.0.0/16"}}),
			Signers: found(SignerFacts{"https://kubernetes.default.svc", []string{"k1"}}),
			CRDs:    found(map[string]CRDFacts{"machines.cluster.x-k8s.io": {[]string{"v1beta1", "v1beta2"}, []string{"v1beta2"}}}),
			CIDRs:   found([]string{"10.96.0.0/16"}),
			ClusterIPs: found(map[string]ServiceFacts{"default/kubernetes": {[]string{"10.96.0.1"}, false},
				"team/web": {[]string{"10.96.7.7"}, true}}),
			PullSecrets: found(map[string]string{"team/registry": "aa"}), UsedSecrets: found([]string{"team/registry"}),
			Ports:       map[int]Found[bool]{80: found(true), 443: found(true)},
			Certificate: found(CertificateFacts{Digest: "cc", NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0)}),

			PreflightSurvey: surveyed(name, strings.TrimSuffix(vip, "10")),
			PreflightReach:  reached(),
		}
	}
	spb := side("spb", "10.1.0.10", 1_000_002_000)
	spb.Floor = found(FloorFacts{Expired: []string{"10.1.0.1:6443"}})
	return PreflightFacts{
		Now: now, Pair: "moscow-spb", Prefix: "/registry/", Address: "platform.example.com", AskedFor: "platform.example.com", Names: []string{"spb.example.com"},
		Resolved: found([]string{"10.0.0.10"}), SameEncryption: true, Only: found(OnlyFacts{Both: 12000}), Swapped: found(SwappedFacts{}), Operators: found([]OperatorFacts{}), LeftOut: found(LeftOutFacts{}),
		Images: found([]ImageFacts{{Image: "registry.example.com/web:1", Registry: "registry.example.com", Workloads: 1, Example: "Deployment team/web", Archs: []string{"amd64", "arm64"}},
			{Image: "nginx", Registry: "docker.io", Workloads: 1, Example: "Deployment team/web"}}),
		Primary: side("moscow", "10.0.0.10", 1000), Standby: spb,
	}
}

// ofOneSide are the checks that have something to say of one side alone.
var ofOneSide = map[string]bool{
	"access-address": true,
	"api-endpoint":   true,
	"etcd-answers":   true,
	"etcd-health":    true,
	"guard":          true,
	"images":         true,
	"outside-etcd":   true,
	"outside-prefix": true,
	"ports":          true,
	"registry-hosts": true,
	"vip-leads-home": true,
	"vip-redirect":   true,
}

// preflightCase is one rule's outcome, by the smallest change to facts that fit.
type preflightCase struct {
	change func(*PreflightFacts)
	check  string
	want   PreflightState // the worst of its lines
	text   string
}

// preflightCases are those besides the ones in TestPreflightRules; tests of one
// area stand in a file of their own.
var preflightCases = []map[string]preflightCase{}

func linesOf(p Preflight, check string) (states []PreflightState, text string) {
	for _, line := range p.Lines {
		if line.Check == check {
			states = append(states, line.State)
			text += line.Text + "\n"
		}
	}
	return states, text
}

func TestPreflightOfAFitPair(t *testing.T) {
	p := JudgePreflight(fit())
	for _, line := range p.Lines {
		if line.State != CheckOK {
			t.Errorf("%+v", line)
		}
	}
	if p.State != CheckOK || p.Count[CheckOK] != len(p.Lines) {
		t.Errorf("%s, %v", p.State, p.Count)
	}
}

// Without any input nothing is ok, and each line says how to give it.
func TestPreflightWithoutInput(t *testing.T) {
	p := JudgePreflight(PreflightFacts{Now: now, Prefix: "/registry/", Primary: PreflightSide{Name: "moscow"}, Standby: PreflightSide{Name: "spb"}})
	for _, line := range p.Lines {
		if line.State != Unchecked || line.Remedy == "" {
			t.Errorf("%+v", line)
		}
	}
	if p.State != Unchecked {
		t.Errorf("%s", p.State)
	}
}

// One side's silence is enough: what needs both is not checked.
func TestPreflightOfHalfAPair(t *testing.T) {
	for name, lose := range map[string]func(*PreflightFacts){
		"primary": func(f *PreflightFacts) {
			f.Primary = PreflightSide{Name: "moscow"}
			f.Only, f.LeftOut = NotFound[OnlyFacts]("no answer"), NotFound[LeftOutFacts]("no answer")
		},
		"standby": func(f *PreflightFacts) {
			f.Standby = PreflightSide{Name: "spb"}
			f.Only, f.LeftOut = NotFound[OnlyFacts]("no answer"), NotFound[LeftOutFacts]("no answer")
		},
	} {
		f := fit()
		lose(&f)
		f.Operators = NotFound[[]OperatorFacts]("no answer")
		f.Swapped = NotFound[SwappedFacts]("no answer")
		ofBoth := 0
		for _, line := range JudgePreflight(f).Lines {
			if !ofOneSide[line.Check] {
				ofBoth++
				if line.State != Unchecked {
					t.Errorf("without the %s: %+v", name, line)
				}
			}
		}
		if ofBoth < 14 {
			t.Errorf("only %d lines", ofBoth)
		}
	}
}

// Each rule, by the smallest change that makes it apply.
func TestPreflightRules(t *testing.T) {
	flag := func(name, value string) func(*PreflightFacts) {
		return func(f *PreflightFacts) { f.Primary.Flags.Value["kube-apiserver-m0"][name] = value }
	}
	unread := EncryptedValues{Prefix: "k8s:enc:aescbc:v1:key2:", Count: 4, Unread: 3, Read: Found[bool]{Known: true, Why: "no key of that name"}}
	unknownKey := []EncryptedValues{{Prefix: "k8s:enc:aescbc:v1:key1:", Count: 3}}
	otherKey := []EncryptedValues{{Prefix: "k8s:enc:aescbc:v1:key2:", Count: 3}}
	noConfig := func(f *PreflightFacts, p, s []EncryptedValues) {
		f.Primary.EncryptionGiven, f.Standby.EncryptionGiven, f.SameEncryption = false, false, false
		f.Primary.Encrypted, f.Standby.Encrypted = found(p), found(s)
	}
	cases := map[string]preflightCase{
		"another's API server": {func(f *PreflightFacts) { f.Standby.OwnAPI = found("is another cluster's") }, "api-of-etcd", CheckFail, "spb leads to 10.1.0.10:6443, which is another"},
		"nobody knows whose":   {func(f *PreflightFacts) { f.Standby.OwnAPI = NotFound[string]("forbidden") }, "api-of-etcd", Unchecked, "spb: forbidden"},
		"mass deletion":        {func(f *PreflightFacts) { f.Standstill = massDeletion() }, "breaker", CheckFail, "1,000 of 1,000 machines"},
		"one etcd":             {func(f *PreflightFacts) { f.Same = true }, "roles", CheckFail, "the same etcd cluster"},
		"swapped":              {func(f *PreflightFacts) { f.Primary.Role = found(RoleFacts{Standby: true, Pair: "moscow-spb"}) }, "roles", CheckFail, "swapped: moscow is the standby"},
		"two standbys": {func(f *PreflightFacts) {
			f.Primary.Role, f.Standby.Role = found(RoleFacts{Standby: true, Pair: "a"}), found(RoleFacts{Standby: true})
		}, "roles", CheckFail, "a standby itself"},
		"another's standby": {func(f *PreflightFacts) {
			f.Standby.Role = found(RoleFacts{Standby: true, Refuses: "it belongs to pair b"})
		}, "roles", CheckFail, "it belongs to pair b"},
		"a pair":           {func(f *PreflightFacts) { f.Standby.Role = found(RoleFacts{Standby: true, Pair: "moscow-spb"}) }, "roles", CheckOK, "the standby of pair"},
		"no role is known": {func(f *PreflightFacts) { f.Primary.Role = NotFound[RoleFacts]("no answer") }, "roles", Unchecked, "no answer"},
		"rule for nothing": {func(f *PreflightFacts) {
			f.Named, f.Unmatched = 1, found([]LostPattern{{"pair.yaml:9", "machine.cluster.x-k8s.io", "machines.cluster.x-k8s.io"}})
		}, "named-resources", CheckWarn, "neither side has machine.cluster.x-k8s.io (pair.yaml:9)"},
		"rules for what is there": {func(f *PreflightFacts) { f.Named, f.Unmatched = 1, found([]LostPattern(nil)) }, "named-resources", CheckOK, ""},
		"operators act": {func(f *PreflightFacts) {
			f.Operators = found([]OperatorFacts{{Kind: "Deployment", Namespace: "a", Name: "b", Says: "b in a: 41 certificates.cert-manager.io"}, {Kind: "Deployment", Kept: true}})
		}, "operators-act", CheckWarn, "spb acts on replicated objects: b in a: 41 certificates"},
		"an operator that no line holds": {func(f *PreflightFacts) {
			f.Operators = found([]OperatorFacts{{Kind: "StatefulSet", Namespace: "a", Name: "b", Says: "b in a: 1 x.example.com"}})
		}, "operators-act", CheckWarn, "StatefulSet a/b acts"},
		"operators are kept at zero": {func(f *PreflightFacts) { f.Operators = found([]OperatorFacts{{Kind: "Deployment", Kept: true}}) }, "operators-act", CheckOK, "hold.workloads keeps the 1 running"},
		"operators, and no answer":   {func(f *PreflightFacts) { f.Operators = NotFound[[]OperatorFacts]("no answer") }, "operators-act", Unchecked, "no answer"},
		"rules, and no answer":       {func(f *PreflightFacts) { f.Named = 1 }, "named-resources", Unchecked, ""},
		"paused":                     {func(f *PreflightFacts) { f.Paused = &Pause{Reason: "an upgrade"} }, "paused", CheckWarn, "an upgrade"},
		"standby newer":              {func(f *PreflightFacts) { f.Standby.Kubernetes = found("v1.37.0") }, "kubernetes-version", CheckWarn, "v1.37.0"},
		"standby much newer":         {func(f *PreflightFacts) { f.Standby.Kubernetes = found("v1.38.0") }, "kubernetes-version", CheckFail, ""},
		"standby older":              {func(f *PreflightFacts) { f.Standby.Kubernetes = found("v1.35.9") }, "kubernetes-version", CheckFail, ""},
		"another patch":              {func(f *PreflightFacts) { f.Standby.Kubernetes = found("v1.36.9+rke2r1") }, "kubernetes-version", CheckOK, ""},
		"no version":                 {func(f *PreflightFacts) { f.Standby.Kubernetes = found("tip") }, "kubernetes-version", Unchecked, ""},
		"version left out":           {func(f *PreflightFacts) { f.Primary.Kubernetes = found("v0.0.0-master") }, "kubernetes-version", Unchecked, ""},
		"older etcd":                 {func(f *PreflightFacts) { f.Standby.Etcd = found("3.5.20") }, "etcd-version", CheckWarn, ""},
		"no keys on the standby":     {func(f *PreflightFacts) { f.Standby.Keys = found(int64(0)) }, "etcd-prefix", CheckFail, "spb has no key below /registry/"},
		"no keys on the primary":     {func(f *PreflightFacts) { f.Primary.Keys = found(int64(0)) }, "etcd-prefix", CheckFail, "moscow"},
		"events elsewhere":           {flag("etcd-servers-overrides", "/events#https://10.0.0.1:3379;https://10.0.0.2:3379"), "etcd-elsewhere", CheckOK, "events"},
		"leases elsewhere":           {flag("etcd-servers-overrides", "/events#https://e:1,coordination.k8s.io/leases#https://e:1"), "etcd-elsewhere", CheckFail, "coordination.k8s.io/leases"},
		"no Pods of API servers":     {func(f *PreflightFacts) { f.Standby.Flags = NotFound[map[string]map[string]string]("none") }, "etcd-elsewhere", Unchecked, "spb: none"},
		"only on the primary":        {func(f *PreflightFacts) { f.Only.Value.Primary = map[string]int64{"secrets": 5} }, "objects-one-sided", CheckOK, "5 secrets"},
		"only on the standby":        {func(f *PreflightFacts) { f.Only.Value.Standby = map[string]int64{"secrets": 5, "configmaps": 7} }, "objects-one-sided", CheckWarn, "7 configmaps, 5 secrets"},
		"standby has others of one name": {func(f *PreflightFacts) { f.Only.Value.Replaced = map[string]int64{"namespaces": 7} }, "objects-replaced", CheckFail,
			"7 objects of spb have the name of another on moscow (7 namespaces)"},
		"others of one name in a pair": {func(f *PreflightFacts) {
			f.Only.Value.Replaced, f.Standby.Role = map[string]int64{"namespaces": 7}, found(RoleFacts{Standby: true})
		}, "objects-replaced", CheckOK, ""},
		"standby unwatched":         {func(f *PreflightFacts) { f.Standby.Guard = found(Refusal{"permission denied", "grant it"}) }, "guard", CheckFail, "permission denied"},
		"floor too low":             {func(f *PreflightFacts) { f.Standby.Revision = found(kv.Revision(2000)) }, "revision-floor", CheckWarn, "no revision floor"},
		"API servers not restarted": {func(f *PreflightFacts) { f.Standby.Floor.Value.Accepted = []string{"10.1.0.2:6443"} }, "revision-floor", CheckWarn, "10.1.0.2:6443 was not restarted above the floor"},
		"an API server silent":      {func(f *PreflightFacts) { f.Standby.Floor.Value.Unasked = []string{"10.1.0.2:6443"} }, "revision-floor", Unchecked, "10.1.0.2:6443"},
		"API servers not asked":     {func(f *PreflightFacts) { f.Standby.Floor = NotFound[FloorFacts]("standby.kubeconfig is not set") }, "revision-floor", Unchecked, "standby.kubeconfig is not set"},
		"another prefix":            {flag("etcd-prefix", "/other"), "api-server-flags", CheckFail, "/other/ and /registry/"},
		"prefix not the configured": {func(f *PreflightFacts) { f.Prefix = "/k8s/" }, "api-server-flags", CheckFail, "sync.prefix is /k8s/"},
		"prefix written out":        {flag("etcd-prefix", "/registry"), "api-server-flags", CheckOK, ""},
		"other feature gates":       {flag("feature-gates", "A=true"), "api-server-flags", CheckWarn, "A=true on moscow, not given on spb"},
		"servers of a side differ":  {func(f *PreflightFacts) { f.Primary.Flags.Value["m1"] = map[string]string{} }, "api-server-flags", CheckWarn, "different --service-cluster-ip-range"},
		"CRD absent there":          {func(f *PreflightFacts) { clear(f.Standby.CRDs.Value) }, "crd-versions", CheckOK, "on moscow only"},
		"CRD absent here":           {func(f *PreflightFacts) { clear(f.Primary.CRDs.Value) }, "crd-versions", CheckWarn, "on spb only: machines"},
		"CRD serves less":           {func(f *PreflightFacts) { serve(f, []string{"v1beta2"}, []string{"v1beta2"}) }, "crd-versions", CheckWarn, "spb serves v1beta2"},
		"CRD has stored another":    {func(f *PreflightFacts) { serve(f, []string{"v1beta1", "v1beta2", "v2"}, []string{"v2"}) }, "crd-versions", CheckFail, "stored version v2"},
		"another issuer":            {func(f *PreflightFacts) { f.Standby.Signers.Value.Issuer = "https://spb" }, "service-account-keys", CheckWarn, "issuers differ"},
		"another key":               {func(f *PreflightFacts) { f.Standby.Signers.Value.Keys = []string{"k2"} }, "service-account-keys", CheckWarn, "1 of its 1 keys"},
		"one key more there":        {func(f *PreflightFacts) { f.Standby.Signers.Value.Keys = []string{"k1", "k2"} }, "service-account-keys", CheckWarn, "not the other way"},
		"nothing encrypted":         {func(f *PreflightFacts) { noConfig(f, nil, nil) }, "encryption", CheckOK, "nothing"},
		"nothing encrypted here, and there": {func(f *PreflightFacts) {
			f.Primary.EncryptionGiven, f.SameEncryption, f.Primary.Encrypted = false, false, found([]EncryptedValues(nil))
		}, "encryption", CheckOK, "nothing in scope is stored encrypted on moscow"},
		"nothing encrypted here, unknown there": {func(f *PreflightFacts) { noConfig(f, nil, unknownKey) }, "encryption", Unchecked, "reads what is in clear"},
		"other configuration":                   {func(f *PreflightFacts) { f.SameEncryption = false }, "encryption", CheckOK, "anew"},
		"configuration reads nothing": {func(f *PreflightFacts) { f.Primary.Encrypted.Value = append(f.Primary.Encrypted.Value, unread) }, "encryption", CheckFail,
			"3 of 4 values begin k8s:enc:aescbc:v1:key2:"},
		"same names, unknown secrets": {func(f *PreflightFacts) { noConfig(f, unknownKey, unknownKey) }, "encryption", Unchecked, "nobody can tell"},
		"other names":                 {func(f *PreflightFacts) { noConfig(f, unknownKey, otherKey) }, "encryption", CheckFail, "could not read copies"},
		"encrypted here only":         {func(f *PreflightFacts) { noConfig(f, unknownKey, nil) }, "encryption", CheckFail, "nothing encrypted"},
		"in clear there":              {func(f *PreflightFacts) { f.SameEncryption, f.Primary.Encrypted.Value[0].Clear = false, 7 }, "encryption", CheckWarn, "7 values of moscow are encrypted and are stored in clear on spb"},
		"refused there": {func(f *PreflightFacts) {
			f.Standby.EncryptionGiven, f.Standby.Encrypted = false, found([]EncryptedValues(nil))
			f.Primary.Encrypted.Value[0].Refused, f.Primary.Encrypted.Value[0].Why = 7, "no EncryptionConfiguration given"
		}, "encryption", CheckFail, "sync cannot store 7 encrypted values of moscow on spb: no EncryptionConfiguration"},
		"credentials missing there":  {func(f *PreflightFacts) { clear(f.Standby.PullSecrets.Value) }, "registry-credentials", CheckWarn, "not on spb"},
		"credentials named in vain":  {func(f *PreflightFacts) { f.Primary.UsedSecrets = found([]string{"team/gone"}) }, "registry-credentials", CheckWarn, "team/gone"},
		"credentials not configured": {func(f *PreflightFacts) { f.Primary.UsedSecrets.Value = nil }, "registry-credentials", CheckOK, "no ServiceAccount of moscow names"},
		"configured ones missing":    {func(f *PreflightFacts) { f.RegistrySecrets = []string{"a/b"} }, "registry-credentials", CheckFail, "a/b are not on moscow"},
		"credentials differ":         {func(f *PreflightFacts) { f.Standby.PullSecrets.Value["team/registry"] = "bb" }, "registry-credentials", CheckWarn, "differ"},
		"another CIDR":               {func(f *PreflightFacts) { f.Standby.CIDRs = found([]string{"10.4.0.0/16"}) }, "service-cidr", CheckFail, "10.4.0.0/16 on spb"},
		"CIDRs of both families, one in other letters": {func(f *PreflightFacts) {
			f.Primary.CIDRs, f.Standby.CIDRs = found([]string{"10.96.0.0/12", "fd00:10:96::/108"}), found([]string{"10.96.0.0/12", "FD00:10:96:0::/108"})
		}, "service-cidr", CheckOK, ""},
		"an IPv6 address taken, in other letters": {func(f *PreflightFacts) {
			f.Primary.ClusterIPs = found(map[string]ServiceFacts{"team/web": {IPs: []string{"10.96.7.7", "fd00:10:96::7"}, InScope: true}})
			f.Standby.ClusterIPs = found(map[string]ServiceFacts{"kube-system/dns": {IPs: []string{"10.96.0.10", "FD00:10:96:0::7"}}})
		}, "cluster-ips", CheckFail, "fd00:10:96::7 of team/web is kube-system/dns's"},
		"addresses outside": {func(f *PreflightFacts) { f.Standby.CIDRs = found([]string{"10.4.0.0/16"}) }, "cluster-ips", CheckFail, "10.96.7.7 of team/web"},
		"collision": {func(f *PreflightFacts) {
			f.Standby.ClusterIPs.Value["kube-system/dns"] = ServiceFacts{IPs: []string{"10.96.7.7"}}
			delete(f.Standby.ClusterIPs.Value, "team/web")
		}, "cluster-ips", CheckFail, "10.96.7.7 of team/web is kube-system/dns's"},
		"out of scope collides": {func(f *PreflightFacts) {
			f.Standby.ClusterIPs.Value["kube-system/dns"] = ServiceFacts{IPs: []string{"10.96.0.1"}}
			delete(f.Standby.ClusterIPs.Value, "default/kubernetes")
		}, "cluster-ips", CheckOK, ""},
		"no CIDR on either side": {func(f *PreflightFacts) { f.Primary.CIDRs, f.Standby.CIDRs = found([]string(nil)), found([]string(nil)) }, "service-cidr", Unchecked, "neither side says"},
		"address leads to both":  {func(f *PreflightFacts) { f.Resolved.Value = []string{"10.0.0.10", "10.1.0.10"} }, "access-address", CheckWarn, "leads to 10.1.0.10 as well"},
		"address is IPv6": {func(f *PreflightFacts) {
			f.Primary.VIP, f.Resolved.Value = "2001:DB8::10", []string{"2001:db8::10"}
		}, "access-address", CheckOK, ""},
		"address is an IP":                    {func(f *PreflightFacts) { f.Address = "10.0.0.10" }, "access-address", CheckFail, ""},
		"address leads elsewhere":             {func(f *PreflightFacts) { f.Resolved.Value = []string{"10.1.0.10"} }, "access-address", CheckWarn, "leads to 10.1.0.10"},
		"address unresolved":                  {func(f *PreflightFacts) { f.Resolved = FoundIf[[]string](nil, errors.New("no such host")) }, "access-address", CheckWarn, "no such host"},
		"no VIP to lead to":                   {func(f *PreflightFacts) { f.Primary.VIP = "" }, "access-address", Unchecked, ""},
		"VIP is a name":                       {func(f *PreflightFacts) { f.Primary.VIP = "lb.moscow" }, "access-address", Unchecked, ""},
		"no address":                          {func(f *PreflightFacts) { f.Address = "" }, "access-address", Unchecked, ""},
		"endpoint is the address":             {func(f *PreflightFacts) { f.Standby.APIAddress = "platform.example.com:6443" }, "api-endpoint", CheckFail, "the API endpoint of spb is the access address"},
		"endpoint is the address in capitals": {func(f *PreflightFacts) { f.Standby.APIAddress = "Platform.Example.com:6443" }, "api-endpoint", CheckFail, "is the access address"},
		"endpoint is IPv6 without a port":     {func(f *PreflightFacts) { f.Primary.VIP, f.Primary.APIAddress = "2001:db8::10", "[2001:DB8::10]" }, "api-endpoint", CheckOK, ""},
		"one endpoint for both": {func(f *PreflightFacts) {
			f.Standby.APIAddress, f.Standby.OwnAPI = f.Primary.APIAddress, NotFound[string]("may not list Namespaces")
		}, "api-endpoint", CheckFail, "both kubeconfigs lead to 10.0.0.10:6443"},
		"one VIP for both": {func(f *PreflightFacts) { f.Standby.VIP = f.Primary.VIP }, "api-endpoint", CheckFail, "both sides have the VIP 10.0.0.10"},
		"one proxy for both": {func(f *PreflightFacts) {
			f.Primary.APIAddress, f.Standby.APIAddress, f.Primary.VIP, f.Standby.VIP = "rancher", "rancher", "rancher", "10.1.0.10"
		}, "api-endpoint", CheckWarn, "not its VIP"},
		"address of both families": {func(f *PreflightFacts) { f.Resolved.Value = append(f.Resolved.Value, "2001:db8::10") }, "access-address", Unchecked, "where 2001:db8::10 leads"},
		"address leads to the standby by IPv6": {func(f *PreflightFacts) {
			f.Standby.VIP = "2001:db8:1::10"
			f.Resolved.Value = append(f.Resolved.Value, "2001:db8:1::10")
		}, "access-address", CheckWarn, "leads to 2001:db8:1::10 as well"},
		"primary's role hidden":             {func(f *PreflightFacts) { f.Primary.Role.Value.Hidden = true }, "roles", CheckOK, "what moscow is, its account may not read"},
		"address of the other family alone": {func(f *PreflightFacts) { f.Resolved = found([]string{"2001:db8::10"}) }, "access-address", CheckWarn, "not to moscow's VIP"},
		"one etcd, roles unseen":            {func(f *PreflightFacts) { f.Same, f.Primary.Role = true, NotFound[RoleFacts]("denied") }, "roles", CheckFail, "the same etcd cluster"},
		"endpoint is a node":                {func(f *PreflightFacts) { f.Standby.APIAddress = "10.1.0.1:6443" }, "api-endpoint", CheckWarn, "not its VIP"},
		"port closed":                       {func(f *PreflightFacts) { f.Standby.Ports[443] = NotFound[bool]("connection refused") }, "ports", CheckFail, "443 (connection refused)"},
		"no VIP":                            {func(f *PreflightFacts) { f.Standby.VIP = "" }, "ports", Unchecked, ""},
		"other certificate":                 {func(f *PreflightFacts) { f.Standby.Certificate.Value.Digest = "dd" }, "ingress-certificate", CheckFail, "different certificates"},
		"expired":                           {func(f *PreflightFacts) { f.Standby.Certificate.Value.NotAfter = now }, "ingress-certificate", CheckFail, "expired"},
		"expires soon":                      {func(f *PreflightFacts) { f.Standby.Certificate.Value.NotAfter = now.AddDate(0, 0, 3) }, "ingress-certificate", CheckWarn, "expires in"},
		"not yet valid":                     {func(f *PreflightFacts) { f.Standby.Certificate.Value.NotBefore = now.AddDate(0, 0, 3) }, "ingress-certificate", CheckFail, "valid from"},
		"name not covered":                  {func(f *PreflightFacts) { f.Primary.Certificate.Value.Uncovered = []string{"spb.example.com"} }, "ingress-certificate", CheckFail, "does not cover spb.example.com"},
		"not trusted":                       {func(f *PreflightFacts) { f.Primary.Certificate.Value.Untrusted = "unknown authority" }, "ingress-certificate", CheckWarn, "unknown authority"},
	}
	for _, more := range preflightCases {
		maps.Copy(cases, more)
	}
	tested := map[string]bool{}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := fit()
			tc.change(&f)
			p := JudgePreflight(f)
			states, text := linesOf(p, tc.check)
			worst := CheckOK
			for _, s := range preflightStates {
				if slices.Contains(states, s) {
					worst = s
				}
			}
			if worst != tc.want || !strings.Contains(text, tc.text) {
				t.Errorf("%v: %s\nwant %s: %q", states, text, tc.want, tc.text)
			}
			if tc.want == CheckFail && p.State != CheckFail {
				t.Errorf("all in all %s", p.State)
			}
			for _, line := range p.Lines {
				if line.State != CheckOK && line.Remedy == "" && tc.check == line.Check && tc.want != Unchecked {
					t.Errorf("no remedy: %+v", line)
				}
			}
			tested[tc.check] = true
		})
	}
	for _, rule := range preflightRules {
		if !tested[rule.check] {
			t.Errorf("%s is not tested", rule.check)
		}
	}
}

func serve(f *PreflightFacts, served, stored []string) {
	f.Standby.CRDs = found(map[string]CRDFacts{"machines.cluster.x-k8s.io": {served, stored}})
}

func TestPreflightScreen(t *testing.T) {
	f := fit()
	f.Standby.Kubernetes = found("v1.35.9")
	f.Standby.Certificate = NotFound[CertificateFacts](strings.Repeat("слово ", 40))
	p := JudgePreflight(f)
	var b strings.Builder
	if err := p.WriteText(&b, Style{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"versions\n", "  fail        Kubernetes: moscow runs v1.36.3, spb runs v1.35.9\n", "              next: upgrade the standby first",
		"  not checked the ingress certificate: spb: слово", "\nnot fit to be a pair: "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing:\n%s", want, &b)
		}
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, []string{"count", "lines", "pair", "state", "time"}) || fields["state"] != "fail" {
		t.Errorf("%s", raw)
	}
}
