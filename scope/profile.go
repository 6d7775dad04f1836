package scope

import (
	"fmt"
	"slices"
	"strings"
)

// DefaultProfile is the profile of an empty Config.Profile.
const DefaultProfile = "management-cluster"

// Profiles are the names that Config.Profile may have.
func Profiles() []string {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.name
	}
	return names
}

type profile struct {
	name  string
	rules []reasoned
}

// reasoned is a rule that keeps keys out, or takes them in again, and why.
type reasoned struct {
	Rule
	why   string
	maker *maker // whose objects alone the rule matches; nil = whoever made them
	in    bool   // it takes in what rules before it leave out
}

// ServiceAccountToken is the type of Secrets that hold a token and the
// certificate authority of the cluster which made them.
const ServiceAccountToken = "kubernetes.io/service-account-token"

var profiles = []profile{
	{DefaultProfile, managementCluster},
	{"alauda-global", join(managementCluster, alauda)},
	{"deckhouse", join(managementCluster, deckhouse)},
	{"shturval", join(managementCluster, shturval)},
	{"everything", join(records, nodeState, everything)},
}

func join(parts ...[]reasoned) []reasoned { return slices.Concat(parts...) }

// records are what every API server keeps for itself.
var records = []reasoned{
	{Rule: Rule{Resources: []string{"masterleases", "peerserverleases"}}, why: "addresses of the cluster's own API servers; others break its kubernetes Service"},
	{Rule: Rule{Resources: []string{"leases.coordination.k8s.io", "leasecandidates.coordination.k8s.io"}}, why: "elections and heartbeats of the cluster itself"},
	{Rule: Rule{Resources: []string{"events"}}, why: "happened in the other cluster, and end with a lease of its etcd"},
	{Rule: Rule{Resources: []string{"ranges"}}, why: "the API server rebuilds its table of Service addresses and ports from the Services"},
	{Rule: Rule{Resources: []string{"storageversions.internal.apiserver.k8s.io"}}, why: "which API server writes which version"},
}

var everything = []reasoned{
	{Rule: Rule{Namespaces: []string{"default"}, Names: []string{"kubernetes"}, Resources: []string{"services", "endpoints", "endpointslices.discovery.k8s.io"}},
		why: "written by the cluster's own API servers"},
	{Rule: Rule{Namespaces: []string{"kube-system"}, Names: []string{"extension-apiserver-authentication"}, Resources: []string{"configmaps"}},
		why: "written by the cluster's own API servers"},
}

var managementCluster = join(records, nodeState, []reasoned{
	{Rule: Rule{Namespaces: []string{"kube-system", "kube-public", "kube-node-lease"}}, why: "holds what each cluster runs for itself"},
	// Of the namespace default no more than pkg/controlplane/controller/kubernetesservice and
	// the controller manager of k8s.io/kubernetes keep there: it is where people put what
	// they gave no thought to, Clusters of Cluster API among it.
	{Rule: Rule{Namespaces: []string{"default"}, Resources: []string{"namespaces"}}, why: "made by each cluster's API servers"},
	{Rule: Rule{Namespaces: []string{"default"}, Names: []string{"kubernetes"}, Resources: []string{"services", "endpoints", "endpointslices.discovery.k8s.io"}},
		why: "addresses of the cluster's own API servers"},
	{Rule: Rule{Namespaces: []string{"default"}, Names: []string{"default"}, Resources: []string{"serviceaccounts"}}, why: "made by each cluster's controller manager"},
	{Rule: Rule{Resources: []string{
		"nodes", "csinodes.storage.k8s.io", "csistoragecapacities.storage.k8s.io", "volumeattachments.storage.k8s.io",
		"resourceslices.resource.k8s.io",
	}}, why: "belongs to the nodes of one cluster"},
	{Rule: Rule{Resources: []string{"pods"}}, why: "bound to the nodes of one cluster; controllers make theirs again from objects that are replicated"},
	{Rule: Rule{Resources: []string{"replicasets.apps"}}, maker: byController, why: "made again from objects that are replicated"},
	{Rule: Rule{Resources: []string{"controllerrevisions.apps"}}, maker: byWorkload, why: "made again from objects that are replicated"},
	{Rule: Rule{Resources: []string{"endpoints"}}, maker: byEndpointController, why: "addresses of one cluster's Pods"},
	{Rule: Rule{Resources: []string{"endpointslices.discovery.k8s.io"}}, maker: bySliceController, why: "addresses of one cluster's Pods, or made again from Endpoints"},
	{Rule: Rule{Resources: []string{"ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io"}}, why: "address ranges of one cluster's Services"},
	{Rule: Rule{Resources: []string{"certificatesigningrequests.certificates.k8s.io"}}, why: "asks one cluster's signer"},
	{Rule: Rule{Resources: []string{
		"flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
	}}, why: "how one cluster's API servers share their time"},
	{Rule: Rule{Resources: []string{"apiservices.apiregistration.k8s.io"}}, why: "points at backends that the standby may not run"},
	{Rule: Rule{Resources: []string{
		"mutatingwebhookconfigurations.admissionregistration.k8s.io", "validatingwebhookconfigurations.admissionregistration.k8s.io",
	}}, why: "points at backends that the standby may not run, and would block its writes"},
	{Rule: Rule{Resources: []string{"*.rbac.authorization.k8s.io"}}, maker: byBootstrap, why: "made by each API server at its start"},
	// The API server lets nobody else use the prefix (ValidatePriorityClass in pkg/apis/scheduling/validation).
	{Rule: Rule{Names: []string{"system-*"}, Resources: []string{"priorityclasses.scheduling.k8s.io"}}, why: "made by each API server at its start"},
	{Rule: Rule{Names: []string{"kube-root-ca.crt"}, Resources: []string{"configmaps"}}, why: "the cluster's own certificate authority"},
	{Rule: Rule{Types: []string{ServiceAccountToken}}, why: "a token that only the cluster which signed it accepts"},
})

func profileRules(name string) ([]rule, error) {
	for _, p := range profiles {
		if p.name != name {
			continue
		}
		out := make([]rule, 0, len(p.rules))
		for _, r := range p.rules {
			verdict := Out
			if r.in {
				verdict = In
			}
			compiled, err := compile(r.Rule, verdict, "profile "+name)
			if err != nil {
				return nil, err
			}
			compiled.why, compiled.maker = r.why, r.maker
			out = append(out, compiled)
		}
		return out, nil
	}
	return nil, fmt.Errorf("unknown profile %q; known: %s", name, strings.Join(Profiles(), ", "))
}
