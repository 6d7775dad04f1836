package main

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

// daemon is what sync runs besides the replication itself: the checks, the
// live account, and the answers over HTTP.
type daemon struct {
	app     *app
	pair    *config.Pair
	view    *scope.View
	replica *replica.Replica
	account *verify.Account

	mu        sync.Mutex
	recheck   bool // due before the interval is over
	checkedAt time.Time
	lastCheck verify.Report
}

func runSync(ctx context.Context, app *app, pair *config.Pair) error {
	d := &daemon{app: app, pair: pair, account: verify.NewAccount()}
	var err error
	if d.view, err = newView(pair); err != nil {
		return err
	}
	d.replica, err = newReplica(app, pair, replica.Hooks{Seen: d.seen, Blind: d.gap, Resynced: d.resynced})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.replica.Run(ctx) })
	group.Go(func() error { d.verify(ctx); return nil })
	err = group.Wait()
	app.log.Info("ended")
	return err
}

// seen feeds the live account with the standby's writes.
func (d *daemon) seen(writes []replica.Write, _ kv.Revision) {
	d.account.Blind("")
	for _, w := range writes {
		if w.Foreign {
			d.account.Foreign(w.Key, w.Revision)
			continue
		}
		d.account.Own(w.Key, w.Revision)
	}
}

func (d *daemon) gap(err error) { d.account.Blind(err.Error()) }

// resynced makes the account begin anew: a copy writes more than can be
// watched one by one.
func (d *daemon) resynced(replica.CopyProgress) {
	d.account.Invalidate("both sides were compared and written anew; the next check is due")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recheck = true
}
