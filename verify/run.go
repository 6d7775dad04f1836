package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

const (
	// attempts is how often a comparison begins, where the revision that it
	// reads is compacted under way.
	attempts = 3
	// newerWithin is how long to wait for a newer checkpoint then. The
	// replication writes one every few seconds even where nothing changes.
	newerWithin = 10 * time.Second
)

// Options of a full comparison.
type Options struct {
	// Limit is how many keys of each kind the report lists; 0 = all. They are
	// counted beyond it.
	Limit int
	// Progress, if set, is called now and then, from one goroutine, with the
	// number of keys looked at so far, those out of scope included.
	Progress func(keys int64)

	served   *asking       // the standby's API server
	records  scope.Records // of held objects, at the standby's revision
	patience time.Duration // instead of newerWithin, where not 0
	silence  time.Duration // instead of silence, where not 0
}

// Run compares both sides at the newest Point. The error says that a side
// could not be read, that one fell silent, or that ctx ended; the report's
// verdict is Unknown then too.
//
// A revision that is compacted under way makes it begin again at a newer
// checkpoint, a few times.
func Run(ctx context.Context, sides Sides, view *scope.View, opts Options) (Report, error) {
	if opts.patience == 0 {
		opts.patience = newerWithin
	}
	started := time.Now()
	ctx, end := Attend(ctx, opts.silence, view.Scope.Prefix(), map[string]*clientv3.Client{"primary": sides.Primary, "standby": sides.Standby})
	defer end()
	point, err := Pin(ctx, sides, view)
	for attempt := 1; err == nil; attempt++ {
		var report Report
		report, err = runAt(ctx, sides, view, point, started, opts)
		if err == nil {
			return report, nil
		}
		if !errors.Is(err, source.ErrCompacted) {
			break
		}
		if attempt == attempts {
			return unknown(started, fmt.Sprintf("revisions were compacted while they were read, %d times", attempts),
				"compact less often, or check from a place nearer to both clusters"), nil
		}
		reached := point.Source
		var ok bool
		if point, ok, err = pinBeyond(ctx, sides, view, reached, opts.patience); err == nil && !ok {
			return unknown(started, fmt.Sprintf("the primary no longer keeps revision %d, which the standby has reached, and the standby has reached none that it keeps within %s", reached, opts.patience),
				"see why replication does not advance: understudy status"), nil
		}
	}
	var none *NoPointError
	if errors.As(err, &none) {
		return unknown(started, none.Reason, none.Hint), nil
	}
	err = because(ctx, err)
	return unknown(started, err.Error(), ""), err
}

// pinBeyond waits until the standby has reached a later revision of the
// primary than reached, one that the primary still keeps: a standby that lags
// may pass through several that are compacted already. False: it did not.
func pinBeyond(ctx context.Context, sides Sides, view *scope.View, reached kv.Revision, patience time.Duration) (p Point, ok bool, err error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(patience / 50)
	defer tick.Stop()
	for {
		if p, err = Pin(ctx, sides, view); err != nil {
			return p, false, err
		}
		if p.Source > reached {
			_, err := sides.Primary.Get(ctx, view.Scope.Prefix(), clientv3.WithRev(int64(p.Source)), clientv3.WithCountOnly())
			if !errors.Is(err, rpctypes.ErrCompacted) {
				return p, err == nil, err
			}
		}
		select {
		case <-ctx.Done():
			return p, false, ctx.Err()
		case <-deadline.C:
			return p, false, nil
		case <-tick.C:
		}
	}
}

// runAt compares at one Point.
func runAt(ctx context.Context, sides Sides, view *scope.View, p Point, started time.Time, opts Options) (Report, error) {
	if err := source.Learn(ctx, sides.Primary, view.Scope, view.Recoder.PlainOfPrimary, p.Source); err != nil {
		return Report{}, err
	}
	begin, end := view.Range()
	primary, err := source.Open(ctx, sides.Primary, begin, end, p.Source)
	if err != nil {
		return Report{}, fmt.Errorf("read the primary: %w", err)
	}
	defer primary.Close()
	standby, err := source.Open(ctx, sides.Standby, begin, end, p.Standby)
	if err != nil {
		return Report{}, fmt.Errorf("read the standby: %w", err)
	}
	defer standby.Close()

	if opts.records, err = readRecords(ctx, sides.Standby, view, p.Standby); err != nil {
		return Report{}, err
	}

	opts.served = &asking{served: sides.Served, view: view}
	report := newReport(started)
	report.SourceRevision, report.StandbyRevision = p.Source, p.Standby
	report.Scope = map[string]Resource{}
	if err := join(ctx, named{"primary", primary}, named{"standby", standby}, view, &report, opts); err != nil {
		return Report{}, err
	}
	report.conclude()
	return report, nil
}

// readRecords reads the originals of held objects as the standby keeps them.
func readRecords(ctx context.Context, standby *clientv3.Client, view *scope.View, rev kv.Revision) (scope.Records, error) {
	records := scope.Records{}
	dir := scope.HeldPrefix + "/"
	err := source.Each(ctx, standby, dir, kv.PrefixEnd(dir), rev, func(p kv.Pair) error {
		records.Add(view, p.Key, p.Value)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the standby's originals of held objects: %w", err)
	}
	return records, nil
}

// named says which side a stream's error came from.
type named struct {
	side   string
	stream kv.Stream
}

func (n named) Next() (kv.Pair, bool, error) {
	p, ok, err := n.stream.Next()
	if err != nil {
		err = fmt.Errorf("read the %s: %w", n.side, err)
	}
	return p, ok, err
}
