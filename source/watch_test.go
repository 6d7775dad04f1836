package source_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/source"
)

var errEnough = errors.New("seen enough")

func span(from kv.Revision) source.Span {
	return source.Span{Begin: "/registry/", End: "/registry0", From: from}
}

// All changes of a revision arrive in one call, also where etcd has to send
// them in fragments.
func TestWatchKeepsRevisionsWhole(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	var ops []clientv3.Op
	for i := range 100 { // 100 × 100 KiB do not fit into one message of 2 MiB
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("/registry/big/%03d", i), strings.Repeat("x", 100<<10)))
	}
	for i := range 10 {
		if _, err := client.Txn(t.Context()).Then(ops[10*i : 10*i+10]...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	perRevision := map[kv.Revision]int{}
	var last kv.Revision
	err := source.Watch(t.Context(), client, span(2), func(e source.Events) error {
		seen := map[kv.Revision]int{}
		for _, c := range e.Changes {
			if c.Revision < last {
				t.Errorf("revision %d after %d", c.Revision, last)
			}
			last = c.Revision
			seen[c.Revision]++
		}
		for rev, n := range seen {
			if perRevision[rev] != 0 {
				t.Errorf("revision %d arrived in two calls", rev)
			}
			perRevision[rev] = n
		}
		if e.Through >= 11 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	for rev := kv.Revision(2); rev <= 11; rev++ {
		if perRevision[rev] != 10 {
			t.Errorf("revision %d: %d changes, want 10", rev, perRevision[rev])
		}
	}
}

// A watch that begins after the newest revision still tells how far it is:
// etcd answers no progress request for a watch of the future.
func TestWatchTellsProgressOnAnIdleCluster(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	rev := put(t, client, many("/registry/a/", 1), "v")
	err := source.Watch(t.Context(), client, span(rev+1), func(e source.Events) error {
		if len(e.Changes) > 0 {
			t.Errorf("change of an earlier revision: %v", e.Changes)
		}
		if e.Through == rev {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
}

// Progress covers revisions that touched nothing in the span, unless it is
// not to be trusted.
func TestWatchProgress(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	rev := put(t, client, many("/elsewhere/", 1), "v")
	err := source.Watch(t.Context(), client, span(1), func(e source.Events) error {
		if e.Through >= rev {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	calls := 0
	s := span(1)
	s.IgnoreProgress = true
	err = source.Watch(t.Context(), client, s, func(e source.Events) error {
		if e.Through != 0 {
			t.Errorf("moved to %d by progress alone", e.Through)
		}
		if calls++; calls == 2 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
}

func TestWatchFromACompactedRevision(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	put(t, client, many("/registry/a/", 5), "v")
	rev := put(t, client, many("/registry/a/", 5), "w")
	if _, err := client.Compact(t.Context(), int64(rev)); err != nil {
		t.Fatal(err)
	}
	err := source.Watch(t.Context(), client, span(1), func(source.Events) error { return errEnough })
	if !errors.Is(err, source.ErrCompacted) {
		t.Fatalf("%v, want ErrCompacted", err)
	}
	err = source.Watch(t.Context(), client, span(rev+1), func(source.Events) error { return errEnough })
	if !errors.Is(err, errEnough) {
		t.Fatalf("from the revision after the compaction: %v", err)
	}
}

// A stream that is open and says nothing is given up, not waited for.
func TestWatchGivesUpAHalfOpenStream(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a deadline of 10 s")
	}
	etcd := testkit.StartEtcd(t)
	proxy, url := etcd.Proxy(0)
	client := etcd.NewClient(clientv3.Config{Endpoints: []string{url}})
	began := time.Now()
	err := source.Watch(t.Context(), client, span(1), func(source.Events) error {
		proxy.Blackhole(faultproxy.ToClient)
		return nil
	})
	if !errors.Is(err, source.ErrSilent) {
		t.Fatalf("%v, want ErrSilent", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("gave up after %s", took)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	ctx, cancel := context.WithCancel(t.Context())
	err := source.Watch(ctx, client, span(1), func(source.Events) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// A stream that breaks says why: the caller decides by the reason whether
// waiting helps.
func TestWatchSaysWhyItEnded(t *testing.T) {
	etcd := testkit.StartEtcd(t)
	err := source.Watch(t.Context(), etcd.Client(), span(1), func(source.Events) error { etcd.Kill(); return nil })
	if errors.Is(err, context.Canceled) || status.Code(errors.Unwrap(err)) != codes.Unavailable {
		t.Fatalf("%v, want the broken connection", err)
	}
}
