package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

// Root is the directory of everything that Understudy keeps in a cluster.
const Root = "/understudy/"

const (
	// CheckpointKey holds the Checkpoint. Every transaction of ours writes it,
	// so a write at a revision at which it did not change is not ours.
	CheckpointKey = Root + "checkpoint"
	// SurplusPrefix holds one key for every key in scope that only the standby has
	// and that did not come from the primary, or that it kept when the primary lost it.
	SurplusPrefix = Root + "surplus"
	// SurplusKept is the value for one that was the primary's, and SurplusReleased
	// where it was held and has been released: it is to be held again. Others are empty.
	SurplusKept     = "kept"
	SurplusReleased = "released"
	// ConflictPrefix holds one key for every key in scope under which the standby has
	// an object of its own that the primary's does not replace; see Conflict.
	ConflictPrefix = Root + "conflict"
	// OperatorKey is written by every command that writes objects of the standby
	// beside the replication, in the same transaction. It holds when and which.
	OperatorKey = Root + "operator"
	// ReleaseKey is written in the same way by commands that release or apply holds.
	ReleaseKey = Root + "release"
	// PrimaryKey holds by what the primary is known: see Home of package hold.
	PrimaryKey = Root + "primary"
	// MomentsKey holds revisions of the standby, each with a time at which it was there.
	MomentsKey = Root + "moments"
	// VigilKey holds what others did on the standby since the checkpoint, while no
	// primary answers; see package vigil.
	VigilKey = Root + "vigil"
	// ReportKey holds the daemon's last report.
	ReportKey = Root + "report"
	// PreflightKey holds the last preflight of a pair. Nothing reads it but the next.
	PreflightKey = Root + "preflight"
)

// Phase says what a checkpoint promises.
type Phase string

const (
	// Copying: a copy is under way; the standby equals the primary at no
	// single revision.
	Copying Phase = "copying"
	// Streaming: the standby has everything in scope up to SourceRevision.
	Streaming Phase = "streaming"
)

// Checkpoint says how far the standby is. It is stored as JSON.
type Checkpoint struct {
	SourceClusterID string      `json:"sourceClusterID"` // hex, as etcdctl prints it
	SourceRevision  kv.Revision `json:"sourceRevision"`  // in a copy: the revision that it is pinned to
	Time            time.Time   `json:"time"`            // the daemon's clock, for people only
	ScopeHash       string      `json:"scopeHash"`
	HoldsHash       string      `json:"holdsHash"`
	Phase           Phase       `json:"phase"`
	// Base is, while copying, the last checkpoint that was complete; keys on
	// the standby that are not newer than it came from the primary.
	Base *Base `json:"base,omitempty"`
	// Interrupted are, while copying, the primary's revisions that earlier
	// copies on the same base were pinned to and did not finish.
	Interrupted []kv.Revision `json:"interrupted,omitempty"`
	// Guarded is the standby's revision up to which every key in scope that
	// somebody else created there has its record below SurplusPrefix.
	Guarded kv.Revision `json:"guarded,omitempty"`
	// Witness is a key as the primary had it at SourceRevision. A primary that
	// was restored from a backup and written since is known by it.
	Witness *Witness `json:"witness,omitempty"`
	// Spares are other keys written before it, the newest first, for when it is deleted.
	Spares []Witness `json:"spares,omitempty"`
}

// Conflict is what is recorded of a key below ConflictPrefix, as JSON.
type Conflict struct {
	Standby string    `json:"standby"` // UID of the object that stays
	Primary string    `json:"primary"` // UID of the one that is not replicated
	Since   time.Time `json:"since"`   // the daemon's clock, for people only
}

// Witness is a key and the primary's revision of its last write.
type Witness struct {
	Key      string      `json:"key"`
	Revision kv.Revision `json:"revision"`
}

// Complete is the primary's revision that the standby was complete at last; 0 =
// at none that is known.
func (c Checkpoint) Complete() kv.Revision {
	switch {
	case c.Phase == Streaming:
		return c.SourceRevision
	case c.Base != nil:
		return c.Base.SourceRevision
	}
	return 0
}

// Base is a complete checkpoint that a copy starts from.
type Base struct {
	SourceRevision  kv.Revision `json:"sourceRevision"`
	StandbyRevision kv.Revision `json:"standbyRevision"`
}

// Stored is a checkpoint as it stands in the standby's etcd.
type Stored struct {
	Checkpoint
	// Revision is the standby's revision at which it was last written; 0 where
	// there is no checkpoint.
	Revision kv.Revision
	raw      string
}

// Exists reports whether there is a checkpoint at all.
func (s Stored) Exists() bool { return s.Revision != 0 }

// ReadCheckpoint reads the standby's checkpoint with a linearizable read. A
// standby without one gives the zero Stored and no error.
func ReadCheckpoint(ctx context.Context, client *clientv3.Client) (Stored, error) {
	resp, err := client.Get(ctx, CheckpointKey)
	if err != nil {
		return Stored{}, fmt.Errorf("read the standby's checkpoint: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return Stored{}, nil
	}
	return decodeCheckpoint(resp.Kvs[0].Value, resp.Kvs[0].ModRevision)
}

// RolledBack is what helps where the primary has lost what the checkpoint says it had.
const RolledBack = "the standby may hold the newer data: look at both sides before anything is overwritten; " +
	"to follow the restored primary all the same: understudy forget checkpoint --apply, then: understudy sync"

// CheckpointDamaged is what helps where the checkpoint's key holds none.
const CheckpointDamaged = "understudy forget checkpoint --apply; then understudy sync compares both sides and writes what differs"

func decodeCheckpoint(raw []byte, revision int64) (Stored, error) {
	s := Stored{Revision: kv.Revision(revision), raw: string(raw)}
	var err error
	if s.Checkpoint, err = ParseCheckpoint(raw); err != nil {
		return Stored{}, &remedy.Error{Op: "read the standby's checkpoint", Err: fmt.Errorf("%s holds no checkpoint: %w", CheckpointKey, err),
			Remedy: CheckpointDamaged}
	}
	return s, nil
}

// ParseCheckpoint reads a stored checkpoint, and refuses one that is not as it
// was written: with a wrong revision in it changes would be passed over. Older
// ones have no sum.
func ParseCheckpoint(raw []byte) (Checkpoint, error) {
	var c Checkpoint
	var stored struct {
		Sum string `json:"sum"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return Checkpoint{}, err
	}
	if err := json.Unmarshal(raw, &stored); err != nil {
		return Checkpoint{}, err
	}
	body, whole := bytes.CutSuffix(raw, sumOf(stored.Sum))
	if stored.Sum != "" && (!whole || stored.Sum != checksum(body)) {
		return Checkpoint{}, errors.New("damaged: its checksum is another")
	}
	return c, nil
}

// encode ends with the sum of everything before it, whatever fields a later
// version may add.
func (c Checkpoint) encode() string {
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, numbers and a time: cannot happen
	}
	body := raw[:len(raw)-1]
	return string(append(body, sumOf(checksum(body))...))
}

func sumOf(sum string) []byte { return []byte(`,"sum":"` + sum + `"}`) }

func checksum(body []byte) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) }
