package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// deepCheck compares both sides in full, beside reading them and no more.
func (b *bench) deepCheck(ctx context.Context, r *Result) error {
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
	r.note("%d keys of %d bytes on each side, equal; timed from the start of the process to its end", n, valueBytes)

	ours := r.figure(ourName, "keys/s")
	peak := r.figure(ourName+", peak memory", "MiB")
	var ceilings []*Figure
	for _, c := range readCeilings {
		ceilings = append(ceilings, r.figure(c.String(), "keys/s"))
	}
	timed := func(c *child, err error, proof string) (time.Duration, error) {
		if err != nil {
			return 0, err
		}
		took, err := c.end(ctx)
		if err != nil {
			return 0, err
		}
		b.say("  %s: %.2f s, %s keys/s, peak %.0f MiB", c.name, seconds(took), number(rate(n, took)), mebibytes(c.peakRSS()))
		return took, c.said(proof)
	}
	settle()
	for range b.rounds {
		c, err := b.startCheck(primary, standby, b.profile("check"))
		took, err := timed(c, err, `"verdict":"consistent"`)
		if err != nil {
			return err
		}
		ours.add(rate(n, took))
		peak.add(mebibytes(c.peakRSS()))
		for i, how := range readCeilings {
			c, err := b.startCeiling(how, primary, standby)
			took, err := timed(c, err, fmt.Sprintf(`"keys":%d}`, 2*n))
			if err != nil {
				return err
			}
			ceilings[i].add(rate(n, took))
		}
	}
	best := slices.MaxFunc(ceilings, func(a, b *Figure) int { return int(a.Median - b.Median) })
	r.atLeast(0.8, fmt.Sprintf("deep check of %s keys, beside the bare reading of both sides", number(float64(n))), ours, best)
	return nil
}
