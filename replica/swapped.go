package replica

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
	"github.com/understudy-dr/understudy/twin"
)

// ErrSwapped means that what the sides hold says that they are the wrong way round.
var ErrSwapped = errors.New("primary and standby look swapped")

// refuseSwapped looks at what the sides hold before a cluster is made a standby,
// by which its workloads are scaled to zero where hold.workloads says so.
func (r *Replica) refuseSwapped(ctx context.Context, primary, standby *cluster.Cluster, f Facts, d Decision) error {
	if d.Copy == "" || f.StandbyRole.Role == role.Standby {
		return nil
	}
	there, err := holds(ctx, standby.Client, r.View.Scope, r.View.InStandby, nil)
	if err != nil {
		return fmt.Errorf("count what the standby holds: %w", err)
	}
	if what, _, _ := twin.Swapped(nil, there); what == "" {
		return nil // as nearly always
	}
	enough := func(here map[string]int64) bool { what, _, _ := twin.Swapped(here, there); return what == "" }
	here, err := holds(ctx, primary.Client, r.View.Scope, r.View.InPrimary, enough)
	if err != nil {
		return fmt.Errorf("count what the primary holds: %w", err)
	}
	what, n, m := twin.Swapped(here, there)
	if what == "" {
		return nil
	}
	return &remedy.Error{Op: "copy to the standby", Code: remedy.Refused,
		Err: fmt.Errorf("%w: the standby has %d %s, and the primary %d; nothing was written", ErrSwapped, m, what, n),
		Remedy: "write the sides the other way round in the configuration; if they are right, exclude what the standby shall keep: " +
			"understudy scope propose --write proposed.yaml\nsee: understudy preflight"}
}

// holds counts the objects in scope of one side, by resource, until it is enough;
// nil = all.
func holds(ctx context.Context, client *clientv3.Client, s *scope.Scope, look func(key string, value []byte) (scope.Object, error), enough func(map[string]int64) bool) (map[string]int64, error) {
	counts := map[string]int64{}
	begin, end := s.Range()
	n := 0
	err := source.Each(ctx, client, begin, end, 0, func(p kv.Pair) error {
		k, ok := s.Parse(p.Key)
		if !ok || s.Key(p.Key) == scope.Out {
			return nil
		}
		if o, err := look(p.Key, p.Value); err != nil || !o.In { // what cannot be read, the copy says
			return nil //nolint:nilerr // see above
		}
		counts[k.GroupResource()]++
		if n++; n%enoughEvery == 0 && enough != nil && enough(counts) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return counts, err
}

const enoughEvery = 100 // objects; a primary in use is known by its first pages

var errEnough = errors.New("enough was seen")
