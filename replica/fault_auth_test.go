package replica_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
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
			allow(t, p.primary, clientv3.PermRead, "/registry/", "/registry0")
			allow(t, p.standby, clientv3.PermReadWrite, "/registry/", "/understudy0")
			password := passwordFile(t)
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

// The guard watches the objects and our own keys at once, which etcd refuses to a
// user with a grant for each. Nobody would see then what others do to the standby:
// the daemon does not begin, and names the range to grant.
func TestUserWhoMayNotWatchTheStandbyIsRefused(t *testing.T) {
	p := &pair{primary: testkit.StartEtcd(t), standby: testkit.StartEtcd(t, testkit.Auth("root", "secret"))}
	p.config = p.defaults(t)
	p.config.Standby.Username, p.config.Standby.PasswordFile = "understudy", passwordFile(t)
	p.write(t, 20)
	allow(t, p.standby, clientv3.PermReadWrite, "/registry/", "/registry0", "/understudy/", "/understudy0")
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, once := p.new(t).Once(soon)
	for name, err := range map[string]error{"daemon": p.new(t).Run(soon), "once": once} {
		if remedy.CodeOf(err) != remedy.Auth || !strings.HasSuffix(remedy.Of(err), "etcdctl --endpoints="+p.config.Standby.Endpoints[0]+" --user=root role grant-permission ROLE readwrite /registry/ /understudy0") {
			t.Errorf("%s: %v (code %d), remedy %q", name, err, remedy.CodeOf(err), remedy.Of(err))
		}
	}
	grant(t, p.standby, clientv3.PermReadWrite, "/registry/", "/understudy0")
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	const key = "/registry/configmaps/prod/w-0001"
	remove(t, p.standby.Client(), key)
	d.wait(t, "what was deleted to be put back", func(replica.State) bool { _, back := get(t, p.standby.Client(), key); return back })
}

// allow makes the user understudy with the role replicator, which may do what
// docs/quickstart.md asks for: begin and end of each range.
func allow(t *testing.T, e *testkit.Etcd, what authpb.Permission_Type, ranges ...string) {
	t.Helper()
	client := e.Client()
	_, err := client.RoleAdd(t.Context(), "replicator")
	must(t, err)
	grant(t, e, what, ranges...)
	_, err = client.UserAdd(t.Context(), "understudy", "pass")
	must(t, err)
	_, err = client.UserGrantRole(t.Context(), "understudy", "replicator")
	must(t, err)
}

func grant(t *testing.T, e *testkit.Etcd, what authpb.Permission_Type, ranges ...string) {
	t.Helper()
	for r := range slices.Chunk(ranges, 2) {
		_, err := e.Client().RoleGrantPermission(t.Context(), "replicator", r[0], r[1], clientv3.PermissionType(what))
		must(t, err)
	}
}

func passwordFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte("pass\n"), 0o600))
	return file
}
