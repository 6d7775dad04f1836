package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
)

// errPaused ends a session when an operator pauses replication.
var errPaused = errors.New("replication is paused")

func refusePause(p *role.Pause) error {
	return &remedy.Error{Op: "copy to the standby", Err: fmt.Errorf("%w since %s by %s", errPaused, p.Since.Format(time.RFC3339), p.By),
		Remedy: "understudy resume", Code: remedy.Refused}
}

// ErrReleased means that objects were released, and that nobody has said since
// whether replication may hold them again.
var ErrReleased = errors.New("objects were released on the standby")

func refuseRelease(r *role.Release) error {
	return &remedy.Error{Op: "replicate", Err: fmt.Errorf("%w: %s", ErrReleased, r), Remedy: r.Remedy(), Code: remedy.Refused}
}

// refuseOnce says why a single copy has no business here: objects were released, the
// breaker has stopped replication, or an operator has. A daemon waits where this refuses.
func (r *Replica) refuseOnce(ctx context.Context, standby *cluster.Cluster, f Facts, d Decision) error {
	release, err := role.ReadRelease(ctx, standby.Client)
	if err != nil {
		return err
	}
	if release.Stands(f.Checkpoint.Revision) {
		return refuseRelease(release)
	}
	trip, err := standingTrip(ctx, standby, f)
	if err != nil {
		return err
	}
	if trip != nil && !d.endsTrips() { // its answer ends a pause as well
		return refuseTrip(*trip)
	}
	pause, err := role.ReadPause(ctx, standby.Client)
	if err != nil || pause == nil {
		return err
	}
	return refusePause(pause)
}

// standingTrip is what the breaker saw and nobody has answered; nil = nothing.
func standingTrip(ctx context.Context, standby *cluster.Cluster, f Facts) (*role.Trip, error) {
	trip, err := role.ReadTrip(ctx, standby.Client)
	if err != nil || !trip.Stands(cluster.FormatID(f.Primary.ID), f.Checkpoint.Complete()) {
		return nil, err
	}
	return trip, nil
}

// whileStopped waits until nobody wants replication to pause, and nothing is
// released that it would hold again without somebody having said so.
func (r *Replica) whileStopped(ctx context.Context, standby *cluster.Cluster, f Facts) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	looked := time.Now()
	for said := false; ; {
		pause, err := role.ReadPause(ctx, standby.Client)
		if err != nil {
			return err
		}
		release, err := role.ReadRelease(ctx, standby.Client)
		if err != nil {
			return err
		}
		if !release.Stands(f.Checkpoint.Revision) {
			release = nil
		}
		if pause == nil && release == nil {
			r.account.update(func(s *State) { s.Pause, s.Release = nil, nil })
			return nil
		}
		trip, err := standingTrip(ctx, standby, f)
		if err != nil {
			return err
		}
		var tripped error // stands beside the pause, and outlives it
		if trip != nil {
			tripped = refuseTrip(*trip)
		}
		// All at once, after the last question: a pause hides no trip for a moment.
		switch {
		case pause != nil:
			r.account.enter(Paused, tripped)
		default:
			r.account.enter(Halted, refuseRelease(release))
		}
		r.account.update(func(s *State) { s.Pause, s.Release, s.Trip = pause, release, trip })
		if !said && pause != nil {
			r.Log.Warn("replication is paused", "since", pause.Since, "by", pause.By, "reason", pause.Reason)
		}
		if !said && release != nil {
			refused := refuseRelease(release)
			r.Log.Error("halted; what was released stays as it is", "error", refused, "remedy", remedy.Of(refused))
		}
		said = true
		if time.Since(looked) > vigilEvery { // nobody guards the standby meanwhile
			looked = time.Now()
			look, cancel := context.WithTimeout(ctx, vigilPatience)
			r.sayVigil(r.watchOver(look, standby.Client))
			cancel()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// heed returns errPaused when an operator pauses replication, and nil when ctx
// ends. The fence keeps a paused session from writing, but one that has nothing
// to write would not notice, and say that it streams. It watches instead of asking
// again and again, which would burden a standby that is only just back.
func (s *session) heed(ctx context.Context) error {
	for ctx.Err() == nil {
		if p := s.paused(ctx); p != nil {
			return refusePause(p)
		}
		_ = newBackoff(time.Second, time.Second).sleep(ctx)
	}
	return nil
}

// paused is the order to pause as soon as there is one; nil = the watch has ended.
func (s *session) paused(ctx context.Context) *role.Pause {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range s.standby.Watch(ctx, role.PausedKey, clientv3.WithCreatedNotify()) {
		if resp.Err() != nil {
			return nil
		}
		// Also what was ordered before the watch began.
		if p, err := role.ReadPause(ctx, s.standby); err != nil || p != nil {
			return p
		}
	}
	return nil
}
