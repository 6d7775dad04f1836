package acceptance_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/internal/testkit"
)

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// Deployments of the primary make no Pod on the standby, whose controllers
// run: not in a first copy, not while they are scaled and rolled out, not after
// a crash of the daemon. Released, they come up as they are on the primary.
func TestHeldDeploymentsHaveNoPods(t *testing.T) {
	if testing.Short() {
		t.Skip("watches two control planes for two minutes")
	}
	moscow := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	spb := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	primary := newAPI(t, moscow)
	primary.create(t, reference("v1", "Namespace", "", ours))
	const count, each = 30, 5
	for i := range count {
		primary.create(t, deployment(fmt.Sprintf("web-%02d", i), each))
	}
	pods(t, moscow, count*each)
	ever := watchPods(t, spb)

	p := newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd()})
	daemon := p.sync(t)
	p.reaches(t, 1)
	began := time.Now()
	p.consistent(t, count)

	primary.change(t, "apps/v1", "Deployment", "web-03", setField(t, int64(7), "spec", "replicas"))
	primary.change(t, "apps/v1", "Deployment", "web-04", setField(t, int64(0), "spec", "replicas"))
	primary.change(t, "apps/v1", "Deployment", "web-05", setField(t, "new", "spec", "template", "metadata", "annotations", "rollout"))
	daemon.Kill()
	primary.change(t, "apps/v1", "Deployment", "web-06", setField(t, int64(6), "spec", "replicas"))
	marker := primary.create(t, kind{configMaps, "ConfigMap", ""}.object(ours, "marker"))
	p.sync(t)
	p.reaches(t, revisionOf(t, marker))
	want := map[string]int64{"web-03": 7, "web-04": 0, "web-06": 6}
	total := count*each + 2 - 5 + 1

	holdsFor(t, max(time.Second, watched-time.Since(began)), "no Pod ever exists on the standby", func() (bool, string) {
		return len(ever()) == 0, fmt.Sprintf("%d Pods were there, such as %v", len(ever()), first(ever()))
	})
	p.consistent(t, count)
	for name, replicas := range replicasOf(t, spb) {
		if replicas != 0 {
			t.Errorf("%s has %d replicas on the standby while it is held", name, replicas)
		}
	}

	p.must(t, 0, "pause")
	p.must(t, 0, "hold", "release", "--yes", "--primary-is-alive")
	pods(t, spb, total)
	there := replicasOf(t, spb)
	if len(there) != count {
		t.Errorf("%d Deployments are on the standby, want %d", len(there), count)
	}
	for name, replicas := range there {
		if n, special := want[name]; special && replicas != n || !special && replicas != each {
			t.Errorf("%s came up with %d replicas", name, replicas)
		}
	}
	p.must(t, 0, "hold", "list")
}

func deployment(name string, replicas int64) *unstructured.Unstructured {
	u := reference("apps/v1", "Deployment", ours, name)
	labels := map[string]any{"app": name}
	u.Object["spec"] = map[string]any{"replicas": replicas, "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels},
			"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "web"}}}}}
	return u
}

func setField(t *testing.T, value any, path ...string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
			t.Fatal(err)
		}
	}
}

// pods waits until there are so many, as they should be.
func pods(t *testing.T, c *testkit.ControlPlane, n int) {
	t.Helper()
	testkit.Eventually(t, 2*time.Minute, fmt.Sprintf("%d Pods", n), func() (bool, string) {
		list, err := c.Client().CoreV1().Pods(ours).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		live := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
		return len(live) == n, fmt.Sprintf("%d Pods", len(live))
	})
}

func replicasOf(t *testing.T, c *testkit.ControlPlane) map[string]int64 {
	t.Helper()
	list, err := c.Dynamic().Resource(deployments).Namespace(ours).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, u := range list.Items {
		out[u.GetName()], _, _ = unstructured.NestedInt64(u.Object, "spec", "replicas")
	}
	return out
}

// watchPods remembers the key of every Pod that was ever there.
func watchPods(t *testing.T, c *testkit.ControlPlane) func() []string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var mu sync.Mutex
	var keys []string
	done := make(chan struct{})
	events := c.Etcd().Client().Watch(ctx, "/registry/pods/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events // it watches
	go func() {
		defer close(done)
		for resp := range events {
			mu.Lock()
			if err := resp.Err(); err != nil && ctx.Err() == nil {
				keys = append(keys, "the watch has ended: "+err.Error())
			}
			for _, e := range resp.Events {
				keys = append(keys, string(e.Kv.Key))
			}
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(keys)
	}
}

// must runs understudy and demands its exit status.
func (p *pair) must(t *testing.T, status int, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), p.program, append(args, "--config", p.config)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("understudy %v: %v", args, err)
	}
	if code := cmd.ProcessState.ExitCode(); code != status {
		t.Fatalf("understudy %v: exit status %d, want %d\n%s%s", args, code, status, stdout.String(), stderr.String())
	}
	return stdout.String()
}
