package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
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
	accepted         acceptance            // what an operator has accepted to be deleted
	keep             bool                  // delete nothing, and mark nothing for deletion
	recorded, kept   func(key string) bool // see foreignKeys.has and wasKept; as of before the copy
	buffer           int                   // bytes of values to keep until their tree is known
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
	sealed        map[string]error  // the standby's values out of scope, by what they are sealed with: why its key does not open them; nil = it does
	adopted       []string          // recorded as surplus, and the primary has them now
	seen          kv.Revision       // of the standby: all that others created up to it has been looked at
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
		return j.visit(p, s, seen, known)
	})
	if err != nil {
		return err
	}
	return j.finish(ctx, known)
}

// judged is what can be said of a key without regard to any other.
type judged struct {
	want             scope.Wanted
	have             scope.Object
	wantErr, haveErr error
	sealed           string // a value of the standby's own, out of scope: what it is sealed with
	sealedErr        error  // why its key does not open it
	same             bool   // the standby has what it should
}

func (j *copyJob) judge(p, s *kv.Pair) (t judged) {
	if p != nil {
		t.want, t.wantErr = j.view.Want(p.Key, p.Value)
	}
	if s != nil {
		t.have, t.haveErr = j.view.InStandby(s.Key, s.Value)
		t.sealed, t.sealedErr = j.unseal(s)
	}
	if p != nil && s != nil && t.want.In && t.wantErr == nil && t.haveErr == nil {
		t.same = j.view.Same(p.Key, t.want.Object, t.have, p.Value, s.Value)
	}
	return t
}

// unseal: what the standby's API servers wrote out of scope proves the key that
// it will be written with, where both have one name.
func (j *copyJob) unseal(s *kv.Pair) (sealed string, err error) {
	k, ok := registry.ParseKey(j.view.Scope.RegistryPrefix(), s.Key)
	if !ok || j.view.Scope.Key(s.Key) != scope.Out {
		return "", nil
	}
	if sealed = registry.SealedWith(s.Value); sealed == "" {
		return "", nil
	}
	if _, err := j.view.Recoder.PlainOfStandby(k.GroupResource(), s.Key, s.Value); errors.Is(err, registry.ErrWrongKey) {
		return sealed, fmt.Errorf("%s (%s): %w", s.Key, k, err)
	}
	return sealed, nil
}

// keysFit demands, before anything is written, that of the values with one seal
// some can be read: one alone may be damaged.
func (j *copyJob) keysFit() error {
	for _, err := range j.sealed {
		if err != nil {
			return unreadableThere(err)
		}
	}
	return nil
}

// visit looks at one key of the two sides.
func (j *copyJob) visit(p, s *kv.Pair, t judged, known surplusSet) error {
	if was, seen := j.sealed[t.sealed]; t.sealed != "" && (!seen || was != nil) {
		j.sealed[t.sealed] = t.sealedErr
	}
	if p == nil {
		return j.onlyStandby(s, t, known)
	}
	j.progress.Read++
	j.progress.BytesRead += int64(len(p.Value))
	if j.progress.Read%1000 == 0 {
		j.report(j.now())
	}
	if t.wantErr != nil {
		return unreadable(p.Key, t.wantErr)
	}
	want := t.want
	gr := j.table.count(p.Key, want.Object)
	if !want.In {
		if s != nil {
			return j.onlyStandby(s, t, known)
		}
		return nil
	}
	if _, recorded := known[p.Key]; recorded {
		j.adopted = append(j.adopted, p.Key)
	}
	if j.witness == nil || p.ModRevision > j.witness.Revision {
		j.witness = &sink.Witness{Key: p.Key, Revision: p.ModRevision}
	}
	kept := j.records.Fit(p.Key, want.Object)
	_, wasHeld := j.records[p.Key]
	if want.Kept != nil {
		delete(j.records, p.Key) // what is left over in the end is no longer held
	}
	value, marked := want.Value, false
	if s != nil {
		if t.haveErr != nil && isKeyProblem(t.haveErr) && !j.fromPrimary(s) {
			return unreadableThere(t.haveErr)
		}
		// Other values that cannot be read there are replaced by what can be.
		if t.same && (kept || want.Kept == nil && !wasHeld) {
			return nil
		}
		marked = t.haveErr == nil && want.Meta.Deleting && !t.have.Meta.Deleting
		if marked && (j.keep || known.has(s)) {
			j.adopted = slices.DeleteFunc(j.adopted, func(key string) bool { return key == p.Key })
			delete(j.records, p.Key)
			j.surplus = append(j.surplus, kv.Pair{Key: p.Key})
			return nil
		}
		own := j.view.Own(p.Key, s.Value)
		if wasHeld && want.Kept == nil {
			own = own.Said()
		}
		var err error
		if value, _, err = j.view.Keep(p.Key, value, own); err != nil {
			return unreadable(p.Key, err)
		}
	}
	it := newItem(p.Key, value, gr, want.Meta)
	it.fresh, it.marked = s == nil, marked
	it.loose = it.loose && !marked
	if want.Kept != nil {
		it.held, it.kept = true, want.Kept
		it.size += len(want.Kept) + len(scope.HeldPrefix) + len(p.Key)
	}
	return j.addPut(it)
}

// fromPrimary reports whether a value on the standby is encrypted with the
// primary's keys, as a raw copy leaves it.
func (j *copyJob) fromPrimary(s *kv.Pair) bool {
	_, err := j.view.InPrimary(s.Key, s.Value)
	return err == nil
}

// onlyStandby looks at a key that the primary does not have in scope. It is
// deleted only where it provably came from the primary: it was created up to
// the last complete checkpoint, and not by somebody else, as far as the record
// of those goes; or an unfinished copy wrote it. Whether somebody has changed
// it on the standby since does not matter.
func (j *copyJob) onlyStandby(s *kv.Pair, t judged, known surplusSet) error {
	have, err := t.have, t.haveErr
	if !have.In {
		delete(j.records, s.Key) // nor is its original
		if j.view.Scope.Key(s.Key) != scope.Out && !known.has(s) {
			j.outside = append(j.outside, s.Key) // it may come into scope one day
		}
		return nil // out of scope is never touched
	}
	if err == nil && j.base != nil && s.CreateRevision <= min(j.base.StandbyRevision, j.template.Guarded) && !known.has(s) {
		j.deletes = append(j.deletes, itemToDelete(s.Key, s.CreateRevision, have.Meta))
		return nil
	}
	switch {
	case known.has(s):
		delete(j.records, s.Key)
		j.progress.Surplus++
		if j.keptThere[s.Key] == sink.SurplusReleased {
			return j.holdAgain(s, have)
		}
	case err == nil && isHerald(have.Meta):
		j.deletes = append(j.deletes, itemToDelete(s.Key, s.CreateRevision, have.Meta))
	case err == nil && len(j.interrupted) > 0:
		j.surplus = append(j.surplus, *s) // may be an unfinished copy's; see settleSurplus
	default:
		j.surplus = append(j.surplus, kv.Pair{Key: s.Key})
	}
	return nil
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
// and from then on, while the rest is read.
func (j *copyJob) beginWriting() error {
	if err := j.keysFit(); err != nil {
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
	if err := j.recordSurplus(ctx); err != nil {
		return err
	}
	if err := j.forgetHeld(ctx); err != nil {
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
