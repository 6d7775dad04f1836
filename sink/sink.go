// Package sink applies changes to the standby's etcd.
//
// Changes, the checkpoint they reach and the check of the fence share one
// transaction, so after a crash data and checkpoint agree, and a deposed daemon
// cannot write. sink never retries; package replica decides when to.
package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-dr/understudy/kv"
)

var (
	// ErrFenced means that a compare of the fence failed: another daemon
	// leads, the role changed, or replication is paused. Nothing was written.
	ErrFenced = errors.New("no longer allowed to write to the standby")
	// ErrMoved means that the checkpoint is not the one this sink wrote last.
	// Nothing was written. Read it again before doing anything else.
	ErrMoved = errors.New("the standby's checkpoint is not where it was left")
	// ErrChanged means that somebody has written a key since it was read for
	// this transaction. Nothing was written. Read it again.
	ErrChanged = errors.New("changed on the standby meanwhile")
	// ErrTooLarge means that the standby's limits refuse the transaction
	// (--max-txn-ops, --max-request-bytes). Nothing was written.
	ErrTooLarge = errors.New("larger than the standby accepts")
	// ErrNoSpace means that the standby's database is full. Nothing was written.
	ErrNoSpace = errors.New("the standby's etcd is out of space")
)

// ChangedError is ErrChanged with the keys.
type ChangedError struct{ Keys []string }

func (e *ChangedError) Error() string {
	if len(e.Keys) == 1 {
		return fmt.Sprintf("%v: %s", ErrChanged, e.Keys[0])
	}
	return fmt.Sprintf("%v: %s and %d more", ErrChanged, e.Keys[0], len(e.Keys)-1)
}

// Is makes it an ErrChanged.
func (e *ChangedError) Is(target error) bool { return target == ErrChanged }

// Unchanged demands that a key of the standby still stands as it was read.
type Unchanged struct {
	Key      string
	Revision kv.Revision // at which it was last written; 0 = it does not exist
}

// Limits are those of the destination's etcd.
type Limits struct {
	MaxOps   int // --max-txn-ops; 0 = 128
	MaxBytes int // --max-request-bytes; 0 = 1.5 MiB
}

func (l Limits) withDefaults() Limits {
	if l.MaxOps == 0 {
		l.MaxOps = 128
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = 1536 << 10
	}
	return l
}

// Sink writes to one standby under one fence. It is for one goroutine, but for
// ApplyCopy and Put.
type Sink struct {
	client *clientv3.Client
	remote pb.KVClient
	fence  []clientv3.Cmp
	limits Limits
	last   Stored
}

// New returns a sink that continues from the checkpoint last, as read by
// ReadCheckpoint. Every transaction demands that all compares of fence hold.
func New(client *clientv3.Client, fence []clientv3.Cmp, limits Limits, last Stored) *Sink {
	return &Sink{client: client, remote: clientv3.RetryKVClient(client), fence: fence, limits: limits.withDefaults(), last: last}
}

// Last is the checkpoint that this sink knows to stand in the standby.
func (s *Sink) Last() Stored { return s.last }

// Room is what one transaction holds besides the checkpoint and the fence.
func (s *Sink) Room() Room {
	overhead := 1024 // the checkpoint, the compares and the framing
	for _, c := range s.fence {
		overhead += len(c.Key) + 32
	}
	// etcd counts compares against the same limit: those of the fence and the
	// checkpoint, and at most one for each operation.
	return Room{Ops: max(1, s.limits.MaxOps-1-len(s.fence)), Bytes: s.limits.MaxBytes - overhead}
}

// Room is how much fits into one transaction. A single change may exceed
// Bytes; then the destination decides.
type Room struct{ Ops, Bytes int }

// Fits reports whether a change of the given size still fits beside what is
// there already.
func (r Room) Fits(ops, bytes int, c kv.Change) bool {
	return ops < r.Ops && bytes+cost(c) <= r.Bytes
}

// Cost is what the changes take of a Room's bytes.
func Cost(changes []kv.Change) int {
	sum := 0
	for _, c := range changes {
		sum += cost(c)
	}
	return sum
}

// CostOf is what a key and a value of these lengths take of a Room's bytes.
func CostOf(key, value int) int { return key + value + 24 }

func cost(c kv.Change) int { return CostOf(len(c.Key), len(c.Value)) }

// Apply writes changes and the checkpoint next in one transaction, if the
// fence holds, the checkpoint is the one this sink wrote last, and all keys of
// unchanged stand as they were read. No key may stand in changes twice; changes
// may be empty.
//
// After an error other than ErrFenced, ErrMoved, ErrChanged, ErrTooLarge and ErrNoSpace
// the outcome is unknown: read the checkpoint and begin again from it with a new
// sink. A late transaction cannot slip in then: it compares the checkpoint that
// it started from.
func (s *Sink) Apply(ctx context.Context, changes []kv.Change, next Checkpoint, unchanged ...Unchanged) error {
	compares := append([]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(CheckpointKey), "=", int64(s.last.Revision))}, s.fence...)
	for _, u := range unchanged {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(u.Key), "=", int64(u.Revision)))
	}
	raw := next.encode()
	revision, err := s.commit(ctx, compares, operations(changes, raw), unchanged...)
	if err != nil {
		return err
	}
	s.last = Stored{Checkpoint: next, Revision: revision, raw: raw}
	return nil
}

// ApplyCopy writes changes within the copy that the sink's checkpoint
// announces. Several goroutines may call it at once; a transaction that is
// still under way when the copy has ended is refused by the standby.
//
// It is idempotent within one copy: after an unknown outcome, apply again.
func (s *Sink) ApplyCopy(ctx context.Context, changes []kv.Change, unchanged ...Unchanged) error {
	compares := append([]clientv3.Cmp{clientv3.Compare(clientv3.Value(CheckpointKey), "=", s.last.raw)}, s.fence...)
	for _, u := range unchanged {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(u.Key), "=", int64(u.Revision)))
	}
	_, err := s.commit(ctx, compares, operations(changes, s.last.raw), unchanged...)
	return err
}

// Accepts asks whether the standby's limits let a change of this size through,
// in a transaction such as ApplyCopy's under the announcement next. Nothing is
// written: etcd looks at the size first, and then at a compare that never holds.
func (s *Sink) Accepts(ctx context.Context, c kv.Change, next Checkpoint) error {
	raw := next.encode()
	never := clientv3.Compare(clientv3.ModRevision(CheckpointKey), "=", -1)
	compares := append([]clientv3.Cmp{never, clientv3.Compare(clientv3.Value(CheckpointKey), "=", raw)}, s.fence...)
	_, err := s.commit(ctx, compares, operations([]kv.Change{c}, raw))
	if errors.Is(err, ErrFenced) || errors.Is(err, ErrMoved) {
		return nil // refused by the compare that never holds, so it was not too large
	}
	return err
}

// Reload makes the sink continue from the checkpoint as it stands in the
// standby, for after a copy, whose transactions move it.
func (s *Sink) Reload(ctx context.Context) error {
	stored, err := ReadCheckpoint(ctx, s.client)
	if err != nil {
		return err
	}
	if stored.raw != s.last.raw {
		return ErrMoved
	}
	s.last = stored
	return nil
}

// Put writes a key of Understudy's own under the fence and where all keys of
// unchanged stand as they were read, without touching the checkpoint. Any
// goroutine may call it.
func (s *Sink) Put(ctx context.Context, key, value string, unchanged ...Unchanged) error {
	return s.aside(ctx, clientv3.OpPut(key, value), unchanged)
}

// Delete is Put for a key that is to go.
func (s *Sink) Delete(ctx context.Context, key string, unchanged ...Unchanged) error {
	return s.aside(ctx, clientv3.OpDelete(key), unchanged)
}

func (s *Sink) aside(ctx context.Context, op clientv3.Op, unchanged []Unchanged) error {
	compares, reads := slices.Clone(s.fence), make([]clientv3.Op, len(unchanged))
	for i, u := range unchanged {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(u.Key), "=", int64(u.Revision)))
		reads[i] = clientv3.OpGet(u.Key, clientv3.WithKeysOnly())
	}
	resp, err := s.client.Txn(ctx).If(compares...).Then(op).Else(reads...).Commit()
	switch {
	case err != nil:
		return applyError(err)
	case resp.Succeeded:
		return nil
	}
	if changed := changedKeys((*pb.TxnResponse)(resp).Responses, unchanged); len(changed) > 0 {
		return &ChangedError{changed}
	}
	return ErrFenced
}

// changedKeys are those that do not stand as they were read.
func changedKeys(reads []*pb.ResponseOp, unchanged []Unchanged) []string {
	var changed []string
	for i, u := range unchanged {
		var now kv.Revision
		if kvs := reads[i].GetResponseRange().Kvs; len(kvs) > 0 {
			now = kv.Revision(kvs[0].ModRevision)
		}
		if now != u.Revision {
			changed = append(changed, u.Key)
		}
	}
	return changed
}

// operations makes a transaction's operations: the changes, and the checkpoint
// last. They are made as the protocol has them, because the client's own way
// copies every value twice.
func operations(changes []kv.Change, checkpoint string) []*pb.RequestOp {
	ops := make([]*pb.RequestOp, 0, len(changes)+1)
	for _, c := range changes {
		if c.Delete {
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
				RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(c.Key)}}})
			continue
		}
		ops = append(ops, put(c.Key, c.Value))
	}
	return append(ops, put(CheckpointKey, []byte(checkpoint)))
}

func put(key string, value []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: value}}}
}

func get(key string, keyOnly bool) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(key), KeysOnly: keyOnly}}}
}

func (s *Sink) commit(ctx context.Context, compares []clientv3.Cmp, ops []*pb.RequestOp, unchanged ...Unchanged) (kv.Revision, error) {
	request := &pb.TxnRequest{Success: ops, Failure: []*pb.RequestOp{get(CheckpointKey, false)}}
	for i := range compares {
		request.Compare = append(request.Compare, (*pb.Compare)(&compares[i]))
	}
	for _, u := range unchanged {
		request.Failure = append(request.Failure, get(u.Key, true))
	}
	resp, err := s.remote.Txn(ctx, request, grpc.WaitForReady(true)) // as the client itself asks
	if err != nil {
		return 0, applyError(clientv3.ContextError(ctx, err))
	}
	if resp.Succeeded {
		return kv.Revision(resp.Header.Revision), nil
	}
	return 0, s.refused(resp, unchanged)
}

// refused says which compare failed: a key's, the fence's or the checkpoint's.
func (s *Sink) refused(resp *pb.TxnResponse, unchanged []Unchanged) error {
	var raw string
	var revision kv.Revision
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		raw, revision = string(kvs[0].Value), kv.Revision(kvs[0].ModRevision)
	}
	if raw == s.last.raw && (s.last.Phase == Copying || revision == s.last.Revision) {
		if changed := changedKeys(resp.Responses[1:], unchanged); len(changed) > 0 {
			return &ChangedError{changed}
		}
		return ErrFenced
	}
	return fmt.Errorf("%w: expected standby revision %d, found %d", ErrMoved, s.last.Revision, revision)
}

func applyError(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge),
		status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max"):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("write to the standby: %w", err)
}
