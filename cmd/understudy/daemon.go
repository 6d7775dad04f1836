package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
	"github.com/understudy-dr/understudy/verify"
)

// daemon is what sync runs besides the replication itself: the checks, the
// live account, the report for status, and the answers over HTTP.
type daemon struct {
	app     *app
	pair    *config.Pair
	view    *scope.View
	replica *replica.Replica
	account *verify.Account
	metrics *console.Metrics
	keys    keyFiles
	changed chan struct{} // something that the report should tell soon

	// Of the goroutine that checks: when it compared members last, and whether some disagreed.
	membersAt    time.Time
	membersApart bool

	mu        sync.Mutex
	recheck   bool // due before the interval is over
	checkedAt time.Time
	lastCheck verify.Report
	scope     map[string]verify.Resource // as the last check that went through counted it
	leftOut   scope.LeftOut              // likewise
	scopeAt   time.Time                  // when that began
	waiting   *console.Facts             // what is known of the pair while another daemon leads; nil = nothing yet
	held      *int64                     // objects on the standby; nil = unknown
	recorded  *role.Trip                 // that nobody has answered, in the standby's etcd
	released  *role.Release              // the same
	holdError string                     // why workloads are not kept at zero
	self      []string                   // what describes the primary itself
}

func runSync(ctx context.Context, app *app, pair *config.Pair) error {
	d := &daemon{app: app, pair: pair, account: verify.NewAccount(), changed: make(chan struct{}, 1)}
	var err error
	d.keys = newKeyFiles(pair) // before they are read: a change in between is told once too often
	if d.view, err = newView(pair); err != nil {
		return err
	}
	d.replica, err = newReplica(app, pair, replica.Hooks{Seen: d.seen, Blind: d.gap, Resynced: d.resynced, Applied: d.applied, Entered: func(replica.Phase) { d.tell() }})
	if err != nil {
		return err
	}
	d.metrics = console.NewMetrics(pair.Metadata.Name, d.report)
	listener, err := net.Listen("tcp", pair.Listen)
	if err != nil {
		return &remedy.Error{Op: "listen on " + pair.Listen, Err: err,
			Remedy: fmt.Sprintf("another daemon of this host may have that port: give this one another address, in the key listen (%s); port 0 takes a free one", pair.At("listen")),
			Code:   remedy.Usage}
	}
	app.log.Info("listening", "address", listener.Addr().String())

	warnOfOperators(ctx, app, pair)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.replica.Run(ctx) })
	group.Go(func() error { d.verify(ctx); return nil })
	group.Go(func() error { d.publish(ctx); return nil })
	group.Go(func() error { d.holdWorkloads(ctx); return nil })
	group.Go(func() error { d.remember(ctx); return nil })
	group.Go(func() error { return d.serve(ctx, listener) })
	err = group.Wait()
	app.log.Info("ended")
	return err
}

// serve answers over HTTP until ctx ends.
func (d *daemon) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           console.Handler(d, d.metrics.Gatherer(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))),
		ReadHeaderTimeout: 5 * time.Second,
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(last) != nil {
			server.Close()
		}
	}()
	err := server.Serve(listener)
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	}
	<-stopped
	return nil
}

func (d *daemon) applied(took time.Duration, _ int) { d.metrics.Applied(took) }

// seen feeds the live account with the standby's writes.
func (d *daemon) seen(writes []replica.Write, _ kv.Revision) {
	d.account.Blind("")
	for _, w := range writes {
		if !w.Foreign && !w.Conflict {
			d.account.Own(w.Key, w.Revision)
			continue
		}
		d.account.Foreign(w.Key, w.Revision)
	}
}

func (d *daemon) gap(err error) {
	d.account.Blind(err.Error())
	if errors.Is(err, source.ErrCompacted) {
		d.begin("writes on the standby were compacted before they could be looked at")
	}
}

// resynced makes the account begin anew: a copy writes more than can be
// watched one by one.
func (d *daemon) resynced(replica.CopyProgress) {
	d.begin("both sides were compared and written anew; the next check is due")
}

// begin makes everything that the account knows void, and a check due.
func (d *daemon) begin(why string) {
	d.account.Invalidate(why)
	d.mu.Lock()
	d.recheck = true
	d.mu.Unlock()
}

// tell lets the report be published soon.
func (d *daemon) tell() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}
