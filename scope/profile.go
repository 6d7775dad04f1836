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
	why string
	// source is where it can be read: a repository and the path in it, or a page.
	source string
	maker  *maker // whose objects alone the rule matches; nil = whoever made them
	in     bool   // it takes in what rules before it leave out
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
	{Rule: Rule{Resources: []string{"masterleases", "peerserverleases"}},
		why: "addresses of the cluster's own API servers; others break its kubernetes Service", source: "kubernetes/kubernetes pkg/controlplane/reconcilers, pkg/controlplane/controller/leaderelection"},
	{Rule: Rule{Resources: []string{"leases.coordination.k8s.io", "leasecandidates.coordination.k8s.io"}},
		why: "elections and heartbeats of the cluster itself", source: "kubernetes.io/docs/concepts/architecture/leases"},
	{Rule: Rule{Resources: []string{"events"}}, why: "happened in the other cluster, and end with a lease of its etcd", source: "kubernetes/kubernetes pkg/registry/core/event"},
	{Rule: Rule{Resources: []string{"ranges"}},
		why: "the API server rebuilds its table of Service addresses and ports from the Services", source: "kubernetes/kubernetes pkg/registry/core/service/ipallocator/controller"},
	{Rule: Rule{Resources: []string{"storageversions.internal.apiserver.k8s.io"}}, why: "which API server writes which version", source: "kubernetes/apiserver pkg/storageversion"},
}

var everything = []reasoned{
	{Rule: Rule{Namespaces: []string{"default"}, Names: []string{"kubernetes"}, Resources: []string{"services", "endpoints", "endpointslices.discovery.k8s.io"}},
		why: "written by the cluster's own API servers", source: "kubernetes/kubernetes pkg/controlplane/controller/kubernetesservice"},
	{Rule: Rule{Namespaces: []string{"kube-system"}, Names: []string{"extension-apiserver-authentication"}, Resources: []string{"configmaps"}},
		why: "written by the cluster's own API servers", source: "kubernetes/kubernetes pkg/controlplane/controller/clusterauthenticationtrust"},
}

var managementCluster = join(records, nodeState, []reasoned{
	{Rule: Rule{Namespaces: []string{"kube-system", "kube-public", "kube-node-lease"}},
		why: "holds what each cluster runs for itself", source: "kubernetes.io/docs/concepts/overview/working-with-objects/namespaces"},
	// Of the namespace default no more than pkg/controlplane/controller/kubernetesservice and
	// the controller manager of k8s.io/kubernetes keep there: it is where people put what
	// they gave no thought to, Clusters of Cluster API among it.
	{Rule: Rule{Namespaces: []string{"default"}, Resources: []string{"namespaces"}},
		why: "made by each cluster's API servers", source: "kubernetes/kubernetes pkg/controlplane/controller/systemnamespaces"},
	{Rule: Rule{Namespaces: []string{"default"}, Names: []string{"kubernetes"}, Resources: []string{"services", "endpoints", "endpointslices.discovery.k8s.io"}},
		why: "addresses of the cluster's own API servers", source: "kubernetes/kubernetes pkg/controlplane/controller/kubernetesservice"},
	{Rule: Rule{Namespaces: []string{"default"}, Names: []string{"default"}, Resources: []string{"serviceaccounts"}},
		why: "made by each cluster's controller manager", source: "kubernetes/kubernetes pkg/controller/serviceaccount"},
	{Rule: Rule{Resources: []string{
		"nodes", "csinodes.storage.k8s.io", "csistoragecapacities.storage.k8s.io", "volumeattachments.storage.k8s.io",
		"resourceslices.resource.k8s.io",
	}}, why: "belongs to the nodes of one cluster", source: "kubernetes/api core/v1, storage/v1, resource/v1"},
	{Rule: Rule{Resources: []string{"pods"}},
		why: "bound to the nodes of one cluster; controllers make theirs again from objects that are replicated", source: "kubernetes/api core/v1, PodSpec.NodeName"},
	// The standby's virt-controller would make a Pod for each, and move what a migration names.
	{Rule: Rule{Resources: []string{"virtualmachineinstances.kubevirt.io", "virtualmachineinstancemigrations.kubevirt.io"}},
		why: "runs on the nodes of one cluster, as its Pod does; a VirtualMachine makes its own again (KubeVirt)", source: "kubevirt/kubevirt pkg/virt-controller/watch/vmi, watch/migration"},
	{Rule: Rule{Resources: []string{"replicasets.apps"}}, maker: byController,
		why: "made again from objects that are replicated", source: "kubernetes/kubernetes pkg/controller/deployment"},
	{Rule: Rule{Resources: []string{"controllerrevisions.apps"}}, maker: byWorkload,
		why: "made again from objects that are replicated", source: "kubernetes/kubernetes pkg/controller/history"},
	{Rule: Rule{Resources: []string{"endpoints"}}, maker: byEndpointController, why: "addresses of one cluster's Pods", source: "kubernetes/kubernetes pkg/controller/endpoint"},
	{Rule: Rule{Resources: []string{"endpointslices.discovery.k8s.io"}}, maker: bySliceController,
		why: "addresses of one cluster's Pods, or made again from Endpoints", source: "kubernetes/kubernetes pkg/controller/endpointslice, pkg/controller/endpointslicemirroring"},
	{Rule: Rule{Resources: []string{"ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io"}},
		why: "address ranges of one cluster's Services", source: "kubernetes/kubernetes pkg/registry/core/service/ipallocator"},
	{Rule: Rule{Resources: []string{"certificatesigningrequests.certificates.k8s.io"}}, why: "asks one cluster's signer", source: "kubernetes/kubernetes pkg/controller/certificates"},
	{Rule: Rule{Resources: []string{
		"flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
	}}, why: "how one cluster's API servers share their time", source: "kubernetes/apiserver pkg/apis/flowcontrol/bootstrap"},
	{Rule: Rule{Resources: []string{"apiservices.apiregistration.k8s.io"}},
		why: "points at backends that the standby may not run", source: "kubernetes/kube-aggregator pkg/apis/apiregistration/v1"},
	{Rule: Rule{Resources: []string{
		"mutatingwebhookconfigurations.admissionregistration.k8s.io", "validatingwebhookconfigurations.admissionregistration.k8s.io",
	}}, why: "points at backends that the standby may not run, and would block its writes", source: "kubernetes/api admissionregistration/v1, FailurePolicy"},
	// A copy of such a role under a name of its own, or in a namespace, keeps the label.
	{Rule: Rule{Names: []string{"system:*", "cluster-admin", "admin", "edit", "view"}, Resources: []string{
		"clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
	}}, maker: byBootstrap,
		why: "made by each API server at its start", source: "kubernetes/kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy"},
	// The API server lets nobody else use the prefix (ValidatePriorityClass in pkg/apis/scheduling/validation).
	{Rule: Rule{Names: []string{"system-*"}, Resources: []string{"priorityclasses.scheduling.k8s.io"}}, why: "made by each API server at its start",
		source: "kubernetes/kubernetes pkg/apis/scheduling/types.go, SystemPriorityClasses"},
	{Rule: Rule{Names: []string{"kube-root-ca.crt"}, Resources: []string{"configmaps"}},
		why: "the cluster's own certificate authority", source: "kubernetes/kubernetes pkg/controller/certificates/rootcacertpublisher"},
	{Rule: Rule{Types: []string{ServiceAccountToken}}, why: "a token that only the cluster which signed it accepts", source: "kubernetes/kubernetes pkg/serviceaccount"},
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
