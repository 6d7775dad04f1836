package replica_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

const (
	webKey     = "/registry/deployments/prod/web"
	clusterKey = "/registry/cluster.x-k8s.io/clusters/prod/kazan"
)

func deployment(replicas int, more string) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"prod","uid":"00000000-0000-4000-8000-000000000001"%s},"spec":{"replicas":%d}}`, more, replicas)
}

// hold makes the pair hold and keep what the default configuration does.
func (p *pair) hold(t *testing.T, more ...scope.Hold) {
	t.Helper()
	holds, err := scope.NewHolds(append(scope.DefaultHolds(scope.DefaultProfile), more...))
	if err != nil {
		t.Fatal(err)
	}
	locals, err := scope.NewLocals(scope.DefaultLocals(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	view := *p.config.View
	view.Holds, view.Locals = holds, locals
	p.config.View = &view
}

// standsHeld demands that the object at key has text in it on the standby, and
// that the record of its original is what the primary has; "" = no record.
func (p *pair) standsHeld(t *testing.T, when, key, text, original string) {
	t.Helper()
	if now, _ := get(t, p.standby.Client(), key); !strings.Contains(now, text) {
		t.Errorf("%s: the standby has %s, want %s in it", when, now, text)
	}
	if kept, _ := get(t, p.standby.Client(), scope.HeldKey(key)); kept != original {
		t.Errorf("%s: the original is kept as %q, want %q", when, kept, original)
	}
}

func (p *pair) consistent(t *testing.T, when string, compared int64) {
	t.Helper()
	r, err := verify.Run(t.Context(), verify.Sides{Primary: p.primary.Client(), Standby: p.standby.Client()}, p.config.View, verify.Options{})
	if err != nil || r.Verdict != verify.Consistent || r.Compared != compared {
		t.Errorf("%s: %+v, %v; want consistent with %d keys", when, r, err, compared)
	}
}

// Held objects stand inert at every moment, beside the original as the primary
// has it by then: through a first copy, a stream, a resync, and until the
// configuration holds them no longer.
func TestHeldObjectsThroughTheirLife(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	primary := p.primary.Client()
	put(t, primary, webKey, deployment(3, ""))
	const cluster = `{"apiVersion":"cluster.x-k8s.io/v1beta1","kind":"Cluster","metadata":{"name":"kazan","namespace":"prod","uid":"00000000-0000-4000-8000-000000000002"},"spec":{"x":1}}`
	put(t, primary, clusterKey, cluster)
	p.write(t, 20)

	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.standsHeld(t, "after the first copy", webKey, `"replicas":0`, deployment(3, ""))
	p.standsHeld(t, "after the first copy", clusterKey, `"paused":true`, cluster)
	p.consistent(t, "after the first copy", 22)

	put(t, primary, webKey, deployment(5, ""))
	p.quiet(t)
	p.standsHeld(t, "scaled in the stream", webKey, `"replicas":0`, deployment(5, ""))
	p.consistent(t, "scaled in the stream", 22)

	paused := strings.Replace(cluster, `"x":1`, `"paused":true`, 1)
	put(t, primary, clusterKey, paused)
	p.quiet(t)
	p.standsHeld(t, "paused on the primary itself", clusterKey, paused, "")
	remove(t, primary, clusterKey)
	p.quiet(t)
	p.standsHeld(t, "deleted", clusterKey, "", "")

	// A resync after a compaction; what changed and what came meanwhile.
	d.stop(t)
	labelled := deployment(7, `,"labels":{"a":"b"}`)
	put(t, primary, webKey, labelled)
	put(t, primary, clusterKey, cluster)
	compact(t, primary, revision(t, primary))
	d = p.start(t)
	d.wait(t, "a resync", func(s replica.State) bool { return s.Resyncs[replica.ReasonCompacted] == 1 && streaming(s) })
	p.standsHeld(t, "after a resync", webKey, `"labels":{"a":"b"}`, labelled)
	p.standsHeld(t, "after a resync", webKey, `"replicas":0`, labelled)
	p.standsHeld(t, "after a resync", clusterKey, `"paused":true`, cluster)
	p.consistent(t, "after a resync", 22)
	d.stop(t)
	for _, value := range versions(t, p.standby.Client(), webKey) {
		if !strings.Contains(value, `"replicas":0`) {
			t.Errorf("the standby had %s for a moment", value)
		}
	}

	// A hold that is taken back releases; what the primary deleted meanwhile is
	// still known to come from it.
	remove(t, primary, "/registry/configmaps/prod/w-0003")
	p.hold(t, scope.Hold{Resources: []string{"deployments.apps"}, Patch: json.RawMessage(`{}`)})
	d = p.start(t)
	d.wait(t, "a resync for the holds", func(s replica.State) bool { return s.Resyncs[replica.ReasonHolds] == 1 && streaming(s) })
	p.standsHeld(t, "no longer held", webKey, labelled, "")
	p.standsHeld(t, "still held", clusterKey, `"paused":true`, cluster)
	p.consistent(t, "no longer held", 21)
	d.stop(t)

	// An object that falls out of the scope stays, and so does its original.
	s, err := scope.New(scope.Config{Exclude: []scope.Rule{{Resources: []string{"clusters.cluster.x-k8s.io"}}}})
	if err != nil {
		t.Fatal(err)
	}
	p.config.View.Scope = s
	d = p.start(t)
	d.wait(t, "a resync for the scope", func(s replica.State) bool { return s.Resyncs[replica.ReasonScope] == 1 && streaming(s) })
	p.standsHeld(t, "out of scope", clusterKey, `"paused":true`, cluster)
}

// versions are all values that a key has had, the newest first.
func versions(t *testing.T, client *clientv3.Client, key string) []string {
	t.Helper()
	var all []string
	for at := int64(0); ; {
		resp, err := client.Get(t.Context(), key, clientv3.WithRev(at))
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Kvs) == 0 {
			return all
		}
		all = append(all, string(resp.Kvs[0].Value))
		if at = resp.Kvs[0].ModRevision - 1; at == 0 {
			return all
		}
	}
}
