package main

import (
	"slices"

	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/registry"
)

// workload is the little of a Deployment, StatefulSet, DaemonSet, Job or CronJob
// that says what its Pods need.
type workload struct {
	Spec struct {
		Template    podTemplate `json:"template"`
		JobTemplate struct {
			Spec struct {
				Template podTemplate `json:"template"`
			} `json:"spec"`
		} `json:"jobTemplate"`
	} `json:"spec"`
	Status struct {
		Ready    int64 `json:"readyReplicas"`
		OnNodes  int64 `json:"numberReady"`
		Active   any   `json:"active"`         // a number for a Job, a list for a CronJob
		Finished any   `json:"completionTime"` // a Job's
	} `json:"status"`
}

type podTemplate struct {
	Spec struct {
		Containers     []container       `json:"containers"`
		InitContainers []container       `json:"initContainers"`
		Account        string            `json:"serviceAccountName"`
		NodeSelector   map[string]string `json:"nodeSelector"`
		PullSecrets    []struct {
			Name string `json:"name"`
		} `json:"imagePullSecrets"`
		Affinity struct {
			Node struct {
				Required struct {
					Terms []struct {
						Expressions []struct {
							Key      string   `json:"key"`
							Operator string   `json:"operator"`
							Values   []string `json:"values"`
						} `json:"matchExpressions"`
					} `json:"nodeSelectorTerms"`
				} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
			} `json:"nodeAffinity"`
		} `json:"affinity"`
	} `json:"spec"`
}

type container struct {
	Image string `json:"image"`
}

func (s *survey) seeWorkload(k registry.Key, in bool, fields registry.Fields) error {
	var w workload
	if err := into(fields, &w); err != nil {
		return err
	}
	if k.Resource == "jobs" && w.Status.Finished != nil {
		return nil
	}
	template := w.Spec.Template
	if k.Resource == "cronjobs" {
		template = w.Spec.JobTemplate.Spec.Template
	}
	account := template.Spec.Account
	if account == "" {
		account = "default"
	}
	one := console.WorkloadFacts{Kind: registry.Kind(k.GroupResource()), Namespace: k.Namespace, Name: k.Name, InScope: in,
		Running: w.Status.Ready + w.Status.OnNodes, Account: k.Namespace + "/" + account, Archs: template.archs()}
	for _, c := range slices.Concat(template.Spec.InitContainers, template.Spec.Containers) {
		one.Images = append(one.Images, c.Image)
	}
	for _, secret := range template.Spec.PullSecrets {
		one.PullSecrets = append(one.PullSecrets, k.Namespace+"/"+secret.Name)
	}
	s.workloads = append(s.workloads, one)
	return nil
}

// archLabels are the labels of a Node that say its architecture.
var archLabels = []string{"kubernetes.io/arch", "beta.kubernetes.io/arch"}

// archs are the architectures that Pods of the template can be scheduled to;
// nil = any. Terms are alternatives; what an expression says of other labels may
// be true.
func (t podTemplate) archs() (archs []string) {
	all := func(terms []string, more ...string) []string {
		if terms == nil {
			return more
		}
		return slices.DeleteFunc(slices.Clone(terms), func(a string) bool { return !slices.Contains(more, a) })
	}
	for _, label := range archLabels {
		if arch := t.Spec.NodeSelector[label]; arch != "" {
			archs = all(archs, arch)
		}
	}
	var either []string
	for _, term := range t.Spec.Affinity.Node.Required.Terms {
		var of []string
		for _, e := range term.Expressions {
			if slices.Contains(archLabels, e.Key) && e.Operator == "In" {
				of = all(of, e.Values...)
			}
		}
		if of == nil {
			return archs // this alternative takes any
		}
		either = append(either, of...)
	}
	if either != nil {
		archs = all(archs, either...)
		slices.Sort(archs)
		archs = slices.Compact(archs)
	}
	return archs
}
