// Package role answers who may write to a cluster: its role and term, which
// daemon leads, and whether replication is paused.
//
// The answers are keys in the cluster's own etcd. A writer turns them into
// compares of its transactions, so a deposed writer is refused by etcd itself,
// however late it wakes up.
package role

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/remedy"
)

// Keys of this package in each cluster's etcd.
const (
	Key       = "/understudy/role"
	LeaderDir = "/understudy/leader"
	PausedKey = "/understudy/paused"
)

// The roles of a cluster.
const (
	Primary = "primary"
	Standby = "standby"
)

// State is what a cluster is in its pair.
type State struct {
	Role  string    `json:"role"`
	Term  int64     `json:"term"` // grows by one at every change of role
	Pair  string    `json:"pair"`
	Peer  string    `json:"peer"` // cluster ID of the other side, hex
	Since time.Time `json:"since"`
	By    string    `json:"by"` // the operation, or "sync" where the pair was formed by the daemon

	// Revision is the one at which the key was last written; 0 = no role yet.
	Revision int64 `json:"-"`
}

// Read returns a cluster's role; the zero State where it has none.
func Read(ctx context.Context, client *clientv3.Client) (State, error) {
	resp, err := client.Get(ctx, Key)
	if err != nil {
		return State{}, fmt.Errorf("read the role: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return State{}, nil
	}
	var s State
	if err := json.Unmarshal(resp.Kvs[0].Value, &s); err != nil {
		return State{}, damaged(err)
	}
	s.Revision = resp.Kvs[0].ModRevision
	return s, nil
}

// damaged is refused rather than tried again: who goes on without the role may
// write to a primary.
func damaged(err error) error {
	return &remedy.Error{Op: "read the role", Err: fmt.Errorf("%s holds no role: %w", Key, err), Code: remedy.Refused,
		Remedy: "if the cluster is the standby: understudy forget role --apply, and understudy sync writes it anew when the primary answers; one that has been promoted must not forget that it was"}
}

// EnsureStandby makes a cluster without a role the standby of a pair at term
// 1, and returns the role of one that has it already. A primary is refused: to
// replicate into it would overwrite what it serves.
func EnsureStandby(ctx context.Context, client *clientv3.Client, pair, peer string, now time.Time) (State, error) {
	want := State{Role: Standby, Term: 1, Pair: pair, Peer: peer, Since: now.UTC(), By: "sync"}
	raw, err := json.Marshal(want)
	if err != nil {
		return State{}, err
	}
	_, err = client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(Key), "=", 0)).
		Then(clientv3.OpPut(Key, string(raw))).Commit()
	if err != nil {
		return State{}, fmt.Errorf("write the standby's role: %w", err)
	}
	s, err := Read(ctx, client)
	if err != nil {
		return State{}, err
	}
	return s, s.AcceptsReplication(peer)
}

// AcceptsReplication says why a cluster with this role may not be written by
// the replication from the cluster peer; nil where it may.
func (s State) AcceptsReplication(peer string) error {
	switch {
	case s.Revision == 0:
		return nil
	case s.Role == Primary:
		return &remedy.Error{Op: "replicate into the standby",
			Err:    fmt.Errorf("it is the primary of pair %q since %s (term %d)", s.Pair, s.Since.Format(time.RFC3339), s.Term),
			Remedy: "if the roles have changed, swap primary and standby in the config", Code: remedy.Refused}
	case s.Peer != "" && s.Peer != peer:
		return &remedy.Error{Op: "replicate into the standby",
			Err:    fmt.Errorf("it belongs to pair %q with the primary %s, but the configured primary is %s", s.Pair, s.Peer, peer),
			Remedy: "check the endpoints of primary; to pair the standby with another primary: understudy forget role --apply", Code: remedy.Refused}
	}
	return nil
}

// Pause is a standing order to apply nothing.
type Pause struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// ReadPause returns the order to pause, nil where there is none.
func ReadPause(ctx context.Context, client *clientv3.Client) (*Pause, error) {
	resp, err := client.Get(ctx, PausedKey)
	if err != nil {
		return nil, fmt.Errorf("read whether replication is paused: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return nil, nil
	}
	var p Pause
	if err := json.Unmarshal(resp.Kvs[0].Value, &p); err != nil {
		return &Pause{Reason: "unreadable order"}, nil // an order that cannot be read still holds
	}
	return &p, nil
}

// SetPause pauses replication into the cluster, at once and for every daemon.
// It returns the order that stands, which may be an earlier one.
func SetPause(ctx context.Context, client *clientv3.Client, p Pause) (Pause, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	_, err = client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(PausedKey), "=", 0)).
		Then(clientv3.OpPut(PausedKey, string(raw))).Commit()
	if err != nil {
		return p, fmt.Errorf("pause replication: %w", err)
	}
	stands, err := ReadPause(ctx, client)
	if err != nil {
		return p, err
	}
	if stands == nil {
		return p, errors.New("pause replication: resumed by somebody else at the same time")
	}
	return *stands, nil
}

// ClearPause lets replication go on; false where it was not paused.
func ClearPause(ctx context.Context, client *clientv3.Client) (bool, error) {
	resp, err := client.Delete(ctx, PausedKey)
	if err != nil {
		return false, fmt.Errorf("resume replication: %w", err)
	}
	return resp.Deleted > 0, nil
}
