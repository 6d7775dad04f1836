package console

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// PreflightSurvey is what the objects of one cluster say about it.
type PreflightSurvey struct {
	Answers     Found[string]            // why the etcd could not be read to its end; "" = it was
	Members     Found[int]               // that vote
	Nodes       Found[[]NodeFacts]       //
	Platform    Found[map[string]string] // version and edition by name; "" = it does not tell
	RootCA      Found[string]            // digest of what signs the API server's certificate
	Workloads   Found[[]WorkloadFacts]   // Deployments, StatefulSets, DaemonSets, Jobs, CronJobs
	InScope     Found[map[string]int64]  // objects, by resource
	Secrets     Found[map[string]string] // digests of those of access.equalSecrets that are there
	Credentials Found[map[string][]Credential]
	Writers     Found[map[string][]string] // API groups that each ServiceAccount may write
}

// NodeFacts are of one Node.
type NodeFacts struct {
	Name, Arch   string
	ControlPlane bool
	Addresses    []string
}

// WorkloadFacts are what the Pods of one object need.
type WorkloadFacts struct {
	Kind, Namespace, Name string
	InScope               bool
	Running               int64 // Pods that are ready
	Account               string
	Images, PullSecrets   []string
	Archs                 []string // that its Pods may run on; nil = any
}

// Credential is for one registry, without anything secret.
type Credential struct {
	Registry string
	Lacks    string // "user", "password", or why nothing can be read; "" = nothing
}

// judgeAnswers: a side that does not answer is no side of a pair.
func judgeAnswers(f PreflightFacts) (lines []PreflightLine) {
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		switch a := side.Answers; {
		case !a.Known:
			lines = append(lines, unchecked("understudy status", "the etcd of "+side.Name, orUnknown(a.Why))...)
		case a.Value != "":
			lines = append(lines, checked(CheckFail, "start it, or correct etcd.endpoints and certificates of this side; then: understudy status", "the etcd of %s was not read: %s", side.Name, a.Value)...)
		}
	}
	if lines == nil {
		return checked(CheckOK, "", "the etcds of both sides answer")
	}
	return lines
}

func judgeMembers(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "members of the etcds", "understudy status", func(s PreflightSide) Found[int] { return s.Members })
	const more = "give the standby as many as the primary has, at least three: it is to carry the same load"
	switch {
	case missing != nil:
		return missing
	case s == 1:
		return checked(CheckWarn, more, "the etcd of %s has a single member (%s has %d): the loss of one machine is the loss of the standby", f.Standby.Name, f.Primary.Name, p)
	case s < p:
		return checked(CheckWarn, more, "the etcd of %s has %d members, that of %s %d", f.Standby.Name, s, f.Primary.Name, p)
	}
	return checked(CheckOK, "", "etcd has %d members on %s, %d on %s", p, f.Primary.Name, s, f.Standby.Name)
}

func judgeNodes(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "masters and workers", "understudy status", func(s PreflightSide) Found[[]NodeFacts] { return s.Nodes })
	if missing != nil {
		return missing
	}
	masters := func(nodes []NodeFacts) (n int) {
		for _, node := range nodes {
			if node.ControlPlane {
				n++
			}
		}
		return n
	}
	mp, ms := masters(p), masters(s)
	wp, ws := len(p)-mp, len(s)-ms
	if len(p) == 0 || len(s) == 0 {
		return unchecked("compare the machines by hand", "masters and workers", fmt.Sprintf("%s has %d Nodes, %s has %d", f.Primary.Name, len(p), f.Standby.Name, len(s)))
	}
	text := fmt.Sprintf("masters and workers: %d and %d on %s, %d and %d on %s", mp, wp, f.Primary.Name, ms, ws, f.Standby.Name)
	switch {
	case ms < mp:
		return checked(CheckWarn, "add masters to the standby: it is to survive as much as the primary does", "%s", text)
	case ms == 1:
		return checked(CheckWarn, "add masters to the standby: its one master is all there is", "%s", text)
	case ws < wp:
		return checked(CheckWarn, "see that the workers of the standby can carry what the primary's do", "%s", text)
	}
	return checked(CheckOK, "", "%s", text)
}

// judgeNodeNames: a name that both sides have says nothing in a log, a certificate
// or a list of members.
func judgeNodeNames(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "names of nodes", "understudy status", func(s PreflightSide) Found[[]NodeFacts] { return s.Nodes })
	if missing != nil {
		return missing
	}
	if len(p) == 0 || len(s) == 0 {
		return unchecked("compare them by hand", "names of nodes", fmt.Sprintf("%s has %d Nodes, %s has %d", f.Primary.Name, len(p), f.Standby.Name, len(s)))
	}
	var shared []string
	for _, a := range p {
		if slices.ContainsFunc(s, func(b NodeFacts) bool { return a.Name == b.Name }) {
			shared = append(shared, a.Name)
		}
	}
	if len(shared) > 0 {
		slices.Sort(shared)
		return checked(CheckWarn, "name the machines of each side so that they can be told apart", "%d nodes have the same name on both sides: %s", len(shared), some(shared))
	}
	return checked(CheckOK, "", "no node has the same name on both sides")
}

func judgePlatform(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "versions of the platform", "set encryption of both sides, or compare them: access.checks", func(s PreflightSide) Found[map[string]string] { return s.Platform })
	if missing != nil {
		return missing
	}
	all := maps.Clone(p)
	maps.Copy(all, s)
	var lines []PreflightLine
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a, here := p[name]
		b, there := s[name]
		switch {
		case !here || !there:
			has, lacks := f.Primary.Name, f.Standby.Name
			if there {
				has, lacks = lacks, has
			}
			lines = append(lines, checked(CheckWarn, "install one platform on both sides", "%s has %s, %s does not", has, name, lacks)...)
		case a == "" || b == "":
			lines = append(lines, unchecked("compare them by hand, or by access.checks", name, "it does not tell its version")...)
		case a != b:
			lines = append(lines, checked(CheckWarn, "bring both sides to one version and edition", "%s: %s on %s, %s on %s", name, a, f.Primary.Name, b, f.Standby.Name)...)
		default:
			lines = append(lines, checked(CheckOK, "", "%s is %s on both sides", name, a)...)
		}
	}
	if lines == nil {
		return checked(CheckOK, "", "neither side has a platform on it that is known here")
	}
	return lines
}

func judgeRootCA(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "the clusters' certificate authorities", "set encryption of both sides, or compare kube-root-ca.crt by hand", func(s PreflightSide) Found[string] { return s.RootCA })
	switch {
	case missing != nil:
		return missing
	case p != s:
		return checked(CheckWarn, "give clients both authorities, or both clusters one; compare the platform's issuer too: access.equalSecrets",
			"the clusters have different authorities: kubeconfigs and agents that trust %s's refuse %s's API servers", f.Primary.Name, f.Standby.Name)
	}
	return checked(CheckOK, "", "both clusters have the same certificate authority: who trusts one trusts the other")
}

// judgeArchitectures: an image is for one architecture, or for several.
func judgeArchitectures(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "architectures of nodes", "understudy status", func(s PreflightSide) Found[[]NodeFacts] { return s.Nodes })
	if missing != nil {
		return missing
	}
	here, there := archsOf(p), archsOf(s)
	if len(here) == 0 || len(there) == 0 {
		return unchecked("compare them by hand", "architectures of nodes", "a side has no Node that says its own")
	}
	var stuck []string
	for _, w := range f.Primary.Workloads.Value {
		if w.InScope && w.Archs != nil && len(without(there, w.Archs)) == len(there) {
			stuck = append(stuck, fmt.Sprintf("%s %s/%s (%s)", w.Kind, w.Namespace, w.Name, nothingAt(strings.Join(w.Archs, ", "))))
		}
	}
	var lines []PreflightLine
	if len(stuck) > 0 {
		lines = checked(CheckFail, "add nodes of that architecture to the standby, or take it out of nodeSelector and affinity", "%d workloads in scope can run on no node of %s: %s", len(stuck), f.Standby.Name, some(stuck))
	} else if !f.Primary.Workloads.Known {
		lines = unchecked("set primary.encryption", "whether workloads demand an architecture", orUnknown(f.Primary.Workloads.Why))
	}
	if !slices.Equal(here, there) {
		return append(lines, checked(CheckWarn, "let every image be for both; the check images says which are not", "nodes are %s on %s, %s on %s", strings.Join(here, ", "), f.Primary.Name, strings.Join(there, ", "), f.Standby.Name)...)
	}
	return append(lines, checked(CheckOK, "", "nodes are %s on both sides", strings.Join(here, ", "))...)
}

func archsOf(nodes []NodeFacts) (out []string) {
	for _, node := range nodes {
		if node.Arch != "" {
			out = append(out, node.Arch)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func nothingAt(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// judgeOutside: what is not in etcd is not replicated, whatever is.
func judgeOutside(f PreflightFacts) []PreflightLine {
	if !f.Primary.InScope.Known {
		return unchecked("understudy status", "volumes", orUnknown(f.Primary.InScope.Why))
	}
	const rest = "registry, charts and other stores outside etcd"
	if n := f.Primary.InScope.Value["persistentvolumeclaims"]; n > 0 {
		return checked(CheckWarn, "copy what they hold by your storage's or a backup's means; where it may be lost, say so: access.skip",
			"%d PersistentVolumeClaims in scope: their contents are not copied, as little as %s", n, rest)
	}
	return checked(CheckOK, "", "no PersistentVolumeClaim is in scope, whose contents would not be copied; what is in %s, images and access.checks look at", rest)
}
