package scope

// nodeState is what controllers and agents keep about the nodes, the network and
// the disks of the cluster that they run in. It is out in every profile: on the
// standby the same agents read it as their own, hand out addresses twice, cut
// their nodes off or take the primary's for theirs.
//
// What people configure of the same software takes part: address pools,
// policies, peers, subnets. Kinds that hold both stay in where people write the
// specification and controllers no more than the status, which is local then
// (mixedState); they are out where the object as such stands for one node, one
// address or one disk.
var nodeState = []reasoned{
	// github.com/projectcalico/calico, libcalico-go/config/crd; without the API
	// server of before 3.30 they are called by the group projectcalico.org.
	// IPPools, IPAMConfigs, policies and BGP peers are people's. A HostEndpoint
	// names a node, and the agents make one for each; ClusterInformation has the
	// identity of the cluster.
	{Rule: Rule{Resources: []string{
		"blockaffinities.crd.projectcalico.org", "ipamblocks.crd.projectcalico.org", "ipamhandles.crd.projectcalico.org",
		"caliconodestatuses.crd.projectcalico.org", "clusterinformations.crd.projectcalico.org", "hostendpoints.crd.projectcalico.org",
		"blockaffinities.projectcalico.org", "ipamblocks.projectcalico.org", "ipamhandles.projectcalico.org",
		"caliconodestatuses.projectcalico.org", "clusterinformations.projectcalico.org", "hostendpoints.projectcalico.org",
	}}, why: "which node of one cluster has which addresses (Calico)"},
	// FelixConfiguration node.NAME is that of one node.
	{Rule: Rule{Names: []string{"node.*"}, Resources: []string{"felixconfigurations.crd.projectcalico.org", "bgpconfigurations.crd.projectcalico.org", "felixconfigurations.projectcalico.org", "bgpconfigurations.projectcalico.org"}},
		why: "the settings of one node (Calico)"},
	// github.com/cilium/cilium, pkg/k8s/apis/cilium.io/client. The operator makes
	// CiliumBGPNodeConfigs from CiliumBGPClusterConfigs.
	{Rule: Rule{Resources: []string{
		"ciliumnodes.cilium.io", "ciliumendpoints.cilium.io", "ciliumendpointslices.cilium.io", "ciliumidentities.cilium.io",
		"ciliumbgpnodeconfigs.cilium.io", "ciliumbgpnodeconfigoverrides.cilium.io",
	}}, why: "the nodes, Pods and identities of one cluster's network (Cilium)"},
	// github.com/kubeovn/kube-ovn, dist/images/install.sh. Subnets, Vpcs, IPPools
	// and Vips are people's, with what is in use of them in the status.
	{Rule: Rule{Resources: []string{"ips.kubeovn.io"}}, why: "which Pod of one cluster has which address (kube-ovn)"},
	// github.com/k8snetworkplumbingwg/whereabouts, doc/crds: the ranges themselves
	// stand in the NetworkAttachmentDefinitions.
	{Rule: Rule{Resources: []string{
		"ippools.whereabouts.cni.cncf.io", "overlappingrangeipreservations.whereabouts.cni.cncf.io", "nodeslicepools.whereabouts.cni.cncf.io",
	}}, why: "which Pod of one cluster has which address (whereabouts)"},
	// github.com/antrea-io/antrea, build/charts/antrea/crds.
	{Rule: Rule{Resources: []string{"antreaagentinfos.crd.antrea.io", "antreacontrollerinfos.crd.antrea.io"}}, why: "the agents on the nodes of one cluster (Antrea)"},
	// github.com/spidernet-io/spiderpool: SpiderIPPools and SpiderSubnets are people's.
	{Rule: Rule{Resources: []string{"spiderendpoints.spiderpool.spidernet.io"}}, why: "which Pod of one cluster has which address (Spiderpool)"},
	// github.com/openshift/api: network/v1, cloudnetwork/v1, machineconfiguration/v1.
	// OVN-Kubernetes itself (k8s.ovn.org) keeps its state in annotations of Nodes.
	{Rule: Rule{Resources: []string{
		"hostsubnets.network.openshift.io", "netnamespaces.network.openshift.io", "cloudprivateipconfigs.cloud.network.openshift.io",
		"machineconfignodes.machineconfiguration.openshift.io", "podnetworkconnectivitychecks.controlplane.operator.openshift.io",
	}}, why: "the nodes and the network of one cluster (OpenShift)"},
	// github.com/aws/amazon-vpc-resource-controller-k8s, github.com/aws/amazon-network-policy-controller-k8s.
	{Rule: Rule{Resources: []string{"cninodes.vpcresources.k8s.aws", "cninodes.eks.amazonaws.com", "policyendpoints.networking.k8s.aws"}},
		why: "the nodes and Pods of one cluster's network (AWS)"},
	{Rule: Rule{Resources: []string{"nodenetworkconfigs.acn.azure.com"}}, why: "the nodes of one cluster's network (Azure)"},
	// github.com/metallb/metallb, github.com/metallb/frr-k8s.
	{Rule: Rule{Resources: []string{
		"servicel2statuses.metallb.io", "servicebgpstatuses.metallb.io", "frrnodestates.frrk8s.metallb.io", "bgpsessionstates.frrk8s.metallb.io",
	}}, why: "which node of one cluster announces which address (MetalLB)"},
	// github.com/submariner-io/submariner, pkg/apis/submariner.io/v1.
	{Rule: Rule{Resources: []string{"clusters.submariner.io", "endpoints.submariner.io", "gateways.submariner.io"}}, why: "the gateways of one cluster (Submariner)"},
	// github.com/k8snetworkplumbingwg/sriov-network-operator, github.com/nmstate/kubernetes-nmstate:
	// the policies from which these come are people's.
	{Rule: Rule{Resources: []string{
		"sriovnetworknodestates.sriovnetwork.openshift.io",
		"nodenetworkstates.nmstate.io", "nodenetworkconfigurationenactments.nmstate.io",
	}}, why: "the interfaces of one cluster's nodes"},
	// sigs.k8s.io/node-feature-discovery, github.com/k8stopologyawareschedwg/noderesourcetopology-api,
	// volcano.sh/apis, github.com/koordinator-sh/apis. NodeFeatureRules are people's.
	{Rule: Rule{Resources: []string{
		"nodefeatures.nfd.k8s-sigs.io", "noderesourcetopologies.topology.node.k8s.io", "numatopologies.nodeinfo.volcano.sh",
		"devices.scheduling.koordinator.sh", "nodemetrics.slo.koordinator.sh",
	}}, why: "what the nodes of one cluster have"},
	// github.com/kubernetes-sigs/karpenter, github.com/openshift/api machine/v1beta1: the
	// machines that the cluster itself runs on. Those of workload clusters
	// (cluster.x-k8s.io, machine.sapcloud.io, cluster.k8s.io) take part.
	{Rule: Rule{Resources: []string{"nodeclaims.karpenter.sh", "machines.machine.openshift.io", "machinesets.machine.openshift.io"}},
		why: "the machines that one cluster itself runs on"},

	// github.com/longhorn/longhorn-manager, k8s/pkg/apis/longhorn/v1beta2: all but
	// Settings, RecurringJobs and BackupTargets stand for disks and processes on
	// nodes, or are read from the backup store. A Volume without its Replicas would
	// be made anew, empty.
	{Rule: Rule{Resources: []string{
		"nodes.longhorn.io", "volumes.longhorn.io", "engines.longhorn.io", "replicas.longhorn.io", "instancemanagers.longhorn.io", "engineimages.longhorn.io",
		"sharemanagers.longhorn.io", "volumeattachments.longhorn.io", "snapshots.longhorn.io", "orphans.longhorn.io", "supportbundles.longhorn.io",
		"backingimages.longhorn.io", "backingimagemanagers.longhorn.io", "backingimagedatasources.longhorn.io",
		"backups.longhorn.io", "backupvolumes.longhorn.io", "backupbackingimages.longhorn.io", "systembackups.longhorn.io", "systemrestores.longhorn.io",
	}}, why: "the disks and processes of one cluster's nodes (Longhorn)"},
	// github.com/rook/rook, pkg/operator/ceph: what it writes of its monitors, disks
	// and OSDs into the namespace of the cluster, and the identity of the latter.
	{Rule: Rule{Resources: []string{"configmaps"}, Names: []string{"rook-ceph-mon-endpoints", "rook-ceph-osd-*-status", "rook-ceph-pdbstatemap", "rook-ceph-csi-config", "local-device-*"}},
		why: "monitors and disks on one cluster's nodes (Rook)"},
	{Rule: Rule{Resources: []string{"secrets"}, Names: []string{"rook-ceph-mon", "rook-ceph-mons-keyring", "rook-ceph-config"}}, why: "the identity of one Ceph cluster (Rook)"},
	// github.com/csi-addons/kubernetes-csi-addons, sigs.k8s.io/vsphere-csi-driver pkg/apis.
	{Rule: Rule{Resources: []string{
		"csiaddonsnodes.csiaddons.openshift.io", "csinodetopologies.cns.vmware.com", "cnsvolumeoperationrequests.cns.vmware.com", "storagepools.cns.vmware.com",
	}}, why: "the nodes of one cluster, as its storage drivers see them"},
	// github.com/topolvm/topolvm, github.com/openebs, github.com/minio/directpv,
	// github.com/LINBIT/linstor-server (its database), github.com/libopenstorage/operator,
	// github.com/openshift/local-storage-operator, github.com/deckhouse/sds-node-configurator.
	{Rule: Rule{Resources: []string{
		"logicalvolumes.topolvm.io", "logicalvolumes.topolvm.cybozu.com",
		"blockdevices.openebs.io", "blockdeviceclaims.openebs.io", "lvmnodes.local.openebs.io", "lvmvolumes.local.openebs.io", "lvmsnapshots.local.openebs.io",
		"zfsnodes.zfs.openebs.io", "zfsvolumes.zfs.openebs.io", "zfssnapshots.zfs.openebs.io",
		"directpvnodes.directpv.min.io", "directpvdrives.directpv.min.io", "directpvvolumes.directpv.min.io", "directpvinitrequests.directpv.min.io",
		"*.internal.linstor.linbit.com", "linstorsatellites.piraeus.io",
		"storagenodes.core.libopenstorage.org", "localvolumediscoveryresults.local.storage.openshift.io",
		"blockdevices.storage.deckhouse.io", "lvmvolumegroups.storage.deckhouse.io", "lvmlogicalvolumes.storage.deckhouse.io",
	}}, why: "the disks of one cluster's nodes"},
	// github.com/open-policy-agent/gatekeeper, apis/status: one for each of its Pods.
	{Rule: Rule{Resources: []string{"*.status.gatekeeper.sh"}}, why: "what the Pods of one cluster's admission have taken up (Gatekeeper)"},
}

// mixedState are the kinds of the same software that people write and whose
// status each cluster's controllers fill in with its nodes and addresses in use.
var mixedState = Local{
	Resources: []string{
		"subnets.kubeovn.io", "vips.kubeovn.io", "ippools.kubeovn.io", "vpcs.kubeovn.io", "vlans.kubeovn.io", "provider-networks.kubeovn.io",
		"ippools.crd.antrea.io", "externalippools.crd.antrea.io", "egresses.crd.antrea.io",
		"spiderippools.spiderpool.spidernet.io", "spidersubnets.spiderpool.spidernet.io",
		"egressips.k8s.ovn.org", "nodenetworkconfigurationpolicies.nmstate.io", "kubecontrollersconfigurations.crd.projectcalico.org",
	},
	Fields: []string{"/status", "/metadata/managedFields/subresource=status"},
}
