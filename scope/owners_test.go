package scope_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

var (
	yes = true
	// Owners in scope, and owners out of it, in every position among them.
	machineSet = metav1.OwnerReference{APIVersion: "cluster.x-k8s.io/v1beta1", Kind: "MachineSet", Name: "set", UID: "u-set", Controller: &yes, BlockOwnerDeletion: &yes}
	app        = metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "app", UID: "u-app"}
	unheard    = metav1.OwnerReference{APIVersion: "example.com/v9", Kind: "Unheard", Name: "of", UID: "u-of"}
	pod        = metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "web-0", UID: "u-pod"}
	replicaSet = metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "u-rs", Controller: &yes}
)

func list(owners ...metav1.OwnerReference) []metav1.OwnerReference { return owners }

// stored is an object as API servers keep it: built-in kinds in protobuf,
// custom resources in JSON.
type stored struct {
	key   string
	write func(t *testing.T, owners []metav1.OwnerReference) []byte
}

var storedObjects = map[string]stored{
	"a custom resource in JSON": {"/registry/cluster.x-k8s.io/machines/prod/m", func(t *testing.T, owners []metav1.OwnerReference) []byte {
		meta := map[string]any{"name": "m", "namespace": "prod", "uid": "u", "generation": int64(1) << 60}
		if len(owners) > 0 {
			meta["ownerReferences"] = owners
		}
		raw, err := json.Marshal(map[string]any{"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Machine", "metadata": meta, "spec": map[string]any{"x": 1.5}})
		if err != nil {
			t.Fatal(err)
		}
		return append(sorted(t, raw), '\n')
	}},
	"a Secret in protobuf": {"/registry/secrets/prod/s", func(t *testing.T, owners []metav1.OwnerReference) []byte {
		return inProtobuf(t, &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, Data: map[string][]byte{"a": []byte("b")},
			ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "prod", UID: "u", OwnerReferences: owners, Finalizers: []string{"f"}}})
	}},
	"a Deployment in protobuf": {"/registry/deployments/prod/d", func(t *testing.T, owners []metav1.OwnerReference) []byte {
		three := int32(3)
		return inProtobuf(t, &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, Spec: appsv1.DeploymentSpec{Replicas: &three},
			ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "prod", UID: "u", OwnerReferences: owners}})
	}},
}

// sorted is JSON with its names in order, as the API server writes it.
func sorted(t *testing.T, raw []byte) []byte {
	t.Helper()
	fields, err := registry.ReadFields(raw)
	if err != nil {
		t.Fatal(err)
	}
	raw, err = json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func inProtobuf(t *testing.T, o runtime.Object) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := protobuf.NewSerializer(nil, nil).Encode(o, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// views are the ways in which the standby may have to store an object.
func views(t *testing.T) map[string]*scope.View {
	plain := defaultView(t)
	plain.Holds = nil
	ours, theirs := encryption(t, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="), encryption(t, "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=")
	encrypted, alike, newly := *plain, *plain, *plain
	encrypted.Recoder = registry.NewRecoder(ours, theirs)
	alike.Recoder = registry.NewRecoder(ours, ours)
	newly.Recoder = registry.NewRecoder(nil, theirs)
	held := *plain
	var err error
	if held.Holds, err = scope.NewHolds(append(scope.DefaultHolds(scope.DefaultProfile),
		scope.Hold{Resources: []string{"machines.cluster.x-k8s.io"}, Patch: json.RawMessage(`{"spec":{"paused":true}}`)},
		scope.Hold{Resources: []string{"secrets"}, Patch: json.RawMessage(`{"immutable":true}`)})); err != nil {
		t.Fatal(err)
	}
	both := held
	both.Recoder = encrypted.Recoder
	return map[string]*scope.View{"plain": plain, "encrypted with other keys": &encrypted, "encrypted with the same keys": &alike,
		"encrypted on the standby only": &newly, "held": &held, "held and encrypted": &both}
}

// as is what the primary stores for a plain object.
func as(t *testing.T, view *scope.View, name, key string, plain []byte) []byte {
	t.Helper()
	if !strings.HasPrefix(key, "/registry/secrets/") || !strings.Contains(name, "encrypted") || strings.Contains(name, "standby only") {
		return plain
	}
	ours := encryption(t, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	value, err := ours.Encrypt("secrets", key, plain)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := view.Recoder.PlainOfPrimary("secrets", key, value); err != nil || !bytes.Equal(back, plain) {
		t.Fatalf("the primary itself cannot read it: %v", err)
	}
	return value
}

// An object reaches the standby as if it had never had the references to
// owners that the scope leaves out: held or not, its original beside it too,
// and in whatever encoding and encryption it is stored.
func TestReferencesToOwnersOutOfScopeAreDropped(t *testing.T) {
	for name, view := range views(t) {
		for what, object := range storedObjects {
			for which, tc := range map[string]struct{ have, want, dropped []metav1.OwnerReference }{
				"the first":         {list(pod, machineSet), list(machineSet), list(pod)},
				"the last":          {list(app, replicaSet), list(app), list(replicaSet)},
				"several":           {list(pod, app, replicaSet, machineSet), list(app, machineSet), list(pod, replicaSet)},
				"an unheard stays":  {list(unheard, pod), list(unheard), list(pod)},
				"nothing":           {list(app, machineSet), list(app, machineSet), nil},
				"nothing, for none": {nil, nil, nil},
			} {
				t.Run(name+", "+what+", "+which, func(t *testing.T) {
					primary := as(t, view, name, object.key, object.write(t, tc.have))
					without := as(t, view, name, object.key, object.write(t, tc.want))
					want := mustWant(t, view, object.key, primary)
					never := mustWant(t, view, object.key, without)
					if len(want.Dropped) != len(tc.dropped) || len(want.Meta.Owners) != len(tc.want) || !want.In {
						t.Errorf("in %v, dropped %v, kept %v", want.In, want.Dropped, want.Meta.Owners)
					}
					if got, want := readThere(t, view, object.key, want.Value), readThere(t, view, object.key, never.Value); !bytes.Equal(got, want) {
						t.Errorf("the standby gets\n%q, want\n%q", got, want)
					}
					if strings.Contains(name, "held") {
						got := readThere(t, view, object.key, want.Kept)
						if !bytes.Equal(got, object.write(t, tc.want)) {
							t.Errorf("a release would bring back\n%q, want\n%q", got, object.write(t, tc.want))
						}
						records := scope.Records{}
						records.Add(view, scope.HeldKey(object.key), want.Kept)
						if !records.Fit(object.key, want.Object) {
							t.Error("the record does not fit its own object")
						}
					} else if want.Kept != nil {
						t.Error("something is kept, and nothing is held")
					}

					// The check agrees: equal is the standby with these bytes, and no other.
					seen, err := view.InPrimary(object.key, primary)
					if err != nil || !bytes.Equal(seen.Plain, want.Plain) || !bytes.Equal(seen.Original, want.Original) {
						t.Errorf("InPrimary and Want differ: %v", err)
					}
					if !sameThere(t, view, object.key, seen, primary, want.Value) {
						t.Error("what was replicated passes for different")
					}
					for what, owners := range map[string][]metav1.OwnerReference{"with all references": tc.have, "without any": nil} {
						there := scope.Object{In: true, Plain: heldForm(t, view, object.key, object.write(t, owners))}
						if same := view.Same(object.key, seen, there, primary, there.Plain); same != (len(owners) == len(tc.want)) {
							t.Errorf("a standby %s: same = %v", what, same)
						}
					}
				})
			}
		}
	}
}

func mustWant(t *testing.T, view *scope.View, key string, value []byte) scope.Wanted {
	t.Helper()
	want, err := view.Want(key, value)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// readThere is what the standby's API servers read of a value.
func readThere(t *testing.T, view *scope.View, key string, value []byte) []byte {
	t.Helper()
	k, _ := registry.ParseKey(registry.DefaultPrefix, key)
	plain, err := view.Recoder.PlainOfStandby(k.GroupResource(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// heldForm is a plain object in its held form, with the references that it has.
func heldForm(t *testing.T, view *scope.View, key string, plain []byte) []byte {
	t.Helper()
	k, _ := registry.ParseKey(registry.DefaultPrefix, key)
	held, _, err := view.Holds.Apply(k.GroupResource(), plain)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func sameThere(t *testing.T, view *scope.View, key string, primary scope.Object, onPrimary, onStandby []byte) bool {
	t.Helper()
	standby, err := view.InStandby(key, onStandby)
	if err != nil {
		t.Fatal(err)
	}
	return view.Same(key, primary, standby, onPrimary, onStandby)
}

// What has nothing to drop is copied as it is, the same bytes.
func TestObjectsWithNothingToDropAreNotTouched(t *testing.T) {
	view := views(t)["plain"]
	for what, object := range storedObjects {
		for _, owners := range [][]metav1.OwnerReference{nil, list(machineSet), list(machineSet, app), list(unheard, app)} {
			value := object.write(t, owners)
			want := mustWant(t, view, object.key, value)
			if &want.Value[0] != &value[0] || len(want.Value) != len(value) || !want.AsStored() {
				t.Errorf("%s with %d owners in scope was written anew", what, len(owners))
			}
		}
	}
}

// An object all of whose owners are out of scope takes no part, and says why;
// one that is left out anyway does not claim that its owners are the reason.
func TestOrphanedObjects(t *testing.T) {
	view := views(t)["plain"]
	secret := storedObjects["a Secret in protobuf"]
	orphan := mustWant(t, view, secret.key, secret.write(t, list(pod, replicaSet)))
	if orphan.In || !orphan.Orphaned || orphan.Dropped != nil || len(orphan.Meta.Owners) != 2 {
		t.Errorf("%+v", orphan.Object)
	}
	token := inProtobuf(t, &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, Type: scope.ServiceAccountToken,
		ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "prod", UID: "u", OwnerReferences: list(pod)}})
	if o := mustWant(t, view, secret.key, token); o.In || o.Orphaned {
		t.Errorf("a token: %+v", o.Object)
	}
}

// The standby keeps its local fields, and the references stay dropped.
func TestLocalFieldsOfAnObjectThatLostReferences(t *testing.T) {
	view := views(t)["held"]
	object := storedObjects["a Deployment in protobuf"]
	primary := object.write(t, list(pod, machineSet))
	want := mustWant(t, view, object.key, primary)
	have := edit(t, want.Value, int64(41), "status", "observedGeneration")
	kept, _, err := view.Keep(object.key, want.Value, view.Own(object.key, have))
	if err != nil {
		t.Fatal(err)
	}
	if got := field(t, kept, "status", "observedGeneration"); got != int64(41) {
		t.Errorf("status.observedGeneration = %v, want the standby's", got)
	}
	meta, err := registry.ReadMeta(kept)
	if err != nil || !reflect.DeepEqual(meta.Owners, want.Meta.Owners) || len(meta.Owners) != 1 {
		t.Errorf("owners %v, %v", meta.Owners, err)
	}
	if !sameThere(t, view, object.key, want.Object, primary, kept) {
		t.Error("it differs by its local fields")
	}
	// A standby that an older version filled: the reference is still there.
	if sameThere(t, view, object.key, want.Object, primary, heldForm(t, view, object.key, primary)) {
		t.Error("the reference that is still there passes for a local field")
	}
}

// What was replicated before references were dropped is compared in full.
func TestHoldsHashTellsTheRewriting(t *testing.T) {
	view := &scope.View{}
	if view.HoldsHash() == "" {
		t.Error("without holds the hash is that of the versions that dropped nothing")
	}
	holds, err := scope.NewHolds(scope.DefaultHolds(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	if view.Holds = holds; view.HoldsHash() == holds.Hash() {
		t.Error("with holds it is")
	}
}

// A PersistentVolume goes with its claim: without it the standby's controllers
// would reclaim what is stored in it.
func TestVolumesGoWithTheirClaims(t *testing.T) {
	view := defaultView(t)
	for namespace, in := range map[string]bool{"prod": true, "kube-system": false, "": true} {
		object, err := view.InPrimary("/registry/persistentvolumes/v", []byte(`{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"v","uid":"u"},"spec":{"persistentVolumeReclaimPolicy":"Delete","claimRef":{"namespace":"`+namespace+`","name":"c","uid":"w"}}}`))
		if err != nil || object.In != in {
			t.Errorf("claim in %q: in scope %v, %v", namespace, object.In, err)
		}
	}
}

// A Gateway's plural is gateways, and a Switch's may be switches: where the
// definition has been seen its owners are looked for there, on either side of the
// order of the keys.
func TestOwnersAreFoundByTheDefinitionOfTheirKind(t *testing.T) {
	s, err := scope.New(scope.Config{Exclude: []scope.Rule{{Resources: []string{"gateways.gateway.networking.k8s.io", "switches.example.com"}}}})
	if err != nil {
		t.Fatal(err)
	}
	owned := func(apiVersion, kind string) registry.Meta {
		return registry.Meta{Owners: []registry.Owner{{APIVersion: apiVersion, Kind: kind, Name: "a", UID: "1"}}}
	}
	const key = "/registry/secrets/prod/s"
	for _, of := range [][3]string{{"gateway.networking.k8s.io/v1", "Gateway", "gateways"}, {"example.com/v1", "Switch", "switches"}} {
		if s.Orphaned(key, owned(of[0], of[1])) && of[1] != "Gateway" {
			t.Errorf("%s is known already", of[1])
		}
		group, _, _ := strings.Cut(of[0], "/")
		s.Learn([]byte(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"x"},"spec":{"group":"` + group + `","names":{"kind":"` + of[1] + `","plural":"` + of[2] + `"}}}`))
		if !s.Orphaned(key, owned(of[0], of[1])) {
			t.Errorf("a Secret whose only owner is a %s, which is out of scope, is in", of[1])
		}
		if places, proof := s.OwnerKeys(key, owned(of[0], of[1]).Owners[0]); !slices.Contains(places, "/registry/"+group+"/"+of[2]+"/prod/a") || !strings.HasSuffix(proof, "/"+of[2]+"."+group) {
			t.Errorf("%s: %q, %s", of[1], places, proof)
		}
	}
	s.Learn([]byte("torn"))
}
