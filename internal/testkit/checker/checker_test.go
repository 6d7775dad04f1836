package checker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
)

func TestEqualFindsEveryKindOfDifference(t *testing.T) {
	src, dst := testkit.StartEtcd(t).Client(), testkit.StartEtcd(t).Client()
	for i := range 2500 { // more than two pages
		key := fmt.Sprintf("/r/%05d", i)
		put(t, src, key, "same")
		put(t, dst, key, "same")
	}
	put(t, src, "/other", "x")
	equal := func(srcRev, dstRev int64, opts checker.Options) []checker.Difference {
		t.Helper()
		found, err := checker.Equal(t.Context(), src, dst, "/r/", srcRev, dstRev, opts)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := equal(0, 0, checker.Options{}); len(found) != 0 {
		t.Fatalf("equal sides differ: %v", found)
	}
	srcBefore, dstBefore := put(t, src, "/r/!missing", "1")-1, put(t, dst, "/r/~surplus", "1")-1
	put(t, dst, "/r/01700", "other")

	want := "[missing /r/!missing (source \"1\", destination none)" +
		" differing /r/01700 (source \"same\", destination \"other\")" +
		" surplus /r/~surplus (source none, destination \"1\")]"
	if found := equal(0, 0, checker.Options{}); fmt.Sprint(found) != want {
		t.Fatalf("found %v, want %s", found, want)
	}
	if found := equal(srcBefore, dstBefore, checker.Options{}); len(found) != 0 {
		t.Fatalf("they were equal before: %v", found)
	}
	found := equal(0, 0, checker.Options{
		Ignore:    func(key string) bool { return !strings.HasPrefix(key, "/r/0") },
		Normalize: func(checker.Side, string, []byte) ([]byte, error) { return nil, nil },
	})
	if len(found) != 0 {
		t.Fatalf("ignored and normalised away: %v", found)
	}
}

func TestEqualAtCheckpoint(t *testing.T) {
	src, dst := testkit.StartEtcd(t).Client(), testkit.StartEtcd(t).Client()
	if _, _, err := checker.EqualAtCheckpoint(t.Context(), src, dst, "/r/", checker.Options{}); !errors.Is(err, checker.ErrNoCheckpoint) {
		t.Fatalf("without a checkpoint: %v", err)
	}
	put(t, dst, checker.CheckpointKey, `{"sourceRevision":7,"phase":"copying"}`)
	if _, _, err := checker.EqualAtCheckpoint(t.Context(), src, dst, "/r/", checker.Options{}); !errors.Is(err, checker.ErrCopying) {
		t.Fatalf("in a copy: %v", err)
	}
	rev := put(t, src, "/r/a", "1")
	_, err := dst.Txn(t.Context()).Then(clientv3.OpPut("/r/a", "1"),
		clientv3.OpPut(checker.CheckpointKey, fmt.Sprintf(`{"sourceRevision":%d,"scope":"x"}`, rev))).Commit()
	if err != nil {
		t.Fatal(err)
	}
	put(t, src, "/r/a", "2") // later than the claim
	put(t, dst, "/r/b", "3")
	cp, found, err := checker.EqualAtCheckpoint(t.Context(), src, dst, "/r/", checker.Options{})
	if err != nil || len(found) != 0 || cp.SourceRevision != rev {
		t.Fatalf("%+v, %v, %v", cp, found, err)
	}
}

func TestWriterKnowsWhatIsLost(t *testing.T) {
	e := testkit.StartEtcd(t)
	proxy, url := e.Proxy(0)
	through := e.NewClient(clientv3.Config{Endpoints: []string{url}})
	w := checker.NewWriter(through, checker.Workload{Seed: 7, Prefix: "/w/", Keys: 20, Timeout: time.Second})

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	wrote := func(n int) func() (bool, string) {
		return func() (bool, string) {
			acked, _, unknown := w.Counts()
			return acked >= n && unknown >= n/100-1, fmt.Sprintf("%d acknowledged, %d unknown", acked, unknown)
		}
	}
	testkit.Eventually(t, 20*time.Second, "writes", wrote(100))
	<-proxy.DropNextReply("/etcdserverpb.KV/Txn")
	testkit.Eventually(t, 20*time.Second, "writes after a lost reply", wrote(200))
	stop()
	<-done
	if err := proxy.Restore(); err != nil {
		t.Fatal(err)
	}

	at := w.Last()
	if lost := lost(t, w, e.Client(), at, 0); len(lost) != 0 {
		t.Fatalf("the source itself has lost writes: %v", lost)
	}
	// One more acknowledged transaction, and the state before it: lost.
	w = checker.NewWriter(e.Client(), checker.Workload{Seed: 8, Prefix: "/v/", Deletes: -1})
	rev, err := w.Step(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if lost := lost(t, w, e.Client(), rev, rev-1); len(lost) == 0 {
		t.Fatal("the last transaction is missing and nobody noticed")
	}
	if lost := lost(t, w, e.Client(), rev-1, rev-1); len(lost) != 0 {
		t.Fatalf("nothing is lost up to revision %d: %v", rev-1, lost)
	}
}

func TestWriterCountsRefusals(t *testing.T) {
	e := testkit.StartEtcd(t, testkit.Flags("--max-txn-ops=1"))
	w := checker.NewWriter(e.Client(), checker.Workload{Prefix: "/w/", MaxOps: 20})
	for range 20 {
		_, _ = w.Step(t.Context())
	}
	if acked, refused, unknown := w.Counts(); refused == 0 || unknown != 0 || acked+refused != 20 {
		t.Fatalf("%d acknowledged, %d refused, %d unknown", acked, refused, unknown)
	}
	if lost := lost(t, w, e.Client(), w.Last(), 0); len(lost) != 0 {
		t.Fatalf("refused writes count as lost: %v", lost)
	}
}

func lost(t *testing.T, w *checker.Writer, dst *clientv3.Client, srcRev, dstRev int64) []string {
	t.Helper()
	lost, err := w.Lost(t.Context(), dst, srcRev, dstRev)
	if err != nil {
		t.Fatal(err)
	}
	return lost
}

func put(t *testing.T, c *clientv3.Client, key, value string) int64 {
	t.Helper()
	resp, err := c.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}
