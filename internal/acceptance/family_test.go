package acceptance_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"github.com/understudy-dr/understudy/internal/testkit"
)

const group = "fleet.example.com"

var (
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	claims      = schema.GroupVersionResource{Group: group, Version: "v1", Resource: "claims"}
	claimSets   = schema.GroupVersionResource{Group: group, Version: "v1", Resource: "claimsets"}
	machines    = schema.GroupVersionResource{Group: group, Version: "v1", Resource: "machines"}
	machineSets = schema.GroupVersionResource{Group: group, Version: "v1", Resource: "machinesets"}
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// kind of objects, and how their names begin.
type kind struct {
	resource schema.GroupVersionResource
	kind     string
	name     string
}

func (k kind) object(namespace, name string, owners ...metav1.OwnerReference) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(k.resource.GroupVersion().String())
	u.SetKind(k.kind)
	u.SetNamespace(namespace)
	u.SetName(name)
	u.SetOwnerReferences(owners)
	return u
}

// family is one namespace with owners and their dependents.
type family struct {
	name       string // of the namespace
	owner      kind
	dependents [dependents]kind
}

// create makes the family's objects through the API server.
func (f family) create(t *testing.T, c *testkit.ControlPlane) census {
	t.Helper()
	namespace := kind{namespaces, "Namespace", f.name}
	if _, err := c.Dynamic().Resource(namespaces).Create(t.Context(), namespace.object("", f.name), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	made := census{}
	var mu sync.Mutex
	create := func(ctx context.Context, k kind, name string, owners ...metav1.OwnerReference) (*unstructured.Unstructured, error) {
		u, err := c.Dynamic().Resource(k.resource).Namespace(f.name).Create(ctx, k.object(f.name, name, owners...), metav1.CreateOptions{})
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			made[objectKey(k.resource, u)] = u.GetUID()
		}
		return u, err
	}
	workers, ctx := errgroup.WithContext(t.Context())
	workers.SetLimit(8)
	for i := range owners {
		workers.Go(func() error {
			owner, err := create(ctx, f.owner, fmt.Sprintf("%s-%03d", f.owner.name, i))
			if err != nil {
				return err
			}
			reference := metav1.OwnerReference{APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID()}
			for _, k := range f.dependents {
				if _, err := create(ctx, k, fmt.Sprintf("%s-%03d", k.name, i), reference); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		t.Fatal(err)
	}
	return made
}

// census is objects, by the key that etcd keeps them under, and their UIDs.
type census map[string]types.UID

// objectKey is where API servers store an object; of the kinds here at least.
func objectKey(r schema.GroupVersionResource, o metav1.Object) string {
	directory := r.Resource
	if strings.Contains(r.Group, ".") {
		directory = r.Group + "/" + r.Resource
	}
	return fmt.Sprintf("/registry/%s/%s/%s", directory, o.GetNamespace(), o.GetName())
}

func (c census) add(other census) {
	for key, uid := range other {
		c[key] = uid
	}
}

// missingFrom lists the keys that are not there, or with another UID.
func (c census) missingFrom(there census) keys {
	var missing keys
	for key, uid := range c {
		if there[key] != uid {
			missing = append(missing, key)
		}
	}
	slices.Sort(missing)
	return missing
}

type keys []string

// tally says how many of the keys belong to which family.
func (k keys) tally() string {
	var parts []string
	for _, f := range families {
		n := 0
		for _, key := range k {
			if strings.Contains(key, "/"+f.name+"/") {
				n++
			}
		}
		parts = append(parts, fmt.Sprintf("%d of %d %s", n, owners*dependents, f.name))
	}
	return strings.Join(parts, ", ")
}

// count asks an API server for all objects of the families' kinds. A kind that
// is not served has none.
func count(ctx context.Context, c *testkit.ControlPlane) (census, error) {
	client, err := metadata.NewForConfig(c.Config())
	if err != nil {
		return nil, err
	}
	there := census{}
	for _, r := range []schema.GroupVersionResource{configMaps, secrets, claims, claimSets, machines, machineSets} {
		list, err := client.Resource(r).List(ctx, metav1.ListOptions{})
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			there[objectKey(r, &list.Items[i])] = list.Items[i].GetUID()
		}
	}
	return there, nil
}

// writes are the keys of a census that were written and deleted in an etcd.
type writes struct {
	mu   sync.Mutex
	put  map[string]bool
	gone keys
}

// watchWrites notes what happens to the objects in an etcd, from now until the
// test ends.
func watchWrites(t *testing.T, c *testkit.ControlPlane, objects census) *writes {
	t.Helper()
	w := &writes{put: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	client := c.Etcd().Client()
	now, err := client.Get(ctx, "/registry/")
	if err != nil {
		t.Fatal(err)
	}
	events := client.Watch(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(now.Header.Revision+1))
	go func() {
		defer close(done)
		for resp := range events {
			w.note(resp.Events, objects)
		}
	}()
	return w
}

func (w *writes) note(events []*clientv3.Event, objects census) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		switch key := string(e.Kv.Key); {
		case objects[key] == "":
		case e.Type == clientv3.EventTypeDelete:
			w.gone = append(w.gone, key)
		default:
			w.put[key] = true
		}
	}
}

// deleted lists the deletions, in their order.
func (w *writes) deleted() keys {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.gone)
}

// arrived counts the objects that have been written at least once.
func (w *writes) arrived() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.put)
}

func isNotFound(err error) bool { return apierrors.IsNotFound(err) }

// define creates CustomResourceDefinitions with a status subresource, and
// waits until they are served.
func define(t *testing.T, c *testkit.ControlPlane, kinds ...string) {
	t.Helper()
	for _, k := range kinds {
		plural := strings.ToLower(k) + "s"
		open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
		definition := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": plural + "." + group, "labels": map[string]any{ours: "moscow"}},
			"spec": map[string]any{
				"group": group, "scope": "Namespaced",
				"names": map[string]any{"kind": k, "plural": plural, "singular": strings.ToLower(k)},
				"versions": []any{map[string]any{
					"name": "v1", "served": true, "storage": true,
					"subresources": map[string]any{"status": map[string]any{}},
					"schema": map[string]any{"openAPIV3Schema": map[string]any{
						"type": "object", "properties": map[string]any{"spec": open, "status": open}}},
				}},
			},
		}}
		if _, err := c.Dynamic().Resource(definitions).Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		served(t, c, schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural})
	}
}

// served waits until an API server serves a kind.
func served(t *testing.T, c *testkit.ControlPlane, r schema.GroupVersionResource) {
	t.Helper()
	testkit.Eventually(t, 30*time.Second, r.Resource+" to be served", func() (bool, string) {
		_, err := c.Dynamic().Resource(r).List(t.Context(), metav1.ListOptions{Limit: 1})
		return err == nil, fmt.Sprint(err)
	})
}
