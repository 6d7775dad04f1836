package main

import (
	"context"
	"fmt"
	"slices"
	"time"

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

	ours := r.figure(ourName, "keys/s")
	peak := r.figure(ourName+", peak memory", "MiB")
	var ceilings []*Figure
	for _, c := range copyCeilings {
		ceilings = append(ceilings, r.figure(c.String(), "keys/s"))
	}
	for round := range b.rounds {
		first := round == 0
		took, mem, err := b.timeCopy(ctx, primary, n, first)
		if err != nil {
			return err
		}
		ours.add(rate(n, took))
		peak.add(mebibytes(mem))
		for i, c := range copyCeilings {
			// After the first round only the two that were best go on.
			if !first && !amongBest(ceilings, i, 2) {
				continue
			}
			took, err := b.timeCeilingCopy(ctx, c, primary, n)
			if err != nil {
				return err
			}
			ceilings[i].add(rate(n, took))
		}
	}
	mirror := r.figure(mirrorName, "keys/s")
	for range b.mirrorRounds {
		took, err := b.timeMirrorCopy(ctx, primary, last, n)
		if err != nil {
			return err
		}
		mirror.add(rate(n, took))
	}
	best := slices.MaxFunc(ceilings, func(a, b *Figure) int { return int(a.Median - b.Median) })
	r.atLeast(15, fmt.Sprintf("first copy of %s keys, beside make-mirror", number(float64(n))), ours, mirror)
	r.atLeast(0.85, "first copy, beside the bare ceiling", ours, best)
	r.note("the best ceiling is: %s", best.Name)
	return nil
}

// amongBest tells whether figure i was among the best n when all had been
// measured for the first time.
func amongBest(figures []*Figure, i, n int) bool {
	better := 0
	for _, f := range figures {
		if f.Samples[0] > figures[i].Samples[0] {
			better++
		}
	}
	return better < n
}

func (b *bench) timeCopy(ctx context.Context, primary *etcdproc.Cluster, n int, compare bool) (time.Duration, int64, error) {
	standby, err := startEtcd(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer standby.Stop()
	settle()
	c, err := b.startOnce(primary, standby, b.profile("copy"))
	if err != nil {
		return 0, 0, err
	}
	took, err := c.end(ctx)
	if err == nil {
		err = expectReached(ctx, primary, standby)
	}
	if err == nil {
		err = expectCount(ctx, standby, n)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, c.LogTail(10))
	}
	if compare {
		err = expectEqual(ctx, primary, standby)
	}
	b.say("  %s: %.2f s, %s keys/s, peak %.0f MiB", c.name, seconds(took), number(rate(n, took)), mebibytes(c.peakRSS()))
	return took, c.peakRSS(), err
}

func (b *bench) timeCeilingCopy(ctx context.Context, how ceiling, primary *etcdproc.Cluster, n int) (time.Duration, error) {
	standby, err := startEtcd(ctx)
	if err != nil {
		return 0, err
	}
	defer standby.Stop()
	settle()
	c, err := b.startCeiling(how, primary, standby)
	if err != nil {
		return 0, err
	}
	took, err := c.end(ctx)
	if err == nil {
		err = expectCount(ctx, standby, n)
	}
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, c.LogTail(10))
	}
	b.say("  %s: %.2f s, %s keys/s, peak %.0f MiB", how, seconds(took), number(rate(n, took)), mebibytes(c.peakRSS()))
	return took, nil
}

// timeMirrorCopy ends when the last key has arrived: make-mirror writes one key
// after the other in their order.
func (b *bench) timeMirrorCopy(ctx context.Context, primary *etcdproc.Cluster, last string, n int) (time.Duration, error) {
	standby, err := startEtcd(ctx)
	if err != nil {
		return 0, err
	}
	defer standby.Stop()
	settle()
	arrived := expect(ctx, standby.Client(), last, "")
	c, err := b.startMirror(primary, standby, 0)
	if err != nil {
		return 0, err
	}
	defer c.Kill()
	took, err := arrived.wait(ctx, c, c.began)
	if err != nil {
		return 0, err
	}
	b.say("  %s: %.2f s, %s keys/s", c.name, seconds(took), number(rate(n, took)))
	return took, expectCount(ctx, standby, n)
}
