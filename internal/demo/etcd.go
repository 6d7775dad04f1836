// Package demo is the stage of "understudy demo": two etcd clusters inside this
// process, writers that remember what was acknowledged to them, and the account
// of what of it the standby has.
//
// The clusters are etcd's own server with its fsync on, listening on loopback
// only. Nothing here uses the replication's own word for what was replicated:
// keys are read back from the standby, decrypted and compared.
package demo

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

const (
	// startWithin bounds how long an etcd may take until it serves.
	startWithin = 30 * time.Second
	// startAttempts is how often another pair of ports is tried: between
	// choosing a free one and using it, somebody else may take it.
	startAttempts = 3
)

// Etcd is a cluster of one member in this process.
type Etcd struct {
	Endpoint string
	etcd     *embed.Etcd
	// serving are the servers of the client port, of which etcd has one per URL.
	serving []*grpc.Server
	once    sync.Once
}

// StartEtcd starts a new cluster with its data below dir and returns when it
// serves. The name makes its cluster ID differ from other clusters'.
func StartEtcd(name, dir string) (*Etcd, error) {
	var err error
	for range startAttempts {
		var e *Etcd
		if e, err = start(name, dir); err == nil {
			return e, nil
		}
	}
	return nil, fmt.Errorf("start the etcd %s: %w", name, err)
}

func start(name, dir string) (*Etcd, error) {
	client, err1 := freeURL()
	peer, err2 := freeURL()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	e := &Etcd{Endpoint: client.String()}
	c := embed.NewConfig()
	c.Name, c.Dir = name, filepath.Join(dir, name+".etcd")
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(name)
	c.InitialClusterToken = name
	c.EnableGRPCGateway = false
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	c.ServiceRegister = func(s *grpc.Server) { e.serving = append(e.serving, s) }

	var err error
	if e.etcd, err = embed.StartEtcd(c); err != nil {
		return nil, err
	}
	select {
	case <-e.etcd.Server.ReadyNotify():
		return e, nil
	case err = <-e.etcd.Err():
	case <-time.After(startWithin):
		err = fmt.Errorf("it does not serve after %s", startWithin)
	}
	e.etcd.Close()
	return nil, err
}

// freeURL is a URL on loopback with a port that was free a moment ago.
func freeURL() (url.URL, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return url.URL{}, err
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}, nil
}

// Kill ends the cluster the way a power cut does, as far as others can see:
// every connection breaks at once, in the middle of requests and of answers,
// nobody is told, and no port listens any more. It returns when all
// connections are cut; Close frees the rest.
func (e *Etcd) Kill() {
	for _, l := range e.etcd.Clients {
		_ = l.Close()
	}
	for _, s := range e.serving {
		s.Stop()
	}
	e.etcd.Server.HardStop()
}

// Close ends the cluster; after Kill too.
func (e *Etcd) Close() { e.once.Do(e.etcd.Close) }
