package replica

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/vigil"
)

const (
	// vigilPatience bounds one look at the standby while no session runs.
	vigilPatience = 10 * time.Second
	// vigilEvery is how often somebody looks while a session waits for an answer.
	vigilEvery = 15 * time.Second
	// vigilFresh is the age at which a record is written again though nothing has
	// happened: API servers keep five minutes of history, and the next look has to
	// find where this one ended.
	vigilFresh = time.Minute
)

// watcher is what the looks of one process at a standby without a primary have
// told already.
type watcher struct {
	checkpoint kv.Revision
	told       map[string]bool
	blind      bool // the last look failed
}

// keepVigil looks once at what others did to the standby since the checkpoint,
// while nobody replicates and so nobody guards it. It repairs nothing: what was
// deleted waits for the primary. A look that fails is made again soon.
func (r *Replica) keepVigil(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, vigilPatience)
	defer cancel()
	standby, err := cluster.Dial(ctx, r.Standby)
	if err == nil {
		defer standby.Close()
		err = r.watchOver(ctx, standby.Client)
	}
	r.sayVigil(err)
}

// sayVigil says the first failure of a row: what others do to the standby meanwhile
// is seen by nobody, and status will call it a gap.
func (r *Replica) sayVigil(err error) {
	switch {
	case err == nil:
		r.watcher.blind = false
	case !r.watcher.blind:
		r.watcher.blind = true
		r.Log.Warn("cannot look at what others do to the standby", "error", err)
	default:
		r.Log.Debug("still cannot look at the standby", "error", err)
	}
}

// watchOver may be done by several daemons at once; they see the same.
func (r *Replica) watchOver(ctx context.Context, standby *clientv3.Client) error {
	checkpoint, err := sink.ReadCheckpoint(ctx, standby)
	if err != nil || checkpoint.Phase != sink.Streaming {
		return err
	}
	now, err := standby.Get(ctx, sink.VigilKey, clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("read the standby's revision: %w", err)
	}
	at := kv.Revision(now.Header.Revision)
	before, modified, err := vigil.Read(ctx, standby, at)
	if err != nil {
		return err
	}
	record, err := vigil.Look(ctx, standby, r.View, checkpoint, before, at, time.Now().UTC())
	if err != nil {
		return err
	}
	r.tellLost(record)
	if before != nil && before.Checkpoint == record.Checkpoint && record.Time.Sub(before.Time) < vigilFresh &&
		slices.Equal(before.Lost, record.Lost) && slices.Equal(before.Changed, record.Changed) {
		return nil
	}
	return vigil.Keep(ctx, standby, record, modified)
}

// tellLost takes what is gone into the account of drift, where it waits to be
// compared with the primary.
func (r *Replica) tellLost(record vigil.Record) {
	if r.watcher.checkpoint != record.Checkpoint || r.watcher.told == nil {
		r.watcher = watcher{checkpoint: record.Checkpoint, told: map[string]bool{}}
	}
	var found []finding
	for _, t := range record.Lost {
		if r.watcher.told[t.Key] {
			continue
		}
		r.watcher.told[t.Key] = true
		i := describe(r.View, t.Key, scope.Object{}, scope.Object{})
		i.What, i.By = Deleted, unknownHand
		found = append(found, finding{Incident: i, revision: t.Revision})
		r.Log.Warn("somebody has deleted an object of the standby, and no primary says whether it is to be there", "kind", i.Kind, "namespace", i.Namespace, "name", i.Object, "key", t.Key,
			"remedy", "understudy simulate")
	}
	r.ledger.note(found, 0, time.Now())
}

// recall takes into a session what was seen before it, also by another process.
// A record of a checkpoint that has moved on is done with.
func (r *Replica) recall(ctx context.Context, standby *clientv3.Client, checkpoint sink.Stored) error {
	now, err := standby.Get(ctx, sink.VigilKey, clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("read what was seen on the standby: %w", err)
	}
	record, modified, err := vigil.Read(ctx, standby, kv.Revision(now.Header.Revision))
	switch {
	case err != nil || modified == 0:
		return err
	case record != nil && record.Checkpoint == checkpoint.Revision:
		r.tellLost(*record)
		return nil
	}
	_, err = standby.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(sink.VigilKey), "=", modified)).Then(clientv3.OpDelete(sink.VigilKey)).Commit()
	return err
}
