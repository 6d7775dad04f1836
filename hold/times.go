package hold

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
)

// moment is a revision of the standby and when it was the newest one.
type moment struct {
	Revision kv.Revision `json:"revision"`
	Time     time.Time   `json:"time"`
}

// mostMoments are kept; of the older half every second one goes when there are more.
const mostMoments = 400

// Note keeps that the standby's revision is what it is now, as long as the cluster
// is a standby: etcd itself forgets within minutes when a revision was written.
func Note(ctx context.Context, standby *clientv3.Client, now time.Time) error {
	fence, standing, err := Standing(ctx, standby)
	if err != nil || !standing {
		return err
	}
	known, revision, err := moments(ctx, standby)
	if err != nil || len(known) > 0 && known[len(known)-1].Revision >= revision {
		return err
	}
	known = append(known, moment{revision, now.UTC().Truncate(time.Second)})
	if half := mostMoments / 2; len(known) > mostMoments {
		var thinned []moment
		for i, m := range known {
			if i >= half || i%2 == 0 {
				thinned = append(thinned, m)
			}
		}
		known = thinned
	}
	raw, err := json.Marshal(known)
	if err == nil {
		_, err = standby.Txn(ctx).If(fence...).Then(clientv3.OpPut(sink.MomentsKey, string(raw))).Commit()
	}
	if err != nil {
		return fmt.Errorf("keep when the standby's revisions were written: %w", err)
	}
	return nil
}

// moments are those that the standby remembers, and its revision now.
func moments(ctx context.Context, standby *clientv3.Client) ([]moment, kv.Revision, error) {
	resp, err := standby.Get(ctx, sink.MomentsKey)
	if err != nil {
		return nil, 0, fmt.Errorf("read when the standby's revisions were written: %w", err)
	}
	var known []moment
	if len(resp.Kvs) > 0 && json.Unmarshal(resp.Kvs[0].Value, &known) != nil {
		known = nil // the next one begins anew
	}
	return known, kv.Revision(resp.Header.Revision), nil
}

// writtenBy is the first moment at which a revision was there; nil = none is known.
func writtenBy(known []moment, r kv.Revision) *time.Time {
	i, _ := slices.BinarySearchFunc(known, r, func(m moment, r kv.Revision) int { return int(m.Revision - r) })
	if i == len(known) {
		return nil
	}
	return &known[i].Time
}
