package registry

import "strings"

// builtin is a resource that the API server itself serves and stores without
// its group in the key.
type builtin struct {
	groupResource string
	kind          string
	etcd          string // where the key does not carry the plural
}

// builtins are the stored resources of api/discovery in Kubernetes 1.36, and
// the API server's own records. What is stored elsewhere comes from
// pkg/kubeapiserver/default_storage_factory_builder.go.
//
// customresourcedefinitions.apiextensions.k8s.io and apiservices.apiregistration.k8s.io
// are missing on purpose: their keys carry the group, as custom resources' do.
var builtins = []builtin{
	{"configmaps", "ConfigMap", ""},
	{"endpoints", "Endpoints", "services/endpoints"},
	{"events", "Event", ""}, // events.k8s.io is stored here too
	{"limitranges", "LimitRange", ""},
	{"namespaces", "Namespace", ""},
	{"nodes", "Node", "minions"},
	{"persistentvolumeclaims", "PersistentVolumeClaim", ""},
	{"persistentvolumes", "PersistentVolume", ""},
	{"pods", "Pod", ""},
	{"podtemplates", "PodTemplate", ""},
	{"replicationcontrollers", "ReplicationController", "controllers"},
	{"resourcequotas", "ResourceQuota", ""},
	{"secrets", "Secret", ""},
	{"serviceaccounts", "ServiceAccount", ""},
	{"services", "Service", "services/specs"},

	{"mutatingadmissionpolicies.admissionregistration.k8s.io", "MutatingAdmissionPolicy", ""},
	{"mutatingadmissionpolicybindings.admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", ""},
	{"mutatingwebhookconfigurations.admissionregistration.k8s.io", "MutatingWebhookConfiguration", ""},
	{"validatingadmissionpolicies.admissionregistration.k8s.io", "ValidatingAdmissionPolicy", ""},
	{"validatingadmissionpolicybindings.admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", ""},
	{"validatingwebhookconfigurations.admissionregistration.k8s.io", "ValidatingWebhookConfiguration", ""},

	{"controllerrevisions.apps", "ControllerRevision", ""},
	{"daemonsets.apps", "DaemonSet", ""},
	{"deployments.apps", "Deployment", ""},
	{"replicasets.apps", "ReplicaSet", ""},
	{"statefulsets.apps", "StatefulSet", ""},
	{"horizontalpodautoscalers.autoscaling", "HorizontalPodAutoscaler", ""},
	{"cronjobs.batch", "CronJob", ""},
	{"jobs.batch", "Job", ""},

	{"certificatesigningrequests.certificates.k8s.io", "CertificateSigningRequest", ""},
	{"clustertrustbundles.certificates.k8s.io", "ClusterTrustBundle", ""},
	{"podcertificaterequests.certificates.k8s.io", "PodCertificateRequest", ""},
	{"leasecandidates.coordination.k8s.io", "LeaseCandidate", ""},
	{"leases.coordination.k8s.io", "Lease", ""},
	{"endpointslices.discovery.k8s.io", "EndpointSlice", ""},
	{"flowschemas.flowcontrol.apiserver.k8s.io", "FlowSchema", ""},
	{"prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", ""},
	{"storageversions.internal.apiserver.k8s.io", "StorageVersion", ""},

	{"ingressclasses.networking.k8s.io", "IngressClass", ""},
	{"ingresses.networking.k8s.io", "Ingress", "ingress"},
	{"ipaddresses.networking.k8s.io", "IPAddress", ""},
	{"networkpolicies.networking.k8s.io", "NetworkPolicy", ""},
	{"servicecidrs.networking.k8s.io", "ServiceCIDR", ""},
	{"runtimeclasses.node.k8s.io", "RuntimeClass", ""},
	{"poddisruptionbudgets.policy", "PodDisruptionBudget", ""},
	{"podsecuritypolicies.policy", "PodSecurityPolicy", "podsecuritypolicy"}, // until 1.24; may still lie there

	{"clusterrolebindings.rbac.authorization.k8s.io", "ClusterRoleBinding", ""},
	{"clusterroles.rbac.authorization.k8s.io", "ClusterRole", ""},
	{"rolebindings.rbac.authorization.k8s.io", "RoleBinding", ""},
	{"roles.rbac.authorization.k8s.io", "Role", ""},

	{"deviceclasses.resource.k8s.io", "DeviceClass", ""},
	{"devicetaintrules.resource.k8s.io", "DeviceTaintRule", ""},
	{"resourceclaims.resource.k8s.io", "ResourceClaim", ""},
	{"resourceclaimtemplates.resource.k8s.io", "ResourceClaimTemplate", ""},
	{"resourcepoolstatusrequests.resource.k8s.io", "ResourcePoolStatusRequest", ""},
	{"resourceslices.resource.k8s.io", "ResourceSlice", ""},
	{"podgroups.scheduling.k8s.io", "PodGroup", ""},
	{"priorityclasses.scheduling.k8s.io", "PriorityClass", ""},
	{"workloads.scheduling.k8s.io", "Workload", ""},

	{"csidrivers.storage.k8s.io", "CSIDriver", ""},
	{"csinodes.storage.k8s.io", "CSINode", ""},
	{"csistoragecapacities.storage.k8s.io", "CSIStorageCapacity", ""},
	{"storageclasses.storage.k8s.io", "StorageClass", ""},
	{"volumeattachments.storage.k8s.io", "VolumeAttachment", ""},
	{"volumeattributesclasses.storage.k8s.io", "VolumeAttributesClass", ""},
	{"storageversionmigrations.storagemigration.k8s.io", "StorageVersionMigration", ""},

	// Records of the API server that no client sees (pkg/controlplane,
	// pkg/registry/core/rest/storage_core.go).
	{"masterleases", "MasterLease", ""},
	{"peerserverleases", "PeerServerLease", ""},
	{"ranges", "RangeAllocation", ""},
}

// groupResource is a resource of the API, as a map key.
type groupResource struct{ group, resource string }

var (
	builtinByEtcdName = make(map[string]groupResource, len(builtins))
	etcdNameOf        = make(map[string]string, len(builtins)) // by "plural.group"
	builtinKinds      = make(map[string]string, len(builtins)) // by "plural.group"
	isBuiltin         = make(map[groupResource]bool, len(builtins))
	// movedPlurals are plurals that are not where their name would put them.
	movedPlurals = make(map[string]bool)
)

func init() {
	for _, b := range builtins {
		resource, group, _ := strings.Cut(b.groupResource, ".")
		etcd := b.etcd
		if etcd == "" {
			etcd = resource
		} else {
			movedPlurals[resource] = true
		}
		builtinByEtcdName[etcd] = groupResource{group, resource}
		etcdNameOf[b.groupResource] = etcd
		builtinKinds[b.groupResource] = b.kind
		isBuiltin[groupResource{group, resource}] = true
	}
}

// builtinOf finds the built-in resource of a key that begins with first, and
// gives back what follows the resource.
func builtinOf(first, rest string) (group, resource, after string, ok bool) {
	if first == "services" { // the only one with two segments
		specs, after, found := strings.Cut(rest, "/")
		switch {
		case found && specs == "specs":
			return "", "services", after, true
		case found && specs == "endpoints":
			return "", "endpoints", after, true
		}
		return "", "", "", false
	}
	if movedPlurals[first] {
		return "", "", "", false
	}
	if gr, known := builtinByEtcdName[first]; known {
		return gr.group, gr.resource, rest, true
	}
	return "", first, rest, true
}

// livesWithoutGroup reports whether the keys of a resource carry no group
// although its group has a dot.
func livesWithoutGroup(group, resource string) bool {
	return strings.HasSuffix(group, ".k8s.io") && isBuiltin[groupResource{group, resource}]
}

// EtcdName is the part of the key between the prefix and the namespace:
// "nodes" gives "minions", "deployments.apps" gives "deployments",
// "machines.cluster.x-k8s.io" gives "cluster.x-k8s.io/machines".
func EtcdName(groupResource string) string {
	if name, ok := etcdNameOf[groupResource]; ok {
		return name
	}
	resource, group, found := strings.Cut(groupResource, ".")
	switch {
	case !found:
		return resource
	case group == "events.k8s.io" && resource == "events":
		return "events"
	}
	return group + "/" + resource
}

// BuiltIn reports whether the API server itself serves a resource and stores it
// without its group in the key.
func BuiltIn(groupResource string) bool { return builtinKinds[groupResource] != "" }
