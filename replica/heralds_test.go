package replica_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

const heraldOwner = "understudy.dev/arriving"

// The Pods of a ReplicaSet that comes along are on the standby before it, under
// an owner that cannot be looked up; and never under one that is not there.
func TestPodsAreHeraldedBeforeTheirOwners(t *testing.T) {
	p := podPair(t, 20)
	p.once(t)
	p.mustEqual(t)

	heralds, owners, n := map[string]bool{}, map[string]int64{}, 20*3
	for resp := range p.standby.Client().Watch(t.Context(), "/registry/", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		for _, e := range resp.Events {
			meta, err := registry.ReadMeta(e.Kv.Value)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case len(meta.Owners) == 0:
				owners[meta.UID] = e.Kv.ModRevision
			case meta.Owners[0].APIVersion == heraldOwner:
				if len(owners) > 0 {
					t.Fatalf("%s was not heralded before the first owner", meta.Name)
				}
				heralds[meta.Name] = true
			default:
				n--
				if !heralds[meta.Name] {
					t.Errorf("%s was not heralded", meta.Name)
				}
			}
		}
		for _, e := range resp.Events { // what is written at one revision is there at once
			if meta, err := registry.ReadMeta(e.Kv.Value); err == nil && len(meta.Owners) > 0 && meta.Owners[0].APIVersion != heraldOwner {
				if at := owners[meta.Owners[0].UID]; at == 0 || at > e.Kv.ModRevision {
					t.Errorf("%s was there without its owner", meta.Name)
				}
			}
		}
		if n == 0 {
			return
		}
	}
}

// A copy that ends between the heralds and their trees leaves nothing behind,
// not even of a Pod that the primary deletes before the next one.
func TestHeraldsOfAnUnfinishedCopyAreGivenUp(t *testing.T) {
	p := podPair(t, 20)
	d := p.start(t)
	const gone = "/registry/pods/prod/web-07-1"
	testkit.Eventually(t, 10*time.Second, "the heralds", func() (bool, string) {
		value, there := get(t, p.standby.Client(), gone)
		return strings.Contains(value, heraldOwner), fmt.Sprint(there)
	})
	d.stop(t)
	if value, there := get(t, p.standby.Client(), "/registry/replicasets/prod/web-07"); there {
		t.Fatalf("the copy has gone on: %q", value)
	}
	if _, err := p.primary.Client().Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	p.once(t)
	p.mustEqual(t)
	if value, there := get(t, p.standby.Client(), gone); there {
		t.Errorf("the standby still has %q", value)
	}
}

// podPair is a pair that replicates everything; its primary has so many
// ReplicaSets with three Pods each.
func podPair(t *testing.T, n int) *pair {
	t.Helper()
	p := newPair(t)
	s, err := scope.New(scope.Config{Profile: "everything"})
	if err != nil {
		t.Fatal(err)
	}
	p.config.View.Scope = s
	put := func(key string, object runtime.Object) {
		t.Helper()
		var stored bytes.Buffer
		if err := protobuf.NewSerializer(nil, nil).Encode(object, &stored); err != nil {
			t.Fatal(err)
		}
		if _, err := p.primary.Client().Put(t.Context(), key, stored.String()); err != nil {
			t.Fatal(err)
		}
	}
	yes := true
	for i := range n {
		name := fmt.Sprintf("web-%02d", i)
		uid := types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
		put("/registry/replicasets/prod/"+name, &appsv1.ReplicaSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "prod", UID: uid}})
		for k := range 3 {
			pod := fmt.Sprintf("%s-%d", name, k)
			put("/registry/pods/prod/"+pod, &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
				ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: "prod", UID: types.UID(fmt.Sprintf("00000000-0000-4000-9%03d-%012d", k, i)),
					OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name, UID: uid, Controller: &yes}}}})
		}
	}
	return p
}
