package scope

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/registry"
)

// Kubernetes' API types are walked, so that a kind with a status that it adds is
// decided about, and not simply called differing.
func TestEveryStatusIsDecidedAbout(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*", "v*", "types*.go"))
	if err != nil {
		t.Fatal(err)
	}
	object := regexp.MustCompile(`(?s)\ntype (\w+) struct \{\n(.*?)\n\}`)
	neverStored := []string{"Scale", "PodStatusResult"}
	found := map[string]bool{}
	for _, file := range files {
		switch filepath.Base(filepath.Dir(filepath.Dir(file))) {
		case "admission", "authentication", "authorization", "imagepolicy": // asked, never stored
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range object.FindAllSubmatch(source, -1) {
			kind, body := string(m[1]), string(m[2])
			if strings.Contains(body, "metav1.ObjectMeta") && strings.Contains(body, "\n\tStatus ") && !slices.Contains(neverStored, kind) {
				found[kind] = true
			}
		}
	}
	if len(found) < 25 {
		t.Errorf("only %d kinds with a status were found", len(found))
	}
	decided := map[string]bool{}
	for _, s := range statuses {
		if s.by == "" || s.why == "" {
			t.Errorf("%v: who writes it, and why?", s.resources)
		}
		for _, gr := range s.resources {
			if kind := registry.Kind(gr); decided[kind] && !strings.HasPrefix(gr, "*.") {
				t.Errorf("%s is decided about twice", gr)
			} else {
				decided[kind] = true
			}
		}
	}
	for kind := range found {
		if !decided[kind] {
			t.Errorf("who writes the status of a %s, and is it the cluster's own? See scope/status.go", kind)
		}
	}
}

// An object in whose status the standby's controller has written what it has come to
// is equal, and a copy leaves that there.
func TestStatusOfEachClusterIsItsOwn(t *testing.T) {
	locals, err := NewLocals(DefaultLocals(DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	object := func(spec, status, manager string) []byte {
		return []byte(`{"apiVersion":"v1","kind":"K","metadata":{"managedFields":[{"manager":"kubectl"},{"manager":"` + manager +
			`","subresource":"status"}],"name":"n","uid":"u"},"spec":` + spec + `,"status":` + status + "}\n")
	}
	for resource, status := range map[string]string{
		"ingresses.networking.k8s.io":              `{"loadBalancer":{"ingress":[{"ip":"IP"}]}}`,
		"services":                                 `{"conditions":[{"type":"IP"}],"loadBalancer":{"ingress":[{"ip":"IP"}]}}`,
		"poddisruptionbudgets.policy":              `{"currentHealthy":"IP"}`,
		"horizontalpodautoscalers.autoscaling":     `{"currentReplicas":"IP"}`,
		"resourcequotas":                           `{"used":{"pods":"IP"}}`,
		"gateways.gateway.networking.k8s.io":       `{"addresses":[{"value":"IP"}]}`,
		"httproutes.gateway.networking.k8s.io":     `{"parents":[{"controllerName":"IP"}]}`,
		"gatewayclasses.gateway.networking.k8s.io": `{"conditions":[{"message":"IP"}]}`,
	} {
		primary := object(`{}`, strings.ReplaceAll(status, "IP", "10.0.0.10"), "a")
		standby := object(`{}`, strings.ReplaceAll(status, "IP", "10.1.0.10"), "b")
		if !locals.Equal(resource, primary, standby, false) {
			t.Errorf("%s: another status is a difference", resource)
		}
		if locals.Equal(resource, primary, object(`{"x":1}`, `{}`, "b"), false) {
			t.Errorf("%s: another spec is none", resource)
		}
		own, err := locals.Own(resource, standby)
		if err != nil {
			t.Fatal(err)
		}
		if kept, _, err := locals.Keep(resource, primary, own); err != nil || string(kept) != string(standby) {
			t.Errorf("%s: %s, %v", resource, kept, err)
		}
	}
}
