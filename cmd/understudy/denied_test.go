package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/remedy"
)

// Whom etcd refuses, each command ends with 8, and a remedy: here the standby's user
// may read and write the objects, and not our own keys.
func TestDeniedCommandsEndWithEight(t *testing.T) {
	primary, standby := testkit.StartEtcd(t), testkit.StartEtcd(t, testkit.Auth("root", "secret"))
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	client := standby.Client()
	must(client.RoleAdd(t.Context(), "objects"))
	must(client.RoleGrantPermission(t.Context(), "objects", "/registry/", "/registry0", clientv3.PermissionType(clientv3.PermReadWrite)))
	must(client.UserAdd(t.Context(), "understudy", "pass"))
	must(client.UserGrantRole(t.Context(), "understudy", "objects"))
	dir := t.TempDir()
	file, password := filepath.Join(dir, "understudy.yaml"), filepath.Join(dir, "password")
	must(nil, os.WriteFile(password, []byte("pass\n"), 0o600))
	must(nil, os.WriteFile(file, fmt.Appendf(nil, `apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: moscow-spb}
primary: {name: moscow, etcd: {endpoints: [%q]}}
standby: {name: spb, etcd: {endpoints: [%q], username: understudy, passwordFile: %q}}
`, primary.Endpoints()[0], standby.Endpoints()[0], password), 0o600))
	for _, command := range [][]string{{"check"}, {"repair"}, {"simulate"}, {"pause"}, {"resume"}, {"sync", "--once"}, {"hold", "list"}} {
		var stdout, stderr bytes.Buffer
		if code := run(append(command, "--config", file), &stdout, &stderr); code != remedy.Auth || !strings.Contains(stderr.String(), "  remedy: ") {
			t.Errorf("%v ends with %d: %s", command, code, &stderr)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"status", "--config", file}, &stdout, &stderr); code != remedy.Degraded || strings.Contains(stdout.String(), "does not answer") ||
		!strings.Contains(stdout.String(), "permission denied") {
		t.Errorf("status ends with %d: %s%s", code, &stdout, &stderr)
	}
}

// A former standby that is the primary now is refused also where the account may not
// read the other side's role, as one with the grants of the quickstart.
func TestFormerStandbyIsRefusedToAReader(t *testing.T) {
	moscow, spb := testkit.StartEtcd(t, testkit.Auth("root", "secret")), testkit.StartEtcd(t)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	client := moscow.Client()
	must(client.RoleAdd(t.Context(), "reader"))
	must(client.RoleGrantPermission(t.Context(), "reader", "/registry/", "/registry0", clientv3.PermissionType(clientv3.PermRead)))
	must(client.UserAdd(t.Context(), "understudy", "pass"))
	must(client.UserGrantRole(t.Context(), "understudy", "reader"))
	must(client.Put(t.Context(), "/registry/configmaps/prod/a", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"prod","uid":"u"}}`))
	dir := t.TempDir()
	file, password := filepath.Join(dir, "understudy.yaml"), filepath.Join(dir, "password")
	must(nil, os.WriteFile(password, []byte("pass\n"), 0o600))
	must(nil, os.WriteFile(file, fmt.Appendf(nil, `apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: moscow-spb}
primary: {name: moscow, etcd: {endpoints: [%q], username: understudy, passwordFile: %q}}
standby: {name: spb, etcd: {endpoints: [%q]}}
`, moscow.Endpoints()[0], password, spb.Endpoints()[0]), 0o600))
	ends := func(code remedy.Code, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := run(append(args, "--config", file), &stdout, &stderr); got != code {
			t.Errorf("%v ends with %d: %s", args, got, &stderr)
		}
	}
	ends(remedy.OK, "sync", "--once")
	ends(remedy.OK, "pause")
	ends(remedy.OK, "resume")
	must(spb.Client().Delete(t.Context(), "/understudy/role"))
	must(client.Put(t.Context(), "/understudy/role", `{"role":"standby","pair":"spb-moscow","term":1}`))
	ends(remedy.Refused, "floor", "raise", "--margin", "20000", "--apply", "--yes")
	ends(remedy.Refused, "pause")
	ends(remedy.Refused, "hold", "release", "--yes")
}
