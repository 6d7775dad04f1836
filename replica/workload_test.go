package replica_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/kv"
)

// workload writes transactions of several keys to the primary and remembers
// what was acknowledged.
type workload struct {
	*checker.Writer
	cancel context.CancelFunc
	done   chan struct{}
}

// load starts a writer that ends with the test or with end.
func (p *pair) load(t *testing.T, change ...func(*checker.Workload)) *workload {
	t.Helper()
	w := checker.Workload{Seed: seed(t), Prefix: "/registry/configmaps/prod/load-", Keys: 150, Pace: 5 * time.Millisecond, Value: object}
	for _, f := range change {
		f(&w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &workload{Writer: checker.NewWriter(p.primary.Client(), w), cancel: cancel, done: make(chan struct{})}
	go func() { defer close(l.done); l.Run(ctx) }()
	t.Cleanup(l.end)
	return l
}

func (l *workload) end() {
	l.cancel()
	<-l.done
}

// object is a value as a controller would store it, unique by unique.
func object(key, unique string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q},"data":{"unique":%q}}`, key, unique)
}

// seed is printed, so that a failure can be had again.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := givenSeed(t)
	t.Logf("seed %d", s)
	return s
}

// judge ends the load, waits until the standby has everything, and lets the
// checker look for lost writes (L) and for differences (E).
func (p *pair) judge(t *testing.T, l *workload) {
	t.Helper()
	l.end()
	p.quiet(t)
	p.mustEqual(t)
	p.mustHaveLostNothing(t, l)
}

// mustHaveLostNothing checks L at the checkpoint of now.
func (p *pair) mustHaveLostNothing(t *testing.T, l *workload) {
	t.Helper()
	c, err := checker.ReadCheckpoint(t.Context(), p.standby.Client())
	if err != nil {
		t.Fatal(err)
	}
	lost, err := l.Lost(t.Context(), p.standby.Client(), c.SourceRevision, c.ModRevision)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range lost {
		if i == 10 {
			t.Errorf("… and %d more", len(lost)-i)
			break
		}
		t.Errorf("lost at checkpoint %d: %s", c.SourceRevision, line)
	}
	if len(lost) > 0 {
		t.FailNow()
	}
}

// reach waits until the checkpoint is at least at revision.
func (p *pair) reach(t *testing.T, revision kv.Revision) {
	t.Helper()
	testkit.Eventually(t, 90*time.Second, fmt.Sprintf("checkpoint %d", revision), func() (bool, string) {
		c, err := checker.ReadCheckpoint(t.Context(), p.standby.Client())
		if err != nil {
			return false, err.Error()
		}
		return kv.Revision(c.SourceRevision) >= revision, fmt.Sprintf("checkpoint %d", c.SourceRevision)
	})
}

// revision is an etcd's newest.
func revision(t *testing.T, client *clientv3.Client) kv.Revision {
	t.Helper()
	resp, err := client.Get(t.Context(), "/registry/", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return kv.Revision(resp.Header.Revision)
}

// count is the number of keys below a prefix.
func count(t *testing.T, client *clientv3.Client, prefix string) int {
	t.Helper()
	resp, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return int(resp.Count)
}

func put(t *testing.T, client *clientv3.Client, key, value string) kv.Revision {
	t.Helper()
	resp, err := client.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return kv.Revision(resp.Header.Revision)
}

func remove(t *testing.T, client *clientv3.Client, key string) kv.Revision {
	t.Helper()
	resp, err := client.Delete(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return kv.Revision(resp.Header.Revision)
}

func compact(t *testing.T, client *clientv3.Client, at kv.Revision) {
	t.Helper()
	if _, err := client.Compact(t.Context(), int64(at)); err != nil {
		t.Fatal(err)
	}
}

// slow marks a test that takes more than about 5 seconds.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes more than 5 seconds")
	}
}
