package verify

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// builtinKinds are the stored kinds of Kubernetes 1.36's api/discovery, by
// group; a star marks those without a namespace. An owner of an unknown kind
// stops the garbage collector, so a kind that is missing here would hide a
// deletion.
var builtinKinds = builtinKindsOf(map[string]string{
	"":                             "ConfigMap Endpoints Event LimitRange Namespace* Node* PersistentVolumeClaim PersistentVolume* Pod PodTemplate ReplicationController ResourceQuota Secret ServiceAccount Service",
	"admissionregistration.k8s.io": "MutatingAdmissionPolicy* MutatingAdmissionPolicyBinding* MutatingWebhookConfiguration* ValidatingAdmissionPolicy* ValidatingAdmissionPolicyBinding* ValidatingWebhookConfiguration*",
	"apiextensions.k8s.io":         "CustomResourceDefinition*",
	"apiregistration.k8s.io":       "APIService*",
	"apps":                         "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
	"autoscaling":                  "HorizontalPodAutoscaler",
	"batch":                        "CronJob Job",
	"certificates.k8s.io":          "CertificateSigningRequest* ClusterTrustBundle* PodCertificateRequest",
	"coordination.k8s.io":          "Lease LeaseCandidate",
	"discovery.k8s.io":             "EndpointSlice",
	"flowcontrol.apiserver.k8s.io": "FlowSchema* PriorityLevelConfiguration*",
	"networking.k8s.io":            "Ingress IngressClass* IPAddress* NetworkPolicy ServiceCIDR*",
	"node.k8s.io":                  "RuntimeClass*",
	"policy":                       "PodDisruptionBudget",
	"rbac.authorization.k8s.io":    "ClusterRole* ClusterRoleBinding* Role RoleBinding",
	"resource.k8s.io":              "DeviceClass* DeviceTaintRule* ResourceClaim ResourceClaimTemplate ResourcePoolStatusRequest* ResourceSlice*",
	"scheduling.k8s.io":            "PodGroup PriorityClass* Workload",
	"storage.k8s.io":               "CSIDriver* CSINode* CSIStorageCapacity StorageClass* VolumeAttachment* VolumeAttributesClass*",
	"storagemigration.k8s.io":      "StorageVersionMigration*",
})

// place is where the objects of a kind lie.
type place struct {
	resource   string // "plural.group"
	namespaced bool
}

func builtinKindsOf(byGroup map[string]string) map[schema.GroupKind]place {
	all := map[schema.GroupKind]place{}
	for group, kinds := range byGroup {
		for _, kind := range strings.Fields(kinds) {
			kind, clusterScoped := strings.CutSuffix(kind, "*")
			gk := schema.GroupKind{Group: group, Kind: kind}
			gvr, _ := meta.UnsafeGuessKindToResource(gk.WithVersion("v1"))
			all[gk] = place{resource: gvr.GroupResource().String(), namespaced: !clusterScoped}
		}
	}
	return all
}

// served finds where the owners of a kind lie, as the garbage collector's REST
// mapping would from the API server's discovery. The text says why it would
// not find the kind.
//
// An API server announces every group and version that it serves by an
// APIService, which it keeps in etcd as well. Where there are none, no API
// server has run on these data, and every version counts as served.
func (s *simulator) served(apiVersion, kind string) (place, string) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil || kind == "" {
		return place{}, "the reference is malformed"
	}
	gk := schema.GroupKind{Group: gv.Group, Kind: kind}
	if d := s.byKind[gk]; d != nil {
		switch {
		case d.refused:
			return place{}, "its CustomResourceDefinition is not established"
		case !d.serves(gv.Version):
			return place{}, "its CustomResourceDefinition does not serve the version " + gv.Version
		}
		return place{d.resource(), d.namespaced}, ""
	}
	if at, known := builtinKinds[gk]; known {
		if len(s.groupVersions) > 0 && !s.groupVersions[gv] {
			return place{}, "the API server does not serve " + apiVersion
		}
		return at, ""
	}
	if s.aggregated[gv] {
		gvr, _ := meta.UnsafeGuessKindToResource(gv.WithKind(kind))
		if r := s.resources[groupResource{gvr.Group, gvr.Resource}]; r != nil {
			return place{r.name, r.namespaced}, ""
		}
		return place{}, "an aggregated API server serves it, and none of its objects are in this etcd"
	}
	return place{}, "the standby has no such kind"
}
