package scope

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-dr/understudy/registry"
)

// oracle decides as the package comment says, with none of the machinery: the
// last rule that matches wins.
func oracle(s *Scope, key, secretType string) Verdict {
	if !s.below(key) || locked(key) != "" {
		return Out
	}
	verdict := In
	k, parsed := s.Parse(key)
	for _, r := range s.rules {
		made := r.maker == nil || r.maker.made(registry.Meta{})
		if r.matches(key, k, parsed) && r.matchesType(secretType) && made {
			verdict = r.verdict
		}
	}
	return verdict
}

var (
	someKeys = rapid.Custom(func(t *rapid.T) string {
		segments := rapid.SliceOfN(rapid.SampledFrom([]string{
			"", "a", "b", "ab", "default", "kube-system", "kube-root-ca.crt", "system:x",
			"secrets", "configmaps", "namespaces", "pods", "minions", "services", "specs", "example.com", "widgets",
		}), 0, 5).Draw(t, "segments")
		head := rapid.SampledFrom([]string{"/registry/", "/registry/secrets/", "/registry/namespaces/", "/app/", "/understudy/", ""}).Draw(t, "head")
		return head + strings.Join(segments, "/")
	})
	someRules = rapid.Custom(func(t *rapid.T) Rule {
		some := func(name string, values ...string) []string {
			return rapid.SliceOfN(rapid.SampledFrom(values), 0, 2).Draw(t, name)
		}
		r := Rule{
			Namespaces: some("namespaces", "a", "a*", "*", "default", "[ab]"),
			Resources:  some("resources", "secrets", "namespaces", "*.example.com", "*", "pods"),
			Names:      some("names", "a", "*b", "kube-root-ca.crt", "?"),
			Keys:       some("keys", "/registry/secrets/", "/registry/secrets/a/a", "/registry/names", "/app/", "/"),
			Types:      some("types", "Opaque", ServiceAccountToken),
		}
		if len(r.Types) > 0 {
			r.Resources = nil
		}
		if r.empty() {
			r.Names = []string{"a"}
		}
		return r
	})
)

// What Key says without AskObject holds for every type, and Object and Explain
// agree with it: the cache changes no answer.
func TestVerdictsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(Config{
			Prefix:  rapid.SampledFrom([]string{"", "/", "/registry/secrets/", "/app/"}).Draw(t, "prefix"),
			Profile: rapid.SampledFrom(Profiles()).Draw(t, "profile"),
			Exclude: rapid.SliceOfN(someRules, 0, 3).Draw(t, "exclude"),
			Include: rapid.SliceOfN(someRules, 0, 3).Draw(t, "include"),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range rapid.SliceOfN(someKeys, 1, 20).Draw(t, "keys") {
			verdict := s.Key(key)
			for _, secretType := range []string{"", "Opaque", ServiceAccountToken, "other"} {
				want := oracle(s, key, secretType)
				if got := s.Object(key, registry.Meta{Type: secretType}); got != want {
					t.Fatalf("Object(%q, type %q) = %v, want %v", key, secretType, got, want)
				}
				if verdict != AskObject && verdict != want {
					t.Fatalf("Key(%q) = %v, but for type %q it is %v", key, verdict, secretType, want)
				}
			}
			e := s.Explain(key)
			if e.Verdict != verdict {
				t.Fatalf("Explain(%q) = %v, Key says %v", key, e.Verdict, verdict)
			}
			if e.Rule == "" || e.Why == "" {
				t.Fatalf("Explain(%q) = %+v: no rule or reason", key, e)
			}
		}
	})
}

// Keys that no API server makes must not meet the cache of those it makes.
func TestOddKeys(t *testing.T) {
	s := mustNew(t, Config{Exclude: []Rule{{Names: []string{"tmp-*"}}}})
	s.Key("/registry/pods/prod/a")
	for key, want := range map[string]Verdict{
		"/registry/pods/prod/":              In, // has no name
		"/registry/pods/prod/a/b":           Out,
		"/registry/configmaps/prod/tmp-a":   Out,
		"/registry/configmaps/prod/tmp-a/b": In, // * stands for no slash
	} {
		if got := s.Key(key); got != want {
			t.Errorf("Key(%q) = %v, want %v", key, got, want)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	s := mustNew(t, Config{})
	for i := range maxPlaces + 10 {
		s.Key(fmt.Sprintf("/registry/configmaps/ns-%d/a", i))
	}
	if len(s.places) > maxPlaces {
		t.Errorf("%d places are kept, want at most %d", len(s.places), maxPlaces)
	}
	if got := s.Key("/registry/pods/ns-1/a"); got != Out {
		t.Errorf("after the cache was cleared a Pod is %v", got)
	}
}

func TestKeyDoesNotAllocate(t *testing.T) {
	s := mustNew(t, Config{Exclude: []Rule{{Namespaces: []string{"sandbox-*"}}}})
	keys := []string{
		"/registry/cluster.x-k8s.io/machines/prod/worker-1", "/registry/secrets/prod/kubeconfig", "/registry/namespaces/prod",
		"/registry/configmaps/prod/settings", "/registry/pods/prod/web", "/understudy/role",
	}
	for _, key := range keys {
		s.Key(key)
		if n := testing.AllocsPerRun(100, func() { s.Key(key) }); n != 0 {
			t.Errorf("Key(%q) allocates %v times", key, n)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	s := mustNew(b, Config{})
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("/registry/%s/cluster-%d/object-%d", []string{"configmaps", "secrets", "cluster.x-k8s.io/machines"}[i%3], i%50, i)
	}
	for i := 0; b.Loop(); i++ {
		s.Key(keys[i%len(keys)])
	}
}
