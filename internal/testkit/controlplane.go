package testkit

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/understudy-dr/understudy/internal/testkit/certs"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/internal/testkit/toolchain"
)

// ControlPlaneOptions change what StartControlPlane starts. The zero value is
// an API server on an etcd of its own, without a controller manager.
type ControlPlaneOptions struct {
	Etcd                   *Etcd        // run on this one instead of an own
	EtcdOptions            []EtcdOption // for the own one
	ControllerManager      bool         // start it too; see StartControllerManager
	EncryptionConfig       string       // file with an EncryptionConfiguration
	ServiceAccountKey      string       // PEM file that signs tokens; shared by a pair, or own
	CA                     *certs.CA    // of API server and clients; shared by a pair, or own
	Flags                  []string     // added to the API server's command line
	ControllerManagerFlags []string     // added to the controller manager's
}

// controlPlanePatience bounds the time until a component is ready.
const controlPlanePatience = 90 * time.Second

// ControlPlane is a kube-apiserver on an etcd, and a kube-controller-manager
// on demand. There are no nodes. What cannot be done fails the test.
type ControlPlane struct {
	t        testing.TB
	etcd     *Etcd
	opts     ControlPlaneOptions
	ca       *certs.CA
	dir      string
	port     int
	manager  int // the controller manager's port
	config   *rest.Config
	apiproc  *proc.Process
	kcmproc  *proc.Process
	probe    *http.Client
	typed    *kubernetes.Clientset
	flexible *dynamic.DynamicClient
}

// StartControlPlane starts a control plane that ends with the test. The first
// one on a machine builds Kubernetes, which takes minutes.
func StartControlPlane(t testing.TB, opts ControlPlaneOptions) *ControlPlane {
	t.Helper()
	c := &ControlPlane{t: t, etcd: opts.Etcd, opts: opts, ca: opts.CA, dir: t.TempDir()}
	if c.etcd == nil {
		c.etcd = StartEtcd(t, opts.EtcdOptions...)
	}
	ports, err := proc.Ports(2)
	c.must("reserve ports", err)
	t.Cleanup(func() { proc.ReleasePorts(ports...) })
	c.port, c.manager = ports[0], ports[1]
	c.writeIdentity()
	c.typed, err = kubernetes.NewForConfig(c.Config())
	c.must("make a client", err)
	c.flexible, err = dynamic.NewForConfig(c.Config())
	c.must("make a client", err)

	t.Cleanup(c.end)
	c.StartAPIServer()
	if opts.ControllerManager {
		c.StartControllerManager()
	}
	return c
}

// writeIdentity issues the certificates and keys and writes the kubeconfig.
func (c *ControlPlane) writeIdentity() {
	c.t.Helper()
	var err error
	if c.ca == nil {
		c.ca, err = certs.NewCA("kubernetes")
		c.must("make a CA", err)
	}
	c.must("write the CA", c.ca.WriteFile(c.in("ca.crt")))
	server, err := c.ca.Issue(certs.Leaf{CommonName: "kube-apiserver",
		Hosts: []string{"127.0.0.1", "localhost", "kubernetes.default.svc", "10.96.0.1"}})
	c.must("issue a certificate", err)
	c.must("write a certificate", server.WriteFiles(c.in("apiserver.crt"), c.in("apiserver.key")))
	if c.opts.ServiceAccountKey == "" {
		signer, err := c.ca.Issue(certs.Leaf{CommonName: "service accounts"})
		c.must("make a key", err)
		c.opts.ServiceAccountKey = c.in("sa.key")
		c.must("write a key", signer.WriteFiles(c.in("sa.crt"), c.opts.ServiceAccountKey))
	}
	c.config = c.ConfigFor("admin", "system:masters")
	c.probe = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	if tls, err := rest.TLSConfigFor(c.config); err == nil {
		// The controller manager's certificate is its own invention.
		tls.InsecureSkipVerify = true
		c.probe.Transport.(*http.Transport).TLSClientConfig = tls
	}
	c.must("write the kubeconfig", clientcmd.WriteToFile(kubeconfig(c.config), c.Kubeconfig()))
}

// ConfigFor is the access of another user, proven by a fresh client certificate.
func (c *ControlPlane) ConfigFor(user string, groups ...string) *rest.Config {
	c.t.Helper()
	cert, err := c.ca.Issue(certs.Leaf{CommonName: user, Organizations: groups, Hosts: []string{}})
	c.must("issue a certificate", err)
	certPEM, keyPEM, err := cert.PEM()
	c.must("encode a certificate", err)
	return &rest.Config{Host: c.URL(), QPS: 200, Burst: 400, TLSClientConfig: rest.TLSClientConfig{
		CAData: c.ca.PEM(), CertData: certPEM, KeyData: keyPEM}}
}

func kubeconfig(config *rest.Config) clientcmdapi.Config {
	const name = "test"
	file := *clientcmdapi.NewConfig()
	file.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	file.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	file.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	file.CurrentContext = name
	return file
}

// URL is where the API server listens.
func (c *ControlPlane) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", c.port) }

// Config is the administrator's access.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Kubeconfig is a file with the administrator's access.
func (c *ControlPlane) Kubeconfig() string { return c.in("admin.kubeconfig") }

// Client is the administrator's typed client.
func (c *ControlPlane) Client() *kubernetes.Clientset { return c.typed }

// Dynamic is the administrator's client for every kind of object.
func (c *ControlPlane) Dynamic() *dynamic.DynamicClient { return c.flexible }

// Etcd is the store beneath.
func (c *ControlPlane) Etcd() *Etcd { return c.etcd }

// CA signs the API server's and the clients' certificates.
func (c *ControlPlane) CA() *certs.CA { return c.ca }

// ServiceAccountKey is the file that signs ServiceAccount tokens.
func (c *ControlPlane) ServiceAccountKey() string { return c.opts.ServiceAccountKey }

// StartAPIServer starts the API server, unless it runs, and waits until it is
// ready. Flags are added to those of the options, from now on.
func (c *ControlPlane) StartAPIServer(flags ...string) {
	c.t.Helper()
	c.opts.Flags = append(c.opts.Flags, flags...)
	args := []string{
		"--etcd-servers=" + strings.Join(c.etcd.Endpoints(), ","),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", c.port),
		"--tls-cert-file=" + c.in("apiserver.crt"),
		"--tls-private-key-file=" + c.in("apiserver.key"),
		"--client-ca-file=" + c.in("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.opts.ServiceAccountKey,
		"--service-account-signing-key-file=" + c.opts.ServiceAccountKey,
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		"--endpoint-reconciler-type=none",
		"--allow-privileged",
	}
	if files := c.etcd.Files(); files.CA != "" {
		args = append(args, "--etcd-cafile="+files.CA, "--etcd-certfile="+files.Cert, "--etcd-keyfile="+files.Key)
	}
	if c.opts.EncryptionConfig != "" {
		args = append(args, "--encryption-provider-config="+c.opts.EncryptionConfig)
	}
	c.start(&c.apiproc, "kube-apiserver", append(args, c.opts.Flags...), c.URL()+"/readyz")
}

// StopAPIServer ends the API server in good order.
func (c *ControlPlane) StopAPIServer() { stop(&c.apiproc) }

// KillAPIServer ends the API server with SIGKILL.
func (c *ControlPlane) KillAPIServer() {
	if c.apiproc != nil {
		c.apiproc.Kill()
		c.apiproc = nil
	}
}

// RestartAPIServer kills the API server and starts it again; see StartAPIServer.
func (c *ControlPlane) RestartAPIServer(flags ...string) {
	c.t.Helper()
	c.KillAPIServer()
	c.StartAPIServer(flags...)
}

// SetEncryptionConfig takes effect with the next start of the API server; "" is none.
func (c *ControlPlane) SetEncryptionConfig(path string) { c.opts.EncryptionConfig = path }

// StartControllerManager starts the controller manager, unless it runs, and
// waits until it is healthy.
func (c *ControlPlane) StartControllerManager() {
	c.t.Helper()
	args := []string{
		"--kubeconfig=" + c.Kubeconfig(),
		"--authentication-kubeconfig=" + c.Kubeconfig(),
		"--authorization-kubeconfig=" + c.Kubeconfig(),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", c.manager),
		"--cert-dir=" + c.dir,
		"--leader-elect=false",
		"--root-ca-file=" + c.in("ca.crt"),
		"--service-account-private-key-file=" + c.opts.ServiceAccountKey,
		"--service-cluster-ip-range=10.96.0.0/16",
	}
	url := fmt.Sprintf("https://127.0.0.1:%d/healthz", c.manager)
	c.start(&c.kcmproc, "kube-controller-manager", append(args, c.opts.ControllerManagerFlags...), url)
	// It has settled when it has filled the roles that every cluster has.
	ctx, cancel := context.WithTimeout(c.t.Context(), controlPlanePatience)
	defer cancel()
	c.must("aggregate the ClusterRoles", c.kcmproc.Until(ctx, func(ctx context.Context) error {
		for _, name := range []string{"admin", "edit", "view"} {
			role, err := c.Client().RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if len(role.Rules) == 0 {
				return fmt.Errorf("ClusterRole %s has no rules yet", name)
			}
		}
		return nil
	}))
}

// StopControllerManager ends the controller manager.
func (c *ControlPlane) StopControllerManager() { stop(&c.kcmproc) }

// RSS is the resident memory of the components above etcd together, in bytes.
func (c *ControlPlane) RSS() int64 {
	c.t.Helper()
	var sum int64
	for _, p := range []*proc.Process{c.apiproc, c.kcmproc} {
		if p != nil && p.Running() {
			rss, err := p.RSS()
			c.must("read memory", err)
			sum += rss
		}
	}
	return sum
}

// start runs a component, unless it runs, until url answers 200.
func (c *ControlPlane) start(slot **proc.Process, name string, args []string, url string) {
	c.t.Helper()
	if *slot != nil && (*slot).Running() {
		return
	}
	binary, err := toolchain.Path(c.t.Context(), name)
	c.must("build "+name, err)
	p, err := proc.Start(proc.Spec{Path: binary, Args: slices.Clone(args), Dir: c.dir, Log: c.in(name + ".log")})
	c.must("start "+name, err)
	*slot = p
	ctx, cancel := context.WithTimeout(c.t.Context(), controlPlanePatience)
	defer cancel()
	c.must("start "+name, p.Until(ctx, func(ctx context.Context) error { return c.answers(ctx, url) }))
}

func (c *ControlPlane) answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.probe.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s\n%s", url, resp.Status, body)
	}
	return nil
}

// end shows the logs of a failed test and ends the components; there is
// nothing to be lost by killing them.
func (c *ControlPlane) end() {
	for _, name := range []string{"kube-apiserver", "kube-controller-manager"} {
		if _, err := os.Stat(c.in(name + ".log")); err == nil && c.t.Failed() {
			c.t.Logf("end of %s's log:\n%s", name, proc.Tail(c.in(name+".log"), logTail))
		}
	}
	for _, p := range []*proc.Process{c.kcmproc, c.apiproc} {
		if p != nil {
			p.Kill()
		}
	}
}

func stop(slot **proc.Process) {
	if *slot != nil {
		(*slot).Stop()
		*slot = nil
	}
}

func (c *ControlPlane) in(name string) string { return filepath.Join(c.dir, name) }

func (c *ControlPlane) must(do string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("control plane: %s: %v", do, err)
	}
}
