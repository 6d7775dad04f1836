package main

import (
	"context"
	"fmt"

	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
)

// memory looks how much the first copy, the check and the daemon, which does
// both and streams, need at their peak, and how that grows with the number of keys.
func (b *bench) memory(ctx context.Context, r *Result) error {
	sizes := []int{b.scaled(100_000), b.scaled(200_000)}
	if b.million {
		sizes = append(sizes, b.scaled(1_000_000))
	}
	var copies, checks, daemons []*Figure
	for _, n := range sizes {
		inCopy := r.figure(fmt.Sprintf("first copy of %s keys", number(float64(n))), "MiB")
		inCheck := r.figure(fmt.Sprintf("deep check of %s keys", number(float64(n))), "MiB")
		inDaemon := r.figure(fmt.Sprintf("daemon with %s keys: first copy, first check, streaming", number(float64(n))), "MiB")
		copies, checks, daemons = append(copies, inCopy), append(checks, inCheck), append(daemons, inDaemon)
		rounds := b.rounds
		if n > 200_000 {
			rounds = 1
		}
		if err := b.measurePeaks(ctx, n, rounds, inCopy, inCheck, inDaemon); err != nil {
			return err
		}
	}
	r.note("the most resident memory (VmHWM) of the process; values of %d bytes", valueBytes)
	r.most(256, fmt.Sprintf("peak memory, first copy of %s keys", number(float64(sizes[1]))), copies[1])
	r.most(256, fmt.Sprintf("peak memory, deep check of %s keys", number(float64(sizes[1]))), checks[1])
	r.most(256, fmt.Sprintf("peak memory, daemon with %s keys", number(float64(sizes[1]))), daemons[1])

	growth := r.figure("growth of the copy's peak per key", "bytes")
	growth.add((copies[1].Median - copies[0].Median) * (1 << 20) / float64(sizes[1]-sizes[0]))
	million := r.figure("first copy of 1,000,000 keys, extrapolated", "MiB")
	million.add(copies[1].Median + growth.Median*(1_000_000-float64(sizes[1]))/(1<<20))
	r.state("growth of the first copy's peak per key", growth, nil)
	if b.million {
		r.state("peak memory, first copy of "+number(float64(sizes[2]))+" keys, measured", copies[2], million)
	} else {
		r.state("peak memory, first copy of 1,000,000 keys, extrapolated", million, nil)
	}
	return nil
}

func (b *bench) measurePeaks(ctx context.Context, n, rounds int, inCopy, inCheck, inDaemon *Figure) error {
	primary, _, err := b.startFilled(ctx, n)
	if err != nil {
		return err
	}
	defer primary.Stop()
	for range rounds {
		if err := b.measurePeak(ctx, n, primary, inCopy, inCheck); err != nil {
			return err
		}
		if err := b.measureDaemon(ctx, n, primary, inDaemon); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measurePeak(ctx context.Context, n int, primary *etcdproc.Cluster, inCopy, inCheck *Figure) error {
	standby, err := startEtcd(ctx)
	if err != nil {
		return err
	}
	defer standby.Stop()
	c, err := b.startOnce(primary, standby, "")
	if err != nil {
		return err
	}
	if _, err := c.end(ctx); err != nil {
		return err
	}
	if err := firstError(expectReached(ctx, primary, standby), expectCount(ctx, standby, n)); err != nil {
		return fmt.Errorf("%w\n%s", err, c.LogTail(10))
	}
	inCopy.add(mebibytes(c.used().peak))
	check, err := b.startCheck(primary, standby, "")
	if err != nil {
		return err
	}
	if _, err := check.end(ctx); err != nil {
		return err
	}
	if err := check.said(`"verdict":"consistent"`); err != nil {
		return err
	}
	inCheck.add(mebibytes(check.used().peak))
	b.say("  %s keys: first copy %.0f MiB, deep check %.0f MiB", number(float64(n)), mebibytes(c.used().peak), mebibytes(check.used().peak))
	return nil
}

func (b *bench) measureDaemon(ctx context.Context, n int, primary *etcdproc.Cluster, inDaemon *Figure) error {
	standby, err := startEtcd(ctx)
	if err != nil {
		return err
	}
	defer standby.Stop()
	c, err := b.startSync(primary, standby, "")
	if err != nil {
		return err
	}
	defer c.Stop()
	err = b.awaitCount(ctx, standby, n)
	if err == nil {
		err = untilQuiet(ctx, primary, standby)
	}
	if err = firstError(err, expectReached(ctx, primary, standby)); err != nil {
		return fmt.Errorf("%w\n%s", err, c.LogTail(10))
	}
	c.Stop()
	inDaemon.add(mebibytes(c.used().peak))
	b.say("  %s keys: daemon %.0f MiB", number(float64(n)), mebibytes(c.used().peak))
	return nil
}
