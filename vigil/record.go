package vigil

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
)

// Touched is a replicated key that somebody else has written on the standby.
type Touched struct {
	Key string `json:"key"`
	// Revision of the standby at which it was first touched: what stood there
	// before can be read at the revision before, until that is compacted.
	Revision kv.Revision `json:"revision"`
	UID      string      `json:"uid,omitempty"` // of the object that stood there; "" = unknown
}

// Record is what has been seen so far, as it is kept at sink.VigilKey.
type Record struct {
	// Checkpoint is the standby's revision of the checkpoint that all is compared
	// with. A record of another checkpoint says nothing.
	Checkpoint kv.Revision `json:"checkpoint"`
	Through    kv.Revision `json:"through"` // of the standby: all writes up to it have been looked at
	Time       time.Time   `json:"time"`    // of the last look
	// Gap is when the last look before a gap was: what others did between it and
	// the next one nobody has seen. The zero time: there is no gap.
	Gap     time.Time `json:"gap,omitzero"`
	Lost    []Touched `json:"lost,omitempty"`    // are not there any more, or another object is
	Changed []Touched `json:"changed,omitempty"` // differ, apart from local fields
	More    int       `json:"more,omitempty"`    // beyond those that are kept
}

// keepBytes bounds how much of a kind is named: the record is one value, far below
// the smallest --max-request-bytes that anybody sets.
const keepBytes = 128 << 10

func (r *Record) bound() {
	for _, list := range []*[]Touched{&r.Lost, &r.Changed} {
		slices.SortFunc(*list, func(a, b Touched) int { return strings.Compare(a.Key, b.Key) })
		bytes, kept := 0, 0
		for _, t := range *list {
			if bytes += len(t.Key) + len(t.UID) + 60; bytes > keepBytes { // quoted, with the names of the fields
				break
			}
			kept++
		}
		*list, r.More = (*list)[:kept], r.More+len(*list)-kept
	}
}

// Read reads the record; nil where there is none. modified is the revision of it.
func Read(ctx context.Context, standby *clientv3.Client, at kv.Revision) (record *Record, modified int64, err error) {
	resp, err := standby.Get(ctx, sink.VigilKey, clientv3.WithRev(int64(at)))
	if err != nil {
		return nil, 0, fmt.Errorf("read what was seen on the standby since the checkpoint: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return nil, 0, nil
	}
	// One that cannot be read says nothing, and is written over.
	if json.Unmarshal(resp.Kvs[0].Value, &record) != nil {
		record = nil
	}
	return record, resp.Kvs[0].ModRevision, nil
}

// Keep writes a record over the one that was read with it, unless the checkpoint
// has moved or somebody else was first, who has seen the same.
func Keep(ctx context.Context, standby *clientv3.Client, r Record, modified int64) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode what was seen on the standby: %w", err)
	}
	_, err = standby.Txn(ctx).If(
		clientv3.Compare(clientv3.ModRevision(sink.VigilKey), "=", modified),
		clientv3.Compare(clientv3.ModRevision(sink.CheckpointKey), "=", int64(r.Checkpoint)),
	).Then(clientv3.OpPut(sink.VigilKey, string(raw))).Commit()
	if err != nil {
		return fmt.Errorf("keep what was seen on the standby since the checkpoint: %w", err)
	}
	return nil
}
