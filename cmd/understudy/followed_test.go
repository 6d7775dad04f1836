package main

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/verify"
)

// Why an advice is not followed by a script.
const (
	byItself   = "there is nothing to do but to wait; the next look says otherwise"
	nobodyYet  = "no command begins such an operation yet"
	itsState   = "it lasts as long as the standby is the primary: the advice keeps what is from getting worse"
	onHosts    = "somebody changes machines, networks or what runs on them"
	onPlatform = "somebody changes the cluster's own software or the flags of its API servers"
	onPrimary  = "somebody corrects objects of the primary, which is never written to from here"
	onStandby  = "somebody brings up or changes what runs on the standby"
	noAdvice   = "it is told, and nothing is to be done"
	decide     = "a person has to decide what becomes of each object"
)

// notFollowed says of each advice that no script follows why none does.
var notFollowed = map[string]string{
	"status:operation":         nobodyYet,
	"status:standby-took-over": itsState,
	"status:silent-daemon":     "a report counts as old after 30 seconds, in which the lead has to be kept by a daemon that hangs",
	"status:check-unknown":     byItself,
	"status:connecting":        byItself,
	"status:lag":               byItself,
	"status:lag-unknown":       byItself,
	"status:live-unknown":      byItself,
	"status:not-streaming":     byItself,

	"check:otherVersion": "kubectl replaces them through the primary's API server: " + onPrimary,

	"preflight:guard":                "etcd's administrator grants a role: TestUserWhoMayNotWatchTheStandbyIsRefused in replica",
	"preflight:operators-act":        onStandby,
	"preflight:kubernetes-version":   onPlatform,
	"preflight:etcd-version":         onPlatform,
	"preflight:platform-version":     onPlatform,
	"preflight:etcd-members":         onHosts,
	"preflight:link":                 onHosts,
	"preflight:etcd-defects":         onPlatform,
	"preflight:etcd-prefix":          onPlatform,
	"preflight:etcd-elsewhere":       onPlatform,
	"preflight:objects-one-sided":    byItself,
	"preflight:left-out":             decide,
	"preflight:revision-floor":       "it needs API servers that are restarted; the floor itself is followed as simulate:revision-floor-missing",
	"preflight:named-resources":      decide,
	"preflight:api-of-etcd":          onPlatform,
	"preflight:api-server-flags":     onPlatform,
	"preflight:hardening":            onPlatform,
	"preflight:crd-versions":         onPlatform,
	"preflight:clocks":               onHosts,
	"preflight:nodes":                onHosts,
	"preflight:node-names":           onHosts,
	"preflight:architectures":        onHosts,
	"preflight:operators":            onStandby,
	"preflight:images":               onStandby,
	"preflight:outside-etcd":         decide,
	"preflight:service-account-keys": onPlatform,
	"preflight:cluster-ca":           onPlatform,
	"preflight:encryption":           "without API servers one of its parts is never checked; the same files are followed as status:opaque",
	"preflight:registry-credentials": onStandby,
	"preflight:registry-hosts":       onStandby,
	"preflight:equal-secrets":        onStandby,
	"preflight:service-cidr":         onPlatform,
	"preflight:cluster-ips":          onPlatform,
	"preflight:access-address":       onHosts,
	"preflight:api-endpoint":         onHosts,
	"preflight:ports":                onHosts,
	"preflight:vip-leads-home":       onHosts,
	"preflight:vip-of-nodes":         onHosts,
	"preflight:vip-redirect":         onHosts,
	"preflight:ingress-certificate":  onHosts,
	"preflight:access-checks":        "what the checks of one's own ask for, their author knows",

	"simulate:nothing-replicated":                decide,
	"simulate:held-missing":                      decide,
	"simulate:changed-since-checkpoint":          decide,
	"simulate:original-undecryptable":            decide,
	"simulate:original-undecodable":              decide,
	"simulate:original-of-another":               decide,
	"simulate:garbage-collected":                 decide,
	"simulate:volume-reclaimed":                  decide,
	"simulate:being-deleted":                     onPrimary,
	"simulate:deleted-with-namespace":            onPrimary,
	"simulate:deleted-with-definition":           onPrimary,
	"simulate:opaque":                            "the same files are followed as status:opaque",
	"simulate:definition-broken":                 onPrimary,
	"simulate:version-unknown":                   onPrimary,
	"simulate:version-not-read":                  onPrimary,
	"simulate:version-not-served":                onPrimary,
	"simulate:version-not-listed":                onPrimary,
	"simulate:webhook-without-backend":           onStandby,
	"simulate:conversion-without-backend":        onStandby,
	"simulate:apiservice-without-backend":        onStandby,
	"simulate:policy-without-parameter":          onStandby,
	"simulate:scheduler-webhook-without-backend": onStandby,
	"simulate:scheduler-unknown":                 onStandby,
	"simulate:webhook-by-url":                    onHosts,
	"simulate:clusterip-collision":               onPrimary,
	"simulate:clusterip-allocated":               onStandby,
	"simulate:clusterip-outside":                 onStandby,
	"simulate:nodeport-collision":                onPrimary,
	"simulate:loadbalancer-collision":            onPrimary,
	"simulate:owner-kind-unknown":                onStandby,
	"simulate:owner-unreadable":                  decide,
	"simulate:owner-misplaced":                   onPrimary,
	"simulate:namespace-missing":                 onStandby,
	"simulate:owners-left-out":                   decide,
	"simulate:claim-left-out":                    decide,
	"simulate:describes-primary":                 decide,
}

// followable are all IDs that come with an advice.
func followable() map[string]bool {
	all := map[string]bool{}
	for _, rule := range console.Rules() {
		all["status:"+rule] = true
	}
	may, never := console.PreflightChecks()
	for _, check := range append(may, never...) {
		all["preflight:"+check] = true
	}
	for _, problem := range verify.Advised() {
		all["simulate:"+string(problem)] = true
	}
	for _, kind := range checkKinds {
		all["check:"+kind] = true
	}
	return all
}

var (
	saysAdvised = regexp.MustCompile(`(?m)^advised (\S+) `)
	saysGone    = regexp.MustCompile(`(?m)^gone (\S+)`)
)

// followedBy are the IDs whose advice a script follows until what it complains of
// is gone, with the scripts.
func followedBy(t *testing.T) map[string][]string {
	t.Helper()
	dir := os.DirFS("testdata/script")
	names, err := fs.Glob(dir, "*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d scripts: %v", len(names), err)
	}
	all := map[string][]string{}
	for _, name := range names {
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		advised := map[string]int{}
		for _, m := range saysAdvised.FindAllSubmatchIndex(text, -1) {
			if id := string(text[m[2]:m[3]]); advised[id] == 0 {
				advised[id] = m[0] + 1
			}
		}
		for _, m := range saysGone.FindAllSubmatchIndex(text, -1) {
			if id := string(text[m[2]:m[3]]); advised[id] > 0 && advised[id] < m[0]+1 {
				all[id] = append(all[id], strings.TrimSuffix(path.Base(name), ".txtar"))
			}
		}
	}
	return all
}

// Whoever is told what to do can do it, and it helps: a script follows each advice as
// it is printed, or it is said why none can.
func TestEveryAdviceIsFollowed(t *testing.T) {
	all, followed := followable(), followedBy(t)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		switch why, excused := notFollowed[id]; {
		case len(followed[id]) > 0 && excused:
			t.Errorf("%s is followed by %v, and notFollowed says that it cannot be: %s", id, followed[id], why)
		case len(followed[id]) == 0 && why == "":
			t.Errorf("%s: no script has \"advised %s …\" and later \"gone %s\", and notFollowed does not say why", id, id, id)
		}
	}
	for _, ids := range [][]string{slices.Sorted(maps.Keys(notFollowed)), slices.Sorted(maps.Keys(followed))} {
		for _, id := range ids {
			if !all[id] {
				t.Errorf("%s: there is no such rule", id)
			}
		}
	}
}
