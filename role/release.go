package role

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
)

const (
	// ReleaseKey holds the Release that stands on a standby, or stood last. It is
	// written in every transaction that releases objects or holds them again by hand.
	ReleaseKey = "/understudy/release"
	// ReleasedDir holds one key for every object that was released and has not been
	// held again since; it is written in the same transaction.
	ReleasedDir = "/understudy/released"
)

// ReleasedKey is where it stands that the object at key is released.
func ReleasedKey(key string) string { return ReleasedDir + key }

// Release says that held objects were released: they act, and what they became is
// on the standby alone. Replication would hold them again and write over them, so
// it waits until somebody has answered.
type Release struct {
	Since time.Time `json:"since,omitzero"` // the first of them; zero = nothing was released, objects were held by hand
	By    string    `json:"by,omitempty"`
	// PrimaryGone: the primary did not answer then. The standby may have taken over.
	PrimaryGone bool           `json:"primaryGone,omitempty"`
	Last        string         `json:"last"` // what was done last, and when
	Answer      *ReleaseAnswer `json:"answer,omitempty"`

	Revision kv.Revision `json:"-"` // of the standby, at which it was written last
	Objects  int64       `json:"-"` // that are released now
}

// ReleaseAnswer is that replication may go on all the same.
type ReleaseAnswer struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Plan string    `json:"plan,omitempty"` // that was shown
}

// String is for people: "12 objects are released since 2026-01-01T10:00:00Z by op@host".
func (r *Release) String() string {
	by := ""
	if r.By != "" {
		by = " by " + r.By
	}
	since := r.Since.UTC().Format(time.RFC3339)
	switch r.Objects {
	case 0:
		return "held objects were released at " + since + by + ", and are held again; what was done there meanwhile would be written over"
	case 1:
		return "1 object is released since " + since + by + ", and acts there; replication would hold it again"
	}
	return grouped(r.Objects) + " objects are released since " + since + by + ", and act there; replication would hold them again"
}

// Remedy is what an operator does about a release that stands. As long as something
// is released, it never is to go on as if nothing were.
func (r *Release) Remedy() string {
	if r.Objects == 0 {
		return "understudy resume shows what replication would write over, and asks"
	}
	return "if the primary is in charge, make them inert again: understudy hold apply; if the standby has taken over, leave it so, and keep the primary off (docs/promotion-by-hand.md)"
}

// Stands reports whether replication has to wait on a standby whose checkpoint
// was written at the revision given.
func (r *Release) Stands(checkpoint kv.Revision) bool {
	return r != nil && !r.Since.IsZero() && r.Answer == nil && r.Revision > checkpoint
}

// ReadRelease returns what was released last; nil = nothing ever was. A record that
// cannot be read stands until it is answered.
func ReadRelease(ctx context.Context, client *clientv3.Client) (*Release, error) {
	resp, err := client.Txn(ctx).Then(clientv3.OpGet(ReleaseKey),
		clientv3.OpGet(ReleasedDir+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())).Commit()
	if err != nil {
		return nil, fmt.Errorf("read what was released on the standby: %w", err)
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return nil, nil
	}
	var r Release
	if json.Unmarshal(kvs[0].Value, &r) != nil {
		r = Release{Since: time.Unix(0, 0).UTC(), By: "unknown", PrimaryGone: true}
	}
	r.Revision, r.Objects = kv.Revision(kvs[0].ModRevision), resp.Responses[1].GetResponseRange().Count
	return &r, nil
}

// Unchanged is the compare that holds as long as nothing more is released or held by
// hand than r says; nil = nothing ever was.
func (r *Release) Unchanged() clientv3.Cmp {
	revision := kv.Revision(0)
	if r != nil {
		revision = r.Revision
	}
	return clientv3.Compare(clientv3.ModRevision(ReleaseKey), "=", int64(revision))
}

// ErrReleaseChanged means that objects were released while the answer was given.
var ErrReleaseChanged = errors.New("objects were released or held meanwhile, or somebody else has answered")

// AnswerRelease lets replication go on after the release that the operator saw.
func AnswerRelease(ctx context.Context, client *clientv3.Client, seen Release, a ReleaseAnswer) error {
	seen.Answer = &a
	raw, err := json.Marshal(seen)
	if err != nil {
		return err
	}
	resp, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(ReleaseKey), "=", int64(seen.Revision))).
		Then(clientv3.OpPut(ReleaseKey, string(raw))).Commit()
	if err != nil {
		return fmt.Errorf("answer the release: %w", err)
	}
	if !resp.Succeeded {
		return ErrReleaseChanged
	}
	return nil
}
