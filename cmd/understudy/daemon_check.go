package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/verify"
)

// verify keeps the live account until ctx ends. It reads over connections of
// its own, so that a check cannot hold up the replication.
func (d *daemon) verify(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.verifyConnected(ctx); err != nil && ctx.Err() == nil {
			d.app.log.Debug("cannot check", "error", err)
		}
		select {
		case <-time.After(reconnectAfter):
		case <-ctx.Done():
		}
	}
}

const (
	// A check waits for a stream that is more than catchingUp revisions behind,
	// but not for longer than catchUpPatience.
	catchingUp      = 2000
	catchUpPatience = time.Minute
	reconnectAfter  = 5 * time.Second
	// soonAfterCopy is how long after a copy the first check begins at the latest.
	soonAfterCopy = time.Second
)

func (d *daemon) verifyConnected(ctx context.Context) error {
	primary, err := dial(ctx, d.pair.Primary)
	if err != nil {
		return err
	}
	defer primary.Close()
	standby, err := dial(ctx, d.pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	clusters := []*cluster.Cluster{primary, standby}
	if _, err := d.compareMembers(ctx, clusters); err != nil {
		return err
	}
	sides := verify.Sides{Primary: primary.Client, Standby: standby.Client, Served: servedBy(d.pair, standby.Client, d.view)}

	ctx, cancel := context.WithCancel(ctx)
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		d.account.Run(ctx, sides, d.view)
	}()
	defer func() {
		cancel()
		<-settled
	}()
	return d.checkForEver(ctx, sides, clusters)
}

// checkForEver checks at every interval, and at once where a check is due.
func (d *daemon) checkForEver(ctx context.Context, sides verify.Sides, clusters []*cluster.Cluster) error {
	tick := time.NewTicker(soonAfterCopy)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if !d.checkDue(time.Now()) {
			continue
		}
		d.mu.Lock()
		d.recheck = false // what happens from now on may make another one due
		d.mu.Unlock()
		if changed, err := d.compareMembers(ctx, clusters); err != nil || changed {
			return err // connect anew
		}
		report, err := d.account.Check(ctx, sides, d.view, verify.Options{})
		if ctx.Err() != nil {
			return nil
		}
		d.checked(report, err)
		if errors.Is(err, verify.ErrSilent) {
			d.mu.Lock()
			d.recheck = true // as soon as it answers again
			d.mu.Unlock()
		}
		if err == nil {
			all := report.Complete() && report.Surplus.Count == int64(len(report.Surplus.Keys))
			err = d.replica.RememberSurplus(ctx, report.Surplus.Keys, report.StandbyRevision, all)
		}
		if err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
}

// checkDue: only the leader checks, and only what has been filled.
func (d *daemon) checkDue(now time.Time) bool {
	s := d.replica.State()
	if s.Phase != replica.Streaming && s.Phase != replica.Halted && s.Phase != replica.Paused {
		return false
	}
	if s.Phase == replica.Streaming && s.Lag.Revisions > catchingUp && now.Sub(s.Since) < catchUpPatience {
		return false // it would only hold up the catching up, and be old when that is done
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.recheck || now.Sub(d.checkedAt) >= d.pair.Check.Interval.Duration
}

// checked keeps the outcome of a check, whatever it is.
func (d *daemon) checked(report verify.Report, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checkedAt = time.Now()
	d.lastCheck = report
	if report.Complete() {
		d.scope, d.leftOut, d.scopeAt = report.Scope, report.LeftOut, report.Started
	}
	d.tell()
	log := d.app.log.With("verdict", report.Verdict, "sourceRevision", report.SourceRevision,
		"compared", report.Compared, "took", report.Took.Round(time.Millisecond))
	switch {
	case err != nil:
		log.Warn("could not check", "error", err)
	case report.Verdict == verify.Consistent:
		log.Info("checked")
	default:
		log.Warn("checked", "missed", report.Missed.Count, "surplus", report.Surplus.Count,
			"differing", report.Differing.Count, "conflict", report.Conflict.Count, "undecodable", report.Undecodable.Count, "reason", report.Reason)
	}
}

// membersEvery bounds how often the members' whole data is read.
const membersEvery = time.Minute

// compareMembers compares the members of each cluster, so that a check does not read
// from one that disagrees with the majority. It reports whether others are asked now.
func (d *daemon) compareMembers(ctx context.Context, clusters []*cluster.Cluster) (changed bool, err error) {
	if time.Since(d.membersAt) < membersEvery && !d.membersApart {
		return false, nil
	}
	was := d.membersApart
	d.membersAt, d.membersApart = time.Now(), false
	for _, c := range clusters {
		agreed, err := c.Compare(ctx, true)
		switch {
		case len(agreed.Disagree) > 0:
			d.membersApart = true
			d.replica.MembersDisagree(c.Name)
		case err == nil && agreed.Hashed && agreed.Unasked == "":
			d.replica.MembersAgree(c.Name)
		case was: // one is being replaced, perhaps
			d.membersApart = true
		}
		if remedy.CodeOf(err) == remedy.Refused {
			return false, err // the replica halts, and says so
		}
		changed = err == nil && c.Stay(agreed) || changed
	}
	return changed, nil
}
