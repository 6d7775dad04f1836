package verify

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// schedulerWebhooks are Deckhouse's extenders of the scheduler (its module
// control-plane-manager). One without failurePolicy Ignore stops all scheduling
// when it cannot be asked.
const schedulerWebhooks = "kubeschedulerwebhookconfigurations.deckhouse.io"

// placed is an object with a Pod template, and the scheduler it names.
type placed struct{ key, scheduler string }

// podSpecs read the Pod that a workload makes, by resource; nil where it cannot
// be read. What only the API server would refuse is not theirs to find.
var podSpecs = map[string]func(plain []byte) *corev1.PodSpec{
	"pods":              podSpec(func(w *corev1.Pod) *corev1.PodSpec { return &w.Spec }),
	"deployments.apps":  podSpec(func(w *appsv1.Deployment) *corev1.PodSpec { return &w.Spec.Template.Spec }),
	"statefulsets.apps": podSpec(func(w *appsv1.StatefulSet) *corev1.PodSpec { return &w.Spec.Template.Spec }),
	"daemonsets.apps":   podSpec(func(w *appsv1.DaemonSet) *corev1.PodSpec { return &w.Spec.Template.Spec }),
	"replicasets.apps":  podSpec(func(w *appsv1.ReplicaSet) *corev1.PodSpec { return &w.Spec.Template.Spec }),
	"jobs.batch":        podSpec(func(w *batchv1.Job) *corev1.PodSpec { return &w.Spec.Template.Spec }),
	"cronjobs.batch":    podSpec(func(w *batchv1.CronJob) *corev1.PodSpec { return &w.Spec.JobTemplate.Spec.Template.Spec }),
	"replicationcontrollers": podSpec(func(w *corev1.ReplicationController) *corev1.PodSpec {
		if w.Spec.Template == nil {
			return nil
		}
		return &w.Spec.Template.Spec
	}),
}

func podSpec[T any](of func(*T) *corev1.PodSpec) func([]byte) *corev1.PodSpec {
	return func(plain []byte) *corev1.PodSpec {
		into := new(T)
		if decode(plain, into) != nil {
			return nil
		}
		return of(into)
	}
}

// readTemplate notes which scheduler a workload's Pods wait for, and by which
// ones Pods of the standby's own have been placed.
func (s *simulator) readTemplate(o *record, plain []byte) {
	spec := podSpecs[o.resource.name](plain)
	switch {
	case spec == nil || spec.SchedulerName == "" || spec.SchedulerName == corev1.DefaultSchedulerName:
	case o.in:
		s.placed = append(s.placed, placed{o.key, s.intern(spec.SchedulerName)})
	case o.resource.name == "pods" && spec.NodeName != "":
		s.schedulers[s.intern(spec.SchedulerName)] = true
	}
}

// judgeSchedulers finds what waits for a scheduler that nobody has seen at work
// on the standby. What its schedulers are configured with does not lie in etcd.
func (s *simulator) judgeSchedulers() {
	for _, p := range s.placed {
		if !s.schedulers[p.scheduler] {
			s.note(SchedulerUnknown, Yellow, &s.objects[s.find(p.key)], func() string {
				return "spec.schedulerName " + p.scheduler + ": it has placed no Pod of the standby's"
			})
		}
	}
}

func (s *simulator) readSchedulerWebhooks(o *record, plain []byte) error {
	var c struct {
		Webhooks []struct {
			FailurePolicy string       `json:"failurePolicy"`
			ClientConfig  clientConfig `json:"clientConfig"`
		} `json:"webhooks"`
	}
	if err := decode(plain, &c); err != nil {
		return err
	}
	for _, w := range c.Webhooks {
		if w.FailurePolicy != "Ignore" {
			s.call(SchedulerBackend, Red, o, "", w.ClientConfig, "; the scheduler places no Pod then")
		}
	}
	return nil
}
