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
	// Calico's API server keeps them under crd.projectcalico.org; from 3.30 on they may be of projectcalico.org
	// itself. IPPools, IPAMConfigs, policies and BGP peers are people's. A HostEndpoint names a node, and the
	// agents make one for each; ClusterInformation has the identity of the cluster.
	{Rule: Rule{Resources: []string{
		"blockaffinities.crd.projectcalico.org", "ipamblocks.crd.projectcalico.org", "ipamhandles.crd.projectcalico.org",
		"caliconodestatuses.crd.projectcalico.org", "clusterinformations.crd.projectcalico.org", "hostendpoints.crd.projectcalico.org",
		"blockaffinities.projectcalico.org", "ipamblocks.projectcalico.org", "ipamhandles.projectcalico.org",
		"caliconodestatuses.projectcalico.org", "clusterinformations.projectcalico.org", "hostendpoints.projectcalico.org",
	}}, why: "which node of one cluster has which addresses (Calico)", source: "projectcalico/calico libcalico-go/config/crd"},
	// FelixConfiguration node.NAME is that of one node.
	{Rule: Rule{Names: []string{"node.*"}, Resources: []string{
		"felixconfigurations.crd.projectcalico.org", "bgpconfigurations.crd.projectcalico.org", "felixconfigurations.projectcalico.org", "bgpconfigurations.projectcalico.org",
	}}, why: "the settings of one node (Calico)", source: "docs.tigera.io/calico/latest/reference/resources/felixconfig"},
	// The operator makes CiliumBGPNodeConfigs from CiliumBGPClusterConfigs; their overrides name a node.
	{Rule: Rule{Resources: []string{
		"ciliumnodes.cilium.io", "ciliumendpoints.cilium.io", "ciliumendpointslices.cilium.io", "ciliumidentities.cilium.io",
		"ciliumbgpnodeconfigs.cilium.io", "ciliumbgpnodeconfigoverrides.cilium.io", "ciliumnetworkdrivernodeconfigs.cilium.io",
	}}, why: "the nodes, Pods and identities of one cluster's network (Cilium)", source: "cilium/cilium pkg/k8s/apis/cilium.io/client/crds"},
	// Subnets, Vpcs, IPPools and Vips are people's, with what is in use of them in the status.
	{Rule: Rule{Resources: []string{"ips.kubeovn.io"}},
		why: "which Pod of one cluster has which address (kube-ovn)", source: "kubeovn/kube-ovn pkg/apis/kubeovn/v1/ip.go"},
	// The ranges themselves stand in the NetworkAttachmentDefinitions.
	{Rule: Rule{Resources: []string{"ippools.whereabouts.cni.cncf.io", "overlappingrangeipreservations.whereabouts.cni.cncf.io", "nodeslicepools.whereabouts.cni.cncf.io"}},
		why: "which Pod of one cluster has which address (whereabouts)", source: "k8snetworkplumbingwg/whereabouts doc/crds"},
	{Rule: Rule{Resources: []string{"antreaagentinfos.crd.antrea.io", "antreacontrollerinfos.crd.antrea.io"}},
		why: "the agents on the nodes of one cluster (Antrea)", source: "antrea-io/antrea build/charts/antrea/crds"},
	// SpiderIPPools and SpiderSubnets are people's.
	{Rule: Rule{Resources: []string{"spiderendpoints.spiderpool.spidernet.io"}},
		why: "which Pod of one cluster has which address (Spiderpool)", source: "spidernet-io/spiderpool charts/spiderpool/crds"},
	// OVN-Kubernetes itself (k8s.ovn.org) keeps its state in annotations of Nodes.
	{Rule: Rule{Resources: []string{
		"hostsubnets.network.openshift.io", "netnamespaces.network.openshift.io", "cloudprivateipconfigs.cloud.network.openshift.io",
		"machineconfignodes.machineconfiguration.openshift.io", "podnetworkconnectivitychecks.controlplane.operator.openshift.io",
	}}, why: "the nodes and the network of one cluster (OpenShift)", source: "openshift/api network/v1, cloudnetwork/v1, machineconfiguration/v1, operatorcontrolplane/v1alpha1"},
	{Rule: Rule{Resources: []string{"cninodes.vpcresources.k8s.aws", "cninodes.eks.amazonaws.com"}},
		why: "the nodes of one cluster's network (AWS)", source: "aws/amazon-vpc-resource-controller-k8s config/crd/bases; docs.aws.amazon.com/eks, Auto Mode"},
	{Rule: Rule{Resources: []string{"policyendpoints.networking.k8s.aws", "clusterpolicyendpoints.networking.k8s.aws"}},
		why: "the Pods of one cluster's network (AWS)", source: "aws/amazon-network-policy-controller-k8s config/crd/bases"},
	{Rule: Rule{Resources: []string{"nodenetworkconfigs.acn.azure.com"}},
		why: "the nodes of one cluster's network (Azure)", source: "Azure/azure-container-networking crd/nodenetworkconfig"},
	{Rule: Rule{Resources: []string{"servicel2statuses.metallb.io", "servicebgpstatuses.metallb.io", "configurationstates.metallb.io"}},
		why: "which node of one cluster announces which address (MetalLB)", source: "metallb/metallb config/crd/bases"},
	{Rule: Rule{Resources: []string{"frrnodestates.frrk8s.metallb.io", "bgpsessionstates.frrk8s.metallb.io"}},
		why: "the sessions of one cluster's nodes (FRR-K8s)", source: "metallb/frr-k8s config/crd/bases"},
	{Rule: Rule{Resources: []string{"clusters.submariner.io", "endpoints.submariner.io", "gateways.submariner.io", "gatewayroutes.submariner.io", "nongatewayroutes.submariner.io"}},
		why: "the gateways of one cluster (Submariner)", source: "submariner-io/submariner pkg/apis/submariner.io/v1"},
	// The policies from which these and the next come are people's.
	{Rule: Rule{Resources: []string{"sriovnetworknodestates.sriovnetwork.openshift.io"}},
		why: "the interfaces of one cluster's nodes (SR-IOV)", source: "k8snetworkplumbingwg/sriov-network-operator config/crd/bases"},
	{Rule: Rule{Resources: []string{"nodenetworkstates.nmstate.io", "nodenetworkconfigurationenactments.nmstate.io"}},
		why: "the interfaces of one cluster's nodes (nmstate)", source: "nmstate/kubernetes-nmstate deploy/crds"},
	// NodeFeatureRules are people's.
	{Rule: Rule{Resources: []string{"nodefeatures.nfd.k8s-sigs.io"}},
		why: "what the nodes of one cluster have", source: "kubernetes-sigs/node-feature-discovery deployment/base/nfd-crds"},
	{Rule: Rule{Resources: []string{"noderesourcetopologies.topology.node.k8s.io"}},
		why: "what the nodes of one cluster have", source: "k8stopologyawareschedwg/noderesourcetopology-api manifests/crd.yaml"},
	{Rule: Rule{Resources: []string{"numatopologies.nodeinfo.volcano.sh"}},
		why: "what the nodes of one cluster have", source: "volcano-sh/apis pkg/apis/nodeinfo/v1alpha1"},
	// NodeSLOs are made from people's ConfigMap, one for each node.
	{Rule: Rule{Resources: []string{"devices.scheduling.koordinator.sh", "nodemetrics.slo.koordinator.sh", "nodeslos.slo.koordinator.sh"}},
		why: "what the nodes of one cluster have", source: "koordinator-sh/koordinator config/crd/bases"},
	// Machines of workload clusters (cluster.x-k8s.io, machine.sapcloud.io, cluster.k8s.io) take part.
	{Rule: Rule{Resources: []string{"nodeclaims.karpenter.sh"}},
		why: "the machines that one cluster itself runs on", source: "kubernetes-sigs/karpenter pkg/apis/crds"},
	{Rule: Rule{Resources: []string{"machines.machine.openshift.io", "machinesets.machine.openshift.io", "controlplanemachinesets.machine.openshift.io"}},
		why: "the machines that one cluster itself runs on", source: "openshift/api machine/v1beta1, machine/v1"},

	// All but Settings, RecurringJobs and BackupTargets stand for disks and processes on nodes, or are read
	// from the backup store. A Volume without its Replicas would be made anew, empty.
	{Rule: Rule{Resources: []string{
		"nodes.longhorn.io", "volumes.longhorn.io", "engines.longhorn.io", "enginefrontends.longhorn.io", "replicas.longhorn.io", "instancemanagers.longhorn.io", "engineimages.longhorn.io",
		"sharemanagers.longhorn.io", "volumeattachments.longhorn.io", "snapshots.longhorn.io", "orphans.longhorn.io", "supportbundles.longhorn.io",
		"backingimages.longhorn.io", "backingimagemanagers.longhorn.io", "backingimagedatasources.longhorn.io",
		"backups.longhorn.io", "backupvolumes.longhorn.io", "backupbackingimages.longhorn.io", "systembackups.longhorn.io", "systemrestores.longhorn.io",
	}}, why: "the disks and processes of one cluster's nodes (Longhorn)", source: "longhorn/longhorn-manager k8s/pkg/apis/longhorn/v1beta2"},
	// What Rook writes of its monitors, disks and OSDs into the namespace of the cluster, and the identity of
	// the latter. An external cluster is made known by hand, under the same names; that is people's.
	{Rule: Rule{Names: []string{"rook-ceph-mon-endpoints", "rook-ceph-osd-*-status", "rook-ceph-pdbstatemap", "rook-ceph-csi-config", "local-device-*"}, Resources: []string{"configmaps"}},
		maker: byRook, why: "monitors and disks on one cluster's nodes (Rook)", source: "rook/rook pkg/operator/ceph/cluster, csi, disruption; pkg/daemon/discover/discover.go"},
	{Rule: Rule{Names: []string{"rook-ceph-mon", "rook-ceph-mons-keyring", "rook-ceph-config"}, Resources: []string{"secrets"}},
		maker: byRook, why: "the identity of one Ceph cluster (Rook)", source: "rook/rook pkg/operator/ceph/controller/cluster_info.go, pkg/operator/ceph/config"},
	{Rule: Rule{Resources: []string{"csiaddonsnodes.csiaddons.openshift.io"}},
		why: "the nodes of one cluster, as its storage drivers see them", source: "csi-addons/kubernetes-csi-addons config/crd/bases"},
	{Rule: Rule{Resources: []string{"csinodetopologies.cns.vmware.com", "cnsvolumeoperationrequests.cns.vmware.com", "storagepools.cns.vmware.com"}},
		why: "the nodes of one cluster, as its storage drivers see them", source: "kubernetes-sigs/vsphere-csi-driver pkg/internalapis, pkg/apis/storagepool"},
	{Rule: Rule{Resources: []string{"logicalvolumes.topolvm.io", "logicalvolumes.topolvm.cybozu.com"}},
		why: "the disks of one cluster's nodes (TopoLVM)", source: "topolvm/topolvm config/crd/bases"},
	{Rule: Rule{Resources: []string{"blockdevices.openebs.io", "blockdeviceclaims.openebs.io"}},
		why: "the disks of one cluster's nodes (OpenEBS)", source: "openebs-archive/node-disk-manager deploy/crds"},
	{Rule: Rule{Resources: []string{"lvmnodes.local.openebs.io", "lvmvolumes.local.openebs.io", "lvmsnapshots.local.openebs.io"}},
		why: "the disks of one cluster's nodes (OpenEBS)", source: "openebs/lvm-localpv deploy/yamls"},
	{Rule: Rule{Resources: []string{"zfsnodes.zfs.openebs.io", "zfsvolumes.zfs.openebs.io", "zfssnapshots.zfs.openebs.io", "zfsbackups.zfs.openebs.io", "zfsrestores.zfs.openebs.io"}},
		why: "the disks of one cluster's nodes (OpenEBS)", source: "openebs/zfs-localpv deploy/yamls"},
	{Rule: Rule{Resources: []string{"directpvnodes.directpv.min.io", "directpvdrives.directpv.min.io", "directpvvolumes.directpv.min.io", "directpvinitrequests.directpv.min.io"}},
		why: "the disks of one cluster's nodes (DirectPV)", source: "minio/directpv bundles/redhat-marketplace, manifests"},
	// LINSTOR's database.
	{Rule: Rule{Resources: []string{"*.internal.linstor.linbit.com"}},
		why: "the disks of one cluster's nodes (LINSTOR)", source: "LINBIT/linstor-server controller, dbcp/k8s/crd"},
	{Rule: Rule{Resources: []string{"linstorsatellites.piraeus.io"}},
		why: "the disks of one cluster's nodes (Piraeus)", source: "piraeusdatastore/piraeus-operator config/crd/bases"},
	{Rule: Rule{Resources: []string{"storagenodes.core.libopenstorage.org"}},
		why: "the disks of one cluster's nodes (Portworx)", source: "libopenstorage/operator deploy/crds"},
	{Rule: Rule{Resources: []string{"localvolumediscoveryresults.local.storage.openshift.io", "localvolumedevicelinks.local.storage.openshift.io"}},
		why: "the disks of one cluster's nodes (OpenShift)", source: "openshift/local-storage-operator config/manifests/stable"},
	{Rule: Rule{Resources: []string{
		"blockdevices.storage.deckhouse.io", "lvmvolumegroups.storage.deckhouse.io", "lvmlogicalvolumes.storage.deckhouse.io",
		"lvmlogicalvolumesnapshots.storage.deckhouse.io", "lvmvolumegroupbackups.storage.deckhouse.io",
	}}, why: "the disks of one cluster's nodes (Deckhouse)", source: "deckhouse/sds-node-configurator crds"},
	// One for each of its Pods.
	{Rule: Rule{Resources: []string{"*.status.gatekeeper.sh"}},
		why: "what the Pods of one cluster's admission have taken up (Gatekeeper)", source: "open-policy-agent/gatekeeper config/crd/bases"},
}

// mixedState are the kinds of the same software that people write and whose
// status each cluster's controllers fill in with its nodes and addresses in use.
var mixedState = Local{
	Resources: []string{
		"subnets.kubeovn.io", "vips.kubeovn.io", "ippools.kubeovn.io", "vpcs.kubeovn.io", "vlans.kubeovn.io", "provider-networks.kubeovn.io",
		"ippools.crd.antrea.io", "externalippools.crd.antrea.io", "egresses.crd.antrea.io",
		"spiderippools.spiderpool.spidernet.io", "spidersubnets.spiderpool.spidernet.io",
		"virtualmachines.kubevirt.io", "virtualmachineinstancereplicasets.kubevirt.io", "virtualmachinepools.pool.kubevirt.io",
		"egressips.k8s.ovn.org", "nodenetworkconfigurationpolicies.nmstate.io", "kubecontrollersconfigurations.crd.projectcalico.org",
	},
	Fields: []string{"/status", "/metadata/managedFields/subresource=status"},
}
