package replica_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
)

// encryption is an EncryptionConfiguration for Secrets with one key.
func encryption(t *testing.T, provider, name, secret string) *registry.Encryption {
	t.Helper()
	e, err := registry.ParseEncryption(fmt.Appendf(nil, `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - %s: {keys: [{name: %s, secret: %s}]}
  - identity: {}
`, provider, name, secret))
	must(t, err)
	return e
}

// Keys of 32 bytes.
const (
	secretA = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="
	secretB = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="
)

// under sets both sides' configurations.
func (p *pair) under(t *testing.T, primary, standby *registry.Encryption) *registry.Recoder {
	t.Helper()
	s, err := scope.New(scope.Config{})
	must(t, err)
	p.config.View = &scope.View{Scope: s, Recoder: registry.NewRecoder(primary, standby)}
	return p.config.View.Recoder
}

// secrets returns the stored Secrets of an etcd that are encrypted.
func secrets(t *testing.T, e *testkit.Etcd) map[string][]byte {
	t.Helper()
	resp, err := e.Client().Get(t.Context(), "/registry/secrets/", clientv3.WithPrefix())
	must(t, err)
	found := map[string][]byte{}
	for _, kv := range resp.Kvs {
		if bytes.HasPrefix(kv.Value, []byte("k8s:enc:")) {
			found[string(kv.Key)] = kv.Value
		}
	}
	return found
}

// mustRead fails unless every encrypted Secret of the standby can be read with
// the standby's key, says what the primary's says, and is not stored alike.
func (p *pair) mustRead(t *testing.T, r *registry.Recoder, wantPrefix string) {
	t.Helper()
	theirs, ours := secrets(t, p.primary), secrets(t, p.standby)
	if len(ours) == 0 {
		t.Fatal("no encrypted Secrets on the standby")
	}
	for key, stored := range ours {
		if !strings.HasPrefix(string(stored), wantPrefix) {
			t.Fatalf("%s begins with %.40q, want %q", key, stored, wantPrefix)
		}
		have, err := r.PlainOfStandby("secrets", key, stored)
		must(t, err)
		want, err := r.PlainOfPrimary("secrets", key, theirs[key])
		must(t, err)
		if !bytes.Equal(have, want) {
			t.Fatalf("%s is another object on the standby", key)
		}
	}
}

// mustEqualRead compares both sides by what the values say.
func (p *pair) mustEqualRead(t *testing.T, r *registry.Recoder) {
	t.Helper()
	_, differences, err := checker.EqualAtCheckpoint(t.Context(), p.primary.Client(), p.standby.Client(), "/registry/", checker.Options{
		Ignore: func(key string) bool { return p.config.View.Scope.Key(key) != scope.In },
		Normalize: func(side checker.Side, key string, value []byte) ([]byte, error) {
			parsed, ok := registry.ParseKey("/registry/", key)
			if !ok {
				return value, nil
			}
			if side == checker.Source {
				return r.PlainOfPrimary(parsed.GroupResource(), key, value)
			}
			return r.PlainOfStandby(parsed.GroupResource(), key, value)
		},
	})
	must(t, err)
	for _, d := range differences {
		t.Errorf("%v", d)
	}
}

// Fault 37: the two sides encrypt with different providers and keys. What the
// standby stores can be read with the standby's key.
func TestDifferentEncryptionIsRecoded(t *testing.T) {
	for name, standby := range map[string][3]string{
		"another provider":           {"secretbox", "key2", secretB},
		"another key":                {"aescbc", "key2", secretB},
		"another key, the same name": {"aescbc", "key1", secretB},
		"bound to the etcd key":      {"aesgcm", "key2", secretB},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			primary := encryption(t, "aescbc", "key1", secretA)
			r := p.under(t, primary, encryption(t, standby[0], standby[1], standby[2]))
			options := fixture.Options{Seed: 37, Objects: 300, Encryption: primary}
			fill(t, p.primary.Client(), options)
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			for pair := range fixture.Generate(fixture.Options{Seed: 38, Objects: 300, Encryption: primary}) {
				if strings.HasPrefix(pair.Key, "/registry/secrets/") {
					put(t, p.primary.Client(), pair.Key, string(pair.Value))
				}
			}
			p.quiet(t)
			p.mustEqualRead(t, r)
			p.mustRead(t, r, "k8s:enc:"+standby[0]+":v1:"+standby[1]+":")
			if again := p.onceAfter(t, d); again.Copy.Written != 0 {
				t.Errorf("a second run wrote %d keys", again.Copy.Written)
			}
		})
	}
}

// onceAfter ends the daemon and copies once more, by a comparison of everything.
func (p *pair) onceAfter(t *testing.T, d *daemon) replica.State {
	t.Helper()
	d.stop(t)
	p.write(t, 1)
	remove(t, p.primary.Client(), "/registry/configmaps/prod/w-0000")
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	return p.once(t)
}

// Fault 37: the key given for the primary is not the one it encrypts with.
// That is an error of the key, and not one object is written.
func TestWrongEncryptionKeyWritesNothing(t *testing.T) {
	for name, given := range map[string][3]string{
		"wrong secret": {"secretbox", "key1", secretB},
		"wrong name":   {"secretbox", "key2", secretA},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			fill(t, p.primary.Client(), fixture.Options{Seed: 37, Objects: 300, Encryption: encryption(t, "secretbox", "key1", secretA)})
			p.under(t, encryption(t, given[0], given[1], given[2]), encryption(t, "aescbc", "key3", secretB))
			_, err := p.new(t).Once(t.Context())
			if remedy.CodeOf(err) != remedy.Auth || remedy.Of(err) == "" || !strings.Contains(fmt.Sprint(err), "/registry/secrets/") {
				t.Errorf("a copy with a wrong key: %v (code %d)", err, remedy.CodeOf(err))
			}
			if !errors.Is(err, registry.ErrWrongKey) && !errors.Is(err, registry.ErrNoKey) {
				t.Errorf("%v is no error of the key", err)
			}
			if n := count(t, p.standby.Client(), "/registry/"); n != 0 {
				t.Errorf("%d objects were written", n)
			}
			if err := p.new(t).Run(t.Context()); remedy.CodeOf(err) != remedy.Auth {
				t.Errorf("a daemon with a wrong key ends with %v", err)
			}
		})
	}
}

// Fault 37: what the API servers of an empty standby have written for themselves
// proves the key that is given for it, before anything is written with it.
func TestStandbysOwnValuesProveItsKey(t *testing.T) {
	const own = "/registry/secrets/kube-system/own"
	stored, err := encryption(t, "secretbox", "key1", secretB).Encrypt("secrets", own, []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"own","namespace":"kube-system"}}`))
	must(t, err)
	for given, right := range map[string]bool{secretA: false, secretB: true} {
		p := newPair(t)
		put(t, p.standby.Client(), own, string(stored))
		p.under(t, nil, encryption(t, "secretbox", "key1", given))
		put(t, p.primary.Client(), "/registry/secrets/prod/a", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"prod","uid":"u"}}`)
		_, err := p.new(t).Once(t.Context())
		if wrong := remedy.CodeOf(err) == remedy.Auth && strings.Contains(fmt.Sprint(err), own); wrong == right || right && err != nil {
			t.Errorf("with the key given, right %v: %v", right, err)
		}
		if n := count(t, p.standby.Client(), "/registry/secrets/prod/"); (n == 1) != right {
			t.Errorf("%d objects were written, right %v", n, right)
		}
	}
}

// Also where much is written before the first of them has been read.
func TestStandbysOwnValuesProveItsKeyInALargeCopy(t *testing.T) {
	slow(t)
	for _, namespace := range []string{"argocd", "prod"} { // read before, and after kube-system
		t.Run(namespace, func(t *testing.T) {
			p := newPair(t)
			const own = "/registry/secrets/kube-system/own"
			stored, err := encryption(t, "secretbox", "key1", secretB).Encrypt("secrets", own, []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"own","namespace":"kube-system"}}`))
			must(t, err)
			put(t, p.standby.Client(), own, string(stored))
			primary := encryption(t, "aescbc", "key", secretA)
			p.under(t, primary, encryption(t, "secretbox", "key1", secretA))
			p.putMegabytes(t, 12, namespace, primary)
			if _, err := p.new(t).Once(t.Context()); remedy.CodeOf(err) != remedy.Auth {
				t.Errorf("%v", err)
			}
			if n := count(t, p.standby.Client(), "/registry/secrets/"+namespace+"/"); n > 0 {
				t.Errorf("%d Secrets were written that the standby cannot read", n)
			}
			if count(t, p.standby.Client(), "/registry/configmaps/prod/") == 0 {
				t.Error("nothing was written before")
			}
		})
	}
}

// One resource's key proves nothing of another's, be it of the same name.
func TestStandbysOwnValuesProveTheKeyOfTheirResource(t *testing.T) {
	config := func(configMaps, secrets string) *registry.Encryption {
		e, err := registry.ParseEncryption(fmt.Appendf(nil, `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [configmaps]
  providers: [{secretbox: {keys: [{name: key1, secret: %s}]}}, {identity: {}}]
- resources: [secrets]
  providers: [{secretbox: {keys: [{name: key1, secret: %s}]}}, {identity: {}}]
`, configMaps, secrets))
		must(t, err)
		return e
	}
	p := newPair(t)
	for resource, kind := range map[string]string{"configmaps": "ConfigMap", "secrets": "Secret"} {
		key := "/registry/" + resource + "/kube-system/own"
		stored, err := config(secretA, secretB).Encrypt(resource, key, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"%s","metadata":{"name":"own","namespace":"kube-system"}}`, kind))
		must(t, err)
		put(t, p.standby.Client(), key, string(stored))
	}
	p.under(t, nil, config(secretA, secretA))
	put(t, p.primary.Client(), "/registry/secrets/prod/a", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"prod","uid":"u"}}`)
	if _, err := p.new(t).Once(t.Context()); remedy.CodeOf(err) != remedy.Auth {
		t.Errorf("%v", err)
	}
	if n := count(t, p.standby.Client(), "/registry/secrets/prod/"); n > 0 {
		t.Errorf("%d Secrets were written with a key that opens none of the standby's", n)
	}
}

// putMegabytes writes that many ConfigMaps of a megabyte each to the primary, and as
// many Secrets in a namespace.
func (p *pair) putMegabytes(t *testing.T, n int, namespace string, sealed *registry.Encryption) {
	t.Helper()
	large := strings.Repeat("x", 1<<20)
	for i := range n {
		put(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/%02d", i),
			fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%02d","namespace":"prod","uid":"c-%d"},"data":{"x":"%s"}}`, i, i, large))
		key := fmt.Sprintf("/registry/secrets/%s/%02d", namespace, i)
		value := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%02d","namespace":"%s","uid":"s-%d"},"data":{"x":"%s"}}`, i, namespace, i, large)
		if sealed != nil {
			var err error
			value, err = sealed.Encrypt("secrets", key, value)
			must(t, err)
		}
		put(t, p.primary.Client(), key, string(value))
	}
}

// One value of the standby's own that is damaged stops no copy, though it is the first.
func TestOneDamagedValueStopsNoLargeCopy(t *testing.T) {
	slow(t)
	p := newPair(t)
	enc := encryption(t, "secretbox", "key1", secretB)
	for i, namespace := range []string{"default", "kube-system", "kube-system"} {
		key := fmt.Sprintf("/registry/secrets/%s/own-%d", namespace, i)
		stored, err := enc.Encrypt("secrets", key, []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"own","namespace":"kube-system"}}`))
		must(t, err)
		if i == 0 {
			stored[len(stored)-3] ^= 1
		}
		put(t, p.standby.Client(), key, string(stored))
	}
	p.under(t, nil, enc)
	p.putMegabytes(t, 12, "harbor", nil)
	p.once(t)
	if n := count(t, p.standby.Client(), "/registry/secrets/harbor/"); n != 12 {
		t.Errorf("%d of 12 Secrets", n)
	}
}

// Fault 37: no configuration is given. Encrypted values are copied as they are.
func TestEncryptedWithoutConfigurationIsCopiedOpaque(t *testing.T) {
	p := newPair(t)
	fill(t, p.primary.Client(), fixture.Options{Seed: 37, Objects: 300, Encryption: encryption(t, "aescbc", "key1", secretA)})
	p.once(t)
	theirs, ours := secrets(t, p.primary), secrets(t, p.standby)
	if len(ours) == 0 {
		t.Fatal("no encrypted Secrets on the standby")
	}
	for key, stored := range ours {
		if !bytes.Equal(stored, theirs[key]) {
			t.Errorf("%s is stored differently", key)
		}
	}
	if again := p.once(t); again.Copy.Written != 0 {
		t.Errorf("a second run wrote %d keys", again.Copy.Written)
	}
}
