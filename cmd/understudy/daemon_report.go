package main

import (
	"context"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

// report is the daemon's account of itself at this moment.
func (d *daemon) report() console.Report {
	s := d.replica.State()
	r := console.Report{
		Time: time.Now().UTC(), Identity: d.replica.Identity, State: string(s.Phase), Since: s.Since.UTC(),
		PrimaryConnected: s.PrimaryReached, StandbyConnected: s.StandbyReached,
		SourceRevision: s.Checkpoint.SourceRevision, StandbyRevision: s.Checkpoint.Revision,
		Events: s.Events, Bytes: s.Bytes, Resyncs: s.Resyncs, Errors: s.Errors,
		Certificates: d.certificates(), StaleKeys: d.keys.changed(),
	}
	r.Deletes, r.Deletions = s.DeletedOf, deletionsOf(s.Deletions, d.Describe)
	r.Tripped, r.Leading = d.trip(s) != nil, s.Leading
	if s.Err != nil {
		r.Error, r.Remedy = s.Err.Error(), remedy.Of(s.Err)
	}
	if s.Lag.Known {
		r.Lag = console.KnownLag(s.Lag.Seconds, s.Lag.Revisions)
	}
	for _, side := range []string{d.pair.Primary.Name, d.pair.Standby.Name} {
		for _, how := range s.Apart[side] {
			r.Apart = append(r.Apart, side+": "+how)
		}
	}
	live := d.live(1)
	r.Live, r.Drift = live.Summary(), live.Drift
	d.mu.Lock()
	defer d.mu.Unlock()
	r.Held, r.HoldError, r.PrimaryItself = d.held, d.holdError, d.self
	if !d.checkedAt.IsZero() {
		r.LastCheck = consoleCheck(d.lastCheck).Summary()
	}
	r.Scope, r.ScopeTime = scopeTable(s, d.scope, d.scopeAt)
	left := s.LeftOut
	if d.scope != nil {
		left = d.leftOut
	}
	if r.ScopeTime != nil {
		r.LeftOut = (*console.LeftOut)(&left)
	}
	return r
}

// deletionsOf is the seam between packages replica and console.
func deletionsOf(all []replica.Deletion, describe console.Describe) (out []console.Deletion) {
	for _, d := range all {
		one := console.Deletion{Resource: d.Resource, Cause: d.Cause, Along: d.Along, Deleted: d.Deleted, Of: d.Of, First: []string{}, At: d.At.UTC(), Last: d.Last.UTC()}
		for _, key := range d.First {
			one.First = append(one.First, describe(key))
		}
		out = append(out, one)
	}
	return out
}

// scopeTable is what the last check counted, or else the last copy, and when.
func scopeTable(s replica.State, checked map[string]verify.Resource, at time.Time) (map[string]console.Resource, *time.Time) {
	table := map[string]console.Resource{}
	if checked != nil {
		for gr, n := range checked {
			table[gr] = console.Resource(n)
		}
		return table, &at
	}
	for gr, n := range s.Scope {
		table[gr] = console.Resource(n)
	}
	if s.ScopeAt.IsZero() {
		return table, nil
	}
	return table, &s.ScopeAt
}

func (d *daemon) certificates() []console.Certificate {
	return append(certificatesOf("primary", d.pair.Primary), certificatesOf("standby", d.pair.Standby)...)
}

// certificatesOf reads the files anew: they may have been renewed.
func certificatesOf(side string, c config.Cluster) []console.Certificate {
	var out []console.Certificate
	for _, cert := range clusterConfig(c).Certificates() {
		out = append(out, console.Certificate{Side: side, File: cert.File, Subject: cert.Subject, NotAfter: cert.NotAfter, Wrong: cert.Wrong})
	}
	return out
}

// Check implements console.Provider: from the live account or, while another
// daemon leads, from what that one said last.
func (d *daemon) Check(limit int) console.Check {
	if d.replica.State().Phase == replica.Waiting {
		return console.CheckOfLeader(d.led())
	}
	return d.live(limit)
}

// live is this daemon's own account.
func (d *daemon) live(limit int) console.Check {
	s, now := d.replica.State(), time.Now().UTC()
	c := consoleCheck(d.account.Report(limit))
	c.Asked, c.Drift = &now, driftOf(s.Drift)
	return c.As(standstillOf(d.release(s), d.trip(s), s.Pause, d.Describe).Limited(limit))
}

// trip is the breaker's trip that stands; while no primary answers, what is
// recorded counts.
func (d *daemon) trip(s replica.State) *role.Trip {
	if s.Trip != nil || s.Phase != replica.Connecting {
		return s.Trip
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.recorded
}

// release is what was released and nobody has answered for. What is recorded counts
// whatever the replica is at: nobody replicates past it.
func (d *daemon) release(s replica.State) *role.Release {
	if s.Release != nil {
		return s.Release
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.released
}

// readStopped looks for a trip and a release that nobody has answered.
func (d *daemon) readStopped(ctx context.Context, standby *cluster.Cluster) error {
	attempt, cancel := context.WithTimeout(ctx, console.ReportEvery)
	defer cancel()
	trip, err := role.ReadTrip(attempt, standby.Client)
	if err != nil {
		return err
	}
	if trip != nil && trip.Answer != nil {
		trip = nil
	}
	released, err := standingRelease(attempt, standby.Client)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recorded, d.released = trip, released
	return nil
}

// Describe implements console.Provider.
func (d *daemon) Describe(key string) string { return describeKey(d.view.Scope, key) }

// Facts implements console.Provider from what the daemon knows itself.
func (d *daemon) Facts() console.Facts {
	s, r := d.replica.State(), d.report()
	if s.Phase == replica.Waiting {
		f := d.led()
		f.Self = &r
		return f
	}
	f := console.Facts{
		Now: time.Now(), Pair: d.pair.Metadata.Name,
		LagThreshold: d.pair.Sync.LagThreshold.Duration, CheckInterval: d.pair.Check.Interval.Duration,
		Primary:      sideOf(d.pair.Primary.Name, s.Primary, s.PrimaryReached),
		Standby:      sideOf(d.pair.Standby.Name, s.Standby, s.StandbyReached),
		Leader:       r.Identity,
		Report:       &r,
		Self:         &r,
		Standstill:   standstillOf(d.release(s), d.trip(s), s.Pause, d.Describe),
		Certificates: r.Certificates,
		Held:         r.Held,
	}
	if s.Checkpoint.Exists() {
		f.Checkpoint = checkpointOf(s.Checkpoint)
	}
	return f
}

func sideOf(name string, id cluster.Identity, reachable bool) console.Side {
	side := console.Side{Name: name, Revision: id.Revision, Reachable: reachable}
	if id.ID != 0 {
		side.ClusterID = cluster.FormatID(id.ID)
	}
	return side
}

func checkpointOf(c sink.Stored) *console.Checkpoint {
	return &console.Checkpoint{SourceRevision: c.SourceRevision, Time: c.Time, Phase: string(c.Phase), SourceClusterID: c.SourceClusterID}
}

// publish writes the report to the standby now and then, for status.
func (d *daemon) publish(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.publishConnected(ctx); err != nil && ctx.Err() == nil {
			d.app.log.Debug("cannot publish the report", "error", err)
		}
		select {
		case <-time.After(reconnectAfter):
		case <-ctx.Done():
		}
	}
}

func (d *daemon) publishConnected(ctx context.Context) error {
	standby, err := dial(ctx, d.pair.Standby)
	if err != nil {
		return err
	}
	defer standby.Close()
	look := &observer{pair: d.pair, view: d.view}
	defer look.close()
	tick := time.NewTicker(console.ReportEvery)
	defer tick.Stop()
	for {
		if d.replica.State().Phase == replica.Waiting {
			d.sawLed(look.facts(ctx))
		} else if err := d.publishOnce(ctx, standby); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-d.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// countHeld asks the standby; where it does not answer, the number is unknown.
func (d *daemon) countHeld(ctx context.Context, standby *cluster.Cluster) {
	attempt, cancel := context.WithTimeout(ctx, console.ReportEvery)
	defer cancel()
	var held *int64
	if n, err := hold.Count(attempt, standby.Client); err == nil {
		held = &n
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = held
}

func (d *daemon) publishOnce(ctx context.Context, standby *cluster.Cluster) error {
	if err := d.readStopped(ctx, standby); err != nil {
		return err
	}
	s := d.replica.State()
	if !s.Checkpoint.Exists() {
		return nil // nothing of ours is there yet
	}
	d.countHeld(ctx, standby)
	raw, err := d.report().Encode()
	if err != nil {
		return err
	}
	attempt, cancel := context.WithTimeout(ctx, console.ReportEvery)
	defer cancel()
	_, err = role.WriteReport(attempt, standby.Client, d.replica.Identity, sink.ReportKey, raw)
	return err
}
