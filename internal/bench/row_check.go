package main

import (
	"context"
	"fmt"
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

	ours := r.costs(ourName, "keys/s")
	var ceilings []costs
	for _, c := range readCeilings {
		ceilings = append(ceilings, r.costs(c.String(), "keys/s"))
	}
	timed := func(name, proof string, start func() (*child, error)) (cost, error) {
		before := cpuOf(primary, standby)
		c, err := start()
		if err != nil {
			return cost{}, err
		}
		took, err := c.end(ctx)
		if err != nil {
			return cost{}, err
		}
		used := cost{took, c.used(), cpuOf(primary, standby) - before}
		b.say("  %s: %v", name, used)
		return used, c.said(proof)
	}
	settle()
	for range b.rounds {
		c, err := timed(ourName, `"verdict":"consistent"`, func() (*child, error) {
			return b.startCheck(primary, standby, b.profile("check"))
		})
		if err != nil {
			return err
		}
		ours.add(n, c)
		for i, how := range readCeilings {
			c, err := timed(how.String(), fmt.Sprintf(`"keys":%d}`, 2*n), func() (*child, error) {
				return b.startCeiling(how, primary, standby)
			})
			if err != nil {
				return err
			}
			ceilings[i].add(n, c)
		}
	}
	bare := best(ceilings)
	r.atLeast(0.8, fmt.Sprintf("deep check of %s keys, beside the bare reading of both sides", number(float64(n))), ours.rate, bare.rate)
	r.note("the best ceiling: %s", bare.rate.Name)
	return nil
}
