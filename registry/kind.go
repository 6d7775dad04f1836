package registry

import "strings"

// Kind names the kind of a resource for people: "deployments.apps" gives
// "Deployment", "machines.cluster.x-k8s.io" gives "Machine". A key says the
// resource, not the kind, so for an unknown resource this is a guess.
func Kind(groupResource string) string {
	if kind, ok := builtinKinds[groupResource]; ok {
		return kind
	}
	resource, group, _ := strings.Cut(groupResource, ".")
	if kind, ok := customKinds[resource]; ok && strings.Contains(group, ".") {
		return kind
	}
	singular := singular(resource)
	if singular == "" {
		return ""
	}
	return strings.ToUpper(singular[:1]) + singular[1:]
}

// customKinds are kinds of custom resources whose capitals a plural hides.
var customKinds = kindsByPlural(
	"CustomResourceDefinition", "APIService",

	// Cluster API and its providers
	"ClusterClass", "ClusterResourceSet", "ClusterResourceSetBinding", "ExtensionConfig",
	"MachineDeployment", "MachineDrainRule", "MachineHealthCheck", "MachinePool", "MachineSet",
	"KubeadmConfig", "KubeadmConfigTemplate", "KubeadmControlPlane", "KubeadmControlPlaneTemplate",
	"IPAddress", "IPAddressClaim", "InClusterIPPool", "GlobalInClusterIPPool",
	"BootstrapProvider", "ControlPlaneProvider", "CoreProvider", "InfrastructureProvider", "AddonProvider",
	"VSphereCluster", "VSphereClusterIdentity", "VSphereClusterTemplate", "VSphereDeploymentZone",
	"VSphereFailureDomain", "VSphereMachine", "VSphereMachineTemplate", "VSphereVM",
	"AWSCluster", "AWSClusterTemplate", "AWSMachine", "AWSMachinePool", "AWSMachineTemplate",
	"AzureCluster", "AzureClusterIdentity", "AzureMachine", "AzureMachineTemplate",
	"GCPCluster", "GCPMachine", "GCPMachineTemplate",
	"OpenStackCluster", "OpenStackMachine", "OpenStackMachineTemplate", "OpenStackServer",
	"Metal3Cluster", "Metal3Data", "Metal3DataClaim", "Metal3DataTemplate", "Metal3Machine",
	"Metal3MachineTemplate", "Metal3Remediation", "BareMetalHost", "HostFirmwareSettings",
	"DockerCluster", "DockerMachine", "DockerMachineTemplate",

	// found in most management clusters
	"CertificateRequest", "ClusterIssuer", "HelmRelease", "HelmRepository", "HelmChart",
	"GitRepository", "OCIRepository", "ApplicationSet", "AppProject", "ServiceMonitor",
	"PodMonitor", "PrometheusRule", "ClusterPolicy", "VolumeSnapshot", "VolumeSnapshotClass",
	"VolumeSnapshotContent", "GatewayClass", "HTTPRoute", "GRPCRoute",
)

func kindsByPlural(kinds ...string) map[string]string {
	byPlural := make(map[string]string, len(kinds))
	for _, kind := range kinds {
		byPlural[plural(strings.ToLower(kind))] = kind
	}
	return byPlural
}

// plural follows apimachinery's meta.UnsafeGuessKindToResource, which
// controller-gen's default follows too in these cases.
func plural(singular string) string {
	switch {
	case strings.HasSuffix(singular, "s"):
		return singular + "es"
	case strings.HasSuffix(singular, "y") && !strings.HasSuffix(singular, "ay"):
		return strings.TrimSuffix(singular, "y") + "ies"
	}
	return singular + "s"
}

func singular(plural string) string {
	if stem, ok := strings.CutSuffix(plural, "ies"); ok && len(stem) > 1 {
		return stem + "y"
	}
	for _, ending := range []string{"sses", "uses", "xes", "ches", "shes"} {
		if strings.HasSuffix(plural, ending) {
			return strings.TrimSuffix(plural, "es")
		}
	}
	if strings.HasSuffix(plural, "ss") {
		return plural
	}
	return strings.TrimSuffix(plural, "s")
}

// interned are the strings that stand in nearly every object: kinds and the
// versions of the API.
var interned = func() map[string]string {
	all := map[string]string{}
	for _, s := range []string{
		"", "v1", "apps/v1", "batch/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "rbac.authorization.k8s.io/v1",
		"networking.k8s.io/v1", "policy/v1", "storage.k8s.io/v1", "apiextensions.k8s.io/v1",
		"cluster.x-k8s.io/v1beta1", "cluster.x-k8s.io/v1beta2", "bootstrap.cluster.x-k8s.io/v1beta1",
		"bootstrap.cluster.x-k8s.io/v1beta2", "controlplane.cluster.x-k8s.io/v1beta1",
		"controlplane.cluster.x-k8s.io/v1beta2", "infrastructure.cluster.x-k8s.io/v1beta1",
		"infrastructure.cluster.x-k8s.io/v1beta2", "Cluster", "Machine",
	} {
		all[s] = s
	}
	for _, b := range builtins {
		all[b.kind] = b.kind
	}
	for _, kind := range customKinds {
		all[kind] = kind
	}
	return all
}()

// intern is string(b) without the allocation, where the string is a known one.
func intern(b []byte) string {
	if s, ok := interned[string(b)]; ok {
		return s
	}
	return string(b)
}
