package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
)

const floor = 1_000_000_000

// fill writes some history: values that were replaced, keys that were deleted.
func fill(t *testing.T, client *clientv3.Client, n int) {
	t.Helper()
	for i := range n {
		key := fmt.Sprintf("/registry/configmaps/a/%d", i%(n/2+1))
		if _, err := client.Put(t.Context(), key, fmt.Sprintf("value %d", i)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			if _, err := client.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func everything(t *testing.T, client *clientv3.Client) *clientv3.GetResponse {
	t.Helper()
	resp, err := client.Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// mustBeLifted compares what etcd holds now with what it held before, down to
// versions and revisions of keys.
func mustBeLifted(t *testing.T, client *clientv3.Client, before *clientv3.GetResponse, to int64) {
	t.Helper()
	after := everything(t, client)
	if after.Header.Revision < to || after.Header.Revision > to+10 {
		t.Errorf("the revision is %d, want %d", after.Header.Revision, to)
	}
	if after.Header.ClusterId == before.Header.ClusterId {
		t.Error("the cluster has its old ID: a forgotten member could join")
	}
	if len(after.Kvs) != len(before.Kvs) {
		t.Fatalf("%d keys, before %d", len(after.Kvs), len(before.Kvs))
	}
	for i, p := range after.Kvs {
		if p.String() != before.Kvs[i].String() {
			t.Fatalf("%s\nwas %s", p, before.Kvs[i])
		}
	}
	for _, rev := range []int64{1, before.Header.Revision, to - 1} {
		if _, err := client.Get(t.Context(), "a", clientv3.WithRev(rev)); !errors.Is(err, rpctypes.ErrCompacted) {
			t.Errorf("reading revision %d: %v, want compacted", rev, err)
		}
		watch := <-client.Watch(t.Context(), "a", clientv3.WithRev(rev))
		if watch.CompactRevision < to {
			t.Errorf("a watch from revision %d: %+v, want compacted", rev, watch)
		}
	}
	if put, err := client.Put(t.Context(), "a", "b"); err != nil || put.Header.Revision != after.Header.Revision+1 {
		t.Errorf("the next write: %+v, %v", put, err)
	}
}

// end makes etcd end in good order, or not.
func end(e *testkit.Etcd, signal syscall.Signal) func(context.Context) error {
	return func(context.Context) error {
		for _, pid := range e.Pids() {
			if err := syscall.Kill(pid, signal); err != nil {
				return err
			}
		}
		return nil
	}
}

func swapOf(t *testing.T, e *testkit.Etcd) Swap {
	t.Helper()
	c, err := cluster.Dial(t.Context(), cluster.Config{Name: "spb", Endpoints: e.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	members, err := c.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.Identify(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	return Swap{DataDir: e.DataDir(), Member: Member{Name: members[0].Name, PeerURLs: members[0].PeerURLs}, ClusterID: id.ID, MemberID: members[0].ID,
		To: floor, Stop: end(e, syscall.SIGTERM), Start: func(context.Context) error { e.Restart(); return nil }, Patience: 20 * time.Second}
}

// The data of every supported etcd stays as it is, only its revision is lifted.
func TestSwap(t *testing.T) {
	for _, version := range []string{"3.5", "3.6", "3.7"} {
		t.Run(version, func(t *testing.T) {
			if testing.Short() && version != "3.6" {
				t.Skip("one version is enough")
			}
			e := testkit.StartEtcd(t, testkit.Version(version))
			fill(t, e.Client(), 200)
			if _, err := e.Client().Compact(t.Context(), 50); err != nil {
				t.Fatal(err)
			}
			lease, err := e.Client().Grant(t.Context(), 3600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Client().Put(t.Context(), "leased", "x", clientv3.WithLease(lease.ID)); err != nil {
				t.Fatal(err)
			}
			before := everything(t, e.Client())
			s := swapOf(t, e)
			done, err := s.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if done.From != kv.Revision(before.Header.Revision) || done.To != floor {
				t.Errorf("%+v, want from %d", done, before.Header.Revision)
			}
			t.Logf("down for %s", done.Down)
			mustBeLifted(t, e.Client(), before, floor)

			// A second time, on lifted data.
			s.ClusterID, s.To = done.ClusterID, 2*floor
			if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "it belongs to member") {
				t.Errorf("with the old member's ID: %v", err)
			}
			s = swapOf(t, e)
			s.To = 2 * floor
			before = everything(t, e.Client())
			if done, err = s.Run(t.Context()); err != nil || done.From != kv.Revision(before.Header.Revision) {
				t.Fatalf("%+v, %v", done, err)
			}
			mustBeLifted(t, e.Client(), before, 2*floor)

			// The way back.
			if err := end(e, syscall.SIGTERM)(t.Context()); err != nil {
				t.Fatal(err)
			}
			old, err := Inspect(done.Kept)
			if err != nil || old.Revision != kv.Revision(before.Header.Revision) || old.ClusterID != before.Header.ClusterId {
				t.Errorf("kept: %+v, %v", old, err)
			}
		})
	}
}

// What goes wrong leaves etcd running on its old data.
func TestSwapRefuses(t *testing.T) {
	e := testkit.StartEtcd(t)
	fill(t, e.Client(), 50)
	unchanged := func(before *clientv3.GetResponse) {
		t.Helper()
		after := everything(t, e.Client())
		if after.Header.ClusterId != before.Header.ClusterId || after.Header.Revision != before.Header.Revision || len(after.Kvs) != len(before.Kvs) {
			t.Errorf("something changed: %+v, was %+v", after.Header, before.Header)
		}
		entries, err := os.ReadDir(e.DataDir())
		if err != nil || len(entries) != 1 {
			t.Errorf("left over: %v, %v", entries, err)
		}
	}
	for name, tc := range map[string]struct {
		change func(*Swap)
		want   string
	}{
		"it does not stop":    {func(s *Swap) { s.Stop = func(context.Context) error { return nil }; s.Patience = 0 }, "an etcd runs on it"},
		"stop fails":          {func(s *Swap) { s.Stop = func(context.Context) error { return errors.New("no such unit") } }, "no such unit"},
		"high enough":         {func(s *Swap) { s.To = 5 }, "high enough already"},
		"another member":      {func(s *Swap) { s.MemberID++ }, "it belongs to member"},
		"another directory":   {func(s *Swap) { s.DataDir = t.TempDir() }, "write-ahead log"},
		"cancelled meanwhile": {func(*Swap) {}, "context canceled"},
		"cancelled at last":   {func(*Swap) {}, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			before := everything(t, e.Client())
			s := swapOf(t, e)
			tc.change(&s)
			ctx := t.Context()
			if name == "cancelled meanwhile" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				stop := s.Stop
				s.Stop = func(ctx context.Context) error { defer cancel(); return stop(ctx) }
			}
			if name == "cancelled at last" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
				s.Say = func(text string) {
					if strings.HasPrefix(text, "putting it in place") {
						cancel()
					}
				}
			}
			if _, err := s.Run(ctx); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			unchanged(before)
		})
	}
	t.Run("killed", func(t *testing.T) {
		// A log that goes on behind the database is what SIGKILL may leave.
		s := swapOf(t, e)
		s.Stop = func(ctx context.Context) error {
			for i := range 200 {
				if _, err := e.Client().Put(ctx, "late", fmt.Sprint(i)); err != nil {
					return err
				}
			}
			e.Kill()
			return nil
		}
		_, err := s.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "it was killed") {
			t.Errorf("%v", err)
		}
		if got := everything(t, e.Client()); !strings.Contains(got.Kvs[len(got.Kvs)-1].String(), "199") {
			t.Errorf("the last write is lost: %v", got.Kvs[len(got.Kvs)-1])
		}
	})
}

// A directory for each of three members, made from a snapshot over the network.
func TestPrepareForThreeMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("three etcds")
	}
	e := testkit.StartEtcd(t, testkit.Members(3))
	fill(t, e.Client(), 100)
	c, err := cluster.Dial(t.Context(), cluster.Config{Name: "spb", Endpoints: e.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	members, err := c.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := Plan{Dir: filepath.Join(t.TempDir(), "lifted"), To: floor,
		Snapshot: func(ctx context.Context, w io.Writer) error { _, err := c.Snapshot(ctx, w); return err }}
	for _, m := range members {
		p.Members = append(p.Members, Member{m.Name, m.PeerURLs})
	}
	before := everything(t, e.Client())
	done, err := Prepare(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if done.To != floor || done.From != kv.Revision(before.Header.Revision) || len(done.Members) != 3 {
		t.Errorf("%+v", done)
	}
	if _, err := Prepare(t.Context(), p); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("into the same directory: %v", err)
	}
	e.Kill()
	for i := range 3 {
		dir := e.MemberDataDir(i)
		name := strings.TrimSuffix(filepath.Base(dir), ".etcd")
		if err := errors.Join(os.Rename(dir, dir+".old"), os.Rename(done.Members[name], dir)); err != nil {
			t.Fatal(err)
		}
	}
	e.Restart()
	mustBeLifted(t, e.Client(), before, floor)
	if id := everything(t, e.Client()).Header.ClusterId; id != done.ClusterID {
		t.Errorf("the cluster's ID is %x, foretold was %x", id, done.ClusterID)
	}
}

// Whatever fails, nothing is left where the directory would be.
func TestPrepareLeavesNothingBehind(t *testing.T) {
	parent := t.TempDir()
	for name, snapshot := range map[string]string{"empty": "", "garbage": strings.Repeat("x", 8192+32)} {
		_, err := Prepare(t.Context(), Plan{Dir: filepath.Join(parent, name), To: floor, Members: []Member{{"m0", []string{"http://127.0.0.1:2380"}}},
			Snapshot: func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, snapshot); return err }})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}
