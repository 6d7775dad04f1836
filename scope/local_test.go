package scope_test

import (
	"encoding/json"
	"testing"

	"github.com/understudy-dr/understudy/scope"
)

// The objects of a paused Cluster say so themselves, on each side for itself.
func TestPausedIsTheStandbysOwn(t *testing.T) {
	locals, err := scope.NewLocals(scope.DefaultLocals(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	const (
		ready    = `{"status":"True","type":"Ready"}`
		unready  = `{"status":"False","type":"Ready"}`
		running  = `{"status":"False","type":"Paused"}`
		paused   = `{"status":"True","type":"Paused"}`
		spec     = `{"manager":"kubectl","operation":"Apply"}`
		statuses = `{"manager":"manager","subresource":"status","time":"1"}`
		later    = `{"manager":"manager","subresource":"status","time":"2"}`
	)
	machine := func(conditions, written string) []byte {
		return []byte(`{"apiVersion":"v1","kind":"K","metadata":{"managedFields":[` + written + `],"name":"n"},"status":{"conditions":[` + conditions + "]}}\n")
	}
	for name, tc := range map[string]struct {
		primary, standby, kept []byte
		same                   bool
	}{
		"it says so":           {machine(running+","+ready, spec+","+statuses), machine(paused+","+ready, spec+","+later), machine(paused+","+ready, spec+","+later), true},
		"it does not yet":      {machine(ready, spec), machine(ready, spec), machine(ready, spec), true},
		"the primary alone":    {machine(running+","+ready, spec), machine(ready, spec), machine(ready, spec), true},
		"the standby alone":    {machine(ready, spec), machine(paused+","+ready, spec), machine(ready+","+paused, spec), true},
		"and nothing else":     {machine(running+","+ready, spec), machine(paused+","+unready, spec), machine(paused+","+ready, spec), false},
		"another writes it":    {machine(ready, spec), machine(ready, later), machine(ready, spec+","+later), false},
		"no condition besides": {machine(running, spec), []byte(`{"apiVersion":"v1","kind":"K","metadata":{"managedFields":[` + spec + `],"name":"n"}}` + "\n"), []byte(`{"apiVersion":"v1","kind":"K","metadata":{"managedFields":[` + spec + `],"name":"n"}}` + "\n"), true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, resource := range []string{"machines.cluster.x-k8s.io", "vspheremachines.infrastructure.cluster.x-k8s.io"} {
				kept, err := keep(t, locals, resource, tc.primary, tc.standby)
				if err != nil || string(kept) != string(tc.kept) {
					t.Errorf("%s: Keep: %s, %v\nwant %s", resource, kept, err, tc.kept)
				}
				if got := locals.Equal(resource, tc.primary, tc.standby, false); got != tc.same {
					t.Errorf("%s: Equal = %v", resource, got)
				}
				if tc.same && !locals.Equal(resource, kept, tc.standby, false) {
					t.Errorf("%s: what was kept is not what the standby has", resource)
				}
			}
		})
	}
	if locals.Concerns("machines.cluster.example.com") || locals.Concerns("cluster.x-k8s.io") {
		t.Error("other groups are concerned")
	}
}

// API servers store definitions in the shape of v1beta1.
func TestDefinitionsKeepTheStandbysCABundle(t *testing.T) {
	locals, err := scope.NewLocals(scope.DefaultLocals(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	for name, object := range map[string]func(bundle string) string{
		"v1": func(bundle string) string {
			return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","spec":{"conversion":{"webhook":{"clientConfig":{"caBundle":"` + bundle + `"}}}}}` + "\n"
		},
		"v1beta1": func(bundle string) string {
			return `{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition","spec":{"conversion":{"webhookClientConfig":{"caBundle":"` + bundle + `"}}}}` + "\n"
		},
	} {
		kept, err := keep(t, locals, "customresourcedefinitions.apiextensions.k8s.io", []byte(object("TW9zY293")), []byte(object("U1BC")))
		if err != nil || string(kept) != object("U1BC") {
			t.Errorf("%s: Keep: %s, %v", name, kept, err)
		}
	}
}

// The standby's own definition, installed there before the pair was formed, has
// another UID than the primary's: the webhook is still the standby's.
func TestLocalFieldsOfTheClusterStayWithTheName(t *testing.T) {
	locals, err := scope.NewLocals(append(scope.DefaultLocals(scope.DefaultProfile), scope.Local{Resources: []string{crdResource}, Fields: []string{"/status/storedVersions"}}))
	if err != nil {
		t.Fatal(err)
	}
	definition := func(uid, caBundle, stored string) []byte {
		return []byte(`{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition","metadata":{"name":"x","uid":"` + uid + `"},` +
			`"spec":{"conversion":{"webhookClientConfig":{"caBundle":"` + caBundle + `"}}},"status":{"storedVersions":["` + stored + `"]}}` + "\n")
	}
	standby, err := locals.Own(crdResource, definition("theirs", "c3Bi", "v1"))
	if err != nil {
		t.Fatal(err)
	}
	kept, own, err := locals.Keep(crdResource, definition("ours", "bW9zY293", "v2"), standby)
	if err != nil || string(kept) != string(definition("ours", "c3Bi", "v2")) {
		t.Errorf("%s, %v", kept, err)
	}
	if again, _ := locals.Own(crdResource, kept); again != own {
		t.Errorf("it says that %+v is left, and it is %+v", own, again)
	}
}

const crdResource = "customresourcedefinitions.apiextensions.k8s.io"

// A step through a list names elements by a field; what lies below them is kept
// element by element.
func TestLocalFieldsInLists(t *testing.T) {
	locals, err := scope.NewLocals([]scope.Local{{Resources: []string{"a.b"}, Fields: []string{"/spec/ports/name=web/port"}}})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := keep(t, locals, "a.b",
		[]byte(`{"apiVersion":"v1","kind":"K","spec":{"ports":[{"name":"web","port":1,"host":"x"},{"name":"ssh","port":2}]}}`),
		[]byte(`{"apiVersion":"v1","kind":"K","spec":{"ports":[{"name":"ssh","port":4},{"name":"web","port":3,"host":"y"},{"name":"other"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Spec struct {
			Ports []struct {
				Name, Host string
				Port       int
			}
		}
	}
	if err := json.Unmarshal(kept, &got); err != nil {
		t.Fatal(err)
	}
	if ports := got.Spec.Ports; len(ports) != 2 || ports[0].Port != 3 || ports[0].Host != "x" || ports[1].Port != 2 {
		t.Errorf("kept %s", kept)
	}
}

// keep gives want with the local fields of have.
func keep(t *testing.T, locals *scope.Locals, resource string, want, have []byte) ([]byte, error) {
	t.Helper()
	own, err := locals.Own(resource, have)
	if err != nil {
		t.Fatal(err)
	}
	kept, _, err := locals.Keep(resource, want, own)
	return kept, err
}

// The result of Keep is equal to what the primary has: an empty map counts as none.
func TestEmptyMapIsNoDifference(t *testing.T) {
	v := defaultView(t)
	for key, two := range map[string][2]string{
		"/registry/infrastructure.cluster.x-k8s.io/dockermachines/a/m": {`{"apiVersion":"i/v1","kind":"DockerMachine","metadata":{"name":"m","namespace":"a","uid":"u"},"spec":{},"status":{}}`,
			`{"apiVersion":"i/v1","kind":"DockerMachine","metadata":{"name":"m","namespace":"a","uid":"u"},"spec":{},"status":{"conditions":[{"status":"True","type":"Paused"}]}}`},
		"/registry/cluster.x-k8s.io/clusters/a/m": {`{"apiVersion":"cluster.x-k8s.io/v1beta2","kind":"Cluster","metadata":{"name":"m","namespace":"a","uid":"u"},"spec":{},"status":{}}`,
			`{"apiVersion":"cluster.x-k8s.io/v1beta2","kind":"Cluster","metadata":{"name":"m","namespace":"a","uid":"u"},"spec":{"paused":true},"status":{"conditions":[{"status":"True","type":"Paused"}]}}`},
		"/registry/jobs/a/m": {`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"m","namespace":"a","uid":"u"},"spec":{"suspend":false},"status":{}}`,
			`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"m","namespace":"a","uid":"u"},"spec":{"suspend":true},"status":{"conditions":[{"status":"True","type":"Suspended"}]}}`},
	} {
		want, err := v.Want(key, []byte(two[0]))
		if err != nil {
			t.Fatal(err)
		}
		kept, _, err := v.Keep(key, want.Value, v.Own(key, []byte(two[1])))
		if err != nil {
			t.Fatal(err)
		}
		if have, err := v.InStandby(key, kept); err != nil || !v.Same(key, want.Object, have, want.Value, kept) {
			t.Errorf("%s: kept %s, %v", two[0], kept, err)
		}
	}
}

// A local field has no place in what is no object on the primary.
func TestLocalFieldReplacesNoValueOfThePrimary(t *testing.T) {
	locals, err := scope.NewLocals([]scope.Local{{Resources: []string{"widgets.example.com"}, Fields: []string{"/spec/auth/token"}}})
	if err != nil {
		t.Fatal(err)
	}
	widget := func(auth string) []byte {
		return []byte(`{"apiVersion":"e/v1","kind":"W","metadata":{"name":"m","uid":"u"},"spec":{"auth":` + auth + "}}\n")
	}
	kept, err := keep(t, locals, "widgets.example.com", widget(`"none"`), widget(`{"token":"t"}`))
	if err != nil || string(kept) != string(widget(`"none"`)) {
		t.Errorf("%s, %v", kept, err)
	}
}

// A Job without labels has those of its template, and a local one among them is none of the template's.
func TestLocalLabelOfAJob(t *testing.T) {
	locals, err := scope.NewLocals([]scope.Local{{Resources: []string{"jobs.batch"}, Fields: []string{"/metadata/labels/owner"}}})
	if err != nil {
		t.Fatal(err)
	}
	job := func(labels, owner string) []byte {
		return []byte(`{"apiVersion":"batch/v1","kind":"Job","metadata":{` + labels + `"name":"j","uid":"u"},"spec":{"template":{"metadata":{"labels":{"a":"b","owner":"` + owner + `"}}}}}` + "\n")
	}
	if !locals.Equal("jobs.batch", job("", "x"), job(`"labels":{"a":"b","owner":"x"},`, "x"), false) {
		t.Error("with the labels of its template it is another")
	}
	if locals.Equal("jobs.batch", job("", "x"), job("", "y"), false) {
		t.Error("with another template it is the same")
	}
}
