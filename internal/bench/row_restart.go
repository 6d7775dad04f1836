package main

import (
	"context"
	"fmt"
	"github.com/understudy-dr/understudy/kv"
	"math/rand/v2"
)

// restart stops a daemon that is in step and starts it again. One write was
// made meanwhile; when that arrives, it streams.
func (b *bench) restart(ctx context.Context, r *Result) error {
	n := b.scaled(100_000)
	primary, _, err := b.startFilled(ctx, n)
	if err != nil {
		return err
	}
	defer primary.Stop()
	standby, err := startEtcd(ctx)
	if err != nil {
		return err
	}
	defer standby.Stop()
	if err := b.copyOnce(ctx, primary, standby); err != nil {
		return err
	}
	var object kv.Pair
	if err := b.objects.each(0, 1, func(p kv.Pair) error { object = p; return nil }); err != nil {
		return err
	}
	r.note("%d keys are there, one of them was written meanwhile; timed from the start of the process until that write can be read on the standby", n)
	r.note("a read is one range request as etcd counts them, whatever its size; what etcd sent counts all its clients")

	took := r.figure("until streaming", "s")
	reads := r.figure("reads of the primary", "reads")
	readsStandby := r.figure("reads of the standby", "reads")
	sent := r.figure("sent by the primary", "KiB")
	sentStandby := r.figure("sent by the standby", "KiB")
	watched := r.figure("watch events of the primary, until quiet", "events")
	watchedStandby := r.figure("watch events of the standby, until quiet", "events")
	rng := rand.New(rand.NewPCG(6, 0))
	for range max(b.rounds, 5) {
		object = b.objects.options.Mutate(rng, object)
		if _, err := primary.Client().Put(ctx, object.Key, string(object.Value)); err != nil {
			return err
		}
		arrived := expect(ctx, standby.Client(), object.Key, string(object.Value))
		beforePrimary, err1 := readCounters(ctx, primary)
		beforeStandby, err2 := readCounters(ctx, standby)
		if err := firstError(err1, err2); err != nil {
			return err
		}
		c, err := b.startSync(primary, standby, "")
		if err != nil {
			return err
		}
		d, err := arrived.wait(ctx, c, c.began)
		if err != nil {
			c.Kill()
			return err
		}
		afterPrimary, err1 := readCounters(ctx, primary)
		afterStandby, err2 := readCounters(ctx, standby)
		err = firstError(err1, err2)
		if err == nil {
			err = untilQuiet(ctx, primary, standby)
		}
		quietPrimary, err1 := readCounters(ctx, primary)
		quietStandby, err2 := readCounters(ctx, standby)
		c.Stop()
		if err := firstError(err, err1, err2); err != nil {
			return err
		}
		watched.add(quietPrimary.since(beforePrimary)[events])
		watchedStandby.add(quietStandby.since(beforeStandby)[events])
		took.add(seconds(d))
		reads.add(afterPrimary.since(beforePrimary)[ranges])
		readsStandby.add(afterStandby.since(beforeStandby)[ranges])
		sent.add(afterPrimary.since(beforePrimary)[bytesSent] / 1024)
		sentStandby.add(afterStandby.since(beforeStandby)[bytesSent] / 1024)
		b.say("  %s: %.3f s", c.name, seconds(d))
	}
	r.below(1, fmt.Sprintf("restart with %s keys unchanged, until streaming", number(float64(n))), took)
	r.below(1024, "restart, sent by the primary meanwhile", sent)
	r.most(1000, "restart, watch events of the standby, until quiet", watchedStandby)
	r.note("what happens after the write has arrived counts as well where it is a watch event; the daemon's regular check, which reads both sides, does not")
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
