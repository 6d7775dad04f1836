package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/kv"
)

// resync changes a thousandth of the primary and compacts it, so that the
// daemon's checkpoint is gone and both sides have to be compared.
func (b *bench) resync(ctx context.Context, r *Result) error {
	n := b.scaled(100_000)
	differing := max(3, n/1000)
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
	r.note("%d keys; %d of them differ: some changed, some created, some deleted, in transactions of one key; then the primary is compacted", n, differing)

	took := r.figure("time", "s")
	data := r.figure("writes to keys in scope", "writes")
	wrong := r.figure("of them other than the differences", "writes")
	own := r.figure("writes to understudy's own keys", "writes")
	transactions := r.figure("revisions of the standby", "revisions")
	counted := r.figure("puts and deletes by etcd's own count", "writes")
	for round := range b.rounds {
		want, err := b.diverge(ctx, primary, n, differing, round)
		if err != nil {
			return err
		}
		from, err := revision(ctx, standby.Client())
		if err != nil {
			return err
		}
		before, err := readCounters(ctx, standby)
		if err != nil {
			return err
		}
		c, err := b.startOnce(primary, standby, "")
		if err != nil {
			return err
		}
		d, err := c.end(ctx)
		if err == nil {
			err = expectReached(ctx, primary, standby)
		}
		if err != nil {
			return fmt.Errorf("%w\n%s", err, c.LogTail(10))
		}
		after, err := readCounters(ctx, standby)
		if err != nil {
			return err
		}
		got, err := writesSince(ctx, standby.Client(), from)
		if err != nil {
			return err
		}
		grown := after.since(before)
		took.add(seconds(d))
		data.add(float64(len(got.data) + got.repeats))
		wrong.add(float64(got.unlike(want)))
		own.add(float64(got.own))
		transactions.add(float64(got.through - from))
		counted.add(grown[puts] + grown[deletes])
		b.say("  %s: %.2f s, %d writes in scope, %d of its own", c.name, seconds(d), len(got.data), got.own)
		if err := expectEqual(ctx, primary, standby); err != nil {
			return err
		}
	}
	r.Claims = append(r.Claims, Claim{What: fmt.Sprintf("resync of %s keys with %d differing: writes", number(float64(n)), differing),
		Ours: data.String(), Value: data.Max, Unit: "writes", Bar: fmt.Sprintf("= %d", differing),
		Verdict: verdict(data.Min == float64(differing) && data.Max == float64(differing) && wrong.Max == 0)})
	r.state("resync, understudy's own state keys", own, nil)
	r.state("resync, time", took, nil)
	return nil
}

// diverge changes the primary in n keys, one write per key, and compacts it.
// It returns the keys with what the standby has to write: true is a deletion.
func (b *bench) diverge(ctx context.Context, primary *etcdproc.Cluster, keys, n, round int) (map[string]bool, error) {
	want := map[string]bool{}
	client := primary.Client()
	rng := rand.New(rand.NewPCG(7, uint64(round)))
	put := func(p kv.Pair) error {
		want[p.Key] = false
		_, err := client.Put(ctx, p.Key, string(p.Value))
		return err
	}
	created, deleted := n/3, n/3
	// Objects that nobody has yet.
	if err := b.objects.each(keys+round*created, keys+(round+1)*created, put); err != nil {
		return nil, err
	}
	// Objects at even distances, others each round.
	changed, step, at := n-created-deleted, keys/n, 0
	err := b.objects.each(0, keys, func(p kv.Pair) error {
		at++
		if (at-1)%step != round%step || len(want) == n {
			return nil
		}
		if changed > 0 {
			changed--
			return put(b.objects.options.Mutate(rng, p))
		}
		resp, err := client.Delete(ctx, p.Key)
		if err == nil && resp.Deleted == 1 {
			want[p.Key] = true
		}
		return err
	})
	if err == nil && len(want) != n {
		err = fmt.Errorf("made %d keys differ, not %d", len(want), n)
	}
	if err != nil {
		return nil, err
	}
	now, err := revision(ctx, client)
	if err != nil {
		return nil, err
	}
	_, err = client.Compact(ctx, now, clientv3.WithCompactPhysical())
	return want, err
}

// writes are those that an etcd saw.
type writes struct {
	data    map[string]bool // keys in scope; true: deleted last
	repeats int             // writes beyond one per key
	own     int
	through int64
}

// writesSince reads from the standby's own history what was written to it.
func writesSince(ctx context.Context, client *clientv3.Client, from int64) (writes, error) {
	w := writes{data: map[string]bool{}, through: from}
	to, err := revision(ctx, client)
	if err != nil {
		return w, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range client.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(from+1)) {
		if err := resp.Err(); err != nil {
			return w, err
		}
		for _, e := range resp.Events {
			key := string(e.Kv.Key)
			w.through = e.Kv.ModRevision
			if !strings.HasPrefix(key, prefix) {
				w.own++
				continue
			}
			if _, again := w.data[key]; again {
				w.repeats++
			}
			w.data[key] = e.Type == clientv3.EventTypeDelete
		}
		if w.through >= to {
			return w, nil
		}
	}
	return w, ctx.Err()
}

// unlike counts the writes that were not asked for, and those that lack.
func (w writes) unlike(want map[string]bool) int {
	n := w.repeats
	for key, deleted := range w.data {
		if asked, ok := want[key]; !ok || asked != deleted {
			n++
		}
	}
	for key := range want {
		if _, ok := w.data[key]; !ok {
			n++
		}
	}
	return n
}
