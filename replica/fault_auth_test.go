package replica_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
)

// Fault 9: etcd takes the replica's permission away under way. It says so by
// name, does not spin, and goes on by itself when it is allowed again.
func TestPermissionRevokedIsNamedAndResumed(t *testing.T) {
	slow(t)
	t.Parallel()
	for name, side := range map[string]func(*pair) (*testkit.Etcd, *cluster.Config){
		"primary": func(p *pair) (*testkit.Etcd, *cluster.Config) { return p.primary, &p.config.Primary },
		"standby": func(p *pair) (*testkit.Etcd, *cluster.Config) { return p.standby, &p.config.Standby },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &pair{primary: testkit.StartEtcd(t, testkit.Auth("root", "secret")), standby: testkit.StartEtcd(t, testkit.Auth("root", "secret"))}
			p.config = p.defaults(t)
			p.config.HaltedRetry = time.Second
			for _, e := range []*testkit.Etcd{p.primary, p.standby} {
				allow(t, e)
			}
			password := filepath.Join(t.TempDir(), "password")
			must(t, os.WriteFile(password, []byte("pass\n"), 0o600))
			for _, c := range []*cluster.Config{&p.config.Primary, &p.config.Standby} {
				c.Username, c.PasswordFile = "understudy", password
			}
			p.write(t, 20)
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			l := p.load(t)
			e, _ := side(p)

			_, err := e.Client().UserRevokeRole(t.Context(), "understudy", "replicator")
			must(t, err)
			revoked := time.Now()
			s := d.wait(t, "the replica to halt", func(s replica.State) bool { return s.Phase == replica.Halted })
			if remedy.CodeOf(s.Err) != remedy.Auth || remedy.Of(s.Err) == "" {
				t.Errorf("halted with %v (code %d, remedy %q)", s.Err, remedy.CodeOf(s.Err), remedy.Of(s.Err))
			}
			s = d.wait(t, "three more attempts", func(s replica.State) bool { return s.Errors["permission"] >= 4 })
			if took := time.Since(revoked); took < time.Second || s.Errors["permission"] > 10 || len(s.Errors) != 1 {
				t.Errorf("%v errors within %s", s.Errors, took)
			}
			_, err = e.Client().UserGrantRole(t.Context(), "understudy", "replicator")
			must(t, err)
			d.wait(t, "streaming", streaming)
			p.judge(t, l)
			if s := d.State(); s.Err != nil {
				t.Errorf("it replicates, and the error still stands: %v", s.Err)
			}
		})
	}
}

// allow makes the user understudy with the role replicator.
func allow(t *testing.T, e *testkit.Etcd) {
	t.Helper()
	client := e.Client()
	_, err := client.RoleAdd(t.Context(), "replicator")
	must(t, err)
	for _, prefix := range []string{"/registry/", "/understudy/"} {
		_, err = client.RoleGrantPermission(t.Context(), "replicator", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
		must(t, err)
	}
	_, err = client.UserAdd(t.Context(), "understudy", "pass")
	must(t, err)
	_, err = client.UserGrantRole(t.Context(), "understudy", "replicator")
	must(t, err)
}
