package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

// Member is one etcd of a cluster.
type Member struct {
	ID         uint64   `json:"-"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"-"`
	Learner    bool     `json:"learner,omitempty"`
}

// Members lists the members of the cluster, those that are down too.
func (c *Cluster) Members(ctx context.Context) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.config.DialTimeout)
	defer cancel()
	all, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.Name == "" {
			return nil, &remedy.Error{Op: "list the members of " + c.Name, Err: fmt.Errorf("member %x has not started yet", m.ID),
				Remedy: "start it, or remove it: " + c.Etcdctl() + fmt.Sprintf(" member remove %x", m.ID)}
		}
	}
	return all, nil
}

// Snapshot writes etcd's own snapshot, with its checksum at the end, to w. It
// is taken by the leader, where that is among the configured endpoints, and
// holds everything up to the returned revision at least.
func (c *Cluster) Snapshot(ctx context.Context, w io.Writer) (kv.Revision, error) {
	known, err := c.Identify(ctx, FillerKey)
	if err != nil {
		return 0, err
	}
	single := c.config
	single.Endpoints = []string{c.upToDate(ctx, known.Revision)}
	if single.Endpoints[0] == "" {
		return 0, &remedy.Error{Op: "take a snapshot of " + c.Name, Err: fmt.Errorf("no member that answers has revision %d yet", known.Revision),
			Remedy: "try again; see: " + c.Etcdctl() + " endpoint status"}
	}
	one, err := Dial(ctx, single)
	if err != nil {
		return 0, err
	}
	defer one.Close()
	wrong := func(err error) error {
		e := &remedy.Error{Op: "take a snapshot of " + c.Name, Err: err, Remedy: "try again"}
		if IsDenied(err) {
			e.Remedy, e.Code = "where etcd's authentication is on, a snapshot needs a user with the role root", remedy.Auth
		}
		return e
	}
	resp, err := one.Client.SnapshotWithVersion(ctx)
	if err != nil {
		return 0, wrong(err)
	}
	defer resp.Snapshot.Close()
	n, err := io.Copy(w, resp.Snapshot)
	if err == nil && n%512 != 32 { // pages, and a SHA-256 behind them
		err = errors.New("it broke off")
	}
	if err != nil {
		return 0, wrong(err)
	}
	return known.Revision, nil
}

// upToDate is the endpoint of a member that has rev: the leader, or else any.
func (c *Cluster) upToDate(ctx context.Context, rev kv.Revision) (found string) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.config.DialTimeout)
	defer cancel()
	for _, endpoint := range c.config.Endpoints {
		s, err := c.Client.Status(ctx, endpoint)
		switch {
		case err != nil || s.Header.Revision < int64(rev):
		case s.Leader == s.Header.MemberId:
			return endpoint
		default:
			found = endpoint
		}
	}
	return found
}
