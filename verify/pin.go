package verify

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// Point is a pair of revisions at which both sides must be equal.
//
// Standby is not the revision of the checkpoint but the newest one at which it
// still stood: what others wrote to the standby after our last transaction
// belongs to the comparison.
type Point struct {
	Source, Standby kv.Revision
	// CheckpointRevision is the standby's revision at which the checkpoint was written.
	CheckpointRevision kv.Revision
	Checkpoint         sink.Checkpoint
}

// NoPointError says why there is no pair of revisions to compare at.
type NoPointError struct{ Reason, Hint string }

func (e *NoPointError) Error() string { return e.Reason }

// Pin reads the newest Point. Where there is none it returns a *NoPointError;
// any other error means that a side could not be read. Of the primary it reads
// keys below the scope's prefix only, which is all that a reader may have.
func Pin(ctx context.Context, sides Sides, view *scope.View) (Point, error) {
	resp, err := sides.Standby.Get(ctx, sink.CheckpointKey)
	if err != nil {
		return Point{}, fmt.Errorf("read the standby's checkpoint: %w", err)
	}
	p, err := PointOf(resp)
	if err != nil {
		return Point{}, err
	}
	if err := p.fits(view); err != nil {
		return Point{}, err
	}
	source, err := sides.Primary.Get(ctx, view.Scope.Prefix(), clientv3.WithCountOnly())
	if err != nil {
		return Point{}, fmt.Errorf("ask the primary who it is: %w", err)
	}
	if id := cluster.FormatID(source.Header.ClusterId); p.Checkpoint.SourceClusterID != id {
		return Point{}, &NoPointError{
			Reason: fmt.Sprintf("the standby was filled from the cluster %s, but the primary is %s", p.Checkpoint.SourceClusterID, id),
			Hint:   "check the endpoints of primary in the configuration",
		}
	}
	if now := kv.Revision(source.Header.Revision); p.Source > now {
		return Point{}, &NoPointError{
			Reason: fmt.Sprintf("the standby has reached revision %d of the primary, which itself is at %d: it was rolled back", p.Source, now),
			Hint:   sink.RolledBack,
		}
	}
	restored, err := Restored(ctx, sides.Primary, p.Checkpoint)
	if err != nil {
		return Point{}, err
	}
	if restored != "" {
		return Point{}, &NoPointError{Reason: restored, Hint: sink.RolledBack}
	}
	return p, nil
}

// Restored says by what the primary shows that it was restored from an old
// backup and written past the checkpoint since; "" where nothing shows it. What
// only the standby has is then no surplus: it may be the last copy.
func Restored(ctx context.Context, primary *clientv3.Client, c sink.Checkpoint) (string, error) {
	w := c.Witness
	if w == nil || c.Phase != sink.Streaming {
		return "", nil
	}
	said, err := source.Testify(ctx, primary, source.At(*w), c.SourceRevision)
	if err != nil || !said.Denied {
		return "", err
	}
	has := "does not have it"
	if said.Revision > 0 {
		has = fmt.Sprintf("has it as of revision %d", said.Revision)
	}
	return fmt.Sprintf("the primary is behind what the standby already has: the standby has %s as of revision %d, the primary %s: was it restored from an old backup and written since?",
		w.Key, w.Revision, has), nil
}

// PointOf takes the Point from an answer of the standby to a read of the
// checkpoint's key at its newest revision.
func PointOf(resp *clientv3.GetResponse) (Point, error) {
	if len(resp.Kvs) == 0 {
		return Point{}, &NoPointError{Reason: "the standby has no checkpoint: nothing has been replicated into it yet",
			Hint: "understudy sync"}
	}
	p := Point{Standby: kv.Revision(resp.Header.Revision), CheckpointRevision: kv.Revision(resp.Kvs[0].ModRevision)}
	var err error
	if p.Checkpoint, err = sink.ParseCheckpoint(resp.Kvs[0].Value); err != nil {
		return Point{}, &NoPointError{Reason: fmt.Sprintf("%s on the standby holds no checkpoint: %v", sink.CheckpointKey, err),
			Hint: sink.CheckpointDamaged}
	}
	if p.Checkpoint.Phase != sink.Streaming {
		return Point{}, &NoPointError{Reason: "a copy is under way: the standby equals the primary at no single revision until it ends",
			Hint: "understudy status says what the copy waits for"}
	}
	p.Source = p.Checkpoint.SourceRevision
	return p, nil
}

// fits says why the standby cannot be judged by view: it was filled by another
// one, and what is surplus or missing for the one may be right for the other.
func (p Point) fits(view *scope.View) error {
	c := p.Checkpoint
	if c.ScopeHash == "" || c.ScopeHash == view.Scope.Hash() && scope.SameHolds(c.HoldsHash, view.HoldsHash()) {
		return nil
	}
	return &NoPointError{
		Reason: "the standby was filled with another scope or other holds than those configured here",
		Hint:   "use the daemon's configuration, or restart the daemon with this one: it then compares and writes what differs",
	}
}
