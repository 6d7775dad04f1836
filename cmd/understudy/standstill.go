package main

import (
	"context"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

// standingTrip is what the breaker saw and nobody has answered; nil = nothing.
func standingTrip(ctx context.Context, standby *clientv3.Client) (*role.Trip, error) {
	stored, err := sink.ReadCheckpoint(ctx, standby)
	if err != nil {
		return nil, err
	}
	trip, err := role.ReadTrip(ctx, standby)
	if err != nil || !trip.Stands(stored.SourceClusterID, stored.Complete()) {
		return nil, err
	}
	return trip, nil
}

// standingRelease is what was released and nobody has answered for; nil = nothing.
func standingRelease(ctx context.Context, standby *clientv3.Client) (*role.Release, error) {
	stored, err := sink.ReadCheckpoint(ctx, standby)
	if err != nil {
		return nil, err
	}
	release, err := role.ReadRelease(ctx, standby)
	if err != nil || !release.Stands(stored.Revision) {
		return nil, err
	}
	return release, nil
}

// readStandstill asks the standby why nothing is replicated, if that is so.
func readStandstill(ctx context.Context, standby *clientv3.Client, describe console.Describe) (console.Standstill, error) {
	trip, err := standingTrip(ctx, standby)
	if err != nil {
		return console.Standstill{}, err
	}
	release, err := standingRelease(ctx, standby)
	if err != nil {
		return console.Standstill{}, err
	}
	pause, err := role.ReadPause(ctx, standby)
	return standstillOf(release, trip, pause, describe), err
}

// standstillOf is the seam between packages role and console. The release and the
// trip are such as stand, or nil.
func standstillOf(release *role.Release, trip *role.Trip, pause *role.Pause, describe console.Describe) (s console.Standstill) {
	if release != nil {
		s.Released = &console.Released{Objects: release.Objects, Since: release.Since, By: release.By, PrimaryGone: release.PrimaryGone, Text: release.String(), Next: release.Remedy()}
	}
	if pause != nil {
		s.Paused = &console.Pause{Since: pause.Since, By: pause.By, Reason: pause.Reason}
	}
	if trip == nil {
		return s
	}
	s.Breaker, s.Tripped, s.Answer = trip.String(), &trip.At, role.AnswerRemedy
	for i, l := range slices.Concat(trip.Losses, trip.Along) {
		loss := console.Loss{Resource: l.Resource, Deleted: l.Deleted, Of: l.Of, Applied: l.Applied, Named: len(l.Keys), Objects: []console.Object{}, Along: i >= len(trip.Losses)}
		for _, key := range l.Gone {
			loss.Gone = append(loss.Gone, console.Object{Object: describe(key), Key: key})
		}
		for _, key := range l.Keys {
			loss.Objects = append(loss.Objects, console.Object{Object: describe(key), Key: key})
		}
		s.HeldBack = append(s.HeldBack, loss)
	}
	return s
}
