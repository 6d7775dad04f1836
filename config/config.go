// Package config turns the configuration file of a pair into checked values.
//
// A Pair returned by Load or Parse is complete: defaults are filled in, every
// value lies in its range, and nothing in the file was ignored. A field that
// is unknown, given twice or of the wrong type is an error that names the line
// and the nearest known name; all problems of a file are reported together.
//
// The package reads one file and nothing else: files that the configuration
// names are read by whoever needs them (WrongFiles only looks whether they
// are what they should be). Secrets never stand in the configuration, only paths to them.
package config

// APIVersion and Kind are what the file has to begin with.
const (
	APIVersion = "understudy.dev/v1alpha1"
	Kind       = "Pair"
)

// Profiles are the names that sync.profile may have.
var Profiles = []string{"management-cluster", "alauda-global", "deckhouse", "shturval", "everything"}

// The struct tags below are the single source for decoding, checking, the JSON
// schema (docs/config.schema.json) and the reference (docs/configuration.md);
// the comments become their descriptions. default, min and max are written as
// in the file; format names a check in check.go.

// Pair is a primary cluster and the standby that is kept in step with it.
type Pair struct {
	// Version of this format.
	APIVersion string `yaml:"apiVersion" required:"true" enum:"understudy.dev/v1alpha1"`
	// What the file describes.
	Kind string `yaml:"kind" required:"true" enum:"Pair"`
	// How the pair is called.
	Metadata Metadata `yaml:"metadata"`
	// The cluster that is read. Understudy never writes to it.
	Primary Cluster `yaml:"primary"`
	// The cluster that is written.
	Standby Cluster `yaml:"standby"`
	// What clients reach the pair by; preflight looks at it.
	Access Access `yaml:"access,omitempty"`
	// What is replicated, and how.
	Sync Sync `yaml:"sync"`
	// Objects that would act are kept inert while they are on the standby. A list stands for objects.
	Hold Hold `yaml:"hold"`
	// Fields whose values the standby keeps for itself, besides those of the profile.
	Local []Local `yaml:"local,omitempty"`
	// Deletions of the primary that are too many to be meant stop replication before they reach the standby.
	Breaker Breaker `yaml:"breaker"`
	// What is done about what others do to the objects on the standby.
	Guard Guard `yaml:"guard"`
	// How the daemon proves that both sides are equal.
	Check Check `yaml:"check"`
	// Address of the daemon's HTTP server: /check, /status, /livez, /readyz, /metrics. Port 0 takes a free one.
	Listen string `yaml:"listen" default:"127.0.0.1:8642" format:"address"`

	origin origin
}

// Metadata names the pair.
type Metadata struct {
	// Name of the pair, for people, logs and metrics.
	Name string `yaml:"name" required:"true" format:"name"`
}

// Cluster is one side of the pair.
type Cluster struct {
	// Name of the cluster, for people. The two clusters need different names.
	Name string `yaml:"name" required:"true" format:"name"`
	// How its etcd is reached.
	Etcd Etcd `yaml:"etcd"`
	// Path to a kubeconfig of its API server.
	Kubeconfig string `yaml:"kubeconfig,omitempty" format:"path"`
	// Virtual IP or load balancer before its control plane nodes, without a port. Preflight looks at it; nothing else does.
	VIP string `yaml:"vip,omitempty" format:"host"`
	// Path to the EncryptionConfiguration that its API servers run with (--encryption-provider-config). Leave it out where nothing is encrypted. Without it encrypted values are copied as they are, which needs the same keys on both sides, and rules with types cannot see into them.
	Encryption string `yaml:"encryption,omitempty" format:"path"`
}

// Etcd is how one etcd cluster is reached.
type Etcd struct {
	// Client URLs of the members, all http or all https. Name every member, so that the loss of one is survived.
	Endpoints []string `yaml:"endpoints" required:"true" format:"endpoint"`
	// Path to the certificate authority that signed the members' certificates. The system's own are used without it.
	CA string `yaml:"ca,omitempty" format:"path"`
	// Path to the client certificate. A renewed file is taken up without a restart.
	Cert string `yaml:"cert,omitempty" format:"path"`
	// Path to the private key of cert.
	Key string `yaml:"key,omitempty" format:"path"`
	// Name that the members' certificates are checked against, where it is not the host of the endpoint.
	ServerName string `yaml:"serverName,omitempty"`
	// User of etcd's own authentication.
	Username string `yaml:"username,omitempty"`
	// Path to a file that holds the password of username; a line break at its end is dropped.
	PasswordFile string `yaml:"passwordFile,omitempty" format:"path"`
	// How long one attempt to connect may take.
	DialTimeout Duration `yaml:"dialTimeout" default:"5s" min:"100ms" max:"5m"`
	// Most operations that one transaction may have; etcd's --max-txn-ops.
	MaxTxnOps int `yaml:"maxTxnOps" default:"128" min:"2" max:"100000"`
	// Largest request that etcd takes; its --max-request-bytes.
	MaxRequestBytes Size `yaml:"maxRequestBytes" default:"1.5MiB" min:"16KiB" max:"1GiB"`
}

// Access is what clients reach the pair by, and what else has to be right around
// it. Only preflight looks at it.
type Access struct {
	// Domain name that leads clients to the side that serves. Where it is a wildcard, *.apps.example.com, the first of names below it is asked for.
	Address string `yaml:"address,omitempty" format:"hosts"`
	// Domain names of the two sides themselves: beside address, or alone where both sides serve at once, each under its own.
	Addresses Addresses `yaml:"addresses,omitempty"`
	// Other names that the certificate at address must cover, such as those of the two clusters; also *.apps.example.com.
	Names []string `yaml:"names,omitempty" format:"hosts"`
	// TCP ports that both VIPs must take. 80, 443, 6443, 2379 and 11443 where none are given.
	Ports []int `yaml:"ports,omitempty" min:"1" max:"65535"`
	// Path to certificate authorities (PEM) that are trusted besides the system's: for the certificate at address, image registries and HTTP checks.
	CA string `yaml:"ca,omitempty" format:"path"`
	// Secrets with registry credentials that both sides must have, as namespace/name. Those that ServiceAccounts of the primary name count as well.
	RegistrySecrets []string `yaml:"registrySecrets,omitempty" format:"object"`
	// Other Secrets that must hold the same on both sides, as namespace/name, such as the admin user's or the LDAP account's. They are compared by digest and never shown.
	EqualSecrets []string `yaml:"equalSecrets,omitempty" format:"object"`
	// Checks of one's own: for the licence, LDAP, the admin user.
	Checks []AccessCheck `yaml:"checks,omitempty"`
	// Checks that do not apply to this pair. They are shown as such, and do not count.
	Skip []SkippedChecks `yaml:"skip,omitempty"`
}

// Addresses are the names of the two sides themselves.
type Addresses struct {
	// Domain name that leads to the primary.
	Primary string `yaml:"primary,omitempty" format:"hosts"`
	// Domain name that leads to the standby.
	Standby string `yaml:"standby,omitempty" format:"hosts"`
}

// AccessCheck is one check of one's own: a command or an HTTP request.
type AccessCheck struct {
	// How the check is called, for people.
	Name string `yaml:"name" required:"true" format:"nonempty"`
	// Of which side it is asked. both: of each by itself.
	Side string `yaml:"side" default:"both" enum:"primary,standby,both"`
	// Command and its arguments, without a shell. It finds UNDERSTUDY_SIDE, _NAME, _VIP and _KUBECONFIG in its environment.
	Exec []string `yaml:"exec,omitempty" format:"nonempty"`
	// URL that a GET is sent to. {vip} and {name} in it stand for those of the side; a host that is access.address is reached at the side's VIP.
	HTTP string `yaml:"http,omitempty" format:"url"`
	// Exit status that the command must end with.
	ExitCode int `yaml:"exitCode" default:"0" min:"0" max:"255"`
	// HTTP status that the answer must have. Redirects are not followed.
	Status int `yaml:"status" default:"200" min:"100" max:"599"`
	// Regular expression (RE2) that standard output, or the answer's body, must match. What it is is never shown.
	Match string `yaml:"match,omitempty" format:"regexp"`
	// How long it may take.
	Timeout Duration `yaml:"timeout" default:"10s" min:"100ms" max:"5m"`
}

// SkippedChecks are checks of preflight that do not apply.
type SkippedChecks struct {
	// Names of checks, as docs/preflight.md and preflight -o json have them.
	Checks []string `yaml:"checks" required:"true" format:"nonempty"`
	// Why they do not apply.
	Why string `yaml:"why" required:"true" format:"nonempty"`
}

// Sync is what is replicated, and how.
type Sync struct {
	// Prefix of the keys that take part. The API server's --etcd-prefix with a slash at the end; "/" for every key, as it is: only for an etcd without objects of API servers.
	Prefix string `yaml:"prefix" default:"/registry/" format:"prefix"`
	// Prefixes of the keys that take part, where there are several: that of the API server first, then those of aggregated API servers. It stands instead of prefix.
	Prefixes []string `yaml:"prefixes,omitempty" format:"prefix"`
	// Set of rules to start from: what is local to a cluster and stays out.
	Profile string `yaml:"profile" default:"management-cluster" enum:"management-cluster,alauda-global,deckhouse,shturval,everything"`
	// Rules that leave keys out. They come after the profile's.
	Exclude []Rule `yaml:"exclude,omitempty"`
	// Rules that take keys in again. They come after exclude; the last rule that matches wins.
	Include []Rule `yaml:"include,omitempty"`
	// Rules for objects of the standby's own that have the name of one of the primary's: the primary's replace those that match. Without a rule they stay, and the first copy is refused; see docs/twins.md.
	Replace []Rule `yaml:"replace,omitempty"`
	// Whether ServiceAccount-token Secrets take part: own leaves them out; shared takes them in, where the API servers of both sides sign tokens with the same keys and issuer.
	ServiceAccountTokens string `yaml:"serviceAccountTokens" default:"own" enum:"own,shared"`
	// What sync refuses and is done all the same. encryption: encrypted values are copied as they are, though no encryption of either side is given; a standby with another key could list none of them.
	Accept []string `yaml:"accept,omitempty" enum:"encryption"`
	// How long a daemon that fell silent stays the leader. A whole number of seconds.
	LeaseTTL Duration `yaml:"leaseTTL" default:"10s" min:"2s" max:"5m" format:"seconds"`
	// Lag above which the pair counts as LAGGING.
	LagThreshold Duration `yaml:"lagThreshold" default:"30s" min:"1s" max:"24h"`
}

// Rule matches keys. Every list that is given has to have a match; a rule with
// no list at all is refused. Patterns know *, ? and [a-z].
type Rule struct {
	// Patterns of namespaces. A Namespace object counts as being in itself; other cluster-scoped objects never match.
	Namespaces []string `yaml:"namespaces,omitempty" format:"glob"`
	// Patterns of plural.group ("pods", "deployments.apps", "*.example.com").
	Resources []string `yaml:"resources,omitempty" format:"glob"`
	// Patterns of object names.
	Names []string `yaml:"names,omitempty" format:"glob"`
	// Prefixes of raw etcd keys.
	Keys []string `yaml:"keys,omitempty" format:"nonempty"`
	// Secret types ("kubernetes.io/tls"). Such a rule matches Secrets only.
	Types []string `yaml:"types,omitempty" format:"nonempty"`
}

// Hold is what is kept inert while the standby is one.
type Hold struct {
	// Whether the holds of sync.profile apply. Those of objects come after them.
	Defaults bool `yaml:"defaults" default:"true"`
	// Further holds, laid over the others in their order.
	Objects []HeldObjects `yaml:"objects,omitempty"`
	// Workloads of the standby's own that are kept at zero replicas through its API server, such as infrastructure providers. They need standby.kubeconfig.
	Workloads []Workload `yaml:"workloads,omitempty"`
}

// HeldObjects are the objects of some resources, and what makes them inert.
type HeldObjects struct {
	// The resources, each as plural.group ("deployments.apps"); *.group is all of a group and of its subgroups, and "*" every custom resource, with when.
	Resources []string `yaml:"resources" required:"true" format:"nonempty"`
	// JSON merge patch (RFC 7386) that is laid over each object, such as {spec: {paused: true}}; of metadata it may set annotations and labels. {} takes back the holds before it.
	Patch Patch `yaml:"patch" required:"true"`
	// Only objects that are like this, such as {spec: {type: LoadBalancer}}. null is a field that is not there; of a list and of a mapping what is named must be there, so {} is any mapping.
	When Patch `yaml:"when,omitempty"`
}

// Workload is a Deployment, or several, by name or by selector.
type Workload struct {
	// Namespace of the Deployments.
	Namespace string `yaml:"namespace" required:"true" format:"label"`
	// Name of one Deployment.
	Name string `yaml:"name,omitempty" format:"nonempty"`
	// Label selector ("control-plane=controller-manager") of any number of them.
	Selector string `yaml:"selector,omitempty" format:"nonempty"`
}

// Local names fields whose values the standby keeps for itself.
type Local struct {
	// The resources, each as plural.group; *.group is all of a group and of its subgroups.
	Resources []string `yaml:"resources" required:"true" format:"nonempty"`
	// JSON pointers (RFC 6901) to the fields, such as /status. In a list a step NAME=VALUE stands for all elements whose field NAME is the text VALUE.
	Fields []string `yaml:"fields" required:"true" format:"pointer"`
}

// Breaker is how many deletions of one resource are too many. They are counted
// per resource, objects that are being deleted (deletionTimestamp) included, and so
// is what a dropped CRD or a deleted Namespace takes along.
type Breaker struct {
	// More than this share of a resource's objects in scope, in percent, is too much. 100 switches the breaker off.
	Share int `yaml:"share" default:"30" min:"1" max:"100"`
	// So many deletions of one resource are never too many, whatever their share. Where a CRD takes all objects of its kind along, and for Clusters, control planes, MachineDeployments and CRDs, it is 3 at most unless a rule names the resource, without a pattern.
	Floor int `yaml:"floor" default:"7" min:"0" max:"1000000"`
	// Time within which deletions are counted together.
	Window Duration `yaml:"window" default:"10m" min:"1s" max:"30m"`
	// Other limits for some resources; the last that matches counts. One with a pattern makes nothing looser for Clusters, control planes, MachineDeployments and CRDs.
	Rules []BreakerRule `yaml:"rules,omitempty"`
}

// BreakerRule are limits for some resources.
type BreakerRule struct {
	// Patterns of plural.group ("secrets", "*.cluster.x-k8s.io").
	Resources []string `yaml:"resources" required:"true" format:"glob"`
	// As breaker.share.
	Share int `yaml:"share" required:"true" min:"1" max:"100"`
	// As breaker.floor. Left out, it is what would hold without this rule.
	Floor *int `yaml:"floor,omitempty" min:"0" max:"1000000"`
}

// Guard is what is done about drift: writes of others to keys in scope on the
// standby. All of it is reported; what others create is never touched.
type Guard struct {
	// Objects that others delete, or mark for deletion: repair puts them back at once as the primary has them, report leaves them missing.
	Deletions string `yaml:"deletions" default:"repair" enum:"repair,report"`
	// Objects that others change: repair gives them the primary's values again, report leaves them as they are.
	Changes string `yaml:"changes" default:"report" enum:"report,repair"`
}

// Check is how the daemon proves that both sides are equal.
type Check struct {
	// Time between two full comparisons.
	Interval Duration `yaml:"interval" default:"5m" min:"1s" max:"24h"`
}
