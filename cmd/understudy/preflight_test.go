package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/certs"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/remedy"
)

// listenTLS shows a certificate for platform.example.com at an address.
func listenTLS(t *testing.T, address string, cert tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.(*tls.Conn).Handshake()
			}()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// populate gives a cluster what preflight looks at.
func populate(t *testing.T, cp *testkit.ControlPlane, gates string, group string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	core := cp.Client().CoreV1()
	for _, name := range []string{"team", group} {
		_, err := core.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(err)
	}
	_, err := core.Services(group).Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.100.100", Ports: []corev1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})
	must(err)
	if _, err := core.Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err != nil {
		_, err = core.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}}, metav1.CreateOptions{})
		must(err)
	}
	_, err = core.ServiceAccounts("kube-system").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	must(err)
	no := false
	_, err = core.Pods("kube-system").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-apiserver-m0", Labels: map[string]string{"component": "kube-apiserver"}},
		Spec: corev1.PodSpec{AutomountServiceAccountToken: &no, Containers: []corev1.Container{{Name: "a", Image: "a",
			Command: []string{"kube-apiserver", "--feature-gates=" + gates, "--etcd-servers-overrides=/events#http://127.0.0.1:1", "--secure-port=6443"}}}},
	}, metav1.CreateOptions{})
	must(err)
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	for _, plural := range []string{"shared", group + "s"} {
		name := plural + ".example.com"
		_, err = cp.Dynamic().Resource(crds).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"group": "example.com", "scope": "Namespaced", "names": map[string]any{"plural": plural, "kind": strings.ToUpper(plural[:1]) + plural[1:]},
				"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true,
					"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}}}}},
		}}, metav1.CreateOptions{})
		must(err)
	}
}

// Two real control planes that fit in part: every check finds out what is so.
func TestPreflightOfTwoControlPlanes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two control planes")
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("encryption.yaml", `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}}, {identity: {}}]}]
`)
	primary := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{EncryptionConfig: in("encryption.yaml")})
	standby := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ServiceAccountKey: primary.ServiceAccountKey()})
	populate(t, primary, "A=true", "moscow")
	populate(t, standby, "A=false", "spb")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)}}
	if _, err := primary.Client().CoreV1().Secrets("team").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "builder"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}}}
	if _, err := primary.Client().CoreV1().ServiceAccounts("team").Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	ca, err := certs.NewCA("ingress")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(certs.Leaf{CommonName: "platform.example.com", Hosts: []string{"platform.example.com", "moscow.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.WriteFiles(in("tls.crt"), in("tls.key")); err != nil {
		t.Fatal(err)
	}
	shown, err := tls.LoadX509KeyPair(in("tls.crt"), in("tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	ports, err := proc.Ports(2) // nobody else takes them, at no address of loopback
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.ReleasePorts(ports...) })
	port := listenTLS(t, fmt.Sprintf("127.0.0.1:%d", ports[0]), shown)
	listenTLS(t, "127.0.0.2:"+port, shown)
	free, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports[1])) // taken at the primary's VIP alone
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()

	write("understudy.yaml", fmt.Sprintf(`apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: moscow-spb}
primary: {name: moscow, vip: 127.0.0.1, kubeconfig: %q, encryption: encryption.yaml, etcd: {endpoints: [%q]}}
standby: {name: spb, vip: 127.0.0.2, kubeconfig: %q, etcd: {endpoints: [%q]}}
access: {address: platform.example.com, names: [spb.example.com], ports: [%s, %d]}
`, primary.Kubeconfig(), primary.Etcd().Endpoints()[0], standby.Kubeconfig(), standby.Etcd().Endpoints()[0], port, free.Addr().(*net.TCPAddr).Port))

	// The command, by its JSON.
	var stdout, stderr bytes.Buffer
	if code := run([]string{"preflight", "-o", "json", "--config", in("understudy.yaml")}, &stdout, &stderr); code != remedy.Refused {
		t.Errorf("exit status %d, want %d\n%s%s", code, remedy.Refused, &stdout, &stderr)
	}
	var said console.Preflight
	if err := json.Unmarshal(stdout.Bytes(), &said); err != nil || said.State != console.CheckFail || len(said.Lines) < 18 {
		t.Errorf("%v: %s", err, &stdout)
	}

	// Its facts, with the certificate where a test may listen.
	pair, err := config.Load(in("understudy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := newPreflight(pair)
	if err != nil {
		t.Fatal(err)
	}
	g.httpsPort = port
	facts := g.facts(t.Context())
	if floor := facts.Standby.Floor; !floor.Known || len(floor.Value.Expired)+len(floor.Value.Accepted) != 1 {
		t.Errorf("the standby's API server was not asked about the floor: %+v", floor)
	}
	judged := console.JudgePreflight(facts)
	var text bytes.Buffer
	if err := judged.WriteText(&text, console.Style{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &text)
	for check, want := range map[string]struct {
		state console.PreflightState
		text  string
	}{
		"kubernetes-version":   {console.CheckOK, "v1.36.3"},
		"etcd-version":         {console.CheckOK, "3.6."},
		"etcd-prefix":          {console.CheckOK, "keys on moscow"},
		"etcd-elsewhere":       {console.CheckOK, "events in another etcd"},
		"objects-one-sided":    {console.CheckWarn, "on spb only"},
		"objects-replaced":     {console.CheckFail, "2 objects of spb have the name of another on moscow"},
		"revision-floor":       {console.CheckWarn, "no revision floor"},
		"api-of-etcd":          {console.CheckOK, "reads the etcd of its side"},
		"api-server-flags":     {console.CheckWarn, "--feature-gates: A=true on moscow, A=false on spb"},
		"crd-versions":         {console.CheckWarn, "spbs.example.com"},
		"service-account-keys": {console.CheckOK, "the same 1 keys"},
		"encryption":           {console.CheckFail, "encrypted values of moscow on spb"},
		"registry-credentials": {console.CheckWarn, "team/pull are not on spb"},
		"service-cidr":         {console.CheckOK, "10.96.0.0/16"},
		"cluster-ips":          {console.CheckFail, "10.96.100.100 of moscow/web is spb/web's"},
		"access-address":       {console.CheckWarn, "platform.example.com"},
		"api-endpoint":         {console.CheckOK, "the API endpoint of moscow is its VIP"},
		"ports":                {console.CheckFail, "spb at 127.0.0.2 does not take ports " + strconv.Itoa(free.Addr().(*net.TCPAddr).Port)},
		"ingress-certificate":  {console.CheckFail, "does not cover spb.example.com"},
	} {
		found := false
		for _, line := range judged.Lines {
			found = found || line.Check == check && line.State == want.state && strings.Contains(line.Text, want.text)
		}
		if !found {
			t.Errorf("no line of %s is %s with %q", check, want.state, want.text)
		}
	}
}
