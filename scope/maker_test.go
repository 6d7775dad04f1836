package scope

import (
	"regexp"
	"testing"

	"github.com/understudy-dr/understudy/registry"
)

// What a controller, an API server or the platform has made is made on the
// standby as well; the same kinds from other hands are somebody's data.
func TestMakers(t *testing.T) {
	const (
		replicaSet  = `"apiVersion":"apps/v1","kind":"ReplicaSet"`
		revision    = `"apiVersion":"apps/v1","kind":"ControllerRevision"`
		endpoints   = `"apiVersion":"v1","kind":"Endpoints"`
		slice       = `"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice"`
		clusterRole = `"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole"`
		binding     = `"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding"`
		configMap   = `"apiVersion":"v1","kind":"ConfigMap"`
		secret      = `"apiVersion":"v1","kind":"Secret","type":"kubernetes.io/rook"`
	)
	for name, tc := range map[string]struct {
		profile, key, kind, metadata string
		want                         bool
	}{
		"bare ReplicaSet":              {"", "/registry/replicasets/prod/a", replicaSet, ``, true},
		"ReplicaSet of a Deployment":   {"", "/registry/replicasets/prod/a", replicaSet, `"ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"d","uid":"x","controller":true}]`, false},
		"ReplicaSet with a mere owner": {"", "/registry/replicasets/prod/a", replicaSet, `"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"d","uid":"x"}]`, true},
		"revision of a StatefulSet":    {"", "/registry/controllerrevisions/prod/a", revision, `"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"d","uid":"x","controller":true}]`, false},
		"revision of another group's":  {"", "/registry/controllerrevisions/prod/a", revision, `"ownerReferences":[{"apiVersion":"apps.kruise.io/v1beta1","kind":"StatefulSet","name":"d","uid":"x","controller":true}]`, true},
		"revision of a VM":             {"", "/registry/controllerrevisions/prod/a", revision, `"ownerReferences":[{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachine","name":"d","uid":"x","controller":true}]`, true},
		"Endpoints of a selector":      {"", "/registry/services/endpoints/prod/a", endpoints, `"labels":{"endpoints.kubernetes.io/managed-by":"endpoint-controller"}`, false},
		"the same before 1.33":         {"", "/registry/services/endpoints/prod/a", endpoints, `"managedFields":[{"manager":"kube-controller-manager"}]`, false},
		"the same in k3s":              {"", "/registry/services/endpoints/prod/a", endpoints, `"managedFields":[{"manager":"k3s"}]`, false},
		"the same in MicroK8s":         {"", "/registry/services/endpoints/prod/a", endpoints, `"managedFields":[{"manager":"kubelite"}]`, false},
		"Endpoints by hand":            {"", "/registry/services/endpoints/prod/a", endpoints, `"managedFields":[{"manager":"kubectl-create"}]`, true},
		"Endpoints by another label":   {"", "/registry/services/endpoints/prod/a", endpoints, `"labels":{"endpoints.kubernetes.io/managed-by":"me"},"managedFields":[{"manager":"kube-controller-manager"}]`, true},
		"the API servers' own":         {"", "/registry/services/endpoints/default/kubernetes", endpoints, ``, false},
		"slice of a selector":          {"", "/registry/endpointslices/prod/a", slice, `"labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io"}`, false},
		"slice that mirrors":           {"", "/registry/endpointslices/prod/a", slice, `"labels":{"endpointslice.kubernetes.io/managed-by":"endpointslicemirroring-controller.k8s.io"}`, false},
		"slice by hand":                {"", "/registry/endpointslices/prod/a", slice, `"labels":{"endpointslice.kubernetes.io/managed-by":"staff"}`, true},
		"slice without a label":        {"", "/registry/endpointslices/prod/a", slice, `"labels":null`, true},
		"cluster-admin":                {"", "/registry/clusterroles/cluster-admin", clusterRole, `"labels":{"kubernetes.io/bootstrapping":"rbac-defaults"}`, false},
		"system: by hand":              {"", "/registry/clusterroles/system:ovn", clusterRole, `"labels":{"a":"b"}`, true},
		"a binding of the bootstrap":   {"", "/registry/clusterrolebindings/system:basic-user", binding, `"labels":{"kubernetes.io/bootstrapping":"rbac-defaults"}`, false},
		"bootstrap name by hand":       {"", "/registry/clusterroles/cluster-admin", clusterRole, `"labels":null`, true},
		"a copy with the label":        {"", "/registry/clusterroles/team-view", clusterRole, `"labels":{"kubernetes.io/bootstrapping":"rbac-defaults"}`, true},
		"a copy in a namespace":        {"", "/registry/roles/prod/view", `"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role"`, `"labels":{"kubernetes.io/bootstrapping":"rbac-defaults"}`, true},
		"monitors of Rook":             {"", "/registry/configmaps/rook-ceph/rook-ceph-mon-endpoints", configMap, `"ownerReferences":[{"apiVersion":"ceph.rook.io/v1","kind":"CephCluster","name":"c","uid":"x"}]`, false},
		"monitors made known by hand":  {"", "/registry/configmaps/rook-ceph/rook-ceph-mon-endpoints", configMap, `"managedFields":[{"manager":"kubectl-create"}]`, true},
		"for Rook's CSI":               {"", "/registry/configmaps/rook-ceph/rook-ceph-csi-config", configMap, `"ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"rook-ceph-operator","uid":"x","controller":true}]`, false},
		"devices of a node":            {"", "/registry/configmaps/rook-ceph/local-device-a", configMap, `"labels":{"app":"rook-discover","rook.io/node":"a"}`, false},
		"a local device of a team":     {"", "/registry/configmaps/prod/local-device-a", configMap, `"labels":{"app":"cameras"}`, true},
		"Rook's disruption budgets":    {"", "/registry/configmaps/rook-ceph/rook-ceph-pdbstatemap", configMap, `"managedFields":[{"manager":"rook"}]`, false},
		"identity of a Ceph cluster":   {"everything", "/registry/secrets/rook-ceph/rook-ceph-mon", secret, `"ownerReferences":[{"apiVersion":"ceph.rook.io/v1","kind":"CephCluster","name":"c","uid":"x","controller":true}]`, false},
		"of an external Ceph cluster":  {"everything", "/registry/secrets/rook-ceph/rook-ceph-mon", secret, ``, true},
		"in kube-system all the same":  {"", "/registry/replicasets/kube-system/a", replicaSet, ``, false},
		"Deckhouse's":                  {"deckhouse", "/registry/configmaps/prod/a", configMap, `"labels":{"heritage":"deckhouse"}`, false},
		"a team's":                     {"deckhouse", "/registry/configmaps/prod/a", configMap, `"labels":{"heritage":"team"}`, true},
		"without Deckhouse":            {"", "/registry/configmaps/prod/a", configMap, `"labels":{"heritage":"deckhouse"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustNew(t, Config{Profile: tc.profile})
			view := &View{Scope: s, Recoder: registry.NewRecoder(nil, nil)}
			if tc.metadata != "" {
				tc.metadata = "," + tc.metadata
			}
			object, err := view.InPrimary(tc.key, []byte(`{`+tc.kind+`,"metadata":{"name":"a","uid":"u"`+tc.metadata+`}}`))
			if err != nil || object.In != tc.want || object.Orphaned {
				t.Errorf("in scope %v, orphaned %v, %v; want %v", object.In, object.Orphaned, err, tc.want)
			}
		})
	}
}

// An owner's metadata is not at hand: it counts as most of its kind.
func TestOwnersByMaker(t *testing.T) {
	s := mustNew(t, Config{Profile: "deckhouse"})
	for kind, orphaned := range map[[2]string]bool{{"apps/v1", "ReplicaSet"}: true, {"v1", "Pod"}: true, {"rbac.authorization.k8s.io/v1", "Role"}: false, {"v1", "ConfigMap"}: false} {
		m := registry.Meta{Kind: "ConfigMap", Owners: []registry.Owner{{APIVersion: kind[0], Kind: kind[1], Name: "a"}}}
		if got := s.Orphaned("/registry/configmaps/prod/b", m); got != orphaned {
			t.Errorf("owned by a %s: orphaned %v", kind[1], got)
		}
	}
}

// State of one cluster's nodes and network is out of every profile, and what
// people configure of the same software is in.
func TestNodeState(t *testing.T) {
	for _, profile := range Profiles() {
		s := mustNew(t, Config{Profile: profile})
		for key, want := range map[string]Verdict{
			"/registry/crd.projectcalico.org/ipamblocks/10-244-0-0-26":                             Out,
			"/registry/crd.projectcalico.org/ippools/default":                                      In,
			"/registry/crd.projectcalico.org/felixconfigurations/node.a":                           Out,
			"/registry/crd.projectcalico.org/felixconfigurations/default":                          In,
			"/registry/cilium.io/ciliumnodes/a":                                                    Out,
			"/registry/cilium.io/ciliumnetworkpolicies/prod/a":                                     In,
			"/registry/kubeovn.io/ips/a":                                                           Out,
			"/registry/kubeovn.io/subnets/a":                                                       In,
			"/registry/whereabouts.cni.cncf.io/ippools/prod/a":                                     Out,
			"/registry/k8s.cni.cncf.io/network-attachment-definitions/prod/a":                      In,
			"/registry/crd.antrea.io/antreaagentinfos/a":                                           Out,
			"/registry/longhorn.io/replicas/longhorn-system/a":                                     Out,
			"/registry/longhorn.io/settings/longhorn-system/a":                                     In,
			"/registry/configmaps/rook-ceph/rook-ceph-mon-endpoints":                               AskObject,
			"/registry/configmaps/rook-ceph/rook-ceph-operator-config":                             In,
			"/registry/ceph.rook.io/cephclusters/rook-ceph/a":                                      In,
			"/registry/internal.linstor.linbit.com/nodes/a":                                        Out,
			"/registry/kubevirt.io/virtualmachines/prod/a":                                         In,
			"/registry/metallb.io/configurationstates/metallb-system/a":                            Out,
			"/registry/metallb.io/ipaddresspools/metallb-system/a":                                 In,
			"/registry/zfs.openebs.io/zfsbackups/openebs/a":                                        Out,
			"/registry/machine.openshift.io/controlplanemachinesets/openshift-machine-api/cluster": Out,
			"/registry/machine.openshift.io/machines/openshift-machine-api/a":                      Out,
			"/registry/cluster.x-k8s.io/machines/prod/a":                                           In,
			"/registry/status.gatekeeper.sh/constraintpodstatuses/g/a":                             Out,
			"/registry/nfd.k8s-sigs.io/nodefeaturerules/a":                                         In,
			"/registry/sriovnetwork.openshift.io/sriovnetworknodestates/sriov/a":                   Out,
		} {
			if got := s.Key(key); got != want && !(profile == "deckhouse" && want == In && got == AskObject) {
				t.Errorf("%s: Key(%q) = %v, want %v", profile, key, got, want)
			}
		}
	}
	for _, rule := range nodeState {
		if rule.in {
			t.Errorf("%v is no rule that leaves out", rule.Rule)
		}
	}
}

// Whoever doubts a row can look it up: a repository with a path, or a page.
func TestEveryRowHasItsSource(t *testing.T) {
	source := regexp.MustCompile(`^[A-Za-z0-9.-]+/[A-Za-z0-9._/-]+|^Shturval's documentation, page `)
	for _, p := range profiles {
		for _, r := range p.rules {
			if r.why == "" || !source.MatchString(r.source) {
				t.Errorf("%s: %v: reason %q, source %q", p.name, r.Rule, r.why, r.source)
			}
		}
	}
	for _, p := range Presets {
		if p.Why == "" || !source.MatchString(p.Source) {
			t.Errorf("%s: reason %q, source %q", p.Name, p.Why, p.Source)
		}
	}
}

// What the vendors' documents name, and no more of the platform than they name.
func TestPlatforms(t *testing.T) {
	for profile, keys := range map[string]map[string]Verdict{
		"shturval": {
			"/registry/secrets/capv-system/vsphere-credentials":                                AskObject,
			"/registry/deployments/capv-system/capv-controller-manager":                        Out,
			"/registry/namespaces/capov-system":                                                Out,
			"/registry/infrastructure.cluster.x-k8s.io/vspheredeploymentzones/a":               In,
			"/registry/infrastructure.cluster.x-k8s.io/shturvalproviders/a":                    In,
			"/registry/cluster.x-k8s.io/clusters/shturval-one-client1/one":                     In,
			"/registry/namespaces/shturval-one-client1":                                        In,
			"/registry/secrets/shturval-backend/a":                                             Out,
			"/registry/rbac.shturval.tech/userroles/shturval-backend/a":                        In,
			"/registry/rbac.shturval.tech/grouproles/shturval-backend/a":                       In,
			"/registry/configmaps/shturval-log-operator/a":                                     Out,
			"/registry/velero.io/backups/velero/a":                                             Out,
			"/registry/infrastructure.cluster.x-k8s.io/vspherevms/shturval-one-client1/worker": In,
		},
		"deckhouse": {
			"/registry/deployments/d8-system/deckhouse":         Out,
			"/registry/namespaces/d8-system":                    Out,
			"/registry/deckhouse.io/nodegroups/worker":          Out,
			"/registry/deckhouse.io/vsphereinstanceclasses/a":   Out,
			"/registry/deckhouse.io/moduleconfigs/global":       Out,
			"/registry/deckhouse.io/users/anna":                 AskObject,
			"/registry/deckhouse.io/projects/shop":              AskObject,
			"/registry/cluster.x-k8s.io/clusters/prod/prod":     AskObject,
			"/registry/leases/prod/leader":                      Out,
			"/registry/configmaps/kube-system/d8-cluster-state": Out,
		},
	} {
		s := mustNew(t, Config{Profile: profile})
		for key, want := range keys {
			if got := s.Key(key); got != want {
				t.Errorf("%s: Key(%q) = %v, want %v", profile, key, got, want)
			}
		}
		if len(DefaultHolds(profile)) == 0 || len(DefaultLocals(profile)) == 0 {
			t.Errorf("%s has no holds or local fields", profile)
		}
	}
}
