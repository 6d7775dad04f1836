package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
)

func dial(t *testing.T, e *testkit.Etcd) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Dial(t.Context(), cluster.Config{Name: "spb", Endpoints: e.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Lifting reaches the revision, changes no key, and leaves no history behind.
func TestLift(t *testing.T) {
	e := testkit.StartEtcd(t)
	c := dial(t, e)
	for i := range 20 {
		if _, err := e.Client().Put(t.Context(), fmt.Sprintf("/registry/configmaps/a/%d", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	before, err := e.Client().Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	to := kv.Revision(before.Header.Revision) + 20_000
	var seen []kv.Revision
	done, err := c.Lift(t.Context(), cluster.Lift{To: to, Progress: func(r kv.Revision) { seen = append(seen, r) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d revisions in %s: %.0f a second", done.To-done.From, done.Took, float64(done.Writes)/done.Took.Seconds())
	if done.To < to || done.To > to+2 || len(seen) == 0 || seen[len(seen)-1] < to {
		t.Errorf("lifted to %d, want %d; progress %v", done.To, to, seen)
	}
	after, err := e.Client().Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	if after.Header.Revision != int64(done.To) || len(after.Kvs) != len(before.Kvs) {
		t.Errorf("revision %d with %d keys, want %d with %d", after.Header.Revision, len(after.Kvs), done.To, len(before.Kvs))
	}
	for i, p := range after.Kvs {
		if p.String() != before.Kvs[i].String() {
			t.Errorf("%s has become %s", before.Kvs[i], p)
		}
	}
	if _, err := e.Client().Get(t.Context(), "a", clientv3.WithRev(int64(to)-1)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("reading revision %d: %v, want compacted", to-1, err)
	}
	// Done already: nothing is written.
	if again, err := c.Lift(t.Context(), cluster.Lift{To: to}); err != nil || again.Writes != 0 || again.To != done.To {
		t.Errorf("lifting again: %+v, %v", again, err)
	}
}

// A lift that was cut off goes on where it was, and a role that changes ends it.
func TestLiftResumesAndIsFenced(t *testing.T) {
	e := testkit.StartEtcd(t)
	c := dial(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	l := cluster.Lift{To: 6_000, Rate: 20_000, Progress: func(r kv.Revision) {
		if r > 1 {
			cancel()
		}
	}}
	part, err := c.Lift(ctx, l)
	if !errors.Is(err, context.Canceled) || part.To >= l.To {
		t.Fatalf("%+v, %v", part, err)
	}
	const role = "/understudy/role"
	l.Progress, l.While = nil, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(role), "=", 0)}
	if done, err := c.Lift(t.Context(), l); err != nil || done.From < part.To || done.To < l.To {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := e.Client().Put(t.Context(), role, "primary"); err != nil {
		t.Fatal(err)
	}
	l.To += 1000
	if done, err := c.Lift(t.Context(), l); !errors.Is(err, cluster.ErrRefused) || done.Writes != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
}
