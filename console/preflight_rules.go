package console

import "slices"

// preflightRule is one check. Judging is pure; a check that has nothing to say
// returns no line.
type preflightRule struct {
	group string // the heading it is shown under; rows of a group stand together
	check string // stable, in JSON and docs/preflight.md
	judge func(PreflightFacts) []PreflightLine
}

// preflightRules are all checks, in the order in which they are shown. Each needs
// a row in docs/preflight.md and one in preflightCases.
var preflightRules = []preflightRule{
	{"replication", "roles", judgeRoles},
	{"replication", "sides-swapped", judgeSwapped},
	{"replication", "guard", judgeGuard},
	{"replication", "breaker", judgeTripped},
	{"replication", "paused", judgePaused},
	{"replication", "operators-act", judgeActing},

	{"versions", "kubernetes-version", judgeKubernetes},
	{"versions", "etcd-version", judgeEtcd},
	{"versions", "platform-version", judgePlatform},

	{"etcd", "etcd-answers", judgeAnswers},
	{"etcd", "etcd-members", judgeMembers},
	{"etcd", "link", judgeLink},
	{"etcd", "etcd-health", judgeHealth},
	{"etcd", "etcd-defects", judgeDefects},
	{"etcd", "etcd-prefix", judgePrefix},
	{"etcd", "outside-prefix", judgeOutsidePrefix},
	{"etcd", "etcd-elsewhere", judgeOverrides},
	{"etcd", "objects-one-sided", judgeOnly},
	{"etcd", "objects-replaced", judgeReplaced},
	{"etcd", "left-out", judgeLeftOut},
	{"etcd", "revision-floor", judgeFloor},
	{"etcd", "named-resources", judgeNamed},

	{"API servers", "api-of-etcd", judgeOwnAPI},
	{"API servers", "api-server-flags", judgeFlags},
	{"API servers", "hardening", judgeHardening},
	{"API servers", "crd-versions", judgeCRDs},
	{"API servers", "clocks", judgeClocks},

	{"nodes and workloads", "nodes", judgeNodes},
	{"nodes and workloads", "node-names", judgeNodeNames},
	{"nodes and workloads", "architectures", judgeArchitectures},
	{"nodes and workloads", "operators", judgeOperators},
	{"nodes and workloads", "images", judgeImages},
	{"nodes and workloads", "outside-etcd", judgeOutside},

	{"identity and encryption", "service-account-keys", judgeSigners},
	{"identity and encryption", "cluster-ca", judgeRootCA},
	{"identity and encryption", "encryption", judgeEncryption},
	{"identity and encryption", "registry-credentials", judgeRegistry},
	{"identity and encryption", "registry-hosts", judgeRegistryHosts},
	{"identity and encryption", "equal-secrets", judgeEqualSecrets},

	{"network", "service-cidr", judgeCIDR},
	{"network", "cluster-ips", judgeClusterIPs},
	{"network", "access-address", judgeAddress},
	{"network", "api-endpoint", judgeEndpoint},
	{"network", "ports", judgePorts},
	{"network", "vip-leads-home", judgeVIP},
	{"network", "vip-of-nodes", judgeVIPNode},
	{"network", "vip-redirect", judgeRedirect},
	{"network", "ingress-certificate", judgeCertificate},

	{"checks of your own", "access-checks", judgeOwnChecks},
}

// neverSkipped are what nobody can declare away: replication itself hangs on them.
var neverSkipped = []string{"roles", "sides-swapped", "guard", "breaker", "etcd-answers"}

// PreflightChecks are the names of all checks; those that access.skip may name,
// and those that it may not.
func PreflightChecks() (may, never []string) {
	for _, rule := range preflightRules {
		if !slices.Contains(neverSkipped, rule.check) {
			may = append(may, rule.check)
		}
	}
	return may, slices.Clone(neverSkipped)
}
