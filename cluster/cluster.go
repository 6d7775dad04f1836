// Package cluster is one etcd cluster as a whole: how to reach it, and who it is.
//
// A Cluster does not retry. Certificates are read again from their files for
// every new connection, so replacing the files is all a renewal takes.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

// Config says how to reach an etcd cluster. Files are PEM.
type Config struct {
	Name      string // for people
	Endpoints []string
	CA        string // file; empty = the system's roots
	Cert, Key string // files; both or none
	// ServerName is the name to verify in the server's certificate; empty =
	// the host of the endpoint.
	ServerName   string
	Username     string
	PasswordFile string
	// DialTimeout bounds one attempt to connect; 0 = 5 s.
	DialTimeout time.Duration
}

// Cluster is a connection to one etcd cluster. Close it after use.
type Cluster struct {
	Name   string
	Client *clientv3.Client
	config Config

	every    []string // endpoints, those of deviants too
	deviants []MemberHealth
}

// maxMessage bounds what one answer may cost us in memory. A page that would
// be larger is asked for again in smaller parts.
const maxMessage = 64 << 20

// Dial connects to the cluster and checks that at least one endpoint answers.
// The error says for every endpoint why it does not, with exit code 8 where
// certificates or passwords are the cause.
func Dial(ctx context.Context, c Config) (*Cluster, error) {
	if c.DialTimeout == 0 {
		c.DialTimeout = 5 * time.Second
	}
	tls, err := c.tls()
	if err != nil {
		return nil, err
	}
	var password string
	if c.Username != "" {
		raw, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, &remedy.Error{Op: "read the password of etcd user " + c.Username + " on " + c.Name, Err: err,
				Remedy: "set passwordFile to a file that holds it", Code: remedy.Usage}
		}
		password = strings.TrimRight(string(raw), "\r\n")
	}
	if why := c.diagnose(ctx); why != nil {
		return nil, why
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            c.Endpoints,
		TLS:                  tls,
		Username:             c.Username,
		Password:             password,
		DialTimeout:          c.DialTimeout,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		PermitWithoutStream:  false, // etcd hangs up on clients that ping an idle connection (too_many_pings)
		MaxCallRecvMsgSize:   maxMessage,
		MaxCallSendMsgSize:   maxMessage, // the server's --max-request-bytes decides; the client's default is 2 MiB
		RejectOldCluster:     false,
		Logger:               zap.NewNop(), // our callers say what they could not do, once
		DialOptions:          []grpc.DialOption{grpc.WithInitialWindowSize(4 << 20), grpc.WithInitialConnWindowSize(8 << 20)},
		Context:              context.WithoutCancel(ctx),
	})
	if err != nil {
		return nil, c.explain(err)
	}
	cl := &Cluster{Name: c.Name, Client: client, config: c, every: c.Endpoints}
	if err := cl.probe(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return cl, nil
}

// Close ends the connection.
func (c *Cluster) Close() error { return c.Client.Close() }

// probe makes one real request that needs no permission on any key, of every member.
// What disagrees with the majority is left out from here on.
func (c *Cluster) probe(ctx context.Context) error {
	answers, err := c.ask(ctx, c.every, patience)
	if err != nil {
		return err
	}
	return c.avoidDeviants(ctx, answers)
}

// patience is how long members may take to answer after the first one has.
const patience = time.Second

// Identity is who a cluster is and where it stands.
type Identity struct {
	ID       uint64
	Revision kv.Revision
	Version  string // the lowest among the members that answer, "3.6.16"
}

// TellsProgress reports whether a progress notification of this etcd means
// what it says: that all earlier events have been sent. Before 3.4.25 and 3.5.8
// it could overtake them (etcd issue 15220).
func (i Identity) TellsProgress() bool {
	v, err := semver.NewVersion(i.Version)
	if err != nil {
		return false
	}
	since := semver.Version{Major: 3, Minor: 5, Patch: 8}
	if v.Major == 3 && v.Minor == 4 {
		since = semver.Version{Major: 3, Minor: 4, Patch: 25}
	}
	return !v.LessThan(since)
}

// ErrKine means that what answers is kine, which stores an API server's keys in SQL.
var ErrKine = errors.New("this is kine, not etcd: it has neither a cluster ID nor transactions over several keys, on which replication rests")

// isKine tells kine from etcd by its headers: an etcd always has both IDs
// (k3s-io/kine, pkg/server/kv.go and maintenance.go).
func isKine(h *pb.ResponseHeader) bool { return h.ClusterId == 0 && h.MemberId == 0 }

// Identify reads who the cluster is and its newest revision, by a linearizable
// read of key: a member that lags cannot answer for the cluster. key is one
// that the user may read; it need not exist.
func (c *Cluster) Identify(ctx context.Context, key string) (Identity, error) {
	attempt, cancel := context.WithTimeout(ctx, 2*c.config.DialTimeout)
	defer cancel()
	resp, err := c.Client.Get(attempt, key, clientv3.WithKeysOnly())
	if err != nil {
		return Identity{}, c.explain(err)
	}
	if isKine(resp.Header) {
		return Identity{}, &remedy.Error{Op: "read " + c.Name, Err: ErrKine, Code: remedy.Refused,
			Remedy: "understudy replicates between etcds; k3s moves from kine to an etcd of its own with k3s server --cluster-init"}
	}
	id := Identity{ID: resp.Header.ClusterId, Revision: kv.Revision(resp.Header.Revision)}
	members, _ := c.ask(attempt, c.config.Endpoints, patience)
	for _, m := range members {
		if m.err == nil && (id.Version == "" || older(m.status.Version, id.Version)) {
			id.Version = m.status.Version
		}
	}
	return id, nil
}

func older(a, b string) bool {
	va, errA := semver.NewVersion(a)
	vb, errB := semver.NewVersion(b)
	return errA == nil && errB == nil && va.LessThan(*vb)
}

// FormatID writes a cluster ID the way etcdctl does in its table output.
func FormatID(id uint64) string { return fmt.Sprintf("%x", id) }
