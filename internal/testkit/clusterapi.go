package testkit

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/understudy-dr/understudy/internal/testkit/certs"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/internal/testkit/toolchain"
)

// clusterAPI is the release that StartClusterAPI runs.
const clusterAPI = "cluster-api@1.13"

// ClusterAPI is Cluster API on a control plane: its definitions, its webhooks
// with a certificate authority of their own, and its core controller manager.
// There is no infrastructure provider. What cannot be done fails the test.
type ClusterAPI struct {
	t       testing.TB
	control *ControlPlane
	dir     string
	service string // host:port that the webhooks' Service leads to
	ports   []int  // the manager's: webhooks, health, diagnostics
	ca      *certs.CA
	process *proc.Process
}

// ClusterAPIAddress is where the API servers of a pair find the webhooks. A
// CustomResourceDefinition names Service and port, and is the same on both
// sides; what the Service leads to is each side's own.
type ClusterAPIAddress struct {
	IP   string // a loopback address
	Port int    // of the Service
}

// StartClusterAPI installs Cluster API and runs its manager until the test
// ends. The first one on a machine builds it, which takes minutes.
func StartClusterAPI(t testing.TB, c *ControlPlane, address ClusterAPIAddress) *ClusterAPI {
	t.Helper()
	a := &ClusterAPI{t: t, control: c, dir: t.TempDir(), service: net.JoinHostPort(address.IP, fmt.Sprint(address.Port))}
	var err error
	a.ports, err = proc.Ports(3)
	a.must("reserve ports", err)
	t.Cleanup(func() { proc.ReleasePorts(a.ports...) })
	a.ca, err = certs.NewCA("webhooks")
	a.must("make a CA", err)
	cert, err := a.ca.Issue(certs.Leaf{CommonName: "webhooks", Hosts: []string{webhookService + "." + webhookNamespace + ".svc"}})
	a.must("issue a certificate", err)
	a.must("write a certificate", cert.WriteFiles(filepath.Join(a.dir, "tls.crt"), filepath.Join(a.dir, "tls.key")))
	a.forward()

	source, err := toolchain.Source(t.Context(), clusterAPI)
	a.must("find the definitions", err)
	a.createService(address)
	a.createDefinitions(source, address.Port)
	t.Cleanup(a.end)
	a.Start()
	a.createWebhooks(source, address.Port)
	return a
}

// Start starts the manager, unless it runs, and waits until it is ready.
func (a *ClusterAPI) Start() {
	a.t.Helper()
	if a.process != nil && a.process.Running() {
		return
	}
	binary, err := toolchain.Path(a.t.Context(), clusterAPI)
	a.must("build the manager", err)
	health := fmt.Sprintf("127.0.0.1:%d", a.ports[1])
	a.process, err = proc.Start(proc.Spec{Path: binary, Dir: a.dir, Log: filepath.Join(a.dir, "manager.log"), Args: []string{
		"--kubeconfig=" + a.control.Kubeconfig(),
		fmt.Sprintf("--webhook-port=%d", a.ports[0]),
		"--webhook-cert-dir=" + a.dir,
		"--health-addr=" + health,
		fmt.Sprintf("--diagnostics-address=127.0.0.1:%d", a.ports[2]),
		"--kube-api-qps=1000", "--kube-api-burst=2000",
		"--v=0",
	}})
	a.must("start the manager", err)
	ctx, cancel := context.WithTimeout(a.t.Context(), controlPlanePatience)
	defer cancel()
	a.must("start the manager", a.process.Until(ctx, func(ctx context.Context) error {
		return a.control.answers(ctx, "http://"+health+"/readyz")
	}))
}

// Kill ends the manager with SIGKILL.
func (a *ClusterAPI) Kill() {
	if a.process != nil {
		a.process.Kill()
	}
}

// Restart kills the manager and starts it anew.
func (a *ClusterAPI) Restart() {
	a.t.Helper()
	a.Kill()
	a.Start()
}

// forward leads what reaches the Service to the manager's webhooks: the manager
// listens on all addresses, so two of them cannot have the same port.
func (a *ClusterAPI) forward() {
	a.t.Helper()
	l, err := net.Listen("tcp", a.service)
	a.must("listen for the webhooks", err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { a.pass(in) })
		}
	})
	a.t.Cleanup(func() { l.Close(); a.Kill(); wg.Wait() }) // without a manager no connection lasts
}

func (a *ClusterAPI) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", a.ports[0]))
	if err != nil {
		return
	}
	defer out.Close()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(out, in); out.Close() })
	io.Copy(in, out)
	in.Close()
	wg.Wait()
}

func (a *ClusterAPI) end() {
	a.Kill()
	if a.process != nil && a.t.Failed() {
		a.t.Logf("end of the log of Cluster API's manager:\n%s", a.process.LogTail(logTail))
	}
}

func (a *ClusterAPI) must(do string, err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatalf("Cluster API: %s: %v", do, err)
	}
}
