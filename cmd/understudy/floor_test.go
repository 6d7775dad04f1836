package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/remedy"
)

// own are the keys that the API server writes by itself all the time.
var own = []string{"/registry/leases/", "/registry/masterleases/", "/registry/peerserverleases/", "/registry/events/", "/registry/configmaps/kube-system/", "compact_rev_key"}

// contentsOf is every key of an etcd with its value, version and revisions.
func contentsOf(t *testing.T, client *clientv3.Client) map[string]string {
	t.Helper()
	resp, err := client.Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, p := range resp.Kvs {
		mine := false
		for _, prefix := range own {
			mine = mine || strings.HasPrefix(string(p.Key), prefix)
		}
		if !mine {
			all[string(p.Key)] = p.String()
		}
	}
	return all
}

// The standby's etcd is lifted in place, under a live API server: the data stays
// as it is, the API server refuses old revisions, and replication goes on.
func TestFloorRaiseInPlace(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	primary := testkit.StartEtcd(t)
	standby := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{})
	fill := func(seed uint64) {
		for p := range fixture.Generate(fixture.Options{Seed: seed, Objects: 300}) {
			if _, err := primary.Client().Put(t.Context(), p.Key, string(p.Value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(1)
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	text := fmt.Sprintf(`apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: moscow-spb}
primary: {name: moscow, etcd: {endpoints: [%q]}}
standby: {name: spb, kubeconfig: %q, etcd: {endpoints: [%q]}}
sync: {exclude: [{resources: ["*.rbac.authorization.k8s.io"]}]} # the API server makes its own
`, primary.Endpoints()[0], standby.Kubeconfig(), standby.Etcd().Endpoints()[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(want remedy.Code, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(append(args, "--config", file), &stdout, &stderr); code != want {
			t.Fatalf("%v: exit status %d, want %d\n%s%s", args, code, want, &stdout, &stderr)
		}
		return stdout.String() + stderr.String()
	}
	command(remedy.OK, "sync", "--once")
	if out := command(remedy.Refused, "floor", "verify"); !strings.Contains(out, "accepts a watch of") {
		t.Errorf("before:\n%s", out)
	}
	seen, err := standby.Client().CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}

	before := contentsOf(t, standby.Etcd().Client())
	started := filepath.Join(t.TempDir(), "start")
	restarted := make(chan error, 1)
	go func() { // the start command's other end
		for {
			if _, err := os.Stat(started); err == nil {
				standby.Etcd().Launch()
				restarted <- nil
				return
			}
			select {
			case <-t.Context().Done():
				restarted <- errors.New("the start command was not run")
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	pid := standby.Etcd().Pids()[0]
	out := command(remedy.OK, "floor", "raise", "--offline", "--data-dir", standby.Etcd().DataDir(), "--apply", "--yes",
		"--stop-command", fmt.Sprintf("kill -TERM %d && while kill -0 %d 2>/dev/null; do sleep 0.05; done", pid, pid),
		"--start-command", "touch "+started)
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	after := contentsOf(t, standby.Etcd().Client())
	for key, value := range before {
		if after[key] != value {
			t.Errorf("%s was %.200s\nand is %.200s", key, value, after[key])
		}
	}
	for key := range after {
		if before[key] == "" {
			t.Errorf("%s is new", key)
		}
	}

	standby.RestartAPIServer()
	if out := command(remedy.OK, "floor", "verify"); !strings.Contains(out, "410 at revision") {
		t.Errorf("after:\n%s", out)
	}
	watch, err := standby.Client().CoreV1().ConfigMaps("").Watch(t.Context(), metav1.ListOptions{ResourceVersion: seen.ResourceVersion})
	if err == nil {
		event := <-watch.ResultChan()
		watch.Stop()
		if status, ok := event.Object.(*metav1.Status); !ok || status.Code != 410 {
			t.Errorf("a watch from revision %s: %+v, want 410", seen.ResourceVersion, event)
		}
	}
	if _, err := standby.Client().CoreV1().ConfigMaps("kube-public").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "new"}}, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	fill(2)
	command(remedy.OK, "sync", "--once")
	command(remedy.OK, "check")
}
