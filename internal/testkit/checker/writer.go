package checker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

// Workload says what a Writer writes. The zero value of each field but Prefix has a default.
type Workload struct {
	Seed      uint64
	Prefix    string                            // of every key; no other writer may use it
	Keys      int                               // number of different keys; 200
	MaxOps    int                               // most operations in a transaction; 8
	ValueSize int                               // bytes of a value, at least; 64
	Deletes   float64                           // share of operations that delete; 0.2; negative for none
	Pace      time.Duration                     // at least that long from one transaction to the next; none
	Timeout   time.Duration                     // of one transaction; 5 s
	Key       func(i int) string                // instead of Prefix and a number
	Value     func(key, unique string) []byte   // instead of unique and padding; must contain unique
	Lease     func(key string) clientv3.LeaseID // lease to attach, if any
}

// Writer writes random transactions and remembers what was acknowledged. It
// counts on being the only writer of its keys. Safe for concurrent use, but
// transactions are issued one at a time.
type Writer struct {
	client *clientv3.Client
	load   Workload

	step    sync.Mutex // one transaction at a time
	random  *rand.Rand
	counter int

	mu      sync.Mutex
	history map[string][]write
	acked   int
	unknown int
	refused int
	lastRev int64
}

// write is one operation on one key.
type write struct {
	revision int64 // 0: the outcome is unknown
	deleted  bool
	sum      [sha256.Size]byte
	size     int
}

// NewWriter makes a writer; Run or Step sets it to work.
func NewWriter(client *clientv3.Client, load Workload) *Writer {
	if load.Keys == 0 {
		load.Keys = 200
	}
	if load.MaxOps == 0 {
		load.MaxOps = 8
	}
	if load.ValueSize == 0 {
		load.ValueSize = 64
	}
	if load.Deletes == 0 {
		load.Deletes = 0.2
	}
	if load.Timeout == 0 {
		load.Timeout = 5 * time.Second
	}
	if load.Key == nil {
		load.Key = func(i int) string { return fmt.Sprintf("%s%06d", load.Prefix, i) }
	}
	if load.Value == nil {
		load.Value = func(_, unique string) []byte {
			return append([]byte(unique), bytes.Repeat([]byte{'.'}, max(0, load.ValueSize-len(unique)))...)
		}
	}
	return &Writer{client: client, load: load, history: map[string][]write{},
		random: rand.New(rand.NewPCG(load.Seed, 0x5eed))}
}

// Run writes until ctx ends, through every error: that is what faults are for.
func (w *Writer) Run(ctx context.Context) {
	ticker := time.NewTicker(max(w.load.Pace, time.Microsecond))
	defer ticker.Stop()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for ctx.Err() == nil {
		_, err := w.Step(ctx)
		next := ticker.C
		if err != nil {
			next = retry.C
		}
		if err == nil && w.load.Pace == 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-next:
		}
	}
}

// Step writes one transaction and returns its revision. After an error the
// writer knows by itself whether the outcome is unknown.
func (w *Writer) Step(ctx context.Context) (int64, error) {
	w.step.Lock()
	defer w.step.Unlock()
	w.counter++
	var ops []clientv3.Op
	writes := map[string]write{}
	for range 1 + w.random.IntN(w.load.MaxOps) {
		key := w.load.Key(w.random.IntN(w.load.Keys))
		deletes := w.random.Float64() < w.load.Deletes
		if _, twice := writes[key]; twice {
			continue
		}
		if deletes {
			ops = append(ops, clientv3.OpDelete(key))
			writes[key] = write{deleted: true}
			continue
		}
		value := w.load.Value(key, fmt.Sprintf("%d/%d/%d", w.load.Seed, w.counter, len(ops)))
		var opts []clientv3.OpOption
		if w.load.Lease != nil {
			opts = append(opts, clientv3.WithLease(w.load.Lease(key)))
		}
		ops = append(ops, clientv3.OpPut(key, string(value), opts...))
		writes[key] = write{sum: sha256.Sum256(value), size: len(value)}
	}

	ctx, cancel := context.WithTimeout(ctx, w.load.Timeout)
	defer cancel()
	resp, err := w.client.Txn(ctx).Then(ops...).Commit()

	w.mu.Lock()
	defer w.mu.Unlock()
	var revision int64
	switch {
	case err == nil:
		w.acked++
		revision = resp.Header.Revision
		w.lastRev = max(w.lastRev, revision)
	case refused(err):
		w.refused++
		return 0, err
	default:
		w.unknown++
	}
	for key, one := range writes {
		one.revision = revision
		w.history[key] = append(w.history[key], one)
	}
	return revision, err
}

// Last is the revision of the last acknowledged transaction.
func (w *Writer) Last() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastRev
}

// Counts are the transactions acknowledged, refused for certain, and of unknown outcome.
func (w *Writer) Counts() (acknowledged, refused, unknown int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked, w.refused, w.unknown
}

// Lost reads the destination at dstRev (0: now) and returns a line for every
// key that does not hold the last write acknowledged at or below srcRev.
//
// A write of unknown outcome may have taken effect at any later time, so its
// value is accepted as well; the source itself decides such keys, see Equal.
func (w *Writer) Lost(ctx context.Context, dst *clientv3.Client, srcRev, dstRev int64) ([]string, error) {
	w.mu.Lock()
	history := make(map[string][]write, len(w.history))
	keys := make([]string, 0, len(w.history))
	for key, all := range w.history {
		history[key] = all[:len(all):len(all)]
		keys = append(keys, key)
	}
	w.mu.Unlock()
	sort.Strings(keys)

	var lost []string
	for i := 0; i < len(keys); i += 100 {
		some := keys[i:min(i+100, len(keys))]
		ops := make([]clientv3.Op, len(some))
		for j, key := range some {
			ops[j] = clientv3.OpGet(key, clientv3.WithRev(dstRev))
		}
		resp, err := dst.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return nil, fmt.Errorf("read destination at revision %d: %w", dstRev, err)
		}
		for j, key := range some {
			var value []byte
			kvs := resp.Responses[j].GetResponseRange().Kvs
			if len(kvs) > 0 {
				value = kvs[0].Value
			}
			if why := judge(history[key], srcRev, len(kvs) > 0, value); why != "" {
				lost = append(lost, key+": "+why)
			}
		}
	}
	return lost, nil
}

// judge says what is wrong with a key's value, or "".
func judge(history []write, srcRev int64, exists bool, value []byte) string {
	last := write{deleted: true} // never written
	sum := sha256.Sum256(value)
	is := func(one write) bool { return one.deleted != exists && (one.deleted || one.sum == sum) }
	for _, one := range history {
		if one.revision == 0 && is(one) {
			return ""
		}
		if one.revision != 0 && one.revision <= srcRev {
			last = one
		}
	}
	switch {
	case is(last):
		return ""
	case last.deleted && last.revision == 0:
		return fmt.Sprintf("was not written up to revision %d, but is %s", srcRev, brief(value))
	case last.deleted:
		return fmt.Sprintf("deleted at revision %d, but is %s", last.revision, brief(value))
	case !exists:
		return fmt.Sprintf("written at revision %d (%d bytes), but is absent", last.revision, last.size)
	default:
		return fmt.Sprintf("written at revision %d (%d bytes), but is %s", last.revision, last.size, brief(value))
	}
}

// refused says whether etcd answered that it did not apply the transaction.
func refused(err error) bool {
	var answer rpctypes.EtcdError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Code() {
	case codes.InvalidArgument, codes.ResourceExhausted, codes.PermissionDenied, codes.FailedPrecondition, codes.Unauthenticated:
		return true
	}
	return false
}
