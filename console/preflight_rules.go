package console

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
	{"replication", "guard", judgeGuard},
	{"replication", "breaker", judgeTripped},
	{"replication", "paused", judgePaused},

	{"versions", "kubernetes-version", judgeKubernetes},
	{"versions", "etcd-version", judgeEtcd},

	{"etcd", "etcd-prefix", judgePrefix},
	{"etcd", "etcd-elsewhere", judgeOverrides},
	{"etcd", "objects-one-sided", judgeOnly},
	{"etcd", "objects-replaced", judgeReplaced},
	{"etcd", "revision-floor", judgeFloor},
	{"etcd", "named-resources", judgeNamed},

	{"API servers", "api-of-etcd", judgeOwnAPI},
	{"API servers", "api-server-flags", judgeFlags},
	{"API servers", "crd-versions", judgeCRDs},

	{"identity and encryption", "service-account-keys", judgeSigners},
	{"identity and encryption", "encryption", judgeEncryption},
	{"identity and encryption", "registry-credentials", judgeRegistry},

	{"network", "service-cidr", judgeCIDR},
	{"network", "cluster-ips", judgeClusterIPs},
	{"network", "access-address", judgeAddress},
	{"network", "api-endpoint", judgeEndpoint},
	{"network", "ports", judgePorts},
	{"network", "ingress-certificate", judgeCertificate},
}
