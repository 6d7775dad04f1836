package scope

// What platforms install on each management cluster for itself.

// alauda is the list of Alauda's documentation of disaster recovery for the
// global cluster, which synchronises everything else.
var alauda = []reasoned{
	{Rule: Rule{Namespaces: []string{
		"cpaas-system", "cert-manager", "default", "global-credentials", "cpaas-system-global-credentials",
		"kube-ovn", "kube-public", "kube-system", "nsx-system", "cpaas-solution", "kube-node-lease",
		"kubevirt", "nativestor-system", "operators",
	}}, why: "installed on each global cluster by itself", source: "alauda/acp-docs docs/en/install/global_dr.mdx"},
}

// deckhouse leaves out what Deckhouse installs: its modules live in namespaces
// d8-*, and what it makes elsewhere has the label heritage: deckhouse, which its
// own admission keeps others from touching (github.com/deckhouse/deckhouse,
// pull request 16749). What people declare through its other kinds (users,
// groups, authorization rules, projects) takes part.
var deckhouse = []reasoned{
	{Rule: Rule{Namespaces: []string{"d8-*"}}, why: "Deckhouse's own modules, installed on each cluster", source: "deckhouse/deckhouse modules/*/templates/namespace.yaml"},
	{Rule: Rule{Resources: []string{"*"}}, maker: byDeckhouse, why: "installed by Deckhouse on each cluster", source: "github.com/deckhouse/deckhouse/pull/16749"},
	{Rule: Rule{Resources: []string{
		"moduleconfigs.deckhouse.io", "modules.deckhouse.io", "modulesources.deckhouse.io", "modulereleases.deckhouse.io",
		"modulepulloverrides.deckhouse.io", "moduleupdatepolicies.deckhouse.io", "moduledocumentations.deckhouse.io",
		"deckhousereleases.deckhouse.io",
	}}, why: "which modules and versions one cluster runs", source: "deckhouse/deckhouse deckhouse-controller/crds"},
	// A NodeGroup orders machines for the cluster that it is in, from an InstanceClass.
	{Rule: Rule{Resources: []string{
		"nodegroups.deckhouse.io", "nodegroupconfigurations.deckhouse.io", "*instanceclasses.deckhouse.io", "instances.deckhouse.io",
		"staticinstances.deckhouse.io", "sshcredentials.deckhouse.io", "nodeusers.deckhouse.io",
	}}, why: "the nodes of one cluster", source: "deckhouse/deckhouse modules/040-node-manager/crds, modules/030-cloud-provider-*/crds"},
}

// shturval takes what the vendor's instruction for a standby management cluster
// backs up and restores there: the credentials of the infrastructure providers
// and their cluster-scoped objects, the namespaces of the workload clusters
// (shturval-CLUSTER-CLIENT), and of shturval-backend the roles of users and
// groups. Every other namespace that the instruction names is the platform's, and
// so are those that Cluster API's core installs itself into. The controllers in
// the providers' namespaces run on both clusters.
var shturval = []reasoned{
	{Rule: Rule{Namespaces: []string{
		"shturval-backend", "shturval-cd", "shturval-dashboards", "shturval-log-operator", "shturval-metrics", "velero",
		"capi-system", "capi-kubeadm-bootstrap-system", "capi-kubeadm-control-plane-system",
	}}, why: "the platform's own, installed on each management cluster", source: shturvalPage},
	{Rule: Rule{Namespaces: []string{"shturval-backend"}, Resources: []string{"userroles.*", "grouproles.*"}}, in: true, why: "roles of users and groups", source: shturvalPage},
	{Rule: Rule{Namespaces: shturvalProviders, Resources: []string{
		"namespaces", "deployments.apps", "daemonsets.apps", "statefulsets.apps", "services", "serviceaccounts",
		"*.rbac.authorization.k8s.io", "*.cert-manager.io", "poddisruptionbudgets.policy", "networkpolicies.networking.k8s.io",
	}}, why: "the infrastructure providers run on each management cluster; what they have been told takes part", source: shturvalPage},
	{Rule: Rule{Namespaces: shturvalProviders, Types: []string{"kubernetes.io/tls"}}, why: "certificates of one cluster's own webhooks", source: shturvalPage},
}

// shturvalPage is the vendor's instruction.
const shturvalPage = "Shturval's documentation, page DR-Кластер управления"

var shturvalProviders = []string{"capv-system", "capov-system", "capbd-system", "shturval-capsm"}
