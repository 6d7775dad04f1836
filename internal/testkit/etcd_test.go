package testkit

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
)

func put(t *testing.T, c *clientv3.Client, key, value string) int64 {
	t.Helper()
	resp, err := c.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func get(t *testing.T, c *clientv3.Client, key string) string {
	t.Helper()
	resp, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

func TestEveryVersionSurvivesAKill(t *testing.T) {
	for _, version := range []string{"3.5", "3.6", "3.7"} {
		t.Run(version, func(t *testing.T) {
			if testing.Short() && version != "3.6" {
				t.Skip("one version is enough")
			}
			e := StartEtcd(t, Version(version))
			put(t, e.Client(), "a", "1")
			e.Kill()
			e.Restart("--max-txn-ops=2")
			if got := get(t, e.Client(), "a"); got != "1" {
				t.Fatalf("a is %q after a kill", got)
			}
			status, err := e.Client().Status(t.Context(), e.Endpoints()[0])
			if err != nil || !strings.HasPrefix(status.Version, version+".") {
				t.Fatalf("version %v, %v", status, err)
			}
			ops := []clientv3.Op{clientv3.OpPut("b", ""), clientv3.OpPut("c", ""), clientv3.OpPut("d", "")}
			if _, err := e.Client().Txn(t.Context()).Then(ops...).Commit(); !errors.Is(err, rpctypes.ErrTooManyOps) {
				t.Fatalf("3 operations where 2 are allowed: %v", err)
			}
			if e.RSS() < 1<<20 || len(e.Pids()) != 1 {
				t.Fatalf("RSS %d, pids %v", e.RSS(), e.Pids())
			}
		})
	}
}

func TestPausedEtcdIsSilent(t *testing.T) {
	e := StartEtcd(t)
	e.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := e.Client().Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("read from a paused etcd: %v", err)
	}
	e.Continue()
	put(t, e.Client(), "a", "1")
}

func TestClusterElectsAnotherLeader(t *testing.T) {
	e := StartEtcd(t, Members(3))
	put(t, e.Client(), "a", "1")
	first := e.LeaderIndex()
	e.KillMember(first)
	Eventually(t, 30*time.Second, "a write without the old leader", func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := e.Client().Put(ctx, "a", "2"); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	if second := e.LeaderIndex(); second == first {
		t.Fatalf("member %d leads though it is dead", first)
	}
	e.RestartMember(first)
	alone := e.NewClient(clientv3.Config{Endpoints: e.Endpoints()[first : first+1]})
	if got := get(t, alone, "a"); got != "2" {
		t.Fatalf("a is %q on the returned member", got)
	}
}

func TestTLSAndAuth(t *testing.T) {
	e := StartEtcd(t, TLS(), Auth("copier", "secret"))
	put(t, e.Client(), "a", "1")
	for _, path := range []string{e.Files().CA, e.Files().Cert, e.Files().Key} {
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
	}
	user := e.NewClient(clientv3.Config{Username: "copier", Password: "secret"})
	if got := get(t, user, "a"); got != "1" {
		t.Fatalf("a is %q", got)
	}
	if _, err := user.UserList(t.Context()); !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Fatalf("UserList by a user who is not root: %v", err)
	}
	e.Kill()
	e.Restart()
	if got := get(t, e.Client(), "a"); got != "1" {
		t.Fatalf("a is %q after a restart", got)
	}
}

// The write whose reply was lost is in the store: the fault is about the outcome, not the effect.
func TestDroppedReplyOfATransaction(t *testing.T) {
	e := StartEtcd(t)
	proxy, url := e.Proxy(0)
	c := e.NewClient(clientv3.Config{Endpoints: []string{url}})
	watch := c.Watch(t.Context(), "a") // other traffic on the same connection
	put(t, c, "a", "1")
	<-watch

	dropped := proxy.DropNextReply("/etcdserverpb.KV/Txn")
	if got := get(t, c, "a"); got != "1" {
		t.Fatalf("a is %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Txn(ctx).Then(clientv3.OpPut("a", "2")).Commit()
	if err == nil {
		t.Fatal("the transaction got its reply")
	}
	<-dropped
	if got := get(t, e.Client(), "a"); got != "2" {
		t.Fatalf("a is %q, the transaction did not reach etcd", got)
	}
	if proxy.Bytes(faultproxy.ToClient) == 0 {
		t.Fatal("nothing went through the proxy")
	}
	put(t, c, "a", "3")
}
