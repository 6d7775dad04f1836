package replica

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
)

// queueBytes is how much may wait between the watch and the sink. A full queue
// stops the watch, and with it the primary's sending.
const queueBytes = 8 << 20

// queue holds changes on their way from the watch to the sink, in order.
//
// through is the source revision up to which everything in scope is in the
// queue or was; it may be ahead of the last change, because most revisions of
// a cluster touch nothing in scope.
type queue struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	changes []kv.Change
	bytes   int
	through kv.Revision
	err     error
}

func newQueue(through kv.Revision) *queue {
	return &queue{changed: make(chan struct{}), through: through}
}

func (q *queue) signal() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// push adds the changes of whole revisions, and waits while the queue is full.
func (q *queue) push(ctx context.Context, changes []kv.Change, through kv.Revision) error {
	if err := q.room(ctx); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(changes) == 0 && through == q.through {
		return nil
	}
	q.changes = append(q.changes, changes...)
	q.bytes += sink.Cost(changes)
	q.through = through
	q.signal()
	return nil
}

// full reports whether push would wait.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes > queueBytes
}

// room waits while the queue is full. Only one goroutine pushes.
func (q *queue) room(ctx context.Context) error {
	for {
		q.mu.Lock()
		full, changed := q.bytes > queueBytes, q.changed
		q.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close lets the reader see err after everything that was pushed.
func (q *queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	q.signal()
}

// wait returns a channel that is closed at the next change of the queue, and
// whether there is anything beyond revision done.
func (q *queue) wait(done kv.Revision) (changed <-chan struct{}, ready bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ready = len(q.changes) > 0 || q.through > done
	if !ready {
		err = q.err
	}
	return q.changed, ready, err
}

// end is the source revision up to which everything is in the queue or was.
func (q *queue) end() kv.Revision {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.through
}

// head returns the changes that go into the next transaction, and the source
// revision that the standby has reached when they are applied. What comes after
// the revision free stays in the queue.
func (q *queue) head(room sink.Room, free kv.Revision) (batch []kv.Change, reached kv.Revision) {
	q.mu.Lock()
	defer q.mu.Unlock()
	may, through := q.changes, q.through
	if free < through {
		n, _ := slices.BinarySearchFunc(may, free+1, func(c kv.Change, r kv.Revision) int { return cmp.Compare(c.Revision, r) })
		may, through = may[:n], free
	}
	n := cut(may, room)
	if n == len(may) {
		return may[:n:n], through
	}
	return may[:n:n], may[n-1].Revision
}

// drop removes the first n changes, which have been applied.
func (q *queue) drop(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= sink.Cost(q.changes[:n])
	q.changes = q.changes[n:]
	if len(q.changes) == 0 {
		q.changes = nil
	}
	q.signal()
}

// cut says how many of the changes form the next transaction: whole revisions,
// as many as fit, and no key twice (etcd refuses that). At least one revision
// is taken, whatever its size; then the destination decides.
func cut(changes []kv.Change, room sink.Room) int {
	keys := make(map[string]struct{}, min(len(changes), room.Ops))
	whole, bytes := 0, 0
	for i, c := range changes {
		if i > 0 && c.Revision != changes[i-1].Revision {
			whole = i
		}
		_, again := keys[c.Key]
		if whole > 0 && (again || !room.Fits(i, bytes, c)) {
			return whole
		}
		keys[c.Key] = struct{}{}
		bytes += sink.CostOf(len(c.Key), len(c.Value))
	}
	return len(changes)
}
