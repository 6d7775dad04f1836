package main

import (
	"context"
	"fmt"

	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
)

// firstCopy fills an empty standby: how many keys a second arrive.
func (b *bench) firstCopy(ctx context.Context, r *Result) error {
	n := b.scaled(100_000)
	primary, last, err := b.startFilled(ctx, n)
	if err != nil {
		return err
	}
	defer primary.Stop()
	r.note("%d objects of %d bytes, all of them in the scope of the profile management-cluster; Secrets encrypted alike on both sides", n, valueBytes)

	ours := r.costs(ourName, "keys/s")
	var ceilings []costs
	for _, c := range copyCeilings {
		ceilings = append(ceilings, r.costs(c.String(), "keys/s"))
	}
	for round := range b.rounds {
		first := round == 0
		c, err := b.timeCopy(ctx, primary, n, first)
		if err != nil {
			return err
		}
		ours.add(n, c)
		for i, how := range copyCeilings {
			// After the first round only the two that were best go on.
			if !first && !amongBest(ceilings, i, 2) {
				continue
			}
			c, err := b.timeCeilingCopy(ctx, how, primary, n)
			if err != nil {
				return err
			}
			ceilings[i].add(n, c)
		}
	}
	if b.understudy.binary != "" {
		held := r.costs(heldName, "keys/s")
		for range b.rounds {
			c, err := b.timeHeldCopy(ctx, primary, n)
			if err != nil {
				return err
			}
			held.add(n, c)
		}
	}
	mirror := r.costs(mirrorName, "keys/s")
	for range b.mirrorRounds {
		c, err := b.timeMirrorCopy(ctx, primary, last, n)
		if err != nil {
			return err
		}
		mirror.add(n, c)
	}
	bare := best(ceilings)
	r.atLeast(15, fmt.Sprintf("first copy of %s keys, beside make-mirror", number(float64(n))), ours.rate, mirror.rate)
	r.atLeast(0.85, "first copy, beside the bare ceiling", ours.rate, bare.rate)
	r.note("the best ceiling: %s", bare.rate.Name)
	return nil
}

// amongBest tells whether contestant i was among the best n when all had been
// measured for the first time.
func amongBest(all []costs, i, n int) bool {
	better := 0
	for _, c := range all {
		if c.rate.Samples[0] > all[i].rate.Samples[0] {
			better++
		}
	}
	return better < n
}

// timeCopy measures our copy into a fresh standby.
func (b *bench) timeCopy(ctx context.Context, primary *etcdproc.Cluster, n int, compare bool) (cost, error) {
	return b.timeInto(ctx, primary, ourName, func(standby *etcdproc.Cluster) (cost, error) {
		before := cpuOf(primary, standby)
		c, err := b.startOnce(primary, standby, b.profile("copy"))
		if err != nil {
			return cost{}, err
		}
		took, err := c.end(ctx)
		used := cost{took, c.used(), cpuOf(primary, standby) - before}
		if err := firstError(err, expectReached(ctx, primary, standby), expectCount(ctx, standby, n)); err != nil {
			return cost{}, fmt.Errorf("%w\n%s", err, c.LogTail(10))
		}
		if compare {
			err = expectEqual(ctx, primary, standby)
		}
		return used, err
	})
}

// timeHeldCopy measures it with holds: each held object comes with its original.
func (b *bench) timeHeldCopy(ctx context.Context, primary *etcdproc.Cluster, n int) (cost, error) {
	return b.timeInto(ctx, primary, heldName, func(standby *etcdproc.Cluster) (cost, error) {
		before := cpuOf(primary, standby)
		c, err := b.startHeld("sync once", primary, standby)
		if err != nil {
			return cost{}, err
		}
		took, err := c.end(ctx)
		used := cost{took, c.used(), cpuOf(primary, standby) - before}
		if err := firstError(err, expectReached(ctx, primary, standby), expectCount(ctx, standby, n)); err != nil {
			return cost{}, fmt.Errorf("%w\n%s", err, c.LogTail(10))
		}
		return used, nil
	})
}

func (b *bench) timeCeilingCopy(ctx context.Context, how ceiling, primary *etcdproc.Cluster, n int) (cost, error) {
	return b.timeInto(ctx, primary, how.String(), func(standby *etcdproc.Cluster) (cost, error) {
		before := cpuOf(primary, standby)
		c, err := b.startCeiling(how, primary, standby)
		if err != nil {
			return cost{}, err
		}
		took, err := c.end(ctx)
		used := cost{took, c.used(), cpuOf(primary, standby) - before}
		if err := firstError(err, expectCount(ctx, standby, n)); err != nil {
			return cost{}, fmt.Errorf("%w\n%s", err, c.LogTail(10))
		}
		return used, nil
	})
}

// timeMirrorCopy ends when the last key has arrived: make-mirror writes one key
// after the other in their order.
func (b *bench) timeMirrorCopy(ctx context.Context, primary *etcdproc.Cluster, last string, n int) (cost, error) {
	return b.timeInto(ctx, primary, mirrorName, func(standby *etcdproc.Cluster) (cost, error) {
		before := cpuOf(primary, standby)
		arrived := expect(ctx, standby.Client(), last, "")
		c, err := b.startMirror(primary, standby, 0)
		if err != nil {
			return cost{}, err
		}
		defer c.Kill()
		took, err := arrived.wait(ctx, c, c.began)
		if err != nil {
			return cost{}, err
		}
		etcds := cpuOf(primary, standby) - before
		c.Kill()
		return cost{took, c.used(), etcds}, expectCount(ctx, standby, n)
	})
}

// timeInto measures into a fresh standby.
func (b *bench) timeInto(ctx context.Context, primary *etcdproc.Cluster, name string, measure func(standby *etcdproc.Cluster) (cost, error)) (cost, error) {
	standby, err := startEtcd(ctx)
	if err != nil {
		return cost{}, err
	}
	defer standby.Stop()
	settle()
	c, err := measure(standby)
	if err == nil {
		b.say("  %s: %v", name, c)
	}
	return c, err
}
