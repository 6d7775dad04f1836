package twin

import (
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/registry"
)

// WorkloadOf says how much of a workload runs, from its own status. False: it is
// none, or none of it runs.
func WorkloadOf(k registry.Key, plain []byte) (w Workload, runs bool) {
	of := counted[k.GroupResource()]
	if of == nil {
		return Workload{}, false
	}
	object, err := registry.ReadFields(plain)
	if err != nil {
		return Workload{}, false
	}
	w = Workload{Kind: registry.Kind(k.GroupResource()), Namespace: k.Namespace, Name: k.Name}
	if w.Runs = of(fields(object)); w.Runs == "" {
		return Workload{}, false
	}
	w.Part = partOf(k.Name, k.Namespace, images(fields(object)))
	return w, true
}

// counted says for each kind of workload how much of it runs; "" = nothing.
var counted = map[string]func(fields) string{
	"deployments.apps":       ready,
	"statefulsets.apps":      ready,
	"replicasets.apps":       ready,
	"replicationcontrollers": ready,
	"daemonsets.apps": func(f fields) string {
		return pods(f.number("status", "currentNumberScheduled"))
	},
	"jobs.batch": func(f fields) string { return pods(f.number("status", "active")) },
	"pods": func(f fields) string {
		if f.text("status", "phase") != "Running" {
			return ""
		}
		return "running"
	},
}

func ready(f fields) string {
	n := f.number("status", "readyReplicas")
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d ready", n, max(n, f.number("status", "replicas")))
}

func pods(n int64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 Pod"
	}
	return fmt.Sprintf("%d Pods", n)
}

// images are those of the containers of a workload, or of a Pod.
func images(f fields) (out []string) {
	for _, spec := range []fields{f.of("spec"), f.of("spec").of("template").of("spec"), f.of("spec").of("jobTemplate").of("spec").of("template").of("spec")} {
		containers, _ := spec["containers"].([]any)
		for _, c := range containers {
			if c, ok := c.(map[string]any); ok {
				out = append(out, fields(c).text("image"))
			}
		}
	}
	return out
}

// fields is an object, or a part of one.
type fields map[string]any

func (f fields) of(name string) fields {
	part, _ := f[name].(map[string]any)
	return part
}

func (f fields) at(path []string) any {
	for _, step := range path[:len(path)-1] {
		f = f.of(step)
	}
	return f[path[len(path)-1]]
}

func (f fields) number(path ...string) int64 {
	switch n := f.at(path).(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}

func (f fields) text(path ...string) string {
	text, _ := f.at(path).(string)
	return text
}

// part of a platform that keeps a cluster alive.
type part struct {
	what  string
	words []string // one of them stands in the name, or in an image
}

// parts are what each cluster has to run for itself, the most special first.
// The words are from the names and images of the projects' own manifests.
var parts = []part{
	{"CSI", []string{"csi-", "-csi", "longhorn", "rook-ceph", "topolvm", "piraeus", "linstor", "openebs", "provisioner"}},
	{"CNI", []string{"calico", "tigera", "cilium", "kube-ovn", "ovn-", "ovnkube", "ovs-", "flannel", "antrea", "weave-net", "kube-router", "multus", "whereabouts", "cni-", "canal", "sriov"}},
	{"load balancer", []string{"metallb", "kube-vip", "keepalived", "openelb", "alb2", "cloud-controller-manager"}},
	{"ingress", []string{"ingress", "traefik", "haproxy", "contour", "envoy", "istio", "kong", "gateway"}},
	{"DNS", []string{"coredns", "kube-dns", "node-local-dns", "nodelocaldns", "external-dns"}},
	{"certificates", []string{"cert-manager"}},
	{"platform", []string{"deckhouse", "rancher", "cattle", "cpaas", "shturval"}},
	{"GitOps", []string{"argocd", "argo-cd", "flux", "source-controller", "kustomize-controller", "helm-controller", "fleet"}},
	{"infrastructure provider", []string{"capi-", "capv-", "capa-", "capz-", "capm3-", "capd-", "cluster-api"}},
	{"policy engine", []string{"kyverno", "gatekeeper"}},
	{"operator", []string{"operator", "controller-manager", "-controller", "webhook"}},
}

// partOf names the part of the platform that a workload is; "" = not known.
func partOf(name, namespace string, images []string) string {
	for _, text := range []string{name, strings.Join(images, " "), namespace} {
		for _, p := range parts {
			for _, word := range p.words {
				if strings.Contains(text, word) {
					return p.what
				}
			}
		}
	}
	return ""
}
