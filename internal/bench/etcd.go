package main

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/kv"
)

// prefix is where the API server's objects lie.
const prefix = "/registry/"

// startEtcd starts a fresh etcd that waits for the disk.
func startEtcd(ctx context.Context) (*etcdproc.Cluster, error) {
	return etcdproc.Start(ctx, etcdproc.Config{Version: "3.6", Fsync: true,
		Flags: []string{"--quota-backend-bytes=" + strconv.Itoa(16<<30), "--log-level=warn"}})
}

// startFilled starts an etcd with the first n objects in it. last is the
// greatest of their keys.
func (b *bench) startFilled(ctx context.Context, n int) (e *etcdproc.Cluster, last string, err error) {
	if err := b.objects.grow(n); err != nil {
		return nil, "", err
	}
	if e, err = startEtcd(ctx); err != nil {
		return nil, "", err
	}
	w := newPutter(ctx, e.Client(), 8)
	err = b.objects.each(0, n, func(p kv.Pair) error {
		last = max(last, p.Key)
		return w.put(p.Key, string(p.Value))
	})
	if err2 := w.close(); err == nil {
		err = err2
	}
	if err != nil {
		e.Stop()
		return nil, "", fmt.Errorf("fill an etcd: %w", err)
	}
	return e, last, nil
}

// settle lets the disk finish what the last measurement left behind.
func settle() { syscall.Sync() }

// revision is the newest one of an etcd.
func revision(ctx context.Context, client *clientv3.Client) (int64, error) {
	resp, err := client.Get(ctx, "revision?", clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// count is how many keys lie below the prefix.
func count(ctx context.Context, client *clientv3.Client) (int, error) {
	resp, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return int(resp.Count), nil
}

// expectCount fails where an etcd does not hold n keys.
func expectCount(ctx context.Context, e *etcdproc.Cluster, n int) error {
	got, err := count(ctx, e.Client())
	if err == nil && got != n {
		err = fmt.Errorf("%d keys arrived, not %d", got, n)
	}
	return err
}

// expectEqual fails where the independent checker finds the sides to differ.
func expectEqual(ctx context.Context, primary, standby *etcdproc.Cluster) error {
	from, err := revision(ctx, primary.Client())
	if err != nil {
		return err
	}
	to, err := revision(ctx, standby.Client())
	if err != nil {
		return err
	}
	differences, err := checker.Equal(ctx, primary.Client(), standby.Client(), prefix, from, to, checker.Options{})
	if err == nil && len(differences) > 0 {
		err = fmt.Errorf("%d keys differ, the first: %v", len(differences), differences[0])
	}
	return err
}

// expectReached fails where the standby's checkpoint is behind the primary.
func expectReached(ctx context.Context, primary, standby *etcdproc.Cluster) error {
	at, err := revision(ctx, primary.Client())
	if err != nil {
		return err
	}
	c, err := checker.ReadCheckpoint(ctx, standby.Client())
	if err == nil && c.SourceRevision < at {
		err = fmt.Errorf("the checkpoint is at %d, the primary at %d", c.SourceRevision, at)
	}
	return err
}

// arrival tells when a key appears or changes.
type arrival struct {
	when   chan time.Time
	cancel context.CancelFunc
}

// expect begins to watch for the next write to a key with the given value, any
// value if that is empty.
func expect(ctx context.Context, client *clientv3.Client, key, value string) *arrival {
	ctx, cancel := context.WithCancel(ctx)
	a := &arrival{when: make(chan time.Time, 1), cancel: cancel}
	// Created tells that the watch stands before anything is written.
	events := client.Watch(ctx, key, clientv3.WithCreatedNotify())
	<-events
	go func() {
		for resp := range events {
			now := time.Now()
			for _, e := range resp.Events {
				if value == "" || string(e.Kv.Value) == value {
					a.when <- now
					return
				}
			}
		}
	}()
	return a
}

// wait returns how long after began it arrived. It ends early, with the
// child's log, when that exits.
func (a *arrival) wait(ctx context.Context, c *child, began time.Time) (time.Duration, error) {
	defer a.cancel()
	select {
	case at := <-a.when:
		return at.Sub(began), nil
	case <-c.Exited():
		select {
		case at := <-a.when: // it had done its work
			return at.Sub(began), nil
		case <-time.After(time.Second):
		}
		return 0, fmt.Errorf("%s ended before its work was done:\n%s", c.name, c.LogTail(10))
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for %s: %w\n%s", c.name, ctx.Err(), c.LogTail(10))
	}
}

// counters are an etcd's own, by name.
type counters map[string]float64

// The counters that rows look at.
const (
	ranges    = "etcd_mvcc_range_total"
	puts      = "etcd_mvcc_put_total"
	deletes   = "etcd_mvcc_delete_total"
	bytesSent = "etcd_network_client_grpc_sent_bytes_total"
	events    = "etcd_debugging_mvcc_events_total" // sent to watches
)

func readCounters(ctx context.Context, e *etcdproc.Cluster) (counters, error) {
	c, err := e.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{ranges, puts, deletes, bytesSent, events} {
		if _, ok := c[name]; !ok {
			return nil, fmt.Errorf("etcd has no counter %s", name)
		}
	}
	return c, nil
}

// since is how much each counter has grown.
func (c counters) since(before counters) counters {
	grown := counters{}
	for name, n := range c {
		grown[name] = n - before[name]
	}
	return grown
}

// untilQuiet waits until the etcds have sent next to nothing for two seconds:
// what a daemon does after its start, the first check included, is over.
func untilQuiet(ctx context.Context, etcds ...*etcdproc.Cluster) error {
	const (
		while = 2 * time.Second
		noise = 64 << 10 // bytes; a daemon asks for the revision every second
	)
	tick := time.NewTicker(while / 8)
	defer tick.Stop()
	last, since := 0.0, time.Now()
	for time.Since(since) < while {
		sent := 0.0
		for _, e := range etcds {
			now, err := readCounters(ctx, e)
			if err != nil {
				return err
			}
			sent += now[bytesSent]
		}
		if sent > last+noise {
			last, since = sent, time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
