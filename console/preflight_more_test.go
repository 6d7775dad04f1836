package console

import (
	"errors"
	"testing"
	"time"
)

// surveyed and reached are the parts of a side that lacks nothing.
func surveyed(name, address string) PreflightSurvey {
	node := func(i string, master bool) NodeFacts {
		return NodeFacts{Name: name + "-" + i, Arch: "amd64", ControlPlane: master, Addresses: []string{address + i}}
	}
	return PreflightSurvey{
		Answers: found(""), Members: found(3), RootCA: found("ca"), Platform: found(map[string]string{"Deckhouse": "v1.70.0 EE"}),
		Nodes: found([]NodeFacts{node("1", true), node("2", true), node("3", true), node("4", false)}),
		Workloads: found([]WorkloadFacts{{Kind: "Deployment", Namespace: "team", Name: "web", InScope: true, Images: []string{"registry.example.com/web:1"}, Archs: []string{"amd64"}},
			{Kind: "DaemonSet", Namespace: "kube-system", Name: "odd", Archs: []string{"s390x"}}}),
		InScope:     found(map[string]int64{"clusters.cluster.x-k8s.io": 3}),
		Writers:     found(map[string][]string{"knative-operator/knative": {"operator.knative.dev"}}),
		Secrets:     found(map[string]string{"team/admin": "dd"}),
		Credentials: found(map[string][]Credential{"team/registry": {{Registry: "registry.example.com"}}}),
	}
}

func reached() PreflightReach {
	return PreflightReach{
		Clock:   found(ClockFacts{Ahead: 30 * time.Millisecond, Slack: 20 * time.Millisecond}),
		Link:    found(LinkFacts{RoundTrip: 5 * time.Millisecond, SampleBytes: 1 << 20, SampleTime: 100 * time.Millisecond, Keys: 12000, Bytes: 24 << 20}),
		VIPEtcd: found(Behind{}), VIPAPI: found(Behind{}), VIPRedirect: found(""), VIPAsked: map[string]bool{"etcd": true, "API server": true, "redirect": true},
	}
}

func init() {
	preflightCases = append(preflightCases, clusterCases, operatorCases, reachCases, imageCases, ownCases)
}

func image(change func(*ImageFacts)) func(*PreflightFacts) {
	return func(f *PreflightFacts) { change(&f.Images.Value[0]) }
}

func swapped(what string, primary, standby int64) func(*PreflightFacts) {
	return func(f *PreflightFacts) { f.Swapped = found(SwappedFacts{what, primary, standby}) }
}

var clusterCases = map[string]preflightCase{
	"a side is dead":                {func(f *PreflightFacts) { f.Standby.Answers = found("connection refused") }, "etcd-answers", CheckFail, "the etcd of spb was not read: connection refused"},
	"Clusters on the standby alone": {swapped("clusters.cluster.x-k8s.io", 0, 3), "sides-swapped", CheckFail, "spb has 3 clusters.cluster.x-k8s.io, and moscow 0"},
	"primary all but empty":         {swapped("objects in scope", 9, 209), "sides-swapped", CheckFail, "spb has 209 objects in scope, and moscow 9"},
	"not swapped":                   {swapped("", 0, 0), "sides-swapped", CheckOK, "nothing that the sides hold"},
	"a pair is not swapped by its Clusters": {func(f *PreflightFacts) {
		f.Swapped, f.Standby.Role = found(SwappedFacts{"clusters.cluster.x-k8s.io", 0, 3}), found(RoleFacts{Standby: true})
	}, "sides-swapped", CheckOK, ""},
	"single member":            {func(f *PreflightFacts) { f.Standby.Members = found(1) }, "etcd-members", CheckWarn, "spb has a single member (moscow has 3)"},
	"fewer members":            {func(f *PreflightFacts) { f.Primary.Members = found(5) }, "etcd-members", CheckWarn, "spb has 3 members, that of moscow 5"},
	"fewer masters":            {func(f *PreflightFacts) { f.Standby.Nodes.Value = f.Standby.Nodes.Value[1:] }, "nodes", CheckWarn, "2 and 1 on spb"},
	"fewer workers":            {func(f *PreflightFacts) { f.Standby.Nodes.Value = f.Standby.Nodes.Value[:3] }, "nodes", CheckWarn, "3 and 0 on spb"},
	"no nodes":                 {func(f *PreflightFacts) { f.Standby.Nodes.Value = nil }, "nodes", Unchecked, "spb has 0"},
	"one node name":            {func(f *PreflightFacts) { f.Standby.Nodes.Value[2].Name = "moscow-1" }, "node-names", CheckWarn, "1 nodes have the same name on both sides: moscow-1"},
	"another platform version": {func(f *PreflightFacts) { f.Standby.Platform.Value["Deckhouse"] = "v1.70.0 CE" }, "platform-version", CheckWarn, "Deckhouse: v1.70.0 EE on moscow, v1.70.0 CE on spb"},
	"no platform there":        {func(f *PreflightFacts) { clear(f.Standby.Platform.Value) }, "platform-version", CheckWarn, "moscow has Deckhouse, spb does not"},
	"a platform tells nothing": {func(f *PreflightFacts) { f.Primary.Platform.Value["Deckhouse"] = "" }, "platform-version", Unchecked, "does not tell"},
	"no platform":              {func(f *PreflightFacts) { clear(f.Standby.Platform.Value); clear(f.Primary.Platform.Value) }, "platform-version", CheckOK, "neither side"},
	"another authority":        {func(f *PreflightFacts) { f.Standby.RootCA = found("other") }, "cluster-ca", CheckWarn, "agents that trust moscow's refuse spb's"},
	"no authority is known":    {func(f *PreflightFacts) { f.Standby.RootCA = NotFound[string]("no ConfigMap") }, "cluster-ca", Unchecked, "spb: no ConfigMap"},
	"ARM there": {func(f *PreflightFacts) {
		for i := range f.Standby.Nodes.Value {
			f.Standby.Nodes.Value[i].Arch = "arm64"
		}
	}, "architectures", CheckFail, "1 workloads in scope can run on no node of spb: Deployment team/web (amd64)"},
	"ARM there too": {func(f *PreflightFacts) { f.Standby.Nodes.Value[0].Arch = "arm64" }, "architectures", CheckWarn, "amd64 on moscow, amd64, arm64 on spb"},
	"volumes":       {func(f *PreflightFacts) { f.Primary.InScope.Value["persistentvolumeclaims"] = 12 }, "outside-etcd", CheckWarn, "12 PersistentVolumeClaims in scope: their contents are not copied"},
	"audited here":  {func(f *PreflightFacts) { f.Primary.Flags.Value["kube-apiserver-m0"]["audit-policy-file"] = "/a" }, "hardening", CheckWarn, "moscow has an audit policy (--audit-policy-file), spb has not"},
	"other files":   {func(f *PreflightFacts) { bothFlags(f, "audit-policy-file", "/a", "/b") }, "hardening", CheckOK, "an audit policy"},
	"anonymous":     {func(f *PreflightFacts) { bothFlags(f, "anonymous-auth", "false", "true") }, "hardening", CheckWarn, "--anonymous-auth: false on moscow, true on spb"},
	"one anonymous server": {func(f *PreflightFacts) {
		bothFlags(f, "anonymous-auth", "false", "false")
		f.Standby.Flags.Value["kube-apiserver-m1"] = map[string]string{}
	}, "hardening", CheckWarn, "the API servers of spb are hardened differently: --anonymous-auth is false on kube-apiserver-m0, not given on kube-apiserver-m1"},
	"one server unaudited": {func(f *PreflightFacts) {
		bothFlags(f, "audit-policy-file", "/a", "/a")
		f.Primary.Flags.Value["kube-apiserver-m1"] = map[string]string{}
	}, "hardening", CheckWarn, "--audit-policy-file is given on kube-apiserver-m0, not given on kube-apiserver-m1"},
	"one server with another profile": {func(f *PreflightFacts) {
		bothFlags(f, "audit-policy-file", "/a", "/a")
		f.Primary.Flags.Value["kube-apiserver-m1"] = map[string]string{"audit-policy-file": "/b"}
	}, "hardening", CheckOK, "an audit policy"},
}

func bothFlags(f *PreflightFacts, flag, primary, standby string) {
	f.Primary.Flags.Value["kube-apiserver-m0"][flag], f.Standby.Flags.Value["kube-apiserver-m0"][flag] = primary, standby
}

// knative is an operator, in a namespace that is left out, and what it looks after.
func knative(f *PreflightFacts, running int64) {
	f.Primary.InScope.Value["knativeservings.operator.knative.dev"] = 2
	w := WorkloadFacts{Kind: "Deployment", Namespace: "knative-operator", Name: "operator", Account: "knative-operator/knative", Running: 1}
	f.Primary.Workloads.Value = append(f.Primary.Workloads.Value, w)
	w.Name, w.Running = "another-name", running
	f.Standby.Workloads.Value = append(f.Standby.Workloads.Value, w)
}

var operatorCases = map[string]preflightCase{
	"an operator is missing there":     {func(f *PreflightFacts) { knative(f, 0) }, "operators", CheckWarn, "Deployment knative-operator/operator runs on moscow and not on spb, where nobody else may write what it looks after, either: objects in scope 2 of operator.knative.dev"},
	"an operator is there, in its way": {func(f *PreflightFacts) { knative(f, 1) }, "operators", CheckOK, "no operator that spb lacks"},
	"an operator with nothing in scope": {func(f *PreflightFacts) {
		knative(f, 0)
		delete(f.Primary.InScope.Value, "knativeservings.operator.knative.dev")
	}, "operators", CheckOK, ""},
	"operators unknown": {func(f *PreflightFacts) { f.Standby.Writers = NotFound[map[string][]string]("encrypted") }, "operators", Unchecked, "spb: encrypted"},
}

var reachCases = map[string]preflightCase{
	"clocks 3 s apart":  {func(f *PreflightFacts) { f.Standby.Clock.Value.Ahead = -3 * time.Second }, "clocks", CheckWarn, "moscow and spb are 3.0 s apart (to within 0.0 s)"},
	"clocks 20 s apart": {func(f *PreflightFacts) { f.Standby.Clock.Value.Ahead = 20 * time.Second }, "clocks", CheckFail, "19 s apart"},
	"masters disagree":  {func(f *PreflightFacts) { f.Primary.Clock.Value.Apart = 16 * time.Second }, "clocks", CheckFail, "the API servers of moscow disagree about the time by 16 s"},
	"clocks seen dimly": {func(f *PreflightFacts) {
		f.Standby.Clock.Value = ClockFacts{Ahead: 3 * time.Second, Slack: 14 * time.Second}
	}, "clocks", Unchecked, "to within 14 s"},
	"clocks unknown":     {func(f *PreflightFacts) { f.Standby.Clock = NotFound[ClockFacts]("no kubeconfig") }, "clocks", Unchecked, "spb: no kubeconfig"},
	"a copy of 6 min":    {func(f *PreflightFacts) { f.Primary.Link.Value.Bytes = 3600 << 20 }, "link", CheckWarn, "takes about 6 min, as long as"},
	"a copy without end": {func(f *PreflightFacts) { f.Primary.Link.Value.Bytes = 36000 << 20 }, "link", CheckFail, "would begin again for ever"},
	"a far standby": {func(f *PreflightFacts) {
		f.Primary.Link.Value.Keys, f.Standby.Link.Value.RoundTrip = 1_000_000, 600*time.Millisecond
	}, "link", CheckWarn, "takes about 9 min"},
	"nothing read": {func(f *PreflightFacts) { f.Primary.Link.Value.Keys = 0 }, "link", Unchecked, "nothing was read of moscow"},
	"a balancer ends TLS": {func(f *PreflightFacts) { f.Standby.VIPEtcd = found(Behind{EndsTLS: true, Whose: "haproxy"}) }, "vip-leads-home", CheckFail,
		"a load balancer ends TLS at spb's VIP 10.1.0.10, where its etcd should answer: the certificate there (haproxy)"},
	"the VIP is the other's": {func(f *PreflightFacts) {
		f.Standby.VIPAPI = found(Behind{Wrong: "an API server that is another cluster's"})
	}, "vip-leads-home", CheckFail, "the VIP 10.1.0.10 of spb leads to an API server that is another"},
	"nobody behind the VIP":     {func(f *PreflightFacts) { f.Standby.VIPEtcd = NotFound[Behind]("refused") }, "vip-leads-home", Unchecked, "whose etcd answers at spb's VIP: refused"},
	"the VIP passes on neither": {func(f *PreflightFacts) { f.Primary.VIPAsked, f.Standby.VIPAsked = nil, nil }, "vip-leads-home", CheckOK, "neither VIP is to pass on"},
	"the VIP is a node's":       {func(f *PreflightFacts) { f.Standby.Nodes.Value[0].Addresses = []string{"10.1.0.10"} }, "vip-of-nodes", CheckWarn, "the VIP 10.1.0.10 of spb is the address of its node spb-1"},
	"a console by name only":    {func(f *PreflightFacts) { f.Standby.VIPRedirect = found("platform.example.com") }, "vip-redirect", CheckWarn, "of spb sends clients to platform.example.com"},
	"a console at an IPv6 VIP": {func(f *PreflightFacts) {
		f.Standby.VIP, f.Standby.VIPRedirect = "2001:db8::11", found("platform.example.com")
	}, "vip-redirect", CheckWarn, "https://[2001:db8::11]/ of spb"},
	"a console elsewhere":       {func(f *PreflightFacts) { f.Standby.VIPRedirect = found("login.example.net") }, "vip-redirect", CheckWarn, "of spb sends clients to login.example.net, which is no name of this pair"},
	"a console of the other's":  {func(f *PreflightFacts) { f.Standby.VIPRedirect = found("10.0.0.10") }, "vip-redirect", CheckFail, "of spb sends clients to 10.0.0.10, which is moscow"},
	"a console by its own name": {func(f *PreflightFacts) { f.Standby.VIPRedirect = found("SPB.example.com") }, "vip-redirect", CheckOK, "spb answers at its VIP, as SPB.example.com"},
	"a console below the wildcard": {func(f *PreflightFacts) {
		f.Address, f.Standby.VIPRedirect = "*.apps.example.com", found("console.apps.example.com")
	}, "vip-redirect", CheckWarn, "while that leads to the other side"},
	"a console that is silent": {func(f *PreflightFacts) { f.Standby.VIPRedirect = NotFound[string]("refused") }, "vip-redirect", Unchecked, "refused"},
	"two names": {func(f *PreflightFacts) {
		f.Address, f.AskedFor = "", ""
		f.Primary.Address, f.Primary.Resolved = "moscow.example.com", found([]string{"10.0.0.10"})
		f.Standby.Address, f.Standby.Resolved = "spb.example.com", found([]string{"10.1.0.10"})
	}, "access-address", CheckOK, "spb.example.com leads to spb's VIP"},
	"a name of its own that leads to the other": {func(f *PreflightFacts) {
		f.Standby.Address, f.Standby.Resolved = "spb.example.com", found([]string{"10.0.0.10"})
	}, "access-address", CheckFail, "spb.example.com, the name of spb, leads to the VIP of moscow"},
	"a name of its own unknown": {func(f *PreflightFacts) {
		f.Standby.Address, f.Standby.Resolved = "spb.example.com", FoundIf[[]string](nil, errors.New("no such host"))
	}, "access-address", CheckWarn, "no such host"},
	"a wildcard":                         {func(f *PreflightFacts) { f.Address, f.AskedFor = "*.apps.example.com", "a.apps.example.com" }, "access-address", CheckOK, "*.apps.example.com is a domain"},
	"a wildcard without a name":          {func(f *PreflightFacts) { f.Address, f.AskedFor = "*.apps.example.com", "" }, "access-address", Unchecked, "no name below it is known"},
	"the endpoint is below the wildcard": {func(f *PreflightFacts) { f.Address, f.Standby.APIAddress = "*.example.com", "api.example.com:6443" }, "api-endpoint", CheckFail, "is the access address"},
	"two certificates of two names":      {func(f *PreflightFacts) { f.Address, f.Standby.Certificate.Value.Digest = "", "dd" }, "ingress-certificate", CheckOK, "each side"},
}

var imageCases = map[string]preflightCase{
	"an image is not there": {image(func(i *ImageFacts) { i.Lost = "it is not there" }), "images", CheckFail, "1 of 2 images are not in the registry: registry.example.com/web:1 (Deployment team/web)"},
	"an image is denied":    {image(func(i *ImageFacts) { i.Lost, i.Denied = "no", true }), "images", CheckFail, "does not let 1 of 2 images be pulled"},
	"an image for ARM":      {image(func(i *ImageFacts) { i.Archs = []string{"arm64"} }), "images", CheckFail, "registry.example.com/web:1 is for arm64"},
	"a silent registry":     {image(func(i *ImageFacts) { i.Unknown = "no route" }), "images", Unchecked, "1 images: registry.example.com: no route"},
	"no images":             {func(f *PreflightFacts) { f.Images.Value = nil }, "images", CheckOK, "no workload is in scope"},
	"a registry of the primary's": {func(f *PreflightFacts) {
		f.Primary.Credentials.Value["team/registry"][0].Registry = "https://10.0.0.10:11443/v2/"
	}, "registry-hosts", CheckFail,
		"the registry 10.0.0.10, which the Secret team/registry names, is moscow itself"},
	"an image from a node":               {image(func(i *ImageFacts) { i.Registry = "10.0.0.1:5000" }), "registry-hosts", CheckFail, "the registry 10.0.0.1, which Deployment team/web names"},
	"registries, and images unknown":     {func(f *PreflightFacts) { f.Images = NotFound[[]ImageFacts]("no answer") }, "registry-hosts", Unchecked, "images are not known: no answer"},
	"registries, and nodes unknown":      {func(f *PreflightFacts) { f.Primary.Nodes = NotFound[[]NodeFacts]("encrypted") }, "registry-hosts", Unchecked, "nodes are not known: encrypted"},
	"registries, and no nodes":           {func(f *PreflightFacts) { f.Primary.Nodes.Value = nil }, "registry-hosts", Unchecked, "no Node objects"},
	"an empty password":                  {func(f *PreflightFacts) { f.Standby.Credentials.Value["team/registry"][0].Lacks = "password" }, "registry-credentials", CheckFail, "registry credentials team/registry on spb lack for registry.example.com: password"},
	"no credentials, and images unknown": {func(f *PreflightFacts) { f.Primary.UsedSecrets.Value, f.Images = nil, NotFound[[]ImageFacts]("no") }, "registry-credentials", Unchecked, ""},
}

var ownCases = map[string]preflightCase{
	"own check fails": {func(f *PreflightFacts) {
		f.Checks = []OwnCheck{{"licence", "moscow", ""}, {"licence", "spb", "exit status 1 instead of 0"}}
	}, "access-checks", CheckFail, "licence on spb: exit status 1"},
	"own check is right": {func(f *PreflightFacts) { f.Checks = []OwnCheck{{"licence", "spb", ""}} }, "access-checks", CheckOK, "licence on spb"},
	"equal Secrets":      {func(f *PreflightFacts) { f.EqualSecrets = []string{"team/admin"} }, "equal-secrets", CheckOK, "1 Secrets that must be equal are"},
	"unequal Secrets": {func(f *PreflightFacts) {
		f.EqualSecrets, f.Standby.Secrets = []string{"team/admin"}, found(map[string]string{"team/admin": "ee"})
	}, "equal-secrets", CheckFail, "team/admin does not hold the same"},
	"a Secret on one side": {func(f *PreflightFacts) { f.EqualSecrets = []string{"team/admin"}; clear(f.Standby.Secrets.Value) }, "equal-secrets", CheckFail, "team/admin is not on spb"},
	"Secrets unread": {func(f *PreflightFacts) {
		f.EqualSecrets, f.Standby.Secrets = []string{"a/b"}, NotFound[map[string]string]("encrypted")
	}, "equal-secrets", Unchecked, "spb: encrypted"},
}

// Where nothing names a registry there was nothing to look at, which is not ok.
func TestPreflightWithoutRegistries(t *testing.T) {
	f := fit()
	f.Images.Value = nil
	clear(f.Primary.Credentials.Value)
	if states, text := linesOf(JudgePreflight(f), "registry-hosts"); len(states) != 1 || states[0] != NotApplicable {
		t.Errorf("%v %s", states, text)
	}
}

// What does not apply is shown with its reason, and does not count; a check that
// was not made never counts as well done.
func TestPreflightSkips(t *testing.T) {
	f := fit()
	f.Standby.VIP, f.Standby.Ports = "", nil
	if p := JudgePreflight(f); p.State != Unchecked {
		t.Fatalf("without a VIP: %s", p.State)
	}
	f.Skipped = map[string]string{"ports": "no balancer", "ingress-certificate": "no balancer", "api-endpoint": "no balancer", "vip-leads-home": "no balancer"}
	p := JudgePreflight(f)
	states, text := linesOf(p, "ports")
	if p.State != CheckOK || p.Count[NotApplicable] != 4 || len(states) != 1 || states[0] != NotApplicable || text != "ports: no balancer\n" {
		t.Errorf("%s, %v, %v %q", p.State, p.Count, states, text)
	}
	may, never := PreflightChecks()
	if len(never) == 0 || len(may)+len(never) != len(preflightRules) {
		t.Errorf("%d may be skipped, %d never, of %d", len(may), len(never), len(preflightRules))
	}
}
