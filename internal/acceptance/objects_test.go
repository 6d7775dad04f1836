package acceptance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// ours marks the objects that a test makes and looks at.
const ours = "fleet"

// api makes and reads objects of all kinds through one API server.
type api struct {
	*testkit.ControlPlane
	mapper meta.RESTMapper
	kinds  []schema.GroupVersionResource // of the objects made
}

// newAPI knows the kinds that are served at this moment. Definitions are made
// by define.
func newAPI(t *testing.T, c *testkit.ControlPlane) *api {
	t.Helper()
	groups, err := restmapper.GetAPIGroupResources(c.Client().Discovery())
	if err != nil {
		t.Fatal(err)
	}
	return &api{ControlPlane: c, mapper: restmapper.NewDiscoveryRESTMapper(groups), kinds: []schema.GroupVersionResource{definitions}}
}

// of is the client for the kind and the namespace of an object.
func (a *api) of(t *testing.T, u *unstructured.Unstructured) dynamic.ResourceInterface {
	t.Helper()
	gvk := u.GroupVersionKind()
	m, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(a.kinds, m.Resource) {
		a.kinds = append(a.kinds, m.Resource)
	}
	if u.GetNamespace() == "" {
		return a.Dynamic().Resource(m.Resource)
	}
	return a.Dynamic().Resource(m.Resource).Namespace(u.GetNamespace())
}

// createAll makes the objects of a file, in its order.
func (a *api) createAll(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		u := &unstructured.Unstructured{}
		raw, err := yaml.YAMLToJSON(doc)
		if err == nil {
			err = u.UnmarshalJSON(raw)
		}
		if err != nil {
			t.Fatalf("%s: %v in\n%s", file, err, doc)
		}
		a.create(t, u)
	}
}

// create makes one object, with its status, and returns it as it is stored.
func (a *api) create(t *testing.T, u *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	u.SetLabels(map[string]string{ours: "moscow"})
	references := u.GetOwnerReferences()
	for i, r := range references {
		references[i].UID = a.get(t, r.APIVersion, r.Kind, u.GetNamespace(), r.Name).GetUID()
	}
	u.SetOwnerReferences(references)
	made, err := a.of(t, u).Create(t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if status, ok := u.Object["status"]; ok {
		made.Object["status"] = status
		if made, err = a.of(t, u).UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

func (a *api) get(t *testing.T, apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	u := reference(apiVersion, kind, namespace, name)
	there, err := a.of(t, u).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return there
}

// change updates an object or its status, however often others do at the same time.
func (a *api) change(t *testing.T, apiVersion, kind, name string, edit func(*unstructured.Unstructured), subresources ...string) {
	t.Helper()
	testkit.Eventually(t, 10*time.Second, "the update of "+name, func() (bool, string) {
		u := a.get(t, apiVersion, kind, ours, name)
		edit(u)
		_, err := a.of(t, u).Update(t.Context(), u, metav1.UpdateOptions{}, subresources...)
		if err != nil && !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
		return err == nil, fmt.Sprint(err)
	})
}

func (a *api) delete(t *testing.T, apiVersion, kind, namespace, name string) {
	t.Helper()
	if err := a.of(t, reference(apiVersion, kind, namespace, name)).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// gone waits until controllers have deleted an object.
func (a *api) gone(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	testkit.Eventually(t, time.Minute, u.GetName()+" to go", func() (bool, string) {
		_, err := a.of(t, u).Get(t.Context(), u.GetName(), metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

func reference(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

// revisionOf is the revision of etcd that holds the object as it is.
func revisionOf(t *testing.T, u *unstructured.Unstructured) int64 {
	t.Helper()
	revision, err := strconv.ParseInt(u.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// inventory lists our objects of the kinds, as an API server serves them. Of
// the resourceVersion nobody promises that it is the same elsewhere.
func inventory(ctx context.Context, c *testkit.ControlPlane, kinds []schema.GroupVersionResource) (map[string]map[string]any, error) {
	all := map[string]map[string]any{}
	for _, r := range kinds {
		list, err := c.Dynamic().Resource(r).List(ctx, metav1.ListOptions{LabelSelector: ours})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", r.Resource, err)
		}
		for _, u := range list.Items {
			u.SetResourceVersion("")
			all[fmt.Sprintf("%s %s/%s", u.GetKind(), u.GetNamespace(), u.GetName())] = u.Object
		}
	}
	return all, nil
}

// servesTheSame waits until both API servers serve the very same objects, and
// fails where they are fewer than atLeast.
func servesTheSame(t *testing.T, primary *api, standby *testkit.ControlPlane, when string, atLeast int) {
	t.Helper()
	objects := 0
	testkit.Eventually(t, 30*time.Second, "both API servers to serve the same "+when, func() (bool, string) {
		want, err := inventory(t.Context(), primary.ControlPlane, primary.kinds)
		if err != nil {
			t.Fatal(err)
		}
		objects = len(want)
		have, err := inventory(t.Context(), standby, primary.kinds)
		if err != nil {
			return false, err.Error()
		}
		return differences(want, have)
	})
	if objects < atLeast {
		t.Fatalf("only %d objects are there %s, want %d at least", objects, when, atLeast)
	}
	t.Logf("%s: %d objects of %d kinds are served alike", when, objects, len(primary.kinds))
}

func differences(want, have map[string]map[string]any) (none bool, state string) {
	var text bytes.Buffer
	for name, w := range want {
		if h, ok := have[name]; !ok {
			fmt.Fprintf(&text, "\n%s is missing", name)
		} else if !reflect.DeepEqual(w, h) {
			a, _ := json.Marshal(w)
			b, _ := json.Marshal(h)
			fmt.Fprintf(&text, "\n%s differs:\n  primary %s\n  standby %s", name, a, b)
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			fmt.Fprintf(&text, "\n%s is too much", name)
		}
	}
	return text.Len() == 0, text.String()
}
