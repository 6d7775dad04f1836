package acceptance_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// A Job that has ended on the primary, a migration say, does not run again on the
// standby when it is released, whether it ended before the first copy or after its
// standby's controller had suspended it. One that has not ended goes on with what
// is left to do.
func TestEndedJobsDoNotRunAgain(t *testing.T) {
	moscow, spb, primary := controlPlanes(t)
	create := func(name string, completions int32) {
		t.Helper()
		mode := batchv1.IndexedCompletion
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ours}, Spec: batchv1.JobSpec{Completions: &completions, CompletionMode: &mode}}
		job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "migrate"}}}
		if _, err := moscow.Client().BatchV1().Jobs(ours).Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// There is no kubelet: the test says that n Pods have succeeded, one after the other.
	do := func(on *testkit.ControlPlane, name string, n int, succeeded int32) {
		t.Helper()
		testkit.Eventually(t, time.Minute, name+" to come to its count", func() (bool, string) {
			pods, err := on.Client().CoreV1().Pods(ours).List(t.Context(), metav1.ListOptions{LabelSelector: "job-name=" + name})
			if err != nil {
				return false, err.Error()
			}
			job, err := on.Client().BatchV1().Jobs(ours).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			over := func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded }
			next := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return !over(p) })
			if next >= 0 && next < n { // their names begin with their index
				pods.Items[next].Status.Phase = corev1.PodSucceeded
				_, err = on.Client().CoreV1().Pods(ours).UpdateStatus(t.Context(), &pods.Items[next], metav1.UpdateOptions{})
			}
			done := job.Status.Succeeded == succeeded && (succeeded < *job.Spec.Completions || job.Status.CompletionTime != nil)
			return done && err == nil, fmt.Sprintf("%d of %d, %d Pods, %v", job.Status.Succeeded, succeeded, len(pods.Items), err)
		})
	}
	create("early", 1)
	do(moscow, "early", 1, 1)
	p := newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd()})
	p.sync(t)
	p.reaches(t, 1)
	create("late", 1)
	create("open", 3)
	testkit.Eventually(t, time.Minute, "the standby's controller to have seen that they are suspended", func() (bool, string) {
		suspended := 0
		jobs, err := spb.Client().BatchV1().Jobs(ours).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, job := range jobs.Items {
			for _, c := range job.Status.Conditions {
				if c.Type == batchv1.JobSuspended && c.Status == corev1.ConditionTrue {
					suspended++
				}
			}
		}
		return suspended == 2, fmt.Sprintf("%d of %d", suspended, len(jobs.Items))
	})
	do(moscow, "late", 1, 1)
	do(moscow, "open", 1, 1)
	p.reaches(t, revisionOf(t, primary.create(t, kind{configMaps, "ConfigMap", ""}.object(ours, "marker"))))
	p.consistent(t, 3)

	p.must(t, 0, "pause")
	p.must(t, 0, "hold", "release", "--yes", "--primary-is-alive")
	do(spb, "open", 2, 3)
	pods, err := spb.Client().CoreV1().Pods(ours).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for _, pod := range pods.Items {
		ran[pod.Labels["job-name"]]++
	}
	if len(ran) != 1 || ran["open"] != 2 {
		t.Errorf("the standby has run Pods of %v; want the two that were left of the Job open", ran)
	}
}

// A Job without labels gets those of its template with the first write after its
// creation, which on the standby is its controller's. It is the same Job still,
// and can be released while the primary's controllers are gone.
func TestJobWithoutLabelsIsReleased(t *testing.T) {
	moscow, spb, _ := controlPlanes(t)
	p := newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd()})
	p.sync(t)
	p.reaches(t, 1)
	moscow.StopControllerManager()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "bare", Namespace: ours}}
	job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "migrate"}}}
	if _, err := moscow.Client().BatchV1().Jobs(ours).Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, "the standby's controller to have seen that it is suspended", func() (bool, string) {
		here, err := spb.Client().BatchV1().Jobs(ours).Get(t.Context(), "bare", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(here.Status.Conditions) == 1 && len(here.Labels) > 0, fmt.Sprintf("%+v", here)
	})
	p.consistent(t, 2)
	changed := p.drift(t).Changed
	p.must(t, 0, "pause")
	p.must(t, 0, "hold", "release", "--yes", "--primary-is-alive")
	testkit.Eventually(t, time.Minute, "it to run on the standby", func() (bool, string) {
		pods, err := spb.Client().CoreV1().Pods(ours).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(pods.Items) == 1, fmt.Sprint(len(pods.Items))
	})
	if changed > 0 {
		t.Errorf("drift: %d objects changed by others", changed)
	}
}
