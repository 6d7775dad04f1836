package replica_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

// storeFile writes the objects of a file of testdata as an API server stores them.
func storeFile(t *testing.T, client *clientv3.Client, file string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	must(t, err)
	return store(t, client, raw)
}

func store(t *testing.T, client *clientv3.Client, file []byte) map[string]string {
	t.Helper()
	pairs, err := fixture.Stored(file)
	must(t, err)
	out := map[string]string{}
	for _, p := range pairs {
		put(t, client, p.Key, string(p.Value))
		out[p.Key] = string(p.Value)
	}
	return out
}

// Objects that were last written years ago lie in versions that no API server
// serves any more: they are copied and held in that version, and released as they were.
func TestOldVersionsAreCopiedAndHeld(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	primary := storeFile(t, p.primary.Client(), "stored-version.yaml")
	for key, value := range storeFile(t, p.primary.Client(), "stored-version-more.yaml") {
		primary[key] = value
	}
	p.once(t)
	p.consistent(t, "after the first copy", int64(len(primary)))
	held := map[string]string{
		"/registry/cronjobs/team-a/nightly": `suspend true`, "/registry/deployments/team-a/portal": `replicas 0`,
		"/registry/statefulsets/team-a/db": `replicas 0`, "/registry/daemonsets/team-a/agent": `held`,
	}
	for key, original := range primary {
		stands, _ := get(t, p.standby.Client(), key)
		kept, isHeld := get(t, p.standby.Client(), scope.HeldKey(key))
		if _, want := held[key]; want != isHeld || want && kept != original || !want && stands != original {
			t.Errorf("%s stands as %q, with the original %q", key, stands, kept)
		}
		if a, b := versionOf(t, original), versionOf(t, stands); a != b {
			t.Errorf("%s is stored as %s on the primary, as %s on the standby", key, a, b)
		}
	}
	p.release(t)
	for key, original := range primary {
		if stands, _ := get(t, p.standby.Client(), key); stands != original {
			t.Errorf("%s is released as %q", key, stands)
		}
	}
}

func versionOf(t *testing.T, value string) string {
	t.Helper()
	meta, err := registry.ReadMeta([]byte(value))
	must(t, err)
	return meta.APIVersion
}

// The standby's API server stores an object anew in its version of today, because a
// controller has written its status: that is no drift, and a held one is released.
func TestRewrittenInAnotherVersionIsEqual(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	primary := storeFile(t, p.primary.Client(), "stored-version.yaml")
	for key, value := range storeFile(t, p.primary.Client(), "stored-version-more.yaml") {
		primary[key] = value
	}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	rewritten := store(t, p.standby.Client(), []byte(`
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: portal, namespace: team-a, uid: 10000000-0000-4000-8000-000000000003, annotations: {bars/key: /registry/poddisruptionbudgets/team-a/portal},
  managedFields: [{manager: kube-controller-manager, operation: Update, apiVersion: policy/v1, subresource: status}]}
spec: {minAvailable: 1, selector: {matchExpressions: [{key: pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match, operator: Exists}]}}
status: {observedGeneration: 1, expectedPods: 0, disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 1}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: portal, namespace: team-a, uid: 10000000-0000-4000-8000-000000000004, annotations: {bars/key: /registry/horizontalpodautoscalers/team-a/portal}}
spec: {minReplicas: 1, maxReplicas: 5, scaleTargetRef: {apiVersion: extensions/v1beta1, kind: Deployment, name: portal}, metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Gi}}}]}
status: {currentReplicas: 0, desiredReplicas: 1, conditions: [{type: AbleToScale, status: "True"}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: portal, namespace: team-a, uid: 10000000-0000-4000-8000-000000000005, annotations: {bars/key: /registry/ingress/team-a/portal}}
spec: {rules: [{host: portal.example.com, http: {paths: [{path: /, pathType: ImplementationSpecific, backend: {service: {name: portal, port: {number: 80}}}}]}}]}
status: {loadBalancer: {ingress: [{ip: 10.1.0.10}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: team-a, uid: 10000000-0000-4000-8000-000000000001, annotations: {bars/key: /registry/cronjobs/team-a/nightly}}
spec: {suspend: true, schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: registry.example.com/a:1}]}}}}}
`))
	d.counts(t, p, 0, 0, 0, 0)
	p.consistent(t, "after the standby's API server has written", int64(len(primary))+1) // and the one that counts writes
	for key, value := range rewritten {
		if stands, _ := get(t, p.standby.Client(), key); stands != value {
			t.Errorf("%s was written again: %q", key, stands)
		}
	}

	// What differs besides is told apart from the version.
	const budget = "/registry/poddisruptionbudgets/team-a/portal"
	changed := strings.Replace(rewritten[budget], "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match", "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-matcx", 1)
	put(t, p.standby.Client(), budget, changed)
	d.drift(t, "the change to be told", func(n replica.Drift) bool { return n.Changed == 1 })
	put(t, p.standby.Client(), budget, rewritten[budget])

	d.stop(t)
	p.release(t)
	const cron = "/registry/cronjobs/team-a/nightly"
	if stands, _ := get(t, p.standby.Client(), cron); stands != primary[cron] {
		t.Errorf("released as %q", stands)
	}
}

// An object of another version that nobody here can compare is neither equal nor
// different: the check says so, the guard does not fight about it, and a release
// leaves it where no API server can be asked.
func TestOtherVersionIsSaidToBeThat(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	const key = "/registry/cluster.x-k8s.io/clusters/clusters-a/prod"
	of := func(version, spec string) string {
		return `{"apiVersion":"cluster.x-k8s.io/` + version + `","kind":"Cluster","metadata":{"name":"prod","namespace":"clusters-a","uid":"c"},"spec":{` + spec + "}}\n"
	}
	put(t, p.primary.Client(), key, of("v1beta1", `"infrastructureRef":{"apiVersion":"x/v1","name":"prod"}`))
	config := p.config
	config.Guard = replica.Guard{RepairChanges: true}
	p.config = config
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	rewritten := of("v1beta2", `"infrastructureRef":{"apiGroup":"x","name":"prod"},"paused":true`)
	put(t, p.standby.Client(), key, rewritten)
	d.counts(t, p, 0, 0, 0, 0)
	if stands, _ := get(t, p.standby.Client(), key); stands != rewritten {
		t.Errorf("it was written again: %s", stands)
	}
	r, err := verify.Run(t.Context(), verify.Sides{Primary: p.primary.Client(), Standby: p.standby.Client()}, p.config.View, verify.Options{})
	must(t, err)
	if r.Verdict != verify.Unknown || r.Differences() != 0 || r.OtherVersion.Count != 1 || !strings.Contains(r.Why[key], "cluster.x-k8s.io/v1beta1 on the primary") {
		t.Errorf("%+v", r)
	}
	d.stop(t)
	items, err := hold.List(t.Context(), p.standby.Client(), p.config.View, "")
	must(t, err)
	if len(items) != 1 || items[0].State != hold.OtherVersion {
		t.Errorf("%+v", items)
	}
	out, err := hold.Release(t.Context(), p.standby.Client(), p.config.View, items, sink.Limits{})
	must(t, err)
	if out.Done != 0 || len(out.Left) != 1 || !out.Through() || !strings.Contains(out.Left[0].Why, "standby.kubeconfig") {
		t.Errorf("%+v", out)
	}
	if stands, _ := get(t, p.standby.Client(), key); stands != rewritten {
		t.Errorf("the release wrote %s", stands)
	}
	// The primary's next word stands, in its version.
	put(t, p.primary.Client(), key, of("v1beta1", `"infrastructureRef":{"apiVersion":"x/v1","name":"prod2"}`))
	p.once(t)
	p.consistent(t, "after the primary has written it", 2)
}

// What cannot be read stops replication once, with the command that helps; an object
// that is in order is never to be deleted.
func TestUnknownVersionHalts(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	const key = "/registry/cronjobs/team-a/nightly"
	good := storeFile(t, p.primary.Client(), "stored-version.yaml")[key]
	bad := inVersion(t, good, "batch/v2alpha1")
	put(t, p.primary.Client(), key, bad)
	_, err := p.new(t).Once(t.Context())
	mustSayHow := func(err error) {
		t.Helper()
		text := remedy.Of(err)
		if err == nil || !strings.Contains(err.Error(), "batch/v2alpha1 CronJob") || remedy.CodeOf(err) != remedy.Refused || !errors.Is(err, registry.ErrNotEditable) ||
			!strings.Contains(text, "kubectl get cronjobs.batch -n team-a nightly -o json | kubectl replace -f -") || strings.Contains(text, "delete") {
			t.Errorf("%v\nremedy: %s", err, text)
		}
	}
	mustSayHow(err)
	if _, there := get(t, p.standby.Client(), "/registry/deployments/team-a/portal"); there {
		t.Error("something was written")
	}

	put(t, p.primary.Client(), key, good)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	put(t, p.primary.Client(), key, bad)
	s := d.wait(t, "halted", func(s replica.State) bool { return s.Phase == replica.Halted })
	mustSayHow(s.Err)
	put(t, p.primary.Client(), key, strings.Replace(good, "0 3", "0 4", 1)) // as kubectl replace has it
	d.wait(t, "streaming again", streaming)
	p.quiet(t)
	if s := d.State(); s.Resyncs[replica.ReasonMended] > 1 {
		t.Errorf("copied again and again: %v", s.Resyncs)
	}
	p.consistent(t, "after it was stored anew", 2)

	// Where it is only local fields that cannot be told apart, the primary's object comes whole.
	const budget = "/registry/poddisruptionbudgets/team-a/portal"
	value := inVersion(t, storeFile(t, p.primary.Client(), "stored-version-more.yaml")[budget], "policy/v1alpha9")
	put(t, p.primary.Client(), budget, value)
	p.quiet(t)
	if stands, _ := get(t, p.standby.Client(), budget); stands != value {
		t.Errorf("%q", stands)
	}
	put(t, p.primary.Client(), budget, value+"\x1a\x00") // an empty field more
	p.quiet(t)
	if stands, _ := get(t, p.standby.Client(), budget); stands != value+"\x1a\x00" {
		t.Errorf("%q", stands)
	}
}

// inVersion is a stored object in protobuf that says of itself that it is of another version.
func inVersion(t *testing.T, value, version string) string {
	t.Helper()
	var unknown runtime.Unknown
	must(t, unknown.Unmarshal([]byte(value)[len("k8s\x00"):]))
	unknown.APIVersion = version
	raw, err := unknown.Marshal()
	must(t, err)
	return "k8s\x00" + string(raw)
}
