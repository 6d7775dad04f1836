package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/remedy"
)

// A Deployment that the API server did not scale is not said to be at zero, only
// because how many replicas it had is remembered already.
func TestHoldListOfWhatWasNotScaled(t *testing.T) {
	standby := testkit.StartEtcd(t)
	const capv = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"default","name":"capv","uid":"u"},"spec":{"replicas":2}}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPatch {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","status":"Failure","code":403,"reason":"Forbidden","message":"deployments \"capv\" is forbidden"}`)
			return
		}
		fmt.Fprint(w, capv)
	}))
	defer s.Close()
	if _, err := standby.Client().Put(t.Context(), "/registry/deployments/default/capv", capv); err != nil {
		t.Fatal(err)
	}
	api, err := kube.OpenConfig(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = hold.KeepAtZero(t.Context(), standby.Client(), api, []hold.Selection{{Namespace: "default", Name: "capv"}}, nil); err == nil {
		t.Error("it was scaled")
	}
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	text := fmt.Sprintf("apiVersion: understudy.dev/v1alpha1\nkind: Pair\nmetadata: {name: moscow-spb}\nprimary: {name: moscow, etcd: {endpoints: ['http://127.0.0.1:1']}}\nstandby: {name: spb, etcd: {endpoints: [%q]}}\n", standby.Endpoints()[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run([]string{"hold", "list", "--config", file}, &stdout, &stderr)
	if out := stdout.String(); code != remedy.Mismatch || strings.Contains(out, "at zero") || strings.Contains(out, "scaled to 0") || !strings.Contains(out, "it has replicas") {
		t.Errorf("exit status %d\n%s%s", code, out, &stderr)
	}
}
