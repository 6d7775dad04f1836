package testkit

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
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

func TestReissuedServerCertificate(t *testing.T) {
	e := StartEtcd(t, TLS())
	files := e.Files()
	dial := func() error {
		config, err := transport.TLSInfo{TrustedCAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}.ClientConfig()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.Endpoints()[0], "https://"))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	e.ReissueServer(-time.Second)
	var refused *tls.CertificateVerificationError
	if err := dial(); !errors.As(err, &refused) {
		t.Fatalf("an expired server: %v", err)
	}
	put(t, e.Client(), "a", "1") // the kit itself still gets in
	e.ReissueServer(time.Hour)
	if err := dial(); err != nil {
		t.Fatalf("a renewed server: %v", err)
	}
}

// A copied data directory is what a backup or a test of corruption starts from.
func TestEtcdOnAnExistingDataDirectory(t *testing.T) {
	first := StartEtcd(t)
	put(t, first.Client(), "a", "1")
	first.Kill()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(first.DataDir())); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	second := StartEtcd(t, DataDir(dir))
	put(t, second.Client(), "b", "2")
	first.Restart()
	if a, b := get(t, second.Client(), "a"), get(t, first.Client(), "b"); a != "1" || b != "" {
		t.Fatalf("a in the copy is %q, b in the original is %q", a, b)
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
