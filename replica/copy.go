package replica

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// copyJob makes the standby equal to the primary at one revision: a merge-join
// of both sides that writes only what differs. A first copy and a resync are
// the same job; they differ only in how much they find.
//
// Nothing is written before 8 MiB of differences have been read and
// understood, so that a wrong key, a broken value or one that is too large ends
// a small copy before it has begun.
type copyJob struct {
	primary, standby *clientv3.Client
	view             *scope.View
	sink             *sink.Sink
	base             *sink.Base
	witness          *sink.Witness
	interrupted      []kv.Revision
	breaker          Breaker
	decision         Decision
	conflicts        *conflicts
	accepted         shown                 // what an operator has accepted to be deleted
	keep             bool                  // delete nothing, and mark nothing for deletion
	recorded         func(key string) bool // see foreignKeys; as of before the copy
	kept             func(key string) string
	buffer           int // bytes of values to keep until their tree is known
	report           func(CopyProgress)

	template              sink.Checkpoint // what every checkpoint of this copy has in common
	rev                   kv.Revision
	announcing            sync.Mutex // guards announced
	announced             bool
	writers               *writers
	progress              CopyProgress // but for what the writers count; see now
	written, writtenBytes atomic.Int64
	announcedAt           kv.Revision  // of the standby
	transactions          atomic.Int64 // after the announcement
	table                 *tally

	largest       item // of those found before the first write, its value included
	probed        bool // the standby accepts it
	puts, deletes []item
	held          int    // bytes of the values in puts
	writing       bool   // what belongs to no tree is written as it is read
	loose         []item // waiting for a transaction to fill, after a spill
	looseBytes    int
	disk          *spill // nil = none
	diskFailed    bool
	log           *slog.Logger
	surplus       []kv.Pair         // only on the standby, values included where they have to be looked at again
	records       scope.Records     // left over: of objects that are no longer held, and do not stay as they are
	outside       []string          // the standby's own, out of scope by their metadata alone
	keptThere     map[string]string // of the surplus: what was the primary's; see sink.SurplusKept
	released      []string          // of these: were held, and are to be held again
	acting        map[string]bool   // records of what was released and could not be held again
	sealed        map[string]error  // the standby's values out of scope, by what they are sealed with: why its key does not open them; nil = it does
	adopted       []string          // recorded as surplus, and the primary has them now
	twins         *twins
	settled       []string                 // conflicts that are none any more
	stays         map[string]sink.Conflict // conflicts, old and new
	seen          kv.Revision              // of the standby: all that others created up to it has been looked at
}

// copyWriters is how many transactions are under way at once. etcd gains from
// several, since they share its fsync; beyond eight it gains nothing.
const copyWriters = 8

// CopyProgress is how far a copy is.
type CopyProgress struct {
	Reason                    string
	Total                     int64 // keys on the primary below the prefix, in scope or not
	Read                      int64
	ToWrite, Written, Deleted int64
	Surplus                   int64 // keys only the standby has and that stay
	Conflicts                 int64 // keys under which the standby has an object of its own that stays
	BytesRead, BytesWritten   int64
	Done                      bool
	Revision                  kv.Revision
}

func (j *copyJob) run(ctx context.Context) error {
	begin, end := j.view.Range()
	reading, stop := context.WithCancel(ctx)
	defer stop()
	src, err := source.Open(reading, j.primary, begin, end, 0)
	if err != nil {
		return fmt.Errorf("read the primary: %w", err)
	}
	defer src.Close()
	dst, err := source.Open(reading, j.standby, begin, end, 0)
	if err != nil {
		return fmt.Errorf("read the standby: %w", err)
	}
	defer dst.Close()
	j.rev, j.progress.Revision, j.seen = src.Revision(), src.Revision(), dst.Revision()
	j.sealed = map[string]error{}
	j.writers = startWriters(ctx, copyWriters, j.write)
	defer j.writers.stop()
	if total, err := j.primary.Get(ctx, begin, clientv3.WithRange(end), clientv3.WithCountOnly(), clientv3.WithRev(int64(j.rev))); err == nil {
		j.progress.Total = total.Count
	}
	known, kept, err := readSurplus(ctx, j.standby)
	j.keptThere = kept
	if err != nil {
		return err
	}
	j.twins = newTwins(j.primary, j.standby, j.view, j.decision, j.template.Guarded, known, kept)
	j.twins.conflicts, j.twins.atPrimary, j.twins.atStandby = j.conflicts, j.rev, dst.Revision()
	j.stays = map[string]sink.Conflict{}
	if j.records, err = readHeld(ctx, j.standby, j.view); err != nil {
		return err
	}
	defer func() {
		if j.disk != nil {
			j.disk.close()
		}
	}()
	err = kv.JoinAhead(ctx, stop, src, dst, j.judge, func(p, s *kv.Pair, seen judged) error {
		if err := j.writers.failed(); err != nil {
			return err
		}
		return j.visit(ctx, p, s, seen, known)
	})
	if err != nil {
		return err
	}
	return j.finish(ctx, known)
}

func (j *copyJob) addPut(it item) error {
	j.progress.ToWrite++
	if !j.probed && it.size > j.largest.size {
		j.largest = it
	}
	if !j.writing {
		j.puts = append(j.puts, it)
		if j.held += it.size; j.held > min(j.buffer, quietBytes) {
			return j.beginWriting()
		}
		return nil
	}
	if !it.loose {
		if j.held += it.size; j.held > j.buffer {
			it = j.putAway(it)
		}
		j.puts = append(j.puts, it)
		return nil
	}
	j.loose = append(j.loose, it)
	if j.looseBytes += it.size; j.looseBytes < looseBytes {
		return nil
	}
	return j.flushLoose()
}

// quietBytes is how much a copy reads and understands before it writes.
const quietBytes = 8 << 20

// looseBytes is how much is packed into transactions at once after that.
const looseBytes = 4 << 20

func (j *copyJob) flushLoose() error {
	items := j.loose
	j.loose, j.looseBytes = nil, 0
	return j.schedule(items)
}

// beginWriting is called once: what belongs to no tree is written at once, there
// and from then on, while the rest is read. Where that holds twins nothing is.
func (j *copyJob) beginWriting() error {
	if err := j.twins.ahead(j.writers.ctx, j.puts[len(j.puts)-1].key); err != nil {
		return err
	}
	if err := j.twins.refuse(); err != nil {
		return err
	}
	j.writing, j.held = true, 0
	var keep, loose []item
	for _, it := range j.puts {
		if it.loose {
			loose = append(loose, it)
			continue
		}
		keep = append(keep, it)
		j.held += it.size
	}
	j.puts = keep
	return j.schedule(loose)
}

// putAway takes an item's value out of memory. Where the disk does not take
// it, the primary will be asked for it again.
func (j *copyJob) putAway(it item) item {
	value, kept := it.value, it.kept
	it.value, it.kept = nil, nil
	if j.diskFailed {
		return it
	}
	var where place
	var err error
	if j.disk == nil {
		j.disk, err = newSpill()
	}
	if err == nil {
		where, err = j.disk.put(value)
	}
	if err == nil && it.held {
		it.keptWhere, err = j.disk.put(kept)
	}
	if err != nil {
		j.diskFailed = true
		j.log.Warn("no more room for values on disk; the primary will be read twice", "error", err)
		return it
	}
	it.where = where
	return it
}

// schedule hands items to the writers, tree by tree.
func (j *copyJob) schedule(items []item) error {
	if err := j.probe(); err != nil {
		return err
	}
	return pack(items, trees(items), j.sink.Room(), func(c chain) error {
		txns := make([][]item, len(c))
		for n, txn := range c {
			for _, i := range txn {
				txns[n] = append(txns[n], items[i])
				items[i].value, items[i].kept = nil, nil // go with the transaction
			}
		}
		return j.writers.send(txns)
	})
}

// finish writes heralds and what waited for its tree, then the CRDs, then the deletes, and
// last the checkpoint that declares the standby complete.
func (j *copyJob) finish(ctx context.Context, known surplusSet) error {
	if err := j.keysFit(); err != nil {
		return err
	}
	if err := j.twins.refuse(); err != nil {
		return err
	}
	if err := j.flushLoose(); err != nil {
		return err
	}
	// They may own what comes now.
	if err := j.writers.wait(); err != nil {
		return err
	}
	if err := j.heralds(ctx); err != nil {
		return err
	}
	var definitions, marked []item
	objects := j.puts[:0] // in place: there may be a million
	for _, it := range j.puts {
		switch {
		case it.marked:
			marked = append(marked, it)
		case it.last:
			definitions = append(definitions, it)
		default:
			objects = append(objects, it)
		}
	}
	for _, round := range [][]item{objects, definitions} {
		if err := j.schedule(round); err != nil {
			return err
		}
		if err := j.writers.wait(); err != nil {
			return err
		}
	}
	if err := j.settleSurplus(ctx); err != nil {
		return err
	}
	for _, p := range j.surplus {
		delete(j.records, p.Key) // it stays, and so does its original
	}
	if err := j.holdAgain(ctx, known); err != nil { // also where the breaker stops the rest
		return err
	}
	if err := j.weighLosses(ctx, marked, known); err != nil {
		return err
	}
	if err := j.schedule(marked); err != nil {
		return err
	}
	if err := j.writers.wait(); err != nil {
		return err
	}
	if err := j.deleteAll(ctx); err != nil {
		return err
	}
	if err := j.recordSurplus(ctx, known); err != nil {
		return err
	}
	if err := j.forgetHeld(ctx); err != nil {
		return err
	}
	if err := j.settleConflicts(ctx); err != nil {
		return err
	}
	if j.announced {
		if err := j.sink.Reload(ctx); err != nil {
			return err
		}
		j.alone()
	}
	if err := j.sink.Apply(ctx, nil, j.checkpoint(sink.Streaming)); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	j.progress.Done = true
	j.report(j.now())
	return nil
}

// alone moves seen to the end of the copy where nobody else wrote to the
// standby meanwhile: then its revisions are all our own transactions.
// Otherwise the guard will have to look through them.
func (j *copyJob) alone() {
	last := j.sink.Last().Revision
	if j.announcedAt == j.seen+1 && last == j.announcedAt+kv.Revision(j.transactions.Load()) {
		j.seen = last
	}
}

// now is the progress at this moment, the writers' part included.
func (j *copyJob) now() CopyProgress {
	p := j.progress
	p.Written, p.BytesWritten = j.written.Load(), j.writtenBytes.Load()
	return p
}

func (j *copyJob) checkpoint(phase sink.Phase) sink.Checkpoint {
	c := j.template
	c.SourceRevision, c.Time, c.Phase = j.rev, time.Now().UTC(), phase
	if phase == sink.Streaming {
		c.Guarded, c.Witness = j.seen, j.witness
	} else {
		c.Base, c.Interrupted = j.base, j.interrupted
	}
	return c
}
