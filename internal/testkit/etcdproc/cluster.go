// Package etcdproc runs real etcd clusters as child processes, in tests and
// benchmarks alike. Members can be killed, frozen and brought back on the same
// ports and data.
//
// A Cluster is not safe for concurrent use, except for Endpoints and Client.
package etcdproc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-dr/understudy/internal/testkit/certs"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/internal/testkit/toolchain"
)

// readyPatience bounds the time a member may take to answer.
const readyPatience = 60 * time.Second

// Cluster is one etcd cluster of one or more members.
type Cluster struct {
	config  Config
	binary  string
	dir     string
	ownDir  bool
	token   string
	creds   *credentials
	tls     *tls.Config // the kit's own access; nil without TLS
	members []*Member
	client  *clientv3.Client
	http    *http.Client
}

// Member is one etcd of a Cluster.
type Member struct {
	name, host           string
	dataDir, log         string
	clientPort, peerPort int
	process              atomic.Pointer[proc.Process] // a test may launch it while another part looks
}

// Start builds etcd if need be, runs the members and waits until they serve.
// The caller must Stop the cluster. ctx bounds the start only.
func Start(ctx context.Context, config Config) (_ *Cluster, err error) {
	if config.Version == "" {
		config.Version = "3.6"
	}
	if config.Members == 0 {
		config.Members = 1
	}
	if config.DataDir != "" && config.Members != 1 {
		return nil, errors.New("an existing data directory serves one member only")
	}
	if len(config.Hosts) == 0 {
		config.Hosts = []string{"127.0.0.1"}
	}
	for _, host := range config.Hosts {
		if err := listens(host); err != nil {
			return nil, err
		}
	}
	binary, err := toolchain.Path(ctx, "etcd@"+config.Version)
	if err != nil {
		return nil, err
	}
	c := &Cluster{config: config, binary: binary, token: fmt.Sprintf("understudy-%d", time.Now().UnixNano())}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if c.dir, c.ownDir, err = prepareDir(config.Dir); err != nil {
		return nil, err
	}
	if config.TLS {
		if c.creds, err = newCredentials(c.dir, config); err != nil {
			return nil, err
		}
		if c.tls, err = c.creds.clientTLS(); err != nil {
			return nil, err
		}
	}
	c.http = &http.Client{
		Timeout:   3 * time.Second,
		Transport: &http.Transport{TLSClientConfig: c.tls, DisableKeepAlives: true},
	}
	for i := range config.Members {
		ports, err := proc.Ports(2)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("m%d", i)
		m := &Member{name: name, host: config.Hosts[i%len(config.Hosts)], clientPort: ports[0], peerPort: ports[1],
			dataDir: filepath.Join(c.dir, name+".etcd"), log: filepath.Join(c.dir, name+".log")}
		if disk, ok := config.Disks[i]; ok {
			m.dataDir = filepath.Join(disk, name+".etcd")
		}
		if config.DataDir != "" {
			m.dataDir = config.DataDir
		}
		c.members = append(c.members, m)
	}
	if err := c.Launch(); err != nil {
		return nil, err
	}
	if err := c.Ready(ctx); err != nil {
		return nil, err
	}
	if config.User != "" {
		if err := c.enableAuth(ctx); err != nil {
			return nil, fmt.Errorf("enable authentication: %w", err)
		}
	}
	c.client, err = c.NewClient(clientv3.Config{})
	return c, err
}

// Launch starts every member that does not run, without waiting for it to serve.
func (c *Cluster) Launch() error {
	for i := range c.members {
		if err := c.LaunchMember(i); err != nil {
			return err
		}
	}
	return nil
}

// LaunchMember starts member i, if it does not run, without waiting for it to serve.
func (c *Cluster) LaunchMember(i int) error {
	m := c.members[i]
	if m.running() {
		return nil
	}
	process, err := proc.Start(proc.Spec{Path: c.binary, Args: c.args(m), Log: m.log,
		Env: []string{"ETCD_UNSUPPORTED_ARCH="}})
	if err == nil {
		m.process.Store(process)
	}
	return err
}

// Ready waits until every running member serves: it knows a leader and answers reads.
func (c *Cluster) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for i, m := range c.members {
		if m.running() {
			if err := c.memberReady(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Cluster) memberReady(ctx context.Context, i int) error {
	m := c.members[i]
	return m.process.Load().Until(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.endpoint(m)+"/health?serializable=false", nil)
		if err != nil {
			return err
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		// An alarm makes a member unhealthy, but it serves.
		if resp.StatusCode == http.StatusOK || c.alarmed(ctx, m) {
			return nil
		}
		return fmt.Errorf("health of %s: %s", m.name, resp.Status)
	})
}

// alarmed says whether the member knows a leader and has an alarm raised.
func (c *Cluster) alarmed(ctx context.Context, m *Member) bool {
	if c.client == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, err := c.client.Status(ctx, c.endpoint(m))
	return err == nil && status.Leader != 0 && len(status.Errors) > 0
}

// Stop ends every member and removes a temporary directory.
func (c *Cluster) Stop() {
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
	for _, m := range c.members {
		if process := m.process.Load(); process != nil {
			process.Kill() // the data is not needed any more
		}
		proc.ReleasePorts(m.clientPort, m.peerPort)
	}
	if c.ownDir {
		os.RemoveAll(c.dir)
	}
}

// Endpoints are the client URLs of the members, running or not.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, m := range c.members {
		all = append(all, c.endpoint(m))
	}
	return all
}

func (c *Cluster) endpoint(m *Member) string { return c.scheme() + "://" + m.addr() }

// Client is the kit's own client, an administrator, closed by Stop.
func (c *Cluster) Client() *clientv3.Client { return c.client }

// NewClient dials with the kit's own credentials where config names none, and
// every endpoint of the cluster where it names none. The caller closes it.
func (c *Cluster) NewClient(config clientv3.Config) (*clientv3.Client, error) {
	if len(config.Endpoints) == 0 {
		config.Endpoints = c.Endpoints()
	}
	if config.TLS == nil {
		config.TLS = c.tls
	}
	if config.Username == "" && c.config.User != "" {
		config.Username, config.Password = "root", c.config.Password
	}
	if config.DialTimeout == 0 {
		config.DialTimeout = 5 * time.Second
	}
	if config.MaxCallSendMsgSize == 0 {
		config.MaxCallSendMsgSize = 64 << 20
	}
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	return clientv3.New(config)
}

// Files are the PEM files of a cluster with TLS.
func (c *Cluster) Files() Files {
	if c.creds == nil {
		return Files{}
	}
	return c.creds.files
}

// CA is the authority of a cluster with TLS, or nil.
func (c *Cluster) CA() *certs.CA {
	if c.creds == nil {
		return nil
	}
	return c.creds.ca
}

// ReissueClient puts a client certificate of another lifetime into Files().Cert.
func (c *Cluster) ReissueClient(lifetime time.Duration) error {
	cert, err := c.creds.client.Reissue(lifetime)
	if err != nil {
		return err
	}
	return cert.WriteFiles(c.creds.files.Cert, c.creds.files.Key)
}

// ReissueServer puts a server certificate of another lifetime into
// Files().ServerCert; etcd reads it again for every new connection.
func (c *Cluster) ReissueServer(lifetime time.Duration) error {
	cert, err := c.creds.server.Reissue(lifetime)
	if err != nil {
		return err
	}
	return cert.WriteFiles(c.creds.files.ServerCert, c.creds.files.ServerKey)
}
