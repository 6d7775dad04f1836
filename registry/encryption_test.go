package registry_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
)

const secretKey = "/registry/secrets/prod/ca"

// apiServer reads and writes as an API server with that configuration does.
func apiServer(t *testing.T, text, groupResource string) value.Transformer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "encryption.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := encryptionconfig.LoadEncryptionConfig(t.Context(), file, false, "")
	if err != nil {
		t.Fatalf("Kubernetes refuses the configuration: %v\n%s", err, text)
	}
	return encryptionconfig.StaticTransformers(loaded.Transformers).TransformerForResource(schema.ParseGroupResource(groupResource))
}

func apiServerWrites(t *testing.T, text, groupResource, etcdKey string, plain []byte) []byte {
	t.Helper()
	out, err := apiServer(t, text, groupResource).TransformToStorage(t.Context(), plain, value.DefaultContext(etcdKey))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func apiServerReads(t *testing.T, text, groupResource, etcdKey string, stored []byte) ([]byte, error) {
	t.Helper()
	out, _, err := apiServer(t, text, groupResource).TransformFromStorage(t.Context(), stored, value.DefaultContext(etcdKey))
	return out, err
}

// What API servers write is read here and the other way round, for every
// provider and every way of naming a resource.
func TestAgreesWithTheAPIServer(t *testing.T) {
	plain := asProtobuf(t, secret)
	wild := configuration(
		entry("events", identity),
		entry("secrets", key("aescbc", "a", 1), identity),
		entry("configmaps machines.cluster.x-k8s.io", key("aesgcm", "b", 2)),
		entry("*.apps", key("secretbox", "c", 3)),
		entry("*.", key("aesgcm", "d", 4)),
		entry("*.*", key("secretbox", "e", 5)),
	)
	twice := configuration(entry("secrets", key("aescbc", "a", 1)), entry("secrets", key("aesgcm", "b", 2)))
	for name, tc := range map[string]struct{ config, groupResource, prefix string }{
		"aescbc":                {secretsWith("aescbc", "key1", 1), "secrets", "k8s:enc:aescbc:v1:key1:"},
		"aesgcm":                {secretsWith("aesgcm", "key1", 1), "secrets", "k8s:enc:aesgcm:v1:key1:"},
		"secretbox":             {secretsWith("secretbox", "key1", 1), "secrets", "k8s:enc:secretbox:v1:key1:"},
		"identity":              {configuration(entry("secrets", identity)), "secrets", "k8s\x00"},
		"no entry":              {secretsWith("aescbc", "key1", 1), "configmaps", "k8s\x00"},
		"an exception":          {wild, "events", "k8s\x00"},
		"before the wildcard":   {wild, "secrets", "k8s:enc:aescbc:v1:a:"},
		"a custom resource":     {wild, "machines.cluster.x-k8s.io", "k8s:enc:aesgcm:v1:b:"},
		"a wildcard of a group": {wild, "deployments.apps", "k8s:enc:secretbox:v1:c:"},
		"the core group":        {wild, "services", "k8s:enc:aesgcm:v1:d:"},
		"everything else":       {wild, "clusters.cluster.x-k8s.io", "k8s:enc:secretbox:v1:e:"},
		"two entries add up":    {twice, "secrets", "k8s:enc:aescbc:v1:a:"},
	} {
		t.Run(name, func(t *testing.T) {
			e := config(t, tc.config)
			theirs := apiServerWrites(t, tc.config, tc.groupResource, secretKey, plain)
			ours, err := e.Encrypt(tc.groupResource, secretKey, plain)
			if err != nil || !bytes.HasPrefix(ours, []byte(tc.prefix)) || !bytes.HasPrefix(theirs, []byte(tc.prefix)) {
				t.Fatalf("Encrypt: %.40q, %v; the API server writes %.40q; want %q", ours, err, theirs, tc.prefix)
			}
			if got, err := apiServerReads(t, tc.config, tc.groupResource, secretKey, ours); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("the API server reads ours as %.40q, %v", got, err)
			}
			if got, err := e.Decrypt(tc.groupResource, secretKey, theirs); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("we read the API server's as %.40q, %v", got, err)
			}
		})
	}
	t.Run("the second of two entries is read too", func(t *testing.T) {
		stored := apiServerWrites(t, secretsWith("aesgcm", "b", 2), "secrets", secretKey, plain)
		if got, err := config(t, twice).Decrypt("secrets", secretKey, stored); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("Decrypt = %.40q, %v", got, err)
		}
	})
}

// ParseEncryption accepts and refuses what Kubernetes does.
func TestParseEncryptionIsAsStrictAsKubernetes(t *testing.T) {
	for name, tc := range map[string]struct{ config, wantErr string }{
		"good":                       {secretsWith("aescbc", "key1", 1), ""},
		"good, 16 bytes":             {configuration(entry("secrets", "aesgcm: {keys: [{name: a, secret: MDEyMzQ1Njc4OTAxMjM0NQ==}]}")), ""},
		"good, as JSON":              {`{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],"providers":[{"identity":{}}]}]}`, ""},
		"empty":                      {"", "apiVersion"},
		"no YAML":                    {"{", "yaml"},
		"another kind":               {"apiVersion: v1\nkind: Secret", `kind "Secret"`},
		"an unknown field":           {strings.Replace(secretsWith("aescbc", "key1", 1), "providers:", "provider:", 1), `unknown field "provider"`},
		"a field twice":              {secretsWith("aescbc", "key1", 1) + "kind: EncryptionConfiguration\n", "already set"},
		"no entries":                 {"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: []", "resources is empty"},
		"no resources":               {configuration("- resources: []\n  providers: [{identity: {}}]\n"), "resources[0]: resources is empty"},
		"no providers":               {configuration("- resources: [secrets]\n  providers: []\n"), "providers is empty"},
		"an empty provider":          {configuration(entry("secrets", "{}")), "names no provider"},
		"two providers in one":       {configuration(entry("secrets", "{identity: {}, aescbc: {keys: [{name: a, secret: "+secretOf(1)+"}]}}")), "more than one"},
		"no keys":                    {configuration(entry("secrets", "aescbc: {keys: []}")), "has no keys"},
		"a key without name":         {secretsWith("aescbc", "", 1), "keys[0] has no name"},
		"a key without secret":       {configuration(entry("secrets", "aescbc: {keys: [{name: a}]}")), "0 bytes"},
		"a secret that is no base64": {configuration(entry("secrets", "aescbc: {keys: [{name: a, secret: '***'}]}")), "not base64"},
		"a secret of a bad length":   {configuration(entry("secrets", "aescbc: {keys: [{name: a, secret: AAAA}]}")), "3 bytes"},
		"secretbox with 16 bytes":    {configuration(entry("secrets", "secretbox: {keys: [{name: a, secret: MDEyMzQ1Njc4OTAxMjM0NQ==}]}")), "takes 32"},
		"kms without a name":         {configuration(entry("secrets", "kms: {apiVersion: v2, endpoint: 'unix:///k', timeout: 3s}")), "kms: needs a name"},
		"capital letters":            {configuration(entry("Secrets", identity)), "capital"},
		"a bare star":                {configuration(entry("*", identity)), `use "*."`},
		"a record without API":       {configuration(entry("serviceipallocations", identity)), "has no API"},
		"events of the new group":    {configuration(entry("events.events.k8s.io", identity)), "events of all groups"},
		"the group extensions":       {configuration(entry("ingresses.extensions", identity)), "is gone"},
		"a resource in all groups":   {configuration(entry("secrets.*", identity)), "across groups"},
		"a resource twice":           {configuration(entry("secrets secrets", identity)), "stands twice"},
		"a masked one in one list":   {configuration(entry("secrets *.", identity)), "masks"},
		"all and another":            {configuration(entry("secrets *.*", identity)), "masks"},
		"masked by an entry before":  {configuration(entry("*.", identity), entry("secrets", identity)), `masked by "*."`},
		"masked by all before":       {configuration(entry("*.*", identity), entry("*.apps", identity)), `masked by "*.*"`},
		"a wildcard twice":           {configuration(entry("*.*", identity), entry("*.*", identity)), "masked"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := registry.ParseEncryption([]byte(tc.config))
			file := filepath.Join(t.TempDir(), "e.yaml")
			if err := os.WriteFile(file, []byte(tc.config), 0o600); err != nil {
				t.Fatal(err)
			}
			_, kubernetes := encryptionconfig.LoadEncryptionConfig(t.Context(), file, false, "")
			if (kubernetes == nil) != (err == nil) {
				t.Errorf("ParseEncryption: %v; Kubernetes: %v", err, kubernetes)
			}
			switch {
			case tc.wantErr == "" && err != nil:
				t.Error(err)
			case tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr) || remedy.CodeOf(err) != remedy.Usage || remedy.Of(err) == ""):
				t.Errorf("error %v, code %d; want %q with a remedy", err, remedy.CodeOf(err), tc.wantErr)
			}
			if err != nil && strings.Contains(err.Error(), secretOf(1)) {
				t.Errorf("the error gives a secret away: %v", err)
			}
		})
	}
}

func TestDecryptRefuses(t *testing.T) {
	plain := asProtobuf(t, secret)
	stored := func(provider string, secret byte) []byte {
		return apiServerWrites(t, secretsWith(provider, "key1", secret), "secrets", secretKey, plain)
	}
	cut := func(b []byte, n int) []byte { return b[:n] }
	cbc := len("k8s:enc:aescbc:v1:key1:")
	for name, tc := range map[string]struct {
		config string // "" is none
		stored []byte
		key    string
		want   error
	}{
		"aesgcm, another secret":       {secretsWith("aesgcm", "key1", 2), stored("aesgcm", 1), secretKey, registry.ErrWrongKey},
		"aesgcm, under another key":    {secretsWith("aesgcm", "key1", 1), stored("aesgcm", 1), secretKey + "x", registry.ErrWrongKey},
		"secretbox, another secret":    {secretsWith("secretbox", "key1", 2), stored("secretbox", 1), secretKey, registry.ErrWrongKey},
		"another name":                 {secretsWith("aesgcm", "key2", 1), stored("aesgcm", 1), secretKey, registry.ErrNoKey},
		"another provider":             {secretsWith("aesgcm", "key1", 1), stored("aescbc", 1), secretKey, registry.ErrNoKey},
		"an entry for other resources": {configuration(entry("configmaps", key("aesgcm", "key1", 1))), stored("aesgcm", 1), secretKey, registry.ErrNoKey},
		"identity alone":               {configuration(entry("secrets", identity)), stored("aesgcm", 1), secretKey, registry.ErrNoKey},
		"no configuration":             {"", stored("aesgcm", 1), secretKey, registry.ErrNoKey},
		"kms":                          {configuration(entry("secrets", kms("vault"))), []byte("k8s:enc:kms:v2:vault:opaque"), secretKey, registry.ErrNoKey},
		"aesgcm cut short":             {secretsWith("aesgcm", "key1", 1), cut(stored("aesgcm", 1), 60), secretKey, registry.ErrWrongKey},
		"aesgcm cut in the nonce":      {secretsWith("aesgcm", "key1", 1), cut(stored("aesgcm", 1), 28), secretKey, registry.ErrWrongKey},
		"secretbox cut short":          {secretsWith("secretbox", "key1", 1), cut(stored("secretbox", 1), 60), secretKey, registry.ErrWrongKey},
		"secretbox cut to its nonce":   {secretsWith("secretbox", "key1", 1), cut(stored("secretbox", 1), 50), secretKey, registry.ErrWrongKey},
		"aescbc cut in a block":        {secretsWith("aescbc", "key1", 1), cut(stored("aescbc", 1), cbc+16+24), secretKey, registry.ErrWrongKey},
		"aescbc cut to its IV":         {secretsWith("aescbc", "key1", 1), cut(stored("aescbc", 1), cbc+16), secretKey, registry.ErrWrongKey},
		"aescbc cut to nothing":        {secretsWith("aescbc", "key1", 1), cut(stored("aescbc", 1), cbc), secretKey, registry.ErrWrongKey},
		"a prefix cut short":           {secretsWith("aescbc", "key1", 1), []byte("k8s:enc:aescbc"), secretKey, registry.ErrNoKey},
	} {
		t.Run(name, func(t *testing.T) {
			var e *registry.Encryption
			if tc.config != "" {
				e = config(t, tc.config)
			}
			got, err := e.Decrypt("secrets", tc.key, tc.stored)
			if got != nil || !errors.Is(err, tc.want) {
				t.Fatalf("Decrypt = %.40q, %v; want %v", got, err, tc.want)
			}
			if remedy.CodeOf(err) != remedy.Auth || remedy.Of(err) == "" || !strings.Contains(err.Error(), tc.key) {
				t.Errorf("error without key, remedy or code %d: %v", remedy.Auth, err)
			}
		})
	}
}

// A wrong AES-CBC key passes Kubernetes' padding check about once in 256
// values, and an API server hands out what comes out. That must be found here.
func TestWrongCBCKeyIsFoundEvenWhereThePaddingFits(t *testing.T) {
	const values = 4096
	e := config(t, secretsWith("aescbc", "key1", 2))
	right := apiServer(t, secretsWith("aescbc", "key1", 1), "secrets")
	lucky := 0
	for i := range values {
		plain := asJSON(t, map[string]string{"kind": "Secret", "n": fmt.Sprint(i)})
		stored, err := right.TransformToStorage(t.Context(), plain, value.DefaultContext(secretKey))
		if err != nil {
			t.Fatal(err)
		}
		if paddingFits(t, 2, stored[len("k8s:enc:aescbc:v1:key1:"):]) {
			lucky++
		}
		if got, err := e.Decrypt("secrets", secretKey, stored); !errors.Is(err, registry.ErrWrongKey) {
			t.Fatalf("value %d, %d of them lucky: Decrypt = %q, %v", i, lucky, got, err)
		}
	}
	if lucky == 0 {
		t.Errorf("no padding fitted by chance in %d values; the test shows nothing", values)
	}
	t.Logf("the padding fitted by chance in %d of %d values", lucky, values)
}

// paddingFits is the check of Kubernetes' aescbc, done by hand.
func paddingFits(t *testing.T, secret byte, body []byte) bool {
	t.Helper()
	block, err := aes.NewCipher(bytes.Repeat([]byte{secret}, 32))
	if err != nil {
		t.Fatal(err)
	}
	plain := bytes.Clone(body[aes.BlockSize:])
	cipher.NewCBCDecrypter(block, body[:aes.BlockSize]).CryptBlocks(plain, plain)
	n := int(plain[len(plain)-1])
	return n > 0 && n <= len(plain) && bytes.Equal(plain[len(plain)-n:], bytes.Repeat([]byte{byte(n)}, n))
}

// With two keys of one name, during a rotation gone wrong, the right one is found.
func TestTwoKeysOfOneName(t *testing.T) {
	for _, provider := range []string{"aescbc", "aesgcm", "secretbox"} {
		e := config(t, configuration(entry("secrets", key(provider, "key1", 2), key(provider, "key1", 1))))
		for i := range 600 {
			plain := asJSON(t, map[string]any{"kind": "Secret", "n": i})
			stored, err := config(t, secretsWith(provider, "key1", 1)).Encrypt("secrets", secretKey, plain)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := e.Decrypt("secrets", secretKey, stored); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%s: value %d: %.40q, %v", provider, i, got, err)
			}
		}
	}
}

func TestEncryptRefuses(t *testing.T) {
	var none *registry.Encryption
	if _, err := none.Encrypt("secrets", secretKey, []byte("{}")); !errors.Is(err, registry.ErrNoKey) || remedy.Of(err) == "" {
		t.Errorf("without a configuration: %v", err)
	}
	if _, err := config(t, configuration(entry("secrets", kms("vault"), identity))).Encrypt("secrets", secretKey, []byte("{}")); !errors.Is(err, registry.ErrNoKey) || remedy.Of(err) == "" {
		t.Errorf("with kms first: %v", err)
	}
}

func FuzzDecrypt(f *testing.F) {
	var all []*registry.Encryption
	for _, provider := range []string{"aescbc", "aesgcm", "secretbox"} {
		e := config(f, secretsWith(provider, "key1", 1))
		stored, err := e.Encrypt("secrets", secretKey, asProtobuf(f, secret))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stored)
		all = append(all, e)
	}
	f.Add([]byte("k8s:enc:aescbc:v1:key1:0123456789abcdef"))
	f.Add([]byte("k8s:enc:"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		for _, e := range append(all, nil) {
			before := bytes.Clone(stored)
			_, err := e.Decrypt("secrets", secretKey, stored)
			if err != nil && !errors.Is(err, registry.ErrWrongKey) && !errors.Is(err, registry.ErrNoKey) {
				t.Fatal(err)
			}
			if !bytes.Equal(stored, before) {
				t.Fatal("Decrypt wrote to the value")
			}
		}
	})
}
