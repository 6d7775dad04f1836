package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

// observer finds out how a pair is, from outside the daemon. It keeps its
// connections from one look to the next.
type observer struct {
	pair             *config.Pair
	view             *scope.View
	primary, standby *cluster.Cluster
	stored           sink.Checkpoint // as it was read last
}

func (o *observer) close() {
	for _, c := range []*cluster.Cluster{o.primary, o.standby} {
		if c != nil {
			c.Close()
		}
	}
}

// lookPatience bounds what is asked of a side once it has said who it is:
// etcd's client would wait without end for one that dies then, and the last
// verdict would stand on the screen meanwhile.
const lookPatience = 10 * time.Second

// facts looks at both sides at once. It never fails: what could not be found
// out is left unknown.
func (o *observer) facts(ctx context.Context) console.Facts {
	f := console.Facts{
		Pair: o.pair.Metadata.Name, LagThreshold: o.pair.Sync.LagThreshold.Duration, CheckInterval: o.pair.Check.Interval.Duration,
		Primary: console.Side{Name: o.pair.Primary.Name}, Standby: console.Side{Name: o.pair.Standby.Name},
		Certificates: append(certificatesOf(o.pair.Primary.Name, o.pair.Primary), certificatesOf(o.pair.Standby.Name, o.pair.Standby)...),
	}
	// The checkpoint first: the primary, asked later, cannot be behind it.
	var standbyErr error
	var done sync.WaitGroup
	done.Go(func() { standbyErr = o.lookAt(ctx, o.pair.Standby, &o.standby, sink.CheckpointKey, &f.Standby) })
	done.Go(func() { _ = o.lookAt(ctx, o.pair.Primary, &o.primary, o.view.Scope.Prefix(), &f.Primary) })
	done.Wait()
	if standbyErr == nil {
		if err := o.readStandby(ctx, &f); err != nil {
			unread(&f.Standby, err)
		}
	}
	if f.Primary.Reachable {
		// The revision once more, so that it is not older than the checkpoint.
		if id, err := o.primary.Identify(ctx, o.view.Scope.Prefix()); err == nil {
			f.Primary.Revision = id.Revision
		}
		if err := o.askWitness(ctx, &f); err != nil {
			unread(&f.Primary, err)
		}
	}
	if !f.Primary.Reachable && standbyErr == nil && f.Standby.Reachable {
		f.Alone = o.alone(ctx)
	}
	f.Now = time.Now()
	return f
}

// alone asks the standby by itself what others did to it since the checkpoint.
func (o *observer) alone(ctx context.Context) *console.Alone {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	checkpoint, err := sink.ReadCheckpoint(ctx, o.standby.Client)
	if err != nil || checkpoint.Phase != sink.Streaming {
		return nil // the verdict suffers for it
	}
	now, err := o.standby.Client.Get(ctx, sink.VigilKey)
	if err != nil {
		return &console.Alone{Unknown: oneLine(err)}
	}
	seen, err := verify.Since(ctx, o.standby.Client, o.view, checkpoint, kv.Revision(now.Header.Revision))
	if err != nil {
		return &console.Alone{Unknown: oneLine(err)}
	}
	a := &console.Alone{Missing: len(seen.Lost), Changed: len(seen.Changed)}
	if !seen.Gap.IsZero() {
		a.Unknown = "after " + seen.Gap.Local().Format("2006-01-02 15:04:05") + " no daemon watched it, and its history is compacted"
	}
	return a
}

// unread says why a side that was connected to is not known; with a remedy it has
// answered, though not what was asked.
func unread(side *console.Side, err error) {
	err = explainDenied(err)
	side.Reachable, side.Error = false, oneLine(err)
	if code := remedy.CodeOf(err); code == remedy.Auth || code == remedy.Refused || code == remedy.Usage {
		side.Remedy = remedy.Of(err)
	}
}

// askWitness asks the primary whether it still has what the checkpoint says it had.
func (o *observer) askWitness(ctx context.Context, f *console.Facts) (err error) {
	if f.Checkpoint == nil || f.Checkpoint.SourceClusterID != f.Primary.ClusterID {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	f.Restored, err = verify.Restored(ctx, o.primary.Client, o.stored)
	return err
}

// lookAt connects to one side where it is not, and asks who it is.
func (o *observer) lookAt(ctx context.Context, c config.Cluster, at **cluster.Cluster, key string, side *console.Side) (err error) {
	defer func() {
		if err != nil {
			unread(side, err)
			side.Error = strings.TrimPrefix(side.Error, "connect to "+c.Name+": ")
			if *at != nil {
				(*at).Close()
				*at = nil // the next look connects anew, and says why it cannot
			}
		}
	}()
	if *at == nil {
		if *at, err = dial(ctx, c); err != nil {
			return err
		}
	}
	id, err := (*at).Identify(ctx, key)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	state, err := role.Read(bounded, (*at).Client)
	if err != nil && !cluster.IsDenied(err) { // a reader's account may not see the role
		return err
	}
	side.Reachable, side.ClusterID, side.Revision = true, cluster.FormatID(id.ID), id.Revision
	side.Role, side.Term = state.Role, state.Term
	side.Members, side.Ailments, _, err = attendMembers(bounded, *at, false, historyOfStandby(*at)) // of the primary preflight tells
	return err
}

// readStandby reads what Understudy keeps in the standby's etcd.
func (o *observer) readStandby(ctx context.Context, f *console.Facts) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	client := o.standby.Client
	stored, err := sink.ReadCheckpoint(ctx, client)
	if err != nil {
		return err
	}
	o.stored = stored.Checkpoint
	if stored.Exists() {
		f.Checkpoint = checkpointOf(stored)
		f.OtherScope = stored.ScopeHash != o.view.Scope.Hash()
	}
	if f.Leader, err = role.CurrentLeader(ctx, client); err != nil {
		return err
	}
	pause, err := role.ReadPause(ctx, client)
	if err != nil {
		return err
	}
	trip, err := role.ReadTrip(ctx, client)
	if err != nil {
		return err
	}
	f.Kept = trip.Kept()
	if !trip.Stands(stored.SourceClusterID, stored.Complete()) {
		trip = nil
	}
	release, err := role.ReadRelease(ctx, client)
	if err != nil {
		return err
	}
	if !release.Stands(stored.Revision) {
		release = nil
	}
	f.Standstill = standstillOf(release, trip, pause, describer(o.view))
	held, err := hold.Count(ctx, client)
	if err != nil {
		return err
	}
	f.Held = &held
	f.Preflight = keptAt(ctx, client, o.pair)
	resp, err := client.Get(ctx, sink.ReportKey)
	if err != nil {
		return fmt.Errorf("read the daemon's report: %w", err)
	}
	if len(resp.Kvs) > 0 {
		// A report that cannot be read is none: the verdict suffers for it.
		f.Report, _ = console.DecodeReport(resp.Kvs[0].Value)
	}
	return nil
}

// oneLine is an error without the line breaks of joined ones.
func oneLine(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
