package source_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/source"
)

// Catching up over many windows delivers every change once, in order, with
// whole revisions, and goes on with what is written meanwhile.
func TestFollowDeliversEverythingOnceInOrder(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[kv.Revision]int{}
	write := func(n int) kv.Revision {
		var last kv.Revision
		for range n {
			var ops []clientv3.Op
			inside := 0
			for i := range 1 + rng.IntN(3) {
				dir := "/registry/"
				if i > 0 && rng.IntN(2) == 0 { // every revision has something in the span
					dir = "/elsewhere/"
				} else {
					inside++
				}
				ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s%d-%d", dir, rng.IntN(50), i), "v"))
			}
			resp, err := client.Txn(t.Context()).Then(ops...).Commit()
			if err != nil {
				t.Fatal(err)
			}
			last = kv.Revision(resp.Header.Revision)
			want[last] = inside
		}
		return last
	}
	write(5500)
	put(t, client, many("/elsewhere/x/", 250_000/100), "v") // windows of nothing in the span
	end := write(300)

	got := map[kv.Revision]int{}
	var last, through kv.Revision
	more := false
	err := source.Follow(t.Context(), client, span(2), func(e source.Events) error {
		for _, c := range e.Changes {
			if c.Revision < last || c.Revision <= through {
				t.Fatalf("revision %d after %d, all through %d having been delivered", c.Revision, last, through)
			}
			last = c.Revision
			got[c.Revision]++
		}
		if e.Through < through {
			t.Fatalf("through %d after %d", e.Through, through)
		}
		through = e.Through
		if through >= end && !more {
			more = true
			end = write(5)
		}
		if through >= end {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	for rev, n := range want {
		if got[rev] != n {
			t.Errorf("revision %d: %d changes, want %d", rev, got[rev], n)
		}
	}
}

func TestFollowFromACompactedRevision(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	var rev kv.Revision
	for range 30 {
		rev = put(t, client, many("/registry/a/", 10_000), "v")
	}
	if _, err := client.Compact(t.Context(), int64(rev)-100); err != nil {
		t.Fatal(err)
	}
	err := source.Follow(t.Context(), client, span(2), func(source.Events) error { return nil })
	if !errors.Is(err, source.ErrCompacted) {
		t.Fatalf("%v, want ErrCompacted", err)
	}
}

// While windows wait for their turn, etcd reads no more of the history for
// them than they hold.
func TestFollowReadsHistoryOnce(t *testing.T) {
	etcd := testkit.StartEtcd(t)
	client := etcd.Client()
	var last kv.Revision
	for range 12_000 {
		resp, err := client.Put(t.Context(), "/registry/a", "v")
		if err != nil {
			t.Fatal(err)
		}
		last = kv.Revision(resp.Header.Revision)
	}
	read := func() (events, behind float64) {
		m := etcd.Metrics()
		return m["etcd_debugging_mvcc_events_total"] + m["etcd_debugging_mvcc_pending_events_total"], m["etcd_debugging_mvcc_slow_watcher_total"]
	}
	before, _ := read()
	first := true
	err := source.Follow(t.Context(), client, span(2), func(e source.Events) error {
		if first {
			first = false
			testkit.Eventually(t, time.Minute, "etcd to have read whatever it reads without being asked again", func() (bool, string) {
				n, behind := read()
				return n-before >= 8*900 && behind == 0, fmt.Sprintf("%v events, %v watches behind", n-before, behind)
			})
		}
		if e.Through >= last {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	// Where a watch is told late that it is enough, etcd has read its second batch.
	if n, _ := read(); n-before > 2.5*float64(last) {
		t.Errorf("etcd read %v events for a history of %d", n-before, last)
	}
}
