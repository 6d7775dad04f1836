package scope

import "encoding/json"

// Preset is what makes one system's objects inert: the field or annotation that
// its controllers look at.
type Preset struct {
	Name   string
	Holds  []Hold
	Why    string // what would happen on a standby otherwise
	Source string // where its controllers look: the repository and the path in it, or the page
}

const (
	heldName = "understudy.dev/held"
	// nothing is the rule of an admission policy that leaves out everything.
	nothing = `"excludeResourceRules":[{"apiGroups":["*"],"apiVersions":["*"],"operations":["*"],"resources":["*/*"]}]`
)

// Presets are the holds of the profiles for a standby whose controllers run. A
// row belongs here where a second cluster that acts on the same object creates,
// changes or destroys something that the primary still owns, or undoes other holds.
var Presets = []Preset{
	{
		Name: "workloads",
		Holds: []Hold{
			set(`{"spec":{"replicas":0}}`, "deployments.apps", "statefulsets.apps", "replicasets.apps", "replicationcontrollers"),
			// It has no replicas.
			set(`{"spec":{"template":{"spec":{"nodeSelector":{"understudy.dev/held":"true"}}}}}`, "daemonsets.apps"),
			set(`{"spec":{"suspend":true}}`, "cronjobs.batch", "jobs.batch"),
		},
		Why: "a second set of Pods", Source: "k8s.io/api apps/v1, batch/v1",
	},
	{
		Name: "volumes",
		Holds: []Hold{
			// The standby's controllers reclaim a volume whose claim they do not find, and what it stands for.
			set(`{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`, "persistentvolumes"),
			// They bind a free one to a claim of the standby's own. One that is kept for a claim that nobody makes stays free.
			set(`{"spec":{"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"held","namespace":"understudy-held"}}}`, "persistentvolumes").
				where(`{"spec":{"claimRef":null}}`),
			// For a claim without a volume they make one, in a backend that both clusters use under the same name. One of a
			// class that is not there waits. (Naming a volume that is not there would unbind the one that the primary binds.)
			set(`{"spec":{"storageClassName":"understudy-held"}}`, "persistentvolumeclaims").where(`{"spec":{"volumeName":null}}`),
		},
		Why: "the primary's storage is deleted, given to a claim of the standby's, or made a second time", Source: "kubernetes/kubernetes pkg/controller/volume/persistentvolume",
	},
	{
		// A class that no controller has, and no finalizer: docs/holds.md says why not the type.
		Name: "load balancers",
		Holds: []Hold{
			set(`{"metadata":{"finalizers":null},"spec":{"loadBalancerClass":"understudy.dev/held"},"status":{"loadBalancer":{"ingress":null}}}`, "services").
				where(`{"spec":{"type":"LoadBalancer"}}`),
			set(`{"metadata":{"finalizers":null}}`, "services").where(`{"metadata":{"finalizers":["service.kubernetes.io/load-balancer-cleanup"]}}`),
			set(`{"metadata":{"finalizers":null}}`, "services").where(`{"metadata":{"finalizers":["service.k8s.aws/resources"]}}`),
		},
		Why:    "the cloud's load balancer is named after the Service's UID: the primary's is pointed at the standby's nodes, or deleted",
		Source: "kubernetes/cloud-provider controllers/service/controller.go, wantsLoadBalancer, needsCleanup",
	},
	{
		Name: "admission policies",
		Holds: []Hold{
			set(`{"spec":{"matchConstraints":{`+nothing+`}}}`, "validatingadmissionpolicies.admissionregistration.k8s.io", "mutatingadmissionpolicies.admissionregistration.k8s.io"),
			set(`{"spec":{"matchResources":{`+nothing+`}}}`, "validatingadmissionpolicybindings.admissionregistration.k8s.io", "mutatingadmissionpolicybindings.admissionregistration.k8s.io"),
		},
		Why:    "the standby's writes are judged by them: one whose parameters are not there denies all that it matches",
		Source: "kubernetes/apiserver pkg/admission/plugin/policy",
	},
	{
		// Pausing a Cluster pauses what hangs on it; a ClusterResourceSet looks at its own annotation only.
		Name: "Cluster API",
		Holds: []Hold{
			set(`{"spec":{"paused":true}}`, "clusters.cluster.x-k8s.io"),
			annotate("cluster.x-k8s.io/paused", "true", "clusterresourcesets.addons.cluster.x-k8s.io"),
		},
		Why: "machines are created, replaced and deleted twice", Source: "kubernetes-sigs/cluster-api util/paused/paused.go, internal/controllers/clusterresourceset",
	},
	{
		Name:  "Metal3",
		Holds: []Hold{annotate("baremetalhost.metal3.io/paused", heldName, "baremetalhosts.metal3.io")},
		Why:   "two operators switch, inspect and clean the same servers", Source: "metal3-io/baremetal-operator apis/metal3.io/v1alpha1/baremetalhost_types.go, PausedAnnotation",
	},
	{
		// Managed resources and composites have any group; these fields are theirs alone.
		Name: "Crossplane",
		Holds: []Hold{
			annotate("crossplane.io/paused", "true", "*").where(`{"spec":{"forProvider":{}}}`),
			annotate("crossplane.io/paused", "true", "*").where(`{"spec":{"compositionRef":{}}}`),
			annotate("crossplane.io/paused", "true", "*").where(`{"spec":{"crossplane":{"compositionRef":{}}}}`),
			annotate("crossplane.io/paused", "true", "*.pkg.crossplane.io"),
		},
		Why: "cloud resources are created and changed twice", Source: "crossplane/crossplane internal/controller/apiextensions/composite, internal/controller/pkg; crossplane/crossplane-runtime pkg/meta, IsPaused",
	},
	{
		Name:  "Azure Service Operator",
		Holds: []Hold{annotate("serviceoperator.azure.com/reconcile-policy", "skip", "*.azure.com")},
		Why:   "as Crossplane's", Source: "azure.github.io/azure-service-operator/guide/annotations",
	},
	{
		Name: "Hive, HyperShift",
		Holds: []Hold{
			annotate("hive.openshift.io/reconcile-pause", "true", "clusterdeployments.hive.openshift.io"),
			set(`{"spec":{"pausedUntil":"true"}}`, "hostedclusters.hypershift.openshift.io", "nodepools.hypershift.openshift.io"),
		},
		Why: "clusters are installed, hibernated and destroyed twice", Source: "openshift/hive pkg/constants, ReconcilePauseAnnotation; openshift/hypershift api/hypershift/v1beta1, pausedUntil",
	},
	{
		// One of the two fields must be there, and one alone. A pool without replicas
		// would delete its machines, which are replicated; the instances of a set are not.
		Name: "KubeVirt",
		Holds: []Hold{
			set(`{"spec":{"running":null,"runStrategy":"Halted"}}`, "virtualmachines.kubevirt.io"),
			set(`{"spec":{"replicas":0}}`, "virtualmachineinstancereplicasets.kubevirt.io"),
			set(`{"spec":{"paused":true}}`, "virtualmachinepools.pool.kubevirt.io"),
		},
		Why: "a second virtual machine on the same disk", Source: "kubevirt/kubevirt staging/src/kubevirt.io/api/core/v1/types.go, RunStrategy; pkg/virt-controller/watch/pool/pool.go",
	},
	{
		// GitOps writes what stands in the repository, and so undoes other holds.
		Name: "Flux",
		Holds: []Hold{
			set(`{"spec":{"suspend":true}}`, "kustomizations.kustomize.toolkit.fluxcd.io", "helmreleases.helm.toolkit.fluxcd.io",
				"imageupdateautomations.image.toolkit.fluxcd.io", "terraforms.infra.contrib.fluxcd.io"),
			annotate("fluxcd.controlplane.io/reconcile", "disabled", "*.fluxcd.controlplane.io"),
		},
		Why: "held objects are written anew as they stand in the repository; image automation commits twice", Source: "fluxcd.io/flux/components, suspend; fluxoperator.dev/docs/crd; flux-iac/tofu-controller controllers",
	},
	{
		// The controller of ApplicationSets would take the annotation off the Applications that it has made,
		// and makes new ones in either case. The policy of its own command line goes before the field.
		Name: "Argo",
		Holds: []Hold{
			annotate("argocd.argoproj.io/skip-reconcile", "true", "applications.argoproj.io"),
			set(`{"spec":{"syncPolicy":{"applicationsSync":"create-only"},"template":{"metadata":{"annotations":{"argocd.argoproj.io/skip-reconcile":"true"}}}}}`, "applicationsets.argoproj.io"),
			set(`{"spec":{"suspend":true}}`, "cronworkflows.argoproj.io", "workflows.argoproj.io"),
			set(`{"spec":{"replicas":0}}`, "rollouts.argoproj.io"),
		},
		Why: "as Flux's; workflows run twice", Source: "argoproj/argo-cd docs/user-guide/skip_reconcile.md, docs/operator-manual/applicationset/Controlling-Resource-Modification.md; argoproj/argo-workflows, argoproj/argo-rollouts pkg/apis",
	},
	{
		Name:  "Fleet",
		Holds: []Hold{set(`{"spec":{"paused":true}}`, "gitrepos.fleet.cattle.io", "helmops.fleet.cattle.io", "bundles.fleet.cattle.io")},
		Why:   "bundles are deployed from two sides", Source: "rancher/fleet pkg/apis/fleet.cattle.io/v1alpha1, gitrepo_types.go, helmop_types.go, bundle_types.go",
	},
	{
		Name:  "KEDA",
		Holds: []Hold{annotate("autoscaling.keda.sh/paused", "true", "scaledobjects.keda.sh", "scaledjobs.keda.sh")},
		Why:   "held workloads are scaled up", Source: "kedacore/keda controllers/keda/scaledobject_controller.go; keda.sh/docs, Pause autoscaling",
	},
	{
		Name: "Velero",
		Holds: []Hold{
			set(`{"spec":{"paused":true}}`, "schedules.velero.io"),
			// Its garbage collection deletes backups of which it thinks that they have expired.
			set(`{"spec":{"accessMode":"ReadOnly"}}`, "backupstoragelocations.velero.io"),
		},
		Why: "two clusters write to one store, and one deletes the other's backups", Source: "vmware-tanzu/velero pkg/apis/velero/v1/schedule_types.go, pkg/controller/gc_controller.go",
	},
	{
		Name:  "VolSync",
		Holds: []Hold{set(`{"spec":{"paused":true}}`, "replicationsources.volsync.backube", "replicationdestinations.volsync.backube")},
		Why:   "volumes are copied over each other", Source: "backube/volsync api/v1alpha1, replicationsource_types.go, replicationdestination_types.go",
	},
	{
		Name:  "Open Cluster Management",
		Holds: []Hold{set(`{"spec":{"paused":true}}`, "backupschedules.cluster.open-cluster-management.io")},
		Why:   "a passive hub writes over the backups of the active one", Source: "stolostron/cluster-backup-operator controllers/schedule_controller.go, SchedulePhasePaused",
	},
	{
		Name: "CloudNativePG",
		Holds: []Hold{
			annotate("cnpg.io/reconciliationLoop", "disabled", "clusters.postgresql.cnpg.io"),
			set(`{"spec":{"suspend":true}}`, "scheduledbackups.postgresql.cnpg.io"),
		},
		Why: "a second database archives into the same store", Source: "cloudnative-pg.io/docs, Failure modes, Disabling reconciliation; cloudnative-pg/cloudnative-pg api/v1/scheduledbackup_types.go",
	},
	{
		// StrimziPodSets look at no annotation; without Pods in it, one makes none.
		Name: "Strimzi",
		Holds: []Hold{
			annotate("strimzi.io/pause-reconciliation", "true", "*.kafka.strimzi.io"),
			set(`{"spec":{"pods":[]}}`, "strimzipodsets.core.strimzi.io"),
		},
		Why: "a second set of brokers, and topics changed twice", Source: "strimzi.io/docs, Pausing reconciliation of custom resources; github.com/strimzi/strimzi-kafka-operator/issues/10042",
	},
	{
		Name: "other databases and queues",
		Holds: []Hold{
			label("rabbitmq.com/pauseReconciliation", "true", "rabbitmqclusters.rabbitmq.com"),
			annotate("eck.k8s.elastic.co/managed", "false", "*.k8s.elastic.co"),
			set(`{"spec":{"pause":true}}`, "perconaxtradbclusters.pxc.percona.com", "perconaservermongodbs.psmdb.percona.com", "perconapgclusters.pgv2.percona.com",
				"perconaservermysqls.ps.percona.com"),
		},
		Why: "their operators make Pods beside held StatefulSets", Source: "rabbitmq/cluster-operator controllers/rabbitmqcluster_controller.go, pauseReconciliationLabel; elastic/cloud-on-k8s pkg/controller/common/unmanaged.go; percona/percona-xtradb-cluster-operator pkg/apis/pxc/v1/pxc_types.go and its like",
	},
	{
		Name:  "scheduler extenders",
		Holds: []Hold{set(`{"webhooks":[]}`, "kubeschedulerwebhookconfigurations.deckhouse.io")},
		Why:   "with failurePolicy Fail and no backend the standby's scheduler places no Pod any more", Source: "deckhouse/deckhouse modules/040-control-plane-manager/crds/kube_scheduler_webhook_configuration.yaml",
	},
	primaryItself,
}

// primaryItself marks what describes the cluster that it is in, under a name that it has in
// every cluster. Its controllers know no brake: being held it is named, and not released with the rest.
var primaryItself = Preset{
	Name: "the primary itself",
	Holds: []Hold{
		annotate("understudy.dev/describes", "the-primary", "clusters.management.cattle.io").where(`{"metadata":{"name":"local"}}`),
		annotate("understudy.dev/describes", "the-primary", "clusters.provisioning.cattle.io", "clusters.fleet.cattle.io").where(`{"metadata":{"name":"local","namespace":"fleet-local"}}`),
		annotate("understudy.dev/describes", "the-primary", "managedclusters.cluster.open-cluster-management.io").where(`{"metadata":{"labels":{"local-cluster":"true"}}}`),
	},
	Why: "Rancher or the hub takes one cluster for the other; the annotation stops nothing, it keeps the object from being released unnamed", Source: "rancher/rancher pkg/apis, local; stolostron/multiclusterhub-operator pkg, local-cluster",
}

func set(patch string, resources ...string) Hold {
	return Hold{Resources: resources, Patch: json.RawMessage(patch)}
}

func annotate(name, value string, resources ...string) Hold {
	return set(`{"metadata":{"annotations":{"`+name+`":"`+value+`"}}}`, resources...)
}

func label(name, value string, resources ...string) Hold {
	return set(`{"metadata":{"labels":{"`+name+`":"`+value+`"}}}`, resources...)
}

func (h Hold) where(when string) Hold {
	h.When = json.RawMessage(when)
	return h
}
