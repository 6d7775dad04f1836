package scope

import (
	"slices"
	"testing"

	"github.com/understudy-dr/understudy/registry"
)

// Objects of every prefix are taken apart, those that an aggregated API server
// keeps below the name of its group as well, and nothing in between takes part.
func TestSeveralPrefixes(t *testing.T) {
	s := mustNew(t, Config{Prefixes: []string{"/registry/", "/registry-gardener/", "/registry/sample/"}, Exclude: []Rule{{Resources: []string{"seeds.core.gardener.cloud"}}}})
	for key, want := range map[string]struct {
		registry.Key
		Verdict
	}{
		"/registry/configmaps/a/b":                                      {registry.Key{Resource: "configmaps", Namespace: "a", Name: "b"}, In},
		"/registry-gardener/core.gardener.cloud/shoots/garden-dev/foo":  {registry.Key{Group: "core.gardener.cloud", Resource: "shoots", Namespace: "garden-dev", Name: "foo"}, In},
		"/registry-gardener/core.gardener.cloud/seeds/s":                {registry.Key{Group: "core.gardener.cloud", Resource: "seeds", Name: "s"}, Out},
		"/registry/wardle.example.com/wardle.example.com/flunders/a/b":  {registry.Key{Group: "wardle.example.com", Resource: "flunders", Namespace: "a", Name: "b"}, In},
		"/registry-gardener/x.example.com/x.example.com/fischers/one":   {registry.Key{Group: "x.example.com", Resource: "fischers", Name: "one"}, In},
		"/registry-gardener/x.example.com/x.example.com/leases/kube/xy": {registry.Key{Group: "x.example.com", Resource: "leases", Namespace: "kube", Name: "xy"}, In},
		"/registry/sample/wardle.example.com/flunders/a/b":              {registry.Key{Group: "wardle.example.com", Resource: "flunders", Namespace: "a", Name: "b"}, In},
		"/registry/leases/a/b":                                          {registry.Key{Group: "coordination.k8s.io", Resource: "leases", Namespace: "a", Name: "b"}, Out},
		"/registry-other/a.example.com/b/c":                             {registry.Key{}, Out},
		"/registry0":                                                    {registry.Key{}, Out},
	} {
		k, _ := s.Parse(key)
		if k != want.Key || s.Key(key) != want.Verdict {
			t.Errorf("%s: %+v %s, want %+v %s", key, k, s.Key(key), want.Key, want.Verdict)
		}
		if k.Name != "" && !slices.Contains(s.Places(k), key) && key != "/registry/sample/wardle.example.com/flunders/a/b" {
			t.Errorf("%s is not among its places %q", key, s.Places(k))
		}
		if dir := Directory(key, k); k.Name != "" && !slices.Contains(s.Directories(k.GroupResource()), dir) {
			t.Errorf("%s lies in %s, which is none of %q", key, dir, s.Directories(k.GroupResource()))
		}
	}
	begin, end := s.Range()
	if begin != "/registry-gardener/" || end != "/registry0" {
		t.Errorf("Range() = %q, %q", begin, end)
	}
	if s.Prefix() != "/registry/" || s.RegistryPrefix() != "/registry/" {
		t.Errorf("the API server's prefix is %q, its objects lie below %q", s.Prefix(), s.RegistryPrefix())
	}
}

// What the scope leaves out of another prefix takes along what it owns.
func TestOwnerBelowAnotherPrefix(t *testing.T) {
	kubeconfig := registry.Meta{Kind: "Secret", Owners: []registry.Owner{{APIVersion: "core.gardener.cloud/v1beta1", Kind: "Shoot", Name: "foo"}}}
	const key = "/registry/secrets/garden-dev/foo.kubeconfig"
	both := []string{"/registry/", "/registry-gardener/"}
	if s := mustNew(t, Config{Prefixes: both}); s.Orphaned(key, kubeconfig) {
		t.Error("its owner is in scope")
	}
	if s := mustNew(t, Config{Prefixes: both, Exclude: []Rule{{Resources: []string{"shoots.core.gardener.cloud"}}}}); !s.Orphaned(key, kubeconfig) {
		t.Error("its owner is out of scope")
	}
}

// A list of one prefix is the prefix, and the order of the others says nothing.
func TestPrefixesAndHash(t *testing.T) {
	hash := func(prefixes ...string) string { return mustNew(t, Config{Prefixes: prefixes}).Hash() }
	if one := mustNew(t, Config{Prefix: "/registry/"}).Hash(); hash("/registry/") != one || hash("/registry/", "/a/") == one {
		t.Error("the hash does not follow the prefixes")
	}
	if hash("/registry/", "/a/", "/b/") != hash("/registry/", "/b/", "/a/") {
		t.Error("the order of the further prefixes changes the hash")
	}
	for name, prefixes := range map[string][]string{"twice": {"/a/", "/a/"}, "all and one": {"/", "/a/"}, "no slash": {"/a/", "/b"}} {
		if _, err := New(Config{Prefixes: prefixes}); err == nil {
			t.Errorf("%s: %q is taken", name, prefixes)
		}
	}
}

// What one cluster keeps for itself takes no part under any configuration.
func TestNever(t *testing.T) {
	s := mustNew(t, Config{Prefix: "/", Profile: "everything", Include: []Rule{{Keys: []string{"/"}}}})
	for _, key := range []string{"/bootstrap/3b1c", "/bootstrap", "/coordinate/a/b", "compact_rev_key", "/understudy/checkpoint"} {
		if e := s.Explain(key); s.Key(key) != Out || e.Rule != "built in" || e.Why == "" {
			t.Errorf("%s is %s: %+v", key, s.Key(key), e)
		}
	}
	for _, key := range []string{"/bootstraps/x", "/app"} {
		if s.Key(key) != In {
			t.Errorf("%s is %s", key, s.Key(key))
		}
	}
}
