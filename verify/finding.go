package verify

import (
	"cmp"
	"slices"
)

// Severity says what a finding means for a promotion.
type Severity string

// The severities, the worst first.
const (
	Red    Severity = "red"    // a promotion now would do harm: it is blocked
	Yellow Severity = "yellow" // look before you promote, or nobody can tell
	Info   Severity = "info"   // worth knowing
)

// Severities are all severities, the worst first.
var Severities = []Severity{Red, Yellow, Info}

// Problem names what was found. Its text is part of the JSON contract.
type Problem string

// The problems that a simulation finds; docs/simulate.md explains each.
const (
	NoCheckpoint     Problem = "no-checkpoint"
	CopyUnderWay     Problem = "copy-under-way"
	NothingThere     Problem = "nothing-replicated"
	ScopeChanged     Problem = "scope-changed"
	FloorMissing     Problem = "revision-floor-missing"
	GarbageCollected Problem = "garbage-collected"
	BeingDeleted     Problem = "being-deleted"
	NamespaceDeleted Problem = "deleted-with-namespace"
	DefinitionGone   Problem = "deleted-with-definition"
	Undecryptable    Problem = "undecryptable"
	UndecodableValue Problem = "undecodable"
	OpaqueValue      Problem = "opaque"

	DefinitionMissing Problem = "definition-missing"
	DefinitionBroken  Problem = "definition-broken"
	VersionUnknown    Problem = "version-unknown"
	VersionNotServed  Problem = "version-not-served"
	VersionNotListed  Problem = "version-not-listed"
	VersionNotRead    Problem = "version-not-read"
	ConversionBackend Problem = "conversion-without-backend"
	WebhookBackend    Problem = "webhook-without-backend"
	WebhookByURL      Problem = "webhook-by-url"
	APIServiceBackend Problem = "apiservice-without-backend"

	PolicyParameter  Problem = "policy-without-parameter"
	SchedulerBackend Problem = "scheduler-webhook-without-backend"
	SchedulerUnknown Problem = "scheduler-unknown"

	ClusterIPCollision Problem = "clusterip-collision"
	ClusterIPAllocated Problem = "clusterip-allocated"
	ClusterIPOutside   Problem = "clusterip-outside"
	NodePortCollision  Problem = "nodeport-collision"
	BalancerCollision  Problem = "loadbalancer-collision"

	OwnerKindUnknown Problem = "owner-kind-unknown"
	OwnerUnreadable  Problem = "owner-unreadable"
	OwnerMisplaced   Problem = "owner-misplaced"
	OwnerDropped     Problem = "owner-dropped"
	NamespaceMissing Problem = "namespace-missing"
	OwnersLeftOut    Problem = "owners-left-out"
	OwnerLeftOut     Problem = "owner-left-out"
	ClaimLeftOut     Problem = "claim-left-out"
	VolumeReclaimed  Problem = "volume-reclaimed"
	HeldMissing      Problem = "held-missing"
	Lost             Problem = "missing-since-checkpoint"
	Altered          Problem = "changed-since-checkpoint"
	Unwatched        Problem = "unwatched"

	OriginalUndecryptable Problem = "original-undecryptable"
	OriginalUndecodable   Problem = "original-undecodable"
	OriginalStrange       Problem = "original-of-another"

	Held             Problem = "held"
	DescribesPrimary Problem = "describes-primary"
)

// problems are all of them in the order in which they are shown.
var problems = []struct {
	Problem
	title, remedy string
}{
	{NoCheckpoint, "the standby has no checkpoint: nothing says that it holds the primary's objects",
		"understudy sync"},
	{CopyUnderWay, "a copy is under way: the standby equals the primary at no single revision",
		"let it end: understudy status says what it waits for. With the primary gone the standby holds a mixture of two states"},
	{NothingThere, "the standby has a checkpoint, and not one replicated object",
		"is sync.prefix the API servers' --etcd-prefix? With the primary there: understudy check, understudy repair --apply. With the primary gone this standby is empty: restore a backup"},
	{HeldMissing, "are not there, though the originals that they were held from are: they have been deleted",
		"understudy check; with the primary there: understudy repair --apply. With the primary gone the original, /understudy/held/ and its key, is the last copy. Where the object is to be gone: understudy forget /understudy/held/KEY"},
	{Lost, "have been deleted on the standby since the checkpoint, by others than the replication",
		"with the primary there: understudy sync puts them back; with the primary gone, while the history is kept, write what stood there as it was, owners before their dependents: etcdctl get KEY --rev=REVISION --print-value-only | head -c -1 | etcdctl put KEY"},
	{Altered, "have been changed on the standby since the checkpoint, by others than the replication",
		"with the primary there: understudy check says what differs; with the primary gone, look at them: who wrote them stands in metadata.managedFields"},
	{Unwatched, "nobody knows what others did to the standby in the meantime",
		"with the primary there: understudy check; with the primary gone let a daemon run, understudy sync, which goes on watching the standby and remembers"},
	{OriginalUndecryptable, "are held, and their originals cannot be decrypted: the release leaves them inert",
		"give the standby.encryption its old key back, and the standby's API servers as well, where it was rotated away; with the primary there it can be written anew: understudy repair --apply"},
	{OriginalUndecodable, "are held, and their originals are no whole objects: the release leaves them inert",
		"with the primary there: understudy repair --apply; with the primary gone, put the object right with kubectl edit"},
	{OriginalStrange, "are held, and their originals are of other objects that had the name before: the release leaves them inert",
		"see what stands there: understudy hold list; with the primary there: understudy repair --apply"},
	{ScopeChanged, "the standby was filled with another scope than the one configured here",
		"run the daemon with this configuration, so that it copies again: understudy sync"},
	{FloorMissing, "the standby's etcd is not far enough above the primary's revision: API clients that move over hang or miss events",
		"understudy floor raise, then restart the standby's API servers: understudy floor verify"},
	{GarbageCollected, "would be deleted by the garbage collector: no owner is left",
		"find out why the owners are missing: understudy check; bring them over, or take them into the scope, before the standby's controllers see these"},
	{VolumeReclaimed, "are volumes whose claim is not there: the controllers would delete them, and what is stored in them",
		"take their claims into the scope, exclude the volumes (sync.exclude), or set their persistentVolumeReclaimPolicy to Retain on the primary"},
	{BeingDeleted, "are being deleted: the standby's controllers would go on with it, against the same infrastructure",
		"let the deletions end on the primary; with the primary gone, decide for each whether it shall go, before the standby's controllers run"},
	{NamespaceDeleted, "would be deleted with their Namespace",
		"let the deletion of the Namespace end on the primary, or decide for each whether it shall go"},
	{DefinitionGone, "would be deleted with their CustomResourceDefinition",
		"let the deletion of the CustomResourceDefinition end on the primary, or decide whether its objects shall go"},
	{Undecryptable, "cannot be decrypted: the API server fails every list of these resources",
		"compare standby.encryption with what the standby's API servers run with, then rewrite: understudy repair --apply; it leaves what only the standby has: look at it, then delete the key there with etcdctl"},
	{UndecodableValue, "are no whole objects: the API server fails every list of these resources",
		"write them again from the primary: understudy repair --apply; it leaves what only the standby has: look at it, then delete the key there with etcdctl"},
	{OpaqueValue, "are encrypted, and nobody can tell whether the standby reads them",
		"name the EncryptionConfiguration of the standby's API servers as standby.encryption; for kms, list them through the standby's API server"},
	{DefinitionMissing, "have no CustomResourceDefinition: the API server does not show them",
		"take the definition into the scope, or install it after the objects' owners are there"},
	{DefinitionBroken, "are definitions that the API server refuses or does not serve",
		"correct the definition on the primary"},
	{VersionUnknown, "are stored in a version that their CustomResourceDefinition does not have: the API server cannot read them",
		"restore the version in the definition, then migrate the objects on the primary"},
	{VersionNotRead, "are stored in a version that the standby's API servers cannot read: every list of these resources fails",
		"write each of them again on the primary, in today's version: kubectl get RESOURCE -n NAMESPACE NAME -o json | kubectl replace -f -; where the standby is the older one, bring it to the primary's version first"},
	{VersionNotServed, "are stored in a version that their CustomResourceDefinition does not serve",
		"migrate them on the primary to the storage version"},
	{VersionNotListed, "are stored in a version that status.storedVersions does not list: it may be removed unnoticed",
		"migrate them on the primary to the storage version, or list the version"},
	{WebhookBackend, "webhooks refuse writes when they cannot be asked, and have no backend",
		"bring the Service and its Pods up on the standby first, or delete the webhook configuration there"},
	{ConversionBackend, "definitions convert their versions by a webhook that has no backend",
		"bring the Service and its Pods up on the standby; until then other versions than the stored one cannot be read"},
	{APIServiceBackend, "API services have no backend: discovery is incomplete, and Namespaces cannot end",
		"bring the Service and its Pods up on the standby, or delete the APIService there"},
	{PolicyParameter, "admission policies lack their parameters",
		"take the parameters, and the definition of their kind, into the scope; or create them on the standby under the same name"},
	{SchedulerBackend, "extend the scheduler, which stops when they cannot be asked, and have no backend",
		"bring the Service and its Pods up on the standby first, or set failurePolicy: Ignore on the primary"},
	{SchedulerUnknown, "name a scheduler that has not been seen at work on the standby: their Pods would wait for it",
		"see that the standby's kube-scheduler has a profile of that name, or a scheduler of that name runs there"},
	{WebhookByURL, "webhooks refuse writes when they cannot be asked, and are asked at a URL outside the cluster",
		"see that the URL is reachable from the standby's API servers, and is not the primary"},
	{ClusterIPCollision, "Services share a cluster IP",
		"give one of them another: delete and create it; two clusters that are a pair need Service ranges without common addresses"},
	{ClusterIPAllocated, "Services have a cluster IP that the standby has allocated to something else",
		"see who has it: kubectl get ipaddresses; delete the stale IPAddress, or give the Service another address"},
	{ClusterIPOutside, "Services have a cluster IP outside the standby's Service range: nothing reserves it there",
		"add a ServiceCIDR with the primary's range on the standby"},
	{NodePortCollision, "Services share a node port",
		"give one of them another port"},
	{BalancerCollision, "Services want a load balancer's address that one of the standby's own has",
		"give one of them another: spec.loadBalancerIP, or the annotation that names it"},
	{OwnerKindUnknown, "name an owner of a kind that the standby does not serve: the garbage collector waits, and decides when the kind appears",
		"bring the owners over before the definition of their kind"},
	{OwnerUnreadable, "have an owner that cannot be read here: nobody can tell whether the garbage collector finds it",
		"make the owner readable first"},
	{OwnerMisplaced, "are cluster-scoped and name an owner in a namespace: the garbage collector ignores them",
		"correct the owner references on the primary"},
	{OwnerDropped, "would lose the references to owners that are gone, and stay for those that are there", ""},
	{NamespaceMissing, "are in a Namespace that does not exist: nothing can be created beside them",
		"take the Namespace into the scope, or create it on the standby"},
	{OwnersLeftOut, "exist on the primary only: the scope leaves all their owners out, so the garbage collector would delete them",
		"take their owners into the scope: sync.include"},
	{OwnerLeftOut, "reach the standby without the references to owners that the scope leaves out", ""},
	{ClaimLeftOut, "exist on the primary only: they are volumes, and go with their claims, which the scope leaves out",
		"to have them, take their claims into the scope: sync.include"},
	{Held, "are held: inert until they are released", ""},
	{DescribesPrimary, "describe the primary itself: a release leaves them held",
		"to release one all the same: understudy hold release --self-managed NAME"},
}

// Advised are the problems that come with a remedy.
func Advised() (all []Problem) {
	for _, p := range problems {
		if p.remedy != "" {
			all = append(all, p.Problem)
		}
	}
	return all
}

// Item is one object that a finding is about.
type Item struct {
	Key string // in etcd
	// Object is a name for people: "Machine prod/worker-1".
	Object string
	Why    string
	// Own: not in scope, so the standby's own business.
	Own bool
}

// Finding is all items with one problem and one severity.
type Finding struct {
	Problem  Problem
	Severity Severity
	Title    string
	Remedy   string
	Count    int64 // of items
	Own      int64 // how many of them are the standby's own
	// Resources counts the items by "plural.group"; empty where they are no objects.
	Resources map[string]int64
	// Items are the first ones in key order, cut off at the limit that was asked for.
	Items []Item
}

// findings collects items. Those of one problem have to be added in key order.
type findings struct {
	limit int // items kept of each; 0 = all
	all   map[Problem]map[Severity]*Finding
}

func newFindings(limit int) *findings {
	return &findings{limit: limit, all: map[Problem]map[Severity]*Finding{}}
}

// add notes an item. why is asked for only where the item is kept.
func (f *findings) add(p Problem, s Severity, resource string, item Item, why func() string) {
	of := f.all[p]
	if of == nil {
		of = map[Severity]*Finding{}
		f.all[p] = of
	}
	finding := of[s]
	if finding == nil {
		finding = &Finding{Problem: p, Severity: s, Resources: map[string]int64{}, Items: []Item{}}
		of[s] = finding
	}
	finding.Count++
	if item.Own {
		finding.Own++
	}
	if resource != "" {
		finding.Resources[resource]++
	}
	if f.limit == 0 || len(finding.Items) < f.limit {
		item.Why = why()
		finding.Items = append(finding.Items, item)
	}
}

// sorted are the findings, the worst first.
func (f *findings) sorted() []Finding {
	sorted := []Finding{}
	for _, severity := range Severities {
		for _, p := range problems {
			if found := f.all[p.Problem][severity]; found != nil {
				found.Title, found.Remedy = p.title, p.remedy
				slices.SortStableFunc(found.Items, func(a, b Item) int { return cmp.Compare(a.Key, b.Key) })
				sorted = append(sorted, *found)
			}
		}
	}
	return sorted
}
