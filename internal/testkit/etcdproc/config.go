package etcdproc

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit/certs"
)

// Config describes an etcd cluster. The zero Config is one member of 3.6,
// plain text, in a temporary directory.
type Config struct {
	Version string   // "3.5", "3.6" or "3.7"
	Members int      // 1 if zero
	Flags   []string // added to every member's command line
	// Hosts are the loopback addresses that members listen on, in turn; "127.0.0.1"
	// alone if empty. "::1" makes a cluster of IPv6.
	Hosts   []string
	Dir     string // holds data, certificates and logs; temporary, removed by Stop, if empty
	DataDir string // an existing data directory to run on; one member only
	TLS     bool   // server certificates, and client certificates required
	// Disks says where a member keeps its data directory instead of in Dir.
	Disks map[int]string
	// ServerLifetime and ClientLifetime bound the certificates; a day if zero.
	ServerLifetime, ClientLifetime time.Duration
	// User and Password turn on etcd's authentication. There is always the
	// user root, with the same password; another User may read and write every key.
	User, Password string
	// Fsync makes members wait for the disk. Without it a killed process loses
	// nothing either; only a killed machine would.
	Fsync bool
}

// Files are the PEM files of a cluster with TLS.
type Files struct {
	CA, Cert, Key         string // what a client needs
	ServerCert, ServerKey string
}

// credentials are the certificates of a cluster.
type credentials struct {
	ca             *certs.CA
	server, client *certs.Cert
	files          Files
}

func newCredentials(dir string, cfg Config) (*credentials, error) {
	ca, err := certs.NewCA("etcd")
	if err != nil {
		return nil, err
	}
	server, err := ca.Issue(certs.Leaf{CommonName: "etcd", Lifetime: cfg.ServerLifetime})
	if err != nil {
		return nil, err
	}
	// With authentication on, etcd takes the common name for the user.
	user := cfg.User
	if user == "" {
		user = "client"
	}
	client, err := ca.Issue(certs.Leaf{CommonName: user, Lifetime: cfg.ClientLifetime})
	if err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	c := &credentials{ca: ca, server: server, client: client, files: Files{
		CA: in("ca.crt"), Cert: in("client.crt"), Key: in("client.key"),
		ServerCert: in("server.crt"), ServerKey: in("server.key"),
	}}
	if err := ca.WriteFile(c.files.CA); err != nil {
		return nil, err
	}
	if err := ca.WriteKey(in("ca.key")); err != nil { // beside it, as kubeadm has it
		return nil, err
	}
	if err := server.WriteFiles(c.files.ServerCert, c.files.ServerKey); err != nil {
		return nil, err
	}
	return c, client.WriteFiles(c.files.Cert, c.files.Key)
}

// clientTLS is for the kit's own access. Its certificate outlives the one in
// the files, so that a test about expiry can still look.
func (c *credentials) clientTLS() (*tls.Config, error) {
	cert, err := c.ca.Issue(certs.Leaf{CommonName: "root"})
	if err != nil {
		return nil, err
	}
	config := cert.ClientTLS()
	config.InsecureSkipVerify = true // even when the server's certificate has expired
	return config, nil
}

// args is the command line of member m.
func (c *Cluster) args(m *Member) []string {
	scheme := c.scheme()
	cluster := ""
	for i, member := range c.members {
		if i > 0 {
			cluster += ","
		}
		cluster += member.name + "=" + member.peerURL()
	}
	args := []string{
		"--name=" + m.name,
		"--data-dir=" + m.dataDir,
		"--listen-client-urls=" + scheme + "://" + m.addr(),
		"--advertise-client-urls=" + scheme + "://" + m.addr(),
		"--listen-peer-urls=" + m.peerURL(),
		"--initial-advertise-peer-urls=" + m.peerURL(),
		"--initial-cluster=" + cluster,
		"--initial-cluster-token=" + c.token,
		"--logger=zap",
		"--log-outputs=stderr",
		"--log-level=info",
	}
	if !c.config.Fsync {
		args = append(args, "--unsafe-no-fsync")
	}
	if c.creds != nil {
		f := c.creds.files
		args = append(args, "--cert-file="+f.ServerCert, "--key-file="+f.ServerKey,
			"--client-cert-auth", "--trusted-ca-file="+f.CA)
	}
	return append(args, c.config.Flags...)
}

func (c *Cluster) scheme() string {
	if c.config.TLS {
		return "https"
	}
	return "http"
}

func (m *Member) addr() string { return net.JoinHostPort(m.host, strconv.Itoa(m.clientPort)) }
func (m *Member) peerURL() string {
	return "http://" + net.JoinHostPort(m.host, strconv.Itoa(m.peerPort))
}

// listens refuses to test without what the test is about.
func listens(host string) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return fmt.Errorf("this machine has no %s to listen on, so nothing about it can be tested here; where it is ::1: sysctl net.ipv6.conf.lo.disable_ipv6=0: %w", host, err)
	}
	return l.Close()
}

// prepareDir gives the directory that holds everything, and whether it is ours to remove.
func prepareDir(dir string) (string, bool, error) {
	if dir != "" {
		return dir, false, os.MkdirAll(dir, 0o755)
	}
	dir, err := os.MkdirTemp("", "understudy-etcd-")
	return dir, true, err
}
