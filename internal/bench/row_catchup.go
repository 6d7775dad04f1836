package main

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/kv"
)

// catchUp lets a daemon that was away while the primary went on catch up.
func (b *bench) catchUp(ctx context.Context, r *Result) error {
	keys, revisions := b.scaled(10_000), b.scaled(50_000)
	primary, _, err := b.startFilled(ctx, keys)
	if err != nil {
		return err
	}
	defer primary.Stop()

	// Every contestant's standby has all keys before the primary goes on.
	var standbys []*etcdproc.Cluster
	defer func() {
		for _, s := range standbys {
			s.Stop()
		}
	}()
	held := 0 // the last ones are filled with holds
	if b.understudy.binary != "" {
		held = b.rounds
	}
	for i := range b.rounds + b.mirrorRounds + held {
		s, err := startEtcd(ctx)
		if err != nil {
			return err
		}
		standbys = append(standbys, s)
		start := func() (*child, error) { return b.startOnce(primary, s, "") }
		if i >= b.rounds+b.mirrorRounds {
			start = func() (*child, error) { return b.startHeld("sync once", primary, s) }
		}
		if err := b.copyWith(ctx, primary, s, start); err != nil {
			return err
		}
	}
	from, err := revision(ctx, primary.Client())
	if err != nil {
		return err
	}
	base, err := b.objects.slice(0, keys)
	if err != nil {
		return err
	}
	last, err := b.writeRevisions(ctx, primary.Client(), base, revisions)
	if err != nil {
		return err
	}
	r.note("%d keys of %d bytes; %d transactions of one put each were made while nobody mirrored", keys, valueBytes, revisions)
	r.note("timed from the start of the process until the last of them can be read on the standby")

	ours := r.costs(ourName, "revisions/s")
	for round, s := range standbys[:b.rounds] {
		c, err := b.timeCatchUp(ctx, s, last, round == 0, primary, func() (*child, error) {
			return b.startSync(primary, s, b.profile("catchup"))
		})
		if err != nil {
			return err
		}
		ours.add(revisions, c)
	}
	if held > 0 {
		withHolds := r.costs(heldName, "revisions/s")
		for _, s := range standbys[b.rounds+b.mirrorRounds:] {
			c, err := b.timeCatchUp(ctx, s, last, false, primary, func() (*child, error) {
				return b.startHeld("sync", primary, s)
			})
			if err != nil {
				return err
			}
			withHolds.add(revisions, c)
		}
	}
	mirror := r.costs(mirrorName, "revisions/s")
	for _, s := range standbys[b.rounds : b.rounds+b.mirrorRounds] {
		c, err := b.timeCatchUp(ctx, s, last, true, primary, func() (*child, error) {
			return b.startMirror(primary, s, from+1)
		})
		if err != nil {
			return err
		}
		mirror.add(revisions, c)
	}
	r.atLeast(10, fmt.Sprintf("catching up %s revisions, beside make-mirror", number(float64(revisions))), ours.rate, mirror.rate)
	return nil
}

func (b *bench) timeCatchUp(ctx context.Context, standby *etcdproc.Cluster, last kv.Pair, compare bool, primary *etcdproc.Cluster, start func() (*child, error)) (cost, error) {
	settle()
	before := cpuOf(primary, standby)
	arrived := expect(ctx, standby.Client(), last.Key, string(last.Value))
	c, err := start()
	if err != nil {
		return cost{}, err
	}
	defer c.Stop()
	took, err := arrived.wait(ctx, c, c.began)
	if err != nil {
		return cost{}, err
	}
	etcds := cpuOf(primary, standby) - before
	c.Stop()
	used := cost{took, c.used(), etcds}
	b.say("  %s: %v", c.name, used)
	if compare {
		err = expectEqual(ctx, primary, standby)
	}
	return used, err
}

// writeRevisions changes the objects one by one, n times in all, each in a
// revision of its own, and returns the one that was written last.
func (b *bench) writeRevisions(ctx context.Context, client *clientv3.Client, objects []kv.Pair, n int) (kv.Pair, error) {
	writers := min(64, len(objects))
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		mine := slices.Collect(every(objects, w, writers)) // a key has one writer
		share := (n - 1) / writers
		if w < (n-1)%writers {
			share++
		}
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(2, uint64(w)))
			for i := 0; i < share && errs[w] == nil; i++ {
				p := &mine[i%len(mine)]
				*p = b.objects.options.Mutate(rng, *p)
				_, errs[w] = client.Put(ctx, p.Key, string(p.Value))
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return kv.Pair{}, err
		}
	}
	last := b.objects.options.Mutate(rand.New(rand.NewPCG(3, 0)), objects[0])
	_, err := client.Put(ctx, last.Key, string(last.Value))
	return last, err
}

// every is the objects i, i+n, i+2n, …
func every(objects []kv.Pair, i, n int) iter.Seq[kv.Pair] {
	return func(yield func(kv.Pair) bool) {
		for ; i < len(objects); i += n {
			if !yield(objects[i]) {
				return
			}
		}
	}
}
