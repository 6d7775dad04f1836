package kube_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/understudy-dr/understudy/kube"
)

// A flag is seen however it is written: with =, as two words, or with none.
func TestServerFlagsAreSeenHoweverTheyAreWritten(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"kind":"PodList","items":[{"metadata":{"namespace":"kube-system","name":"kube-apiserver-m0"},"spec":{"containers":[{
			"command":["kube-apiserver","--secure-port=6443","--etcd-prefix","/other"],
			"args":["--profiling","--feature-gates","A=true","--v","2"]}]}}]}`)
	}))
	defer server.Close()
	api, err := kube.OpenConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	flags, err := api.ServerFlags(t.Context())
	want := map[string]map[string]string{"kube-apiserver-m0": {"secure-port": "6443", "etcd-prefix": "/other", "profiling": "true", "feature-gates": "A=true", "v": "2"}}
	if err != nil || !reflect.DeepEqual(flags, want) {
		t.Errorf("%v, %v; want %v", flags, err, want)
	}
}
