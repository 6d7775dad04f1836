package main

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/hold"
)

// workloadsEvery is how often the standby's own workloads are looked at that
// shall have no Pod.
const workloadsEvery = 30 * time.Second

// holdWorkloads keeps them at zero until ctx ends, as long as the cluster is a
// standby and replication is not paused.
func (d *daemon) holdWorkloads(ctx context.Context) {
	if len(d.pair.Hold.Workloads) == 0 {
		return
	}
	for ctx.Err() == nil {
		wait := workloadsEvery
		standing, err := d.holdWorkloadsOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			d.app.log.Warn("cannot keep workloads at zero", "error", err)
		}
		if !standing {
			wait = reconnectAfter // its role is about to be written, or the pause to end
		}
		d.mu.Lock()
		d.holdError = ""
		if err != nil {
			d.holdError = oneLine(err)
		}
		d.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (d *daemon) holdWorkloadsOnce(ctx context.Context) (standing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, workloadsEvery)
	defer cancel()
	standby, err := dial(ctx, d.pair.Standby)
	if err != nil {
		return false, err
	}
	defer standby.Close()
	fence, standing, err := hold.Standing(ctx, standby.Client)
	if err != nil || !standing {
		return false, err
	}
	api, err := standbyAPI(ctx, d.pair, standby.Client, d.view)
	if err != nil {
		return true, err
	}
	done, err := hold.KeepAtZero(ctx, standby.Client, api, selections(d.pair), fence)
	for _, w := range done {
		d.app.log.Info("scaled to zero while the cluster is standby", "namespace", w.Namespace, "deployment", w.Name, "replicas", w.Replicas)
	}
	return true, err
}

// selections is the seam between the configuration and package hold.
func selections(p *config.Pair) []hold.Selection {
	var out []hold.Selection
	for _, w := range p.Hold.Workloads {
		out = append(out, hold.Selection(w))
	}
	return out
}

// rememberEvery is how often the daemon looks anew at what the primary is known by, and
// keeps a revision of the standby with its time.
const rememberEvery = 10 * time.Minute

// remember does so until ctx ends.
func (d *daemon) remember(ctx context.Context) {
	for ctx.Err() == nil {
		wait := rememberEvery
		if done, err := d.rememberOnce(ctx); err != nil || !done {
			wait = reconnectAfter // its role is about to be written, or one of them does not answer
			if err != nil && ctx.Err() == nil {
				d.app.log.Debug("cannot keep what the primary is known by", "error", err)
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// rememberOnce reports whether there was something to look at: a standby that has been filled.
func (d *daemon) rememberOnce(ctx context.Context) (bool, error) {
	if !d.replica.State().Checkpoint.Exists() {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, rememberEvery/2)
	defer cancel()
	primary, err := dial(ctx, d.pair.Primary)
	if err != nil {
		return false, err
	}
	defer primary.Close()
	standby, err := dial(ctx, d.pair.Standby)
	if err != nil {
		return false, err
	}
	defer standby.Close()
	if err := rememberPrimary(ctx, d.pair, d.view, primary.Client, standby.Client); err != nil {
		return false, err
	}
	home, err := homeOf(ctx, d.pair, standby.Client)
	if err != nil {
		return false, err
	}
	self, err := hold.FindSelf(ctx, standby.Client, d.view, home)
	if err != nil {
		return false, err
	}
	var lines []string
	for _, s := range self {
		lines = append(lines, s.Kind+" "+s.Name+": "+s.Why)
	}
	d.mu.Lock()
	changed := !slices.Equal(d.self, lines)
	d.self = lines
	d.mu.Unlock()
	if changed {
		d.tell()
	}
	return true, nil
}
