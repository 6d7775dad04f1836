package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/images"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/certs"
)

// The images of workloads in scope, on two real etcds and in a real registry,
// which the standby reaches by the access address at its own VIP.
func TestPreflightOfImages(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real etcds and a registry")
	}
	storage, dir := t.TempDir(), t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	ca, err := certs.NewCA("registry")
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.WriteFile(in("ca.crt")); err != nil {
		t.Fatal(err)
	}
	open := testkit.StartRegistry(t, testkit.RegistryOptions{Storage: storage})
	open.Push("team/web", "v1", "amd64", "arm64")
	open.Push("team/old", "v1", "amd64")
	closed := testkit.StartRegistry(t, testkit.RegistryOptions{Storage: storage, TLS: ca, Hosts: []string{"platform.example.com"}, Password: true})
	registry := fmt.Sprintf("platform.example.com:%d", closed.Port())

	primary, standby := testkit.StartEtcd(t), testkit.StartEtcd(t)
	put := func(e *testkit.Etcd, key string, object map[string]any) {
		t.Helper()
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Client().Put(t.Context(), key, string(raw)); err != nil {
			t.Fatal(err)
		}
	}
	deployment := func(namespace, name, image, secret string) {
		t.Helper()
		spec := map[string]any{"containers": []any{map[string]any{"name": "a", "image": image}}}
		if secret != "" {
			spec["imagePullSecrets"] = []any{map[string]any{"name": secret}}
		}
		put(primary, "/registry/deployments/"+namespace+"/"+name, map[string]any{"apiVersion": "apps/v1", "kind": "Deployment",
			"metadata": map[string]any{"namespace": namespace, "name": name, "uid": name}, "spec": map[string]any{"template": map[string]any{"spec": spec}}})
	}
	pull := func(e *testkit.Etcd, name, password string) {
		t.Helper()
		file := fmt.Sprintf(`{"auths":{"https://%s":{"auth":%q}}}`, registry, base64.StdEncoding.EncodeToString([]byte(testkit.RegistryUser+":"+password)))
		put(e, "/registry/secrets/team/"+name, map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
			"metadata": map[string]any{"namespace": "team", "name": name, "uid": name}, "data": map[string]any{".dockerconfigjson": []byte(file)}})
	}
	pull(primary, "good", testkit.RegistryPassword)
	pull(primary, "changed", testkit.RegistryPassword)
	pull(standby, "changed", "wrong") // the standby's own counts
	put(primary, "/registry/serviceaccounts/team/default", map[string]any{"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata": map[string]any{"namespace": "team", "name": "default", "uid": "sa"}, "imagePullSecrets": []any{map[string]any{"name": "good"}}})
	put(standby, "/registry/minions/spb-1", map[string]any{"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{"name": "spb-1", "uid": "n", "labels": map[string]any{"kubernetes.io/arch": "arm64"}}})
	deployment("team", "web", registry+"/team/web:v1", "")        // by its ServiceAccount
	deployment("team", "old", registry+"/team/old:v1", "good")    // for another architecture
	deployment("team", "gone", registry+"/team/gone:v1", "good")  // never uploaded
	deployment("other", "shut", registry+"/team/web:v1", "")      // no credentials of its own, one of the image's has
	deployment("team2", "none", registry+"/team/none:v1", "")     // no credentials at all
	deployment("kube-system", "out", registry+"/team/out:v1", "") // out of scope
	deployment("team", "far", "registry.invalid/team/web:v1", "") // a registry that nobody reaches

	if err := os.WriteFile(in("understudy.yaml"), fmt.Appendf(nil, `apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: moscow-spb}
primary: {name: moscow, etcd: {endpoints: [%q]}}
standby: {name: spb, vip: 127.0.0.1, etcd: {endpoints: [%q]}}
access: {address: platform.example.com, ports: [1], ca: ca.crt}
`, primary.Endpoints()[0], standby.Endpoints()[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := config.Load(in("understudy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := newPreflight(pair)
	if err != nil {
		t.Fatal(err)
	}
	facts := g.facts(t.Context())
	var lines []string
	for _, line := range console.JudgePreflight(facts).Lines {
		if line.Check == "images" {
			lines = append(lines, string(line.State)+" "+line.Text)
		}
	}
	for _, want := range []string{"fail 1 of 5 images are not in the registry: " + registry + "/team/gone:v1 (Deployment team/gone)",
		"fail the registry does not let 1 of 5 images be pulled with the credentials that spb will have: " + registry + "/team/none:v1",
		"fail 1 images are not for the nodes of spb (arm64): " + registry + "/team/old:v1 is for amd64",
		"not checked 1 images: registry.invalid: ", "ok 1 of 5 images can be pulled for spb"} {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("%q is missing in\n%s", want, strings.Join(lines, "\n"))
		}
	}

	// The standby's own Secret counts where both have one of that name.
	one := console.WorkloadFacts{Namespace: "team", PullSecrets: []string{"team/changed"}}
	both := []*survey{{credentials: map[string]pullSecret{"team/changed": secretWith("wrong")}}, {credentials: map[string]pullSecret{"team/changed": secretWith("right")}}}
	if got := authsOf(one, "r.example.com/a", both...); len(got) != 1 || got[0].Password != "wrong" {
		t.Errorf("%+v", got)
	}
	if _, err := g.dialStandby(context.Background(), "tcp", "nowhere.invalid:443"); err == nil {
		t.Error("another name is called at the VIP, too")
	}
}

func secretWith(password string) pullSecret {
	return pullSecret{auths: map[string]images.Auth{"r.example.com": {Username: "a", Password: password}}}
}

// What a registry Secret lacks is said, and never what it holds.
func TestCredentialsThatLackSomething(t *testing.T) {
	for text, want := range map[string]string{
		`{"auths":{"r":{"username":"u","password":"p"}}}`: "",
		`{"auths":{"r":{"auth":"dTpw"}}}`:                 "",
		`{"auths":{"r":{"username":"u"}}}`:                "password",
		`{"auths":{"r":{"auth":"OnA="}}}`:                 "user",
		`{"auths":{"r":{}}}`:                              "user and password",
		`{"auths":{"r":{"auth":"%%s3cret"}}}`:             "auth of r is not base64",
		`s3cret`:                                          "it is no docker configuration",
	} {
		got := readPullSecret([]byte(text)).facts()
		if len(got) != 1 || got[0].Lacks != want || strings.Contains(got[0].Lacks, "s3cret") {
			t.Errorf("%s: %+v, want %q", text, got, want)
		}
	}
}
