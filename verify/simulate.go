package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// SimulateOptions of a simulation.
type SimulateOptions struct {
	// Standby is how the standby's API servers encrypt; nil where nobody said.
	Standby *registry.Encryption
	// Limit is how many items of each finding are listed; 0 = all. They are
	// counted beyond it.
	Limit int
	// LowFloor judges how far the standby's revision is above the primary's; nil =
	// it must not be below.
	LowFloor func(primary, standby kv.Revision) bool
	// Locals are the fields that the standby keeps for itself; nil = none.
	Locals *scope.Locals
	// Progress, if set, is called every few hundred keys with the number of
	// keys read so far.
	Progress func(keys int64)

	silence time.Duration // instead of silence, where not 0
}

// Simulation is what a promotion of the standby would do.
type Simulation struct {
	Revision   kv.Revision      // of the standby; everything was read at it
	ClusterID  string           // of the standby
	Checkpoint *sink.Checkpoint // nil where there is none
	Objects    int64            // of the standby's API servers
	Replicated int64            // how many of them are in scope
	Findings   []Finding        // the worst first
	Notes      []string         // circumstances that are no findings
	Started    time.Time
	Took       time.Duration
}

// Worst is the worst severity among the findings, "" where there are none.
func (s *Simulation) Worst() Severity {
	if len(s.Findings) == 0 {
		return ""
	}
	return s.Findings[0].Severity
}

// Simulate reads every object on the standby, its own ones too, at the newest
// revision, and says what a promotion now would do with them. It needs the
// standby only, and writes nothing.
//
// It holds some 300 bytes of each object. A revision that is compacted under
// way makes it begin again, a few times.
func Simulate(ctx context.Context, standby *clientv3.Client, s *scope.Scope, opts SimulateOptions) (Simulation, error) {
	started := time.Now()
	ctx, end := Attend(ctx, opts.silence, s.Prefix(), map[string]*clientv3.Client{"standby": standby})
	defer end()
	for attempt := 1; ; attempt++ {
		sim, err := simulateOnce(ctx, standby, s, opts)
		if err == nil {
			sim.Started, sim.Took = started, time.Since(started)
			return sim, nil
		}
		if !errors.Is(err, source.ErrCompacted) || attempt == attempts {
			return Simulation{}, because(ctx, err)
		}
	}
}

func simulateOnce(ctx context.Context, standby *clientv3.Client, sc *scope.Scope, opts SimulateOptions) (Simulation, error) {
	begin, end := sc.Objects()
	cursor, err := source.Open(ctx, standby, begin, end, 0)
	if err != nil {
		return Simulation{}, err
	}
	defer cursor.Close()
	records, err := source.Open(ctx, standby, scope.HeldKey(begin), scope.HeldKey(end), cursor.Revision())
	if err != nil {
		return Simulation{}, err
	}
	defer records.Close()

	sim := newSimulator(sc, opts.Standby, opts.Limit)
	if err := source.Learn(ctx, standby, sc, opts.Standby.Decrypt, cursor.Revision()); err != nil {
		return Simulation{}, err
	}
	result := Simulation{Revision: cursor.Revision()}
	stored, err := sim.ownState(ctx, standby, opts.LowFloor, &result)
	if err != nil {
		return Simulation{}, err
	}
	if err := sim.readAll(ctx, cursor, originals{records}, opts.Progress); err != nil {
		return Simulation{}, err
	}
	again := func(ctx context.Context, begin, end string, visit func(kv.Pair) error) error {
		return source.Each(ctx, standby, begin, end, cursor.Revision(), visit)
	}
	if err := sim.conclude(ctx, again); err != nil {
		return Simulation{}, err
	}
	sim.judgeCopy(result.Checkpoint)
	if err := sim.judgeSince(ctx, standby, opts.Locals, result, stored); err != nil {
		return Simulation{}, err
	}
	result.Objects, result.Replicated = int64(len(sim.objects)), sim.replicated
	result.Findings = sim.findings.sorted()
	return result, nil
}

// readAll gives every key of the stream to the simulator, with its original.
func (s *simulator) readAll(ctx context.Context, objects, originals kv.Stream, progress func(int64)) error {
	seen := int64(0)
	return kv.Join(objects, originals, func(object, original *kv.Pair) error {
		if seen%256 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if progress != nil {
				progress(seen)
			}
		}
		seen++
		if object == nil {
			s.lost(*original)
		} else {
			s.add(*object, original)
		}
		return nil
	})
}

// ownState reads what Understudy keeps on the standby, at the same revision as
// everything else.
func (s *simulator) ownState(ctx context.Context, standby *clientv3.Client, low func(primary, standby kv.Revision) bool, into *Simulation) (stored sink.Stored, _ error) {
	at := clientv3.WithRev(int64(into.Revision))
	resp, err := standby.Get(ctx, sink.CheckpointKey, at)
	if err != nil {
		return stored, fmt.Errorf("read the standby's checkpoint: %w", compacted(err))
	}
	into.ClusterID = cluster.FormatID(resp.Header.ClusterId)
	if len(resp.Kvs) > 0 {
		if into.Checkpoint, err = decodeCheckpoint(resp.Kvs[0].Value); err == nil {
			stored = sink.Stored{Checkpoint: *into.Checkpoint, Revision: kv.Revision(resp.Kvs[0].ModRevision)}
		}
	}
	s.judgeCheckpoint(into, low, err)
	return stored, nil
}
