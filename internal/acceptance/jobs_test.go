package acceptance_test

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// A Job that has ended on the primary, a migration say, does not run again on the
// standby when it is released, whether it ended before the first copy or after its
// standby's controller had suspended it. One that has not ended goes on.
func TestEndedJobsDoNotRunAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("runs two control planes")
	}
	moscow := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	spb := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	primary := newAPI(t, moscow)
	primary.create(t, reference("v1", "Namespace", "", ours))
	create := func(name string) {
		t.Helper()
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ours}}
		job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "migrate"}}}
		if _, err := moscow.Client().BatchV1().Jobs(ours).Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// There is no kubelet: the test says that the Pods have succeeded.
	end := func(name string) {
		t.Helper()
		testkit.Eventually(t, time.Minute, name+" to complete on the primary", func() (bool, string) {
			pods, err := moscow.Client().CoreV1().Pods(ours).List(t.Context(), metav1.ListOptions{LabelSelector: "job-name=" + name})
			if err != nil {
				return false, err.Error()
			}
			for _, pod := range pods.Items {
				if pod.Status.Phase == corev1.PodSucceeded {
					continue
				}
				pod.Status.Phase = corev1.PodSucceeded
				if _, err := moscow.Client().CoreV1().Pods(ours).UpdateStatus(t.Context(), &pod, metav1.UpdateOptions{}); err != nil {
					return false, err.Error()
				}
			}
			job, err := moscow.Client().BatchV1().Jobs(ours).Get(t.Context(), name, metav1.GetOptions{})
			return err == nil && job.Status.Succeeded == 1 && job.Status.CompletionTime != nil, fmt.Sprintf("%d Pods, %v", len(pods.Items), err)
		})
	}
	create("early")
	end("early")
	p := newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd()})
	p.sync(t)
	p.reaches(t, 1)
	create("late")
	create("open")
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
	end("late")
	p.reaches(t, revisionOf(t, primary.create(t, kind{configMaps, "ConfigMap", ""}.object(ours, "marker"))))
	p.consistent(t, 3)

	p.must(t, 0, "pause")
	p.must(t, 0, "hold", "release", "--yes")
	ran := func() (names []string) {
		t.Helper()
		pods, err := spb.Client().CoreV1().Pods(ours).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods.Items {
			names = append(names, pod.Labels["job-name"])
		}
		return names
	}
	testkit.Eventually(t, time.Minute, "the Job that has not ended to go on", func() (bool, string) {
		names := ran()
		return len(names) > 0, fmt.Sprint(names)
	})
	holdsFor(t, 5*time.Second, "nothing runs but the Job that has not ended", func() (bool, string) {
		names := ran()
		return len(names) == 1 && names[0] == "open", fmt.Sprint(names)
	})
}
