package hold

import (
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
)

// Workloads go to zero while the cluster is a standby, however often somebody
// scales them up, and come back with what they had before the first time.
func TestWorkloads(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	cp := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{})
	ctx, etcd := t.Context(), cp.Etcd().Client()
	api, err := kube.Open(cp.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	deployments := cp.Client().AppsV1().Deployments("default")
	create := func(name string, replicas int32) {
		t.Helper()
		labels := map[string]string{"app": name}
		if name != "bystander" {
			labels["provider"] = "yes"
		}
		_, err := deployments.Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	scale := func(name string, replicas int32) {
		t.Helper()
		if _, err := deployments.Patch(ctx, name, "application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when string, want map[string]int32) {
		t.Helper()
		for name, n := range want {
			d, err := deployments.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if *d.Spec.Replicas != n {
				t.Errorf("%s: %s has %d replicas, want %d", when, name, *d.Spec.Replicas, n)
			}
		}
	}
	for name, n := range map[string]int32{"capv": 2, "capi": 3, "off": 0, "bystander": 1} {
		create(name, n)
	}
	chosen := []Selection{{Namespace: "default", Name: "capv"}, {Namespace: "default", Selector: "provider=yes"}, {Namespace: "default", Name: "absent"}}
	keep := func(fence ...clientv3.Cmp) int {
		t.Helper()
		done, err := KeepAtZero(ctx, etcd, api, chosen, fence)
		if err != nil {
			t.Fatal(err)
		}
		return len(done)
	}
	if _, standing, err := Standing(ctx, etcd); standing || err != nil {
		t.Errorf("a cluster without a role is standing: %v", err)
	}
	if _, err := role.EnsureStandby(ctx, etcd, "moscow-spb", "aa", time.Now()); err != nil {
		t.Fatal(err)
	}
	fence, standing, err := Standing(ctx, etcd)
	if err != nil || !standing {
		t.Fatalf("a standby is not standing: %v", err)
	}

	if n := keep(fence...); n != 2 {
		t.Errorf("%d Deployments were scaled, want 2", n)
	}
	expect("held", map[string]int32{"capv": 0, "capi": 0, "off": 0, "bystander": 1})
	if n := keep(fence...); n != 0 {
		t.Errorf("%d Deployments were scaled again", n)
	}
	scale("capv", 7)
	keep(fence...)
	expect("scaled up and held", map[string]int32{"capv": 0})

	// A daemon that wakes up after the pause does nothing any more.
	scale("capi", 9)
	if _, err := role.SetPause(ctx, etcd, role.Pause{By: "test"}); err != nil {
		t.Fatal(err)
	}
	if n := keep(fence...); n != 0 {
		t.Errorf("%d Deployments were scaled under a pause", n)
	}
	expect("paused", map[string]int32{"capi": 9})

	looked := func(want map[string]State) {
		t.Helper()
		held, err := Workloads(ctx, etcd)
		if err == nil {
			err = Look(ctx, etcd, newView(t, nil), held)
		}
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]State{}
		for _, w := range held {
			got[w.Name] = w.State
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("they stand as %v, want %v", got, want)
		}
	}
	looked(map[string]State{"capv": AtZero, "capi": Changed}) // and what has Pods is not said to have none
	held, err := Workloads(ctx, etcd)
	if err != nil || len(held) != 2 || !slices.ContainsFunc(held, func(w Workload) bool { return w.Name == "capv" && w.Replicas == 2 }) {
		t.Fatalf("held: %+v, %v", held, err)
	}
	out, err := ReleaseWorkloads(ctx, etcd, api, held)
	if err != nil || out.Done != 1 || out.Already != 1 || len(out.Left) != 0 {
		t.Errorf("released: %+v, %v", out, err)
	}
	expect("released", map[string]int32{"capv": 2, "capi": 9, "off": 0, "bystander": 1})
	if held, err = Workloads(ctx, etcd); err != nil || len(held) != 0 {
		t.Errorf("still remembered: %+v, %v", held, err)
	}

	// What is gone or another one by now may be that on another cluster only: how
	// many replicas it had is not forgotten, and the release says so.
	if n := keep(); n != 2 {
		t.Errorf("%d Deployments were scaled, want 2", n)
	}
	for _, name := range []string{"capv", "capi"} {
		if err := deployments.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("capi", 0)
	looked(map[string]State{"capv": Gone, "capi": Changed})
	if held, err = Workloads(ctx, etcd); err != nil {
		t.Fatal(err)
	}
	out, err = ReleaseWorkloads(ctx, etcd, api, held)
	if err != nil || out.Done != 0 || out.Already != 0 || len(out.Left) != 2 {
		t.Errorf("released what is gone: %+v, %v", out, err)
	}
	expect("another one", map[string]int32{"capi": 0})
	if held, err = Workloads(ctx, etcd); err != nil || len(held) != 2 {
		t.Errorf("forgotten: %+v, %v", held, err)
	}

	if _, err := role.ClearPause(ctx, etcd); err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Put(ctx, role.LeaderDir+"/1", "daemon@host"); err != nil {
		t.Fatal(err)
	}
	if _, err := ReleaseWorkloads(ctx, etcd, api, nil); remedy.CodeOf(err) != remedy.Refused {
		t.Errorf("under a daemon: %v", err)
	}
}
