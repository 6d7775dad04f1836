package hold

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

func newView(t *testing.T, encryption *registry.Encryption) *scope.View {
	t.Helper()
	s, err := scope.New(scope.Config{})
	if err != nil {
		t.Fatal(err)
	}
	holds, err := scope.NewHolds(append(scope.DefaultHolds(scope.DefaultProfile),
		scope.Hold{Resources: []string{"widgets.example.com"}, Patch: json.RawMessage(`{"spec":{"on":false}}`)}))
	if err != nil {
		t.Fatal(err)
	}
	locals, err := scope.NewLocals(scope.DefaultLocals(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	return &scope.View{Scope: s, Recoder: registry.NewRecoder(nil, encryption), Holds: holds, Locals: locals}
}

// stage is a standby with its view.
type stage struct {
	*clientv3.Client
	t    *testing.T
	view *scope.View
}

func newStage(t *testing.T, view *scope.View) *stage {
	t.Helper()
	s := &stage{testkit.StartEtcd(t).Client(), t, view}
	if _, err := role.EnsureStandby(t.Context(), s.Client, "moscow-spb", "aa", time.Now()); err != nil {
		t.Fatal(err)
	}
	return s
}

// object is a custom resource or a built-in one as the primary stores it, in JSON.
func object(gr, namespace, name, spec string, more ...string) kv.Pair {
	k, _ := registry.ParseKey("/", registry.ResourcePrefix("/", gr)+namespace+"/"+name)
	version := "v1"
	if k.Group != "" {
		version = k.Group + "/v1"
	}
	metadata := strings.Join(append([]string{fmt.Sprintf(`"name":%q,"namespace":%q,"uid":%q`, name, namespace, uid(gr, namespace, name))}, more...), ",")
	return kv.Pair{Key: k.Path(registry.DefaultPrefix),
		Value: fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{%s},"spec":%s}`+"\n", version, registry.Kind(gr), metadata, spec)}
}

func uid(gr, namespace, name string) string { return gr + ":" + namespace + ":" + name }

func ownedBy(gr, namespace, name string) string {
	return fmt.Sprintf(`"ownerReferences":[{"apiVersion":"v1","kind":%q,"name":%q,"uid":%q}]`, registry.Kind(gr), name, uid(gr, namespace, name))
}

// replicate writes an object as the replication does.
func (s *stage) replicate(objects ...kv.Pair) {
	s.t.Helper()
	for _, p := range objects {
		want, err := s.view.Want(p.Key, p.Value)
		if err != nil || !want.In {
			s.t.Fatalf("%s: in %v, %v", p.Key, want.In, err)
		}
		at, err := json.Marshal(sink.Checkpoint{SourceRevision: 7, Time: time.Unix(1e9, 0).UTC(), Phase: sink.Streaming})
		if err != nil {
			s.t.Fatal(err)
		}
		ops := []clientv3.Op{clientv3.OpPut(p.Key, string(want.Value)), clientv3.OpPut(sink.CheckpointKey, string(at))}
		if want.Kept != nil {
			ops = append(ops, clientv3.OpPut(scope.HeldKey(p.Key), string(want.Kept)))
		}
		if _, err := s.Txn(s.t.Context()).Then(ops...).Commit(); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *stage) get(key string) *kv.Pair {
	s.t.Helper()
	resp, err := s.Get(s.t.Context(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return nil
	}
	return &kv.Pair{Key: key, Value: resp.Kvs[0].Value, ModRevision: kv.Revision(resp.Kvs[0].ModRevision)}
}

// edit changes an object on the standby as one of its controllers or a person does.
func (s *stage) edit(key string, set any, path ...string) {
	s.t.Helper()
	stored := s.get(key).Value
	gr := s.resource(key)
	plain, err := s.view.Recoder.PlainOfStandby(gr, key, stored)
	if err != nil {
		s.t.Fatal(err)
	}
	fields, err := registry.ReadFields(plain)
	if err != nil {
		s.t.Fatal(err)
	}
	at := map[string]any(fields)
	for _, step := range path[:len(path)-1] {
		next, ok := at[step].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[step] = next
		}
		at = next
	}
	at[path[len(path)-1]] = set
	edited, err := registry.WriteFields(fields, plain)
	if err != nil {
		s.t.Fatal(err)
	}
	value, err := s.view.Recoder.Store(gr, key, edited, stored)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(key, string(value))
}

func (s *stage) put(key, value string) {
	s.t.Helper()
	if _, err := s.Put(s.t.Context(), key, value); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) resource(key string) string {
	k, _ := registry.ParseKey(registry.DefaultPrefix, key)
	return k.GroupResource()
}

// plain is an object on the standby, decrypted.
func (s *stage) plain(key string) string {
	s.t.Helper()
	p := s.get(key)
	if p == nil {
		return ""
	}
	plain, err := s.view.Recoder.PlainOfStandby(s.resource(key), key, p.Value)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(plain)
}

func (s *stage) list(cluster string) []Item {
	s.t.Helper()
	items, err := List(s.t.Context(), s.Client, s.view, cluster)
	if err != nil {
		s.t.Fatal(err)
	}
	return items
}

func (s *stage) release(cluster string) Outcome {
	s.t.Helper()
	out, err := Release(s.t.Context(), s.Client, s.view, s.list(cluster), sink.Limits{})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func left(o Outcome) map[string]string {
	all := map[string]string{}
	for _, l := range o.Left {
		all[l.Key] = l.Why
	}
	return all
}

// A release puts back to the byte what was there, with the fields that are the
// standby's own, and leaves what somebody has changed. It may be repeated. All
// that also where the standby binds what it encrypts to the key.
func TestRelease(t *testing.T) {
	gcm, err := registry.ParseEncryption([]byte(`{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration,
resources: [{resources: ["*.*"], providers: [{aesgcm: {keys: [{name: k, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, encryption := range map[string]*registry.Encryption{"plain": nil, "encrypted": gcm} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, newView(t, encryption))
			cluster := object("clusters.cluster.x-k8s.io", "a", "prod", `{"paused":false,"x":1}`)
			web := object("deployments.apps", "a", "web", `{"replicas":5}`)
			changed := object("deployments.apps", "a", "changed", `{"replicas":4}`)
			gone := object("deployments.apps", "a", "gone", `{"replicas":3}`)
			inert := object("clusters.cluster.x-k8s.io", "a", "paused", `{"paused":true}`)
			s.replicate(cluster, web, changed, gone, inert)
			s.edit(web.Key, int64(1), "status", "observedGeneration")
			s.edit(changed.Key, "me", "metadata", "annotations", "who")
			if _, err := s.Delete(t.Context(), gone.Key); err != nil {
				t.Fatal(err)
			}

			states := map[string]State{}
			for _, item := range s.list("") {
				states[item.Key] = item.State
				if item.Key == web.Key && (!slices.Equal(item.Patch, []string{"spec.replicas: 5 → 0"}) || item.Since == nil || item.Since.Unix() != 1e9 || item.Kind != "Deployment") {
					t.Errorf("listed as %+v", item)
				}
			}
			if fmt.Sprint(states) != fmt.Sprint(map[string]State{cluster.Key: Held, web.Key: Held, changed.Key: Changed, gone.Key: Gone}) {
				t.Errorf("states %v", states)
			}

			out := s.release("")
			if out.Done != 2 || len(out.Left) != 2 || !strings.Contains(left(out)[changed.Key], "changed") || !strings.Contains(left(out)[gone.Key], "deleted") {
				t.Errorf("released: %+v", out)
			}
			if got := s.plain(cluster.Key); got != string(cluster.Value) {
				t.Errorf("the Cluster came back as %s, was %s", got, cluster.Value)
			}
			if got := s.plain(web.Key); !strings.Contains(got, `"replicas":5`) || !strings.Contains(got, `"observedGeneration":1`) {
				t.Errorf("the Deployment came back as %s, want its replicas and the standby's status", got)
			}
			if got := s.plain(changed.Key); !strings.Contains(got, `"replicas":0`) || !strings.Contains(got, "who") {
				t.Errorf("what was changed was written over: %s", got)
			}
			for key, want := range map[string]bool{cluster.Key: false, web.Key: false, changed.Key: true, gone.Key: true} {
				if there := s.get(scope.HeldKey(key)) != nil; there != want {
					t.Errorf("%s: record there %v, want %v", key, there, want)
				}
			}
			if again := s.release(""); again.Done != 0 || len(again.Left) != 2 {
				t.Errorf("released again: %+v", again)
			}
		})
	}
}

// A release brings no reference back that was dropped on the way: on the
// standby its owner is as absent as before.
func TestReleaseBringsNoDroppedReferenceBack(t *testing.T) {
	s := newStage(t, newView(t, nil))
	owners := func(more string) string {
		return `"ownerReferences":[` + more + `{"apiVersion":"cluster.x-k8s.io/v1beta1","kind":"Cluster","name":"prod","uid":"c"}]`
	}
	web := object("deployments.apps", "a", "web", `{"replicas":5}`, owners(`{"apiVersion":"v1","kind":"Pod","name":"installer","uid":"p"},`))
	s.replicate(web)
	if out := s.release(""); out.Done != 1 || len(out.Left) != 0 {
		t.Fatalf("released: %+v", out)
	}
	want := object("deployments.apps", "a", "web", `{"replicas":5}`, owners(""))
	got, err := registry.ReadFields(s.get(web.Key).Value)
	if err != nil {
		t.Fatal(err)
	}
	if released, err := registry.ReadFields(want.Value); err != nil || !reflect.DeepEqual(got, released) {
		t.Errorf("it came back as %v, want %v", got, released)
	}
}

// An owner and what hangs on it come alive at one revision.
func TestReleaseKeepsTreesTogether(t *testing.T) {
	s := newStage(t, newView(t, nil))
	var parts []kv.Pair // their keys come before their owner's
	for i := range 20 {
		parts = append(parts, object("deployments.apps", "a", fmt.Sprintf("aa-%02d", i), `{"replicas":1}`, ownedBy("widgets.example.com", "a", "w")))
	}
	owner := object("widgets.example.com", "a", "w", `{"on":true}`)
	alone := object("deployments.apps", "a", "alone", `{"replicas":1}`)
	s.replicate(append(parts, owner, alone)...)
	if out := s.release(""); out.Done != 22 {
		t.Fatalf("released %+v", out)
	}
	at := s.get(owner.Key).ModRevision
	for _, p := range parts {
		if got := s.get(p.Key).ModRevision; got != at {
			t.Errorf("%s came back at revision %d, its owner at %d", p.Key, got, at)
		}
	}
	if s.get(alone.Key).ModRevision == at {
		t.Error("what hangs on nothing came back with the tree")
	}
}

// What was held by a hold that the configuration no longer has can be released
// all the same, as long as nobody has written it since.
func TestReleaseUnderOtherHolds(t *testing.T) {
	s := newStage(t, newView(t, nil))
	web, written := object("deployments.apps", "a", "web", `{"replicas":5}`), object("deployments.apps", "a", "written", `{"replicas":5}`)
	s.replicate(web, written)
	s.edit(written.Key, int64(1), "status", "observedGeneration")
	s.view.Holds = nil
	if out := s.release(""); out.Done != 1 || left(out)[written.Key] == "" {
		t.Errorf("released %+v", out)
	}
	if got := s.plain(web.Key); got != string(web.Value) {
		t.Errorf("it came back as %s", got)
	}
}

// Nothing is released under a daemon that would hold it again.
func TestReleaseNeedsQuiet(t *testing.T) {
	s := newStage(t, newView(t, nil))
	web := object("deployments.apps", "a", "web", `{"replicas":5}`)
	s.replicate(web)
	items := s.list("")
	s.put(role.LeaderDir+"/1", "daemon@host")
	_, err := Release(t.Context(), s.Client, s.view, items, sink.Limits{})
	if !errors.Is(err, role.ErrReplicating) || remedy.CodeOf(err) != remedy.Refused || !strings.Contains(remedy.Of(err), "understudy pause") {
		t.Errorf("under a daemon: %v (%v), remedy %q", err, remedy.CodeOf(err), remedy.Of(err))
	}
	if s.get(scope.HeldKey(web.Key)) == nil {
		t.Fatal("it was released all the same")
	}
	pause := func() {
		if _, err := role.SetPause(t.Context(), s.Client, role.Pause{By: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	pause()
	_, fence, err := role.Quiet(t.Context(), s.Client)
	if err != nil {
		t.Fatal(err)
	}
	// Replication is resumed, and even paused again, between the look and the write.
	if _, err := role.ClearPause(t.Context(), s.Client); err != nil {
		t.Fatal(err)
	}
	pause()
	a := act{op: "release", standby: s.Client, view: s.view, fence: fence, decide: release}
	if _, err := a.all(t.Context(), items, sink.Limits{}); remedy.CodeOf(err) != remedy.LostRace {
		t.Errorf("after a resume: %v", err)
	}
	if s.get(scope.HeldKey(web.Key)) == nil {
		t.Fatal("it was released all the same")
	}
	if out := s.release(""); out.Done != 1 {
		t.Errorf("while paused: %+v", out)
	}
}

// What changes between the look and the write is looked at again.
func TestReleaseLosesNoRace(t *testing.T) {
	s := newStage(t, newView(t, nil))
	web := object("deployments.apps", "a", "web", `{"replicas":5}`)
	s.replicate(web)
	_, fence, err := role.Quiet(t.Context(), s.Client)
	if err != nil {
		t.Fatal(err)
	}
	looks := 0
	a := act{op: "release", standby: s.Client, view: s.view, fence: fence,
		decide: func(view *scope.View, key string, record, object *kv.Pair) write {
			if looks++; looks == 1 {
				s.edit(web.Key, "me", "metadata", "annotations", "who")
			}
			return release(view, key, record, object)
		}}
	out, err := a.all(t.Context(), s.list(""), sink.Limits{})
	if err != nil || out.Done != 0 || len(out.Left) != 1 || looks != 2 {
		t.Errorf("released %+v after %d looks, %v; want it left", out, looks, err)
	}
	if got := s.plain(web.Key); !strings.Contains(got, "who") || !strings.Contains(got, `"replicas":0`) {
		t.Errorf("written over: %s", got)
	}
}

// --cluster takes the Cluster, what its label names, and what hangs on it by
// owner references, also over objects that are not held; and nothing else.
func TestClusterAndWhatHangsOnIt(t *testing.T) {
	s := newStage(t, newView(t, nil))
	label := `"labels":{"cluster.x-k8s.io/cluster-name":"prod"}`
	mine := []kv.Pair{
		object("clusters.cluster.x-k8s.io", "a", "prod", `{}`),
		object("configmaps", "a", "between", `{}`, ownedBy("clusters.cluster.x-k8s.io", "a", "prod")),
		object("deployments.apps", "a", "aa-owned", `{"replicas":1}`, ownedBy("configmaps", "a", "between")),
		object("cronjobs.batch", "a", "labelled", `{"suspend":false}`, label),
		object("widgets.example.com", "a", "w", `{"on":true}`, ownedBy("cronjobs.batch", "a", "labelled")),
	}
	others := []kv.Pair{
		object("clusters.cluster.x-k8s.io", "a", "other", `{}`),
		object("clusters.cluster.x-k8s.io", "b", "prod", `{}`),
		object("deployments.apps", "b", "labelled", `{"replicas":1}`, label),
		object("deployments.apps", "a", "free", `{"replicas":1}`),
		object("deployments.apps", "a", "of-other", `{"replicas":1}`, ownedBy("clusters.cluster.x-k8s.io", "a", "other")),
	}
	s.replicate(append(slices.Clone(mine), others...)...)
	if out := s.release("a/prod"); out.Done != 4 || len(out.Left) != 0 {
		t.Errorf("released %+v", out)
	}
	for _, p := range mine {
		if got := s.plain(p.Key); got != string(p.Value) {
			t.Errorf("%s is %s, want %s", p.Key, got, p.Value)
		}
	}
	for _, p := range others {
		if s.get(scope.HeldKey(p.Key)) == nil {
			t.Errorf("%s was released with a/prod", p.Key)
		}
	}
	for cluster, code := range map[string]remedy.Code{"a/none": remedy.Failed, "prod": remedy.Usage, "/": remedy.Usage} {
		if _, err := List(t.Context(), s.Client, s.view, cluster); err == nil || remedy.CodeOf(err) != code {
			t.Errorf("--cluster %s: %v", cluster, err)
		}
	}
}

// Apply holds again what was released and what was set going by hand, as often
// as one likes; it keeps the original that is kept already, and touches neither
// the standby's own objects nor those out of scope.
func TestApply(t *testing.T) {
	s := newStage(t, newView(t, nil))
	web, cluster := object("deployments.apps", "a", "web", `{"replicas":5}`), object("clusters.cluster.x-k8s.io", "a", "prod", `{}`)
	byHand := object("deployments.apps", "a", "by-hand", `{"replicas":2}`)
	s.replicate(web, cluster, byHand)
	own, outside := object("deployments.apps", "a", "own", `{"replicas":7}`), object("deployments.apps", "kube-system", "dns", `{"replicas":7}`)
	s.put(own.Key, string(own.Value))
	s.put(sink.SurplusPrefix+own.Key, "")
	s.put(outside.Key, string(outside.Value))
	heldWeb := s.plain(web.Key)
	s.release("")
	s.replicate(byHand)
	s.edit(byHand.Key, int64(9), "spec", "replicas")
	if out := s.apply(); out.Done != 3 || len(out.Left) > 0 {
		t.Errorf("applied: %+v", out)
	}
	if got := s.plain(web.Key); got != heldWeb || !bytes.Equal(s.get(scope.HeldKey(web.Key)).Value, web.Value) {
		t.Errorf("held again as %s, was %s", got, heldWeb)
	}
	if got := s.plain(byHand.Key); !strings.Contains(got, `"replicas":0`) || !bytes.Equal(s.get(scope.HeldKey(byHand.Key)).Value, byHand.Value) {
		t.Errorf("set going by hand: %s, its original %s", got, s.get(scope.HeldKey(byHand.Key)).Value)
	}
	if s.plain(own.Key) != string(own.Value) || s.plain(outside.Key) != string(outside.Value) {
		t.Error("an object of the standby's own was held")
	}
	before := s.get(web.Key).ModRevision
	if out := s.apply(); out.Done != 0 || s.get(web.Key).ModRevision != before {
		t.Errorf("applied again: %+v", out)
	}
	s.put(role.Key, `{"role":"primary","term":2}`)
	if _, err := Apply(t.Context(), s.Client, s.view, nil, sink.Limits{}); remedy.CodeOf(err) != remedy.Refused {
		t.Errorf("on a primary: %v", err)
	}
}
