package acceptance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// drift is what understudy status -o json says of it.
type drift struct {
	Deleted  int64             `json:"deleted"`
	Changed  int64             `json:"changed"`
	Created  int64             `json:"created"`
	Repaired int64             `json:"repaired"`
	Pending  int64             `json:"pending"`
	Flapping []json.RawMessage `json:"flapping"`
	Recent   []struct {
		What, Kind, Namespace, Name, By, Outcome string
		Marked                                   bool
	} `json:"recent"`
}

// drift asks the daemon's report, whatever the verdict is.
func (p *pair) drift(t *testing.T) drift {
	t.Helper()
	var s struct{ Drift drift }
	out := p.statusJSON(t)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s.Drift
}

// What somebody deletes on the standby through its API server comes back with
// its UID, under a live garbage collector: a single object, an owner whose
// dependents the garbage collector deletes as well, in the background and in the
// foreground, and an object with a finalizer, which is only marked.
func TestDeletionsOnTheStandbyAreRepaired(t *testing.T) {
	if testing.Short() {
		t.Skip("runs two control planes")
	}
	moscow := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	spb := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	primary := moscow.Dynamic()
	if _, err := primary.Resource(namespaces).Create(t.Context(), kind{namespaces, "Namespace", ""}.object("", ours), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	made := census{}
	make := func(name string, finalizers []string, owners ...metav1.OwnerReference) metav1.OwnerReference {
		t.Helper()
		u := kind{configMaps, "ConfigMap", ""}.object(ours, name, owners...)
		u.SetFinalizers(finalizers)
		u, err := primary.Resource(configMaps).Namespace(ours).Create(t.Context(), u, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		made[objectKey(configMaps, u)] = u.GetUID()
		return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: name, UID: u.GetUID()}
	}
	make("single", nil)
	make("finalized", []string{"example.com/never"})
	for _, owner := range []string{"background", "foreground"} {
		reference := make(owner, nil)
		for i := range 10 {
			make(fmt.Sprintf("%s-%d", owner, i), nil, reference)
		}
	}
	p := newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd()}, "breaker: {share: 100}")
	p.sync(t)
	p.reaches(t, 1)
	p.consistent(t, int64(len(made)))
	collects(t, spb, kind{configMaps, "ConfigMap", "before"})

	standby := spb.Dynamic().Resource(configMaps).Namespace(ours)
	for name, policy := range map[string]metav1.DeletionPropagation{
		"single": metav1.DeletePropagationBackground, "finalized": metav1.DeletePropagationBackground,
		"background": metav1.DeletePropagationBackground, "foreground": metav1.DeletePropagationForeground,
	} {
		uid := made["/registry/configmaps/"+ours+"/"+name]
		if err := standby.Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid}}); err != nil {
			t.Fatalf("delete %s: %v", name, err)
		}
	}
	whole := func() (bool, string) {
		list, err := standby.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		there := map[string]types.UID{}
		for i := range list.Items {
			u := &list.Items[i]
			if u.GetDeletionTimestamp() != nil {
				return false, u.GetName() + " is marked for deletion"
			}
			there[objectKey(configMaps, u)] = u.GetUID()
		}
		missing := made.missingFrom(there)
		return len(missing) == 0, fmt.Sprintf("missing: %v", missing)
	}
	// The garbage collector deletes the dependents of an owner that it saw go.
	testkit.Eventually(t, 20*time.Second, "the guard to have repaired what the garbage collector deleted", func() (bool, string) {
		d := p.drift(t)
		return d.Repaired >= 14 && d.Pending == 0, fmt.Sprintf("%+v", d)
	})
	testkit.Eventually(t, 10*time.Second, "every object to be there with its UID", whole)
	holdsFor(t, 5*time.Second, "every object is there with its UID", whole)
	collects(t, spb, kind{configMaps, "ConfigMap", "after"})
	p.consistent(t, int64(len(made)))

	d := p.drift(t)
	t.Logf("drift %+v", d)
	if len(d.Flapping) > 0 || d.Deleted != d.Repaired || d.Created != 0 {
		t.Errorf("drift %+v", d)
	}
	collector := false
	for _, i := range d.Recent {
		collector = collector || i.Kind == "ConfigMap" && i.Namespace == ours && strings.HasPrefix(i.By, "garbage collector (owner ConfigMap ")
	}
	if !collector {
		t.Errorf("the garbage collector is not named: %+v", d.Recent)
	}

	// Where the primary deletes, the controllers of both sides follow, and those of
	// the standby may be faster: nothing has drifted, and nothing is put back.
	deletes := func(what string, remove func() error, left int) {
		t.Helper()
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 60*time.Second, what+" to be gone on both sides", func() (bool, string) {
			there, err := primary.Resource(configMaps).Namespace(ours).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return false, err.Error()
			}
			here, err := standby.List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return false, err.Error()
			}
			now := p.drift(t)
			return len(there.Items) <= left && len(here.Items) <= left && now.Pending == 0, fmt.Sprintf("%d and %d left, %+v", len(there.Items), len(here.Items), now)
		})
	}
	objects := primary.Resource(configMaps).Namespace(ours)
	deletes("an owner", func() error { return objects.Delete(t.Context(), "background", metav1.DeleteOptions{}) }, len(made)-10)
	deletes("a namespace", func() error {
		_, err := objects.Patch(t.Context(), "finalized", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil {
			return err
		}
		return primary.Resource(namespaces).Delete(t.Context(), ours, metav1.DeleteOptions{})
	}, 0)
	// A report is up to 5 s old: what waits for the primary to follow may still show.
	holdsFor(t, 6*time.Second, "no drift is told", func() (bool, string) {
		now := p.drift(t)
		return now.Deleted == d.Deleted && now.Repaired == d.Repaired && len(now.Flapping) == 0, fmt.Sprintf("%+v", now)
	})
	if now := p.drift(t); now.Pending != 0 {
		t.Errorf("the primary has followed, and still there waits something: %+v", now)
	}
}

// statusJSON runs understudy status, whose exit status tells the verdict.
func (p *pair) statusJSON(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), p.program, "status", "-o", "json", "--config", p.config).Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("understudy status: %v", err)
	}
	return string(out)
}
