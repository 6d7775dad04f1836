package scope

import (
	"fmt"
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

// reasoned is a rule that keeps keys out, and why.
type reasoned struct {
	Rule
	why string
}

// ServiceAccountToken is the type of Secrets that hold a token and the
// certificate authority of the cluster which made them.
const ServiceAccountToken = "kubernetes.io/service-account-token"

// records are what every API server keeps for itself.
var records = []reasoned{
	{Rule{Resources: []string{"masterleases", "peerserverleases"}}, "addresses of the cluster's own API servers; others break its kubernetes Service"},
	{Rule{Resources: []string{"leases.coordination.k8s.io", "leasecandidates.coordination.k8s.io"}}, "elections and heartbeats of the cluster itself"},
	{Rule{Resources: []string{"events"}}, "happened in the other cluster, and end with a lease of its etcd"},
	{Rule{Resources: []string{"ranges"}}, "the API server rebuilds its table of Service addresses and ports from the Services"},
	{Rule{Resources: []string{"storageversions.internal.apiserver.k8s.io"}}, "which API server writes which version"},
}

var profiles = []profile{
	{DefaultProfile, managementCluster},
	{"alauda-global", append(managementCluster[:len(managementCluster):len(managementCluster)], reasoned{
		// The list is that of Alauda's documentation of disaster recovery for
		// the global cluster.
		Rule{Namespaces: []string{
			"cpaas-system", "cert-manager", "default", "global-credentials", "cpaas-system-global-credentials",
			"kube-ovn", "kube-public", "kube-system", "nsx-system", "cpaas-solution", "kube-node-lease",
			"kubevirt", "nativestor-system", "operators",
		}},
		"installed on each global cluster by itself",
	})},
	{"everything", append(records[:len(records):len(records)],
		reasoned{
			Rule{Namespaces: []string{"default"}, Names: []string{"kubernetes"}, Resources: []string{"services", "endpoints", "endpointslices.discovery.k8s.io"}},
			"written by the cluster's own API servers",
		},
		reasoned{
			Rule{Namespaces: []string{"kube-system"}, Names: []string{"extension-apiserver-authentication"}, Resources: []string{"configmaps"}},
			"written by the cluster's own API servers",
		},
	)},
}

var managementCluster = append(records[:len(records):len(records)],
	reasoned{Rule{Namespaces: []string{"kube-system", "kube-public", "kube-node-lease", "default"}}, "holds what each cluster runs for itself"},
	reasoned{Rule{Resources: []string{
		"nodes", "csinodes.storage.k8s.io", "csistoragecapacities.storage.k8s.io", "volumeattachments.storage.k8s.io",
		"resourceslices.resource.k8s.io",
	}}, "belongs to the nodes of one cluster"},
	reasoned{Rule{Resources: []string{"pods", "replicasets.apps", "controllerrevisions.apps"}}, "made by controllers from objects that are replicated"},
	reasoned{Rule{Resources: []string{"endpoints", "endpointslices.discovery.k8s.io"}}, "addresses of one cluster's Pods"},
	reasoned{Rule{Resources: []string{"ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io"}}, "address ranges of one cluster's Services"},
	reasoned{Rule{Resources: []string{"certificatesigningrequests.certificates.k8s.io"}}, "asks one cluster's signer"},
	reasoned{Rule{Resources: []string{
		"flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
	}}, "how one cluster's API servers share their time"},
	reasoned{Rule{Resources: []string{"apiservices.apiregistration.k8s.io"}}, "points at backends that the standby may not run"},
	reasoned{Rule{Resources: []string{
		"mutatingwebhookconfigurations.admissionregistration.k8s.io", "validatingwebhookconfigurations.admissionregistration.k8s.io",
	}}, "points at backends that the standby may not run, and would block its writes"},
	reasoned{Rule{Names: []string{"system:*"}, Resources: []string{"*.rbac.authorization.k8s.io"}}, "made by each API server at its start"},
	reasoned{Rule{Names: []string{"system-*"}, Resources: []string{"priorityclasses.scheduling.k8s.io"}}, "made by each API server at its start"},
	reasoned{Rule{Names: []string{"kube-root-ca.crt"}, Resources: []string{"configmaps"}}, "the cluster's own certificate authority"},
	reasoned{Rule{Types: []string{ServiceAccountToken}}, "a token that only the cluster which signed it accepts"},
)

func profileRules(name string) ([]rule, error) {
	for _, p := range profiles {
		if p.name != name {
			continue
		}
		out := make([]rule, 0, len(p.rules))
		for _, r := range p.rules {
			compiled, err := compile(r.Rule, Out, "profile "+name)
			if err != nil {
				return nil, err
			}
			compiled.why = r.why
			out = append(out, compiled)
		}
		return out, nil
	}
	return nil, fmt.Errorf("unknown profile %q; known: %s", name, strings.Join(Profiles(), ", "))
}
