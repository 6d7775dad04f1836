package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/remedy"
)

// An API server is a side's only where its kube-system is the one in that side's
// etcd, and it reads what that etcd has now: a replicated or restored kube-system
// has the UID of the other side.
func TestWhoseAPIServer(t *testing.T) {
	for name, tc := range map[string]struct {
		api  kube.Identity
		etcd etcdIdentity
		want string // "" = the side's own
	}{
		"its own":              {kube.Identity{UID: "a", Revision: 7}, etcdIdentity{"a", 7, 7}, ""},
		"written to meanwhile": {kube.Identity{UID: "a", Revision: 8}, etcdIdentity{"a", 7, 9}, ""},
		"another cluster's":    {kube.Identity{UID: "b", Revision: 7}, etcdIdentity{"a", 7, 7}, "its kube-system has the UID b"},
		"a copy's original":    {kube.Identity{UID: "a", Revision: 6}, etcdIdentity{"a", 7, 9}, "it is at revision 6"},
		"a copy":               {kube.Identity{UID: "a", Revision: 10}, etcdIdentity{"a", 7, 9}, "it is at revision 10"},
		"an etcd without one":  {kube.Identity{UID: "a", Revision: 7}, etcdIdentity{"", 7, 7}, "has no kube-system"},
	} {
		t.Run(name, func(t *testing.T) {
			got := notOf(tc.etcd, tc.api, "spb")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// A standby.kubeconfig that leads to the primary scales nothing there, neither
// from the daemon nor by hand, and what was held stays remembered.
func TestKubeconfigOfThePrimary(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two control planes")
	}
	primary, standby := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{}), testkit.StartControlPlane(t, testkit.ControlPlaneOptions{})
	replicas := func(cp *testkit.ControlPlane) int32 {
		t.Helper()
		d, err := cp.Client().AppsV1().Deployments("default").Get(t.Context(), "capv", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return *d.Spec.Replicas
	}
	want := func(when string, onPrimary, onStandby int32) {
		t.Helper()
		if p, s := replicas(primary), replicas(standby); p != onPrimary || s != onStandby {
			t.Errorf("%s: %d replicas on the primary, %d on the standby, want %d and %d", when, p, s, onPrimary, onStandby)
		}
	}
	for cp, n := range map[*testkit.ControlPlane]int32{primary: 2, standby: 3} {
		labels := map[string]string{"app": "capv"}
		if _, err := cp.Client().AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "capv"}, Spec: appsv1.DeploymentSpec{
			Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}},
		}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	write := func(kubeconfig string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "understudy.yaml")
		text := fmt.Sprintf(`apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: moscow-spb}
primary: {name: moscow, kubeconfig: %q, etcd: {endpoints: [%q]}}
standby: {name: spb, kubeconfig: %q, etcd: {endpoints: [%q]}}
hold: {workloads: [{namespace: default, name: capv}]}
sync: {exclude: [{resources: ["*.rbac.authorization.k8s.io"]}, {namespaces: [default]}]}
`, primary.Kubeconfig(), primary.Etcd().Endpoints()[0], kubeconfig, standby.Etcd().Endpoints()[0])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	right, wrong := write(standby.Kubeconfig()), write(primary.Kubeconfig())
	command := func(file string, want remedy.Code, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(append(args, "--config", file), &stdout, &stderr); code != want {
			t.Errorf("%v: exit status %d, want %d\n%s%s", args, code, want, &stdout, &stderr)
		}
		return stdout.String() + stderr.String()
	}
	round := func(file string) error {
		t.Helper()
		pair, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		view, err := newView(pair)
		if err != nil {
			t.Fatal(err)
		}
		d := &daemon{app: &app{log: slog.New(slog.DiscardHandler)}, pair: pair, view: view}
		_, err = d.holdWorkloadsOnce(t.Context())
		return err
	}
	const another = "is another cluster's: its kube-system has the UID"
	command(right, remedy.OK, "sync", "--once")

	if err := round(wrong); err == nil || !strings.Contains(err.Error(), another) || remedy.Of(err) == "" {
		t.Errorf("the daemon's round with the primary's kubeconfig: %v", err)
	}
	want("after that round", 2, 3)
	if out := command(wrong, remedy.Refused, "hold", "apply", "--yes"); !strings.Contains(out, another) {
		t.Errorf("hold apply:\n%s", out)
	}
	want("after hold apply", 2, 3)
	if out := command(wrong, remedy.Degraded, "floor", "verify"); !strings.Contains(out, "not checked: ") || !strings.Contains(out, another) {
		t.Errorf("floor verify:\n%s", out)
	}

	// preflight fails, and tells nothing of the primary as if it were the standby's.
	out := strings.Join(strings.Fields(command(wrong, remedy.Refused, "preflight")), " ")
	for _, text := range []string{"which is another cluster's: its kube-system has the UID", "not checked CRDs and their versions: spb: its kubeconfig leads to another cluster"} {
		if !strings.Contains(out, text) {
			t.Errorf("preflight does not say %q:\n%s", text, out)
		}
	}

	if err := round(right); err != nil {
		t.Error(err)
	}
	want("held", 2, 0)
	if out := command(wrong, remedy.Refused, "hold", "release", "--yes", "--primary-is-alive"); !strings.Contains(out, another) {
		t.Errorf("hold release:\n%s", out)
	}
	want("not released", 2, 0)
	command(right, remedy.OK, "hold", "release", "--yes", "--primary-is-alive")
	want("released", 2, 3)

	standby.StopAPIServer()
	if err := round(right); err == nil || !strings.Contains(remedy.Of(err), "get namespace kube-system") {
		t.Errorf("with the API server down: %v", err)
	}
}
