package acceptance_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// Two clusters of one platform, set up separately, become a pair without a
// hand-written rule. The standby's own DaemonSet, Deployment and Service stay byte
// for byte what they were, under live controllers, through the proposal, the first
// copy, the stream, a resync and a release.
func TestTheStandbysOwnPlatformStays(t *testing.T) {
	moscow, spb, primary := controlPlanes(t)
	standby := newAPI(t, spb)
	primary.createAll(t, "testdata/platform.yaml")
	standby.createAll(t, "testdata/platform.yaml")
	primary.create(t, reference("v1", "ConfigMap", ours, "of-the-primary"))
	primary.create(t, deployment("shop", 1))
	own := []string{"/registry/daemonsets/platform/agent", "/registry/deployments/platform/operator", "/registry/services/specs/platform/agent",
		"/registry/serviceaccounts/platform/agent", "/registry/secrets/platform/certificate", "/registry/namespaces/platform"}
	still(t, spb, own)
	still(t, moscow, own)
	before := bytesOf(t, spb, own)
	stays := func(after string) {
		t.Helper()
		for key, value := range bytesOf(t, spb, own) {
			if before[key] != value {
				t.Fatalf("after %s %s is no longer what it was", after, key)
			}
		}
	}

	p := newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd()})
	p.must(t, 4, "sync", "--once")
	stays("a copy that is refused")
	proposed := filepath.Join(p.dir, "proposed.yaml")
	p.must(t, 0, "scope", "propose", "--write", proposed)
	p.config = proposed
	stays("the proposal")
	daemon := p.sync(t)
	p.reaches(t, 1)
	p.consistent(t, 3)
	stays("the first copy")

	// Somebody makes a Deployment of the standby's own in a namespace of the primary's,
	// whose name the primary uses later.
	const late = "/registry/deployments/" + ours + "/late"
	standby.create(t, deployment("late", 1))
	own = append(own, late)
	still(t, spb, own)
	before = bytesOf(t, spb, own)
	primary.create(t, deployment("late", 3))
	primary.create(t, reference("v1", "ConfigMap", ours, "after-that"))
	testkit.Eventually(t, time.Minute, "the rest to go on", func() (bool, string) {
		there := bytesOf(t, spb, []string{"/registry/configmaps/" + ours + "/after-that"})
		return len(there) == 1, fmt.Sprint(len(there))
	})
	stays("the stream")
	if c, status := p.check(t); status != 6 || c.Conflict.Count != 1 || c.Missed.Count+c.Surplus.Count+c.Differing.Count > 0 {
		t.Fatalf("check: exit status %d, %+v; want 6 and one conflict", status, c)
	}

	daemon.Stop()
	primary.create(t, reference("v1", "ConfigMap", ours, "while-nobody-looks"))
	head, err := moscow.Etcd().Client().Get(t.Context(), "/")
	if err == nil {
		_, err = moscow.Etcd().Client().Compact(t.Context(), head.Header.Revision)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.must(t, 0, "sync", "--once")
	stays("a resync")
	p.must(t, 0, "pause", "--reason", "a release")
	p.must(t, 0, "hold", "release", "--yes", "--primary-is-alive")
	stays("a release")
	if c, _ := p.check(t); c.Conflict.Count != 1 {
		t.Errorf("check after the release: %+v, want one conflict", c)
	}
}

// still waits until the controllers have nothing more to write to some objects.
func still(t *testing.T, c *testkit.ControlPlane, keys []string) {
	t.Helper()
	last, since := bytesOf(t, c, keys), time.Now()
	testkit.Eventually(t, time.Minute, "the controllers to be done", func() (bool, string) {
		if now := bytesOf(t, c, keys); !maps.Equal(now, last) || len(now) < len(keys) {
			last, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Second, fmt.Sprintf("%d of %d objects", len(last), len(keys))
	})
}

// bytesOf are the stored values of some keys.
func bytesOf(t *testing.T, c *testkit.ControlPlane, keys []string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, key := range keys {
		resp, err := c.Etcd().Client().Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Kvs) > 0 {
			out[key] = string(resp.Kvs[0].Value)
		}
	}
	return out
}
