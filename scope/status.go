package scope

// status says who writes the status of objects, and what of it is each cluster's own.
type status struct {
	resources []string
	by        string
	// local are the fields that the standby keeps for itself, and with them who
	// manages the status; nil = the status is the object's, and goes with it.
	local []string
	why   string
}

// statuses are all kinds with a status that API servers store, and those of
// Gateway API. A test looks for those of Kubernetes that are missing.
//
// A status is local where a controller of each cluster writes what it has come to
// itself: an address, a count of Pods, a condition with a time of its own. It is not
// where the primary alone knows it and the standby would do a thing again for want
// of it, or where nobody writes it but for objects that never take part.
var statuses = []status{
	{[]string{"deployments.apps", "replicasets.apps"}, "their controllers", []string{"/status", "/metadata/annotations/deployment.kubernetes.io~1revision"},
		"counts the cluster's own Pods, none while it is held"},
	{[]string{"statefulsets.apps", "daemonsets.apps", "replicationcontrollers"}, "their controllers", []string{"/status"},
		"counts the cluster's own Pods, none while it is held"},
	// API servers that store it as autoscaling/v1 keep part of the status in annotations.
	{[]string{"horizontalpodautoscalers.autoscaling"}, "autoscaler", []string{"/status",
		"/metadata/annotations/autoscaling.alpha.kubernetes.io~1conditions", "/metadata/annotations/autoscaling.alpha.kubernetes.io~1current-metrics"},
		"what it has measured in the cluster"},
	{[]string{"poddisruptionbudgets.policy"}, "disruption controller", []string{"/status"}, "counts the cluster's own Pods"},
	{[]string{"resourcequotas"}, "quota controller", []string{"/status"}, "counts what is in the cluster"},
	{[]string{"ingresses.networking.k8s.io"}, "ingress controllers", []string{"/status"}, "the cluster's own address"},
	{[]string{"services"}, "cloud and load balancer controllers", []string{"/status"}, "the cluster's own address"},
	{[]string{"*.gateway.networking.k8s.io", "*.gateway.networking.x-k8s.io"}, "gateway controllers", []string{"/status"},
		"addresses, what was accepted and by which of the cluster's own gateways (status.parents, status.ancestors)"},
	{[]string{"validatingadmissionpolicies.admissionregistration.k8s.io"}, "type checker of the controller manager", []string{"/status"},
		"checked against the kinds that the cluster serves"},
	{[]string{"servicecidrs.networking.k8s.io"}, "service CIDR controller", []string{"/status"}, "whether the cluster uses it"},
	{[]string{"flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"}, "API servers", []string{"/status"},
		"whether the cluster's own have taken it over"},
	{[]string{"resourceclaims.resource.k8s.io"}, "scheduler", []string{"/status"}, "devices of the cluster's own nodes, reserved for its Pods"},
	{[]string{"devicetaintrules.resource.k8s.io", "resourcepoolstatusrequests.resource.k8s.io"}, "device controllers", []string{"/status"},
		"counts the cluster's own devices and Pods"},
	{[]string{"podgroups.scheduling.k8s.io"}, "scheduler", []string{"/status"}, "counts the cluster's own Pods"},
	{[]string{"storageversionmigrations.storagemigration.k8s.io"}, "storage version migrator", []string{"/status"}, "how far it is in the cluster's own etcd"},

	// A volume and its claim come one after the other, and the controller that binds
	// them says of the first that it has lost the second, until that is there.
	{[]string{"persistentvolumes"}, "volume controller",
		[]string{"/status/phase", "/status/lastPhaseTransitionTime", "/status/message", "/status/reason"}, "bound or lost, as the cluster sees it"},
	{[]string{"persistentvolumeclaims"}, "volume controller, CSI", []string{"/status/phase"}, "the phase as the cluster sees it; the capacity is the volume's"},

	// When a CronJob has run last, and how much of a Job has been done, are the
	// primary's to say, or it would be done again on release. The rest of the status
	// their controllers write also while they are suspended (syncCronJob and
	// syncJob in pkg/controller of k8s.io/kubernetes). See also endedJob.
	{[]string{"jobs.batch"}, "job controller", []string{"/status/active", "/status/conditions", "/status/ready", "/status/startTime",
		"/status/terminating", "/status/uncountedTerminatedPods"}, "how its own Pods do; not the counts of what has been done"},
	{[]string{"cronjobs.batch"}, "CronJob controller", []string{"/status/active", "/status/lastSuccessfulTime"}, "its own Jobs; not when it ran last"},

	{[]string{"namespaces"}, "namespace controller", nil, "active until it is deleted, which is replicated"},
	{[]string{"certificatesigningrequests.certificates.k8s.io", "podcertificaterequests.certificates.k8s.io"}, "approvers and signers", nil,
		"the approval and the certificate are the object's"},
	{[]string{"pods", "nodes"}, "kubelets", nil, "a Pod belongs to a node, and a node to one cluster: out of scope"},
	{[]string{"volumeattachments.storage.k8s.io"}, "CSI attacher", nil, "of a node: out of scope"},
	{[]string{"storageversions.internal.apiserver.k8s.io"}, "API servers", nil, "an API server's own record: out of scope"},
}

// statusManagers are the entries in managedFields of who writes a status.
const statusManagers = "/metadata/managedFields/subresource=status"

// statusLocals are the local fields that statuses come to.
func statusLocals() []Local {
	var out []Local
	for _, s := range statuses {
		if s.local != nil {
			out = append(out, Local{Resources: s.resources, Fields: append(append([]string{}, s.local...), statusManagers)})
		}
	}
	return out
}
