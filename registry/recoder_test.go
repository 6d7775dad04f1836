package registry_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/understudy-dr/understudy/registry"
	"pgregory.net/rapid"
)

func TestRecode(t *testing.T) {
	plain := asProtobuf(t, secret)
	const none = ""
	onlyIdentity := configuration(entry("secrets", identity))
	rotating := configuration(entry("secrets", key("aescbc", "new", 9), key("aescbc", "key1", 1), identity))
	keyTwice := configuration(entry("secrets", key("aescbc", "key1", 2), key("aescbc", "key1", 1)))
	inOne := configuration(entry("secrets", "secretbox: {keys: [{name: new, secret: "+secretOf(9)+"}, {name: key1, secret: "+secretOf(1)+"}]}"))
	for name, tc := range map[string]struct {
		primary, standby string
		writtenBy        string // the configuration that wrote the value; "" for a plain one
		raw              bool
	}{
		"plain, no configuration":                       {none, none, none, true},
		"plain, standby reads plain":                    {none, onlyIdentity, none, true},
		"plain, standby names other resources":          {none, configuration(entry("configmaps", key("aescbc", "a", 1))), none, true},
		"plain, standby encrypts but still reads plain": {onlyIdentity, rotating, none, true},
		"plain, standby reads no plain":                 {onlyIdentity, secretsWith("aescbc", "key1", 1), none, false},
		"plain, only the primary's given":               {secretsWith("aescbc", "key1", 1), none, none, true},

		"aescbc, another secret under the same name":    {secretsWith("aescbc", "key1", 1), secretsWith("aescbc", "key1", 2), secretsWith("aescbc", "key1", 1), false},
		"aesgcm, another secret under the same name":    {secretsWith("aesgcm", "key1", 1), secretsWith("aesgcm", "key1", 2), secretsWith("aesgcm", "key1", 1), false},
		"secretbox, another secret under the same name": {secretsWith("secretbox", "key1", 1), secretsWith("secretbox", "key1", 2), secretsWith("secretbox", "key1", 1), false},
		"another name":                           {secretsWith("aescbc", "key1", 1), secretsWith("aescbc", "key2", 1), secretsWith("aescbc", "key1", 1), false},
		"another provider":                       {secretsWith("aescbc", "key1", 1), secretsWith("aesgcm", "key1", 1), secretsWith("aescbc", "key1", 1), false},
		"equal configurations":                   {secretsWith("aesgcm", "key1", 1), secretsWith("aesgcm", "key1", 1), secretsWith("aesgcm", "key1", 1), true},
		"the standby has the key too":            {secretsWith("aescbc", "key1", 1), rotating, secretsWith("aescbc", "key1", 1), true},
		"the standby has it in one provider":     {secretsWith("secretbox", "key1", 1), inOne, secretsWith("secretbox", "key1", 1), true},
		"the standby has it behind one so named": {secretsWith("aescbc", "key1", 1), keyTwice, secretsWith("aescbc", "key1", 1), false},
		"the standby decrypts at rest no more":   {secretsWith("aescbc", "key1", 1), onlyIdentity, secretsWith("aescbc", "key1", 1), false},
		"an old key of the primary":              {rotating, secretsWith("secretbox", "s", 3), secretsWith("aescbc", "key1", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			stored := plain
			if tc.writtenBy != none {
				stored = apiServerWrites(t, tc.writtenBy, "secrets", secretKey, plain)
			}
			recoder := registry.NewRecoder(configOrNil(t, tc.primary), configOrNil(t, tc.standby))
			out, got, err := recoder.Recode("secrets", secretKey, stored)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("Recode: plain %.40q, %v", got, err)
			}
			if raw := &out[0] == &stored[0] && len(out) == len(stored); raw != tc.raw {
				t.Errorf("copied as it is: %v, want %v", raw, tc.raw)
			}
			// Without a configuration the API server is one that knows none either.
			standby := tc.standby
			if standby == none {
				standby = onlyIdentity
			}
			if read, err := apiServerReads(t, standby, "secrets", secretKey, out); err != nil || !bytes.Equal(read, plain) {
				t.Errorf("the standby's API server reads %.40q, %v", read, err)
			}
			if back, err := recoder.PlainOfStandby("secrets", secretKey, out); err != nil || !bytes.Equal(back, plain) {
				t.Errorf("PlainOfStandby = %.40q, %v", back, err)
			}
			if back, err := recoder.PlainOfPrimary("secrets", secretKey, stored); err != nil || !bytes.Equal(back, plain) {
				t.Errorf("PlainOfPrimary = %.40q, %v", back, err)
			}
		})
	}
}

func TestRecodeOpaque(t *testing.T) {
	byKMS := []byte("k8s:enc:kms:v2:vault:\x0a\x20opaque")
	byAES := []byte("k8s:enc:aesgcm:v1:key1:0123456789abcdefghijklmnop")
	vault := configuration(entry("secrets", kms("vault"), identity))
	readsVault := configuration(entry("secrets", key("aesgcm", "a", 1), kms("vault")))
	for name, tc := range map[string]struct {
		primary, standby string
		stored           []byte
		want             error
	}{
		"encrypted, no configuration":               {"", "", byAES, nil},
		"kms, no configuration":                     {"", "", byKMS, nil},
		"kms on both sides":                         {vault, vault, byKMS, nil},
		"the standby reads the kms too":             {vault, readsVault, byKMS, nil},
		"another kms":                               {vault, configuration(entry("secrets", kms("other"))), byKMS, registry.ErrNoKey},
		"kms, the standby's not given":              {vault, "", byKMS, registry.ErrNoKey},
		"kms, the primary's not given":              {"", vault, byKMS, registry.ErrNoKey},
		"encrypted, the primary's not given":        {"", secretsWith("aesgcm", "key1", 1), byAES, registry.ErrNoKey},
		"a wrong key, though both have the same":    {secretsWith("aesgcm", "key1", 1), secretsWith("aesgcm", "key1", 1), byAES, registry.ErrWrongKey},
		"a name that neither has, though both same": {secretsWith("aesgcm", "other", 1), secretsWith("aesgcm", "other", 1), byAES, registry.ErrNoKey},
	} {
		t.Run(name, func(t *testing.T) {
			out, plain, err := registry.NewRecoder(configOrNil(t, tc.primary), configOrNil(t, tc.standby)).Recode("secrets", secretKey, tc.stored)
			if plain != nil || !errors.Is(err, tc.want) {
				t.Fatalf("Recode = %.40q, %.40q, %v; want error %v", out, plain, err, tc.want)
			}
			if copied := bytes.Equal(out, tc.stored); copied != (tc.want == nil) {
				t.Errorf("copied: %v, with error %v", copied, err)
			}
		})
	}
}

// An encrypted value must never reach the standby in plain text only because
// its configuration was forgotten.
func TestRecodeDoesNotLayOpen(t *testing.T) {
	text := secretsWith("aesgcm", "key1", 1)
	stored := apiServerWrites(t, text, "secrets", secretKey, asProtobuf(t, secret))
	out, _, err := registry.NewRecoder(config(t, text), nil).Recode("secrets", secretKey, stored)
	if out != nil || !errors.Is(err, registry.ErrNoKey) {
		t.Errorf("Recode = %.40q, %v; want ErrNoKey", out, err)
	}
}

func TestSame(t *testing.T) {
	one, other := secretsWith("aescbc", "key1", 1), secretsWith("aescbc", "key1", 2)
	for name, tc := range map[string]struct {
		primary, standby string
		want             bool
	}{
		"neither":                   {"", "", true},
		"one of them":               {one, "", false},
		"the other of them":         {"", one, false},
		"equal":                     {one, one, true},
		"another secret":            {one, other, false},
		"more resources":            {one, configuration(entry("secrets configmaps", key("aescbc", "key1", 1))), false},
		"one more that is identity": {one, configuration(entry("secrets", key("aescbc", "key1", 1)), entry("configmaps", identity)), true},
		"a further provider":        {one, configuration(entry("secrets", key("aescbc", "key1", 1), identity)), false},
		"another order":             {configuration(entry("secrets", key("aescbc", "a", 1), identity)), configuration(entry("secrets", identity, key("aescbc", "a", 1))), false},
		"an exception to a group":   {configuration(entry("*.apps", key("aescbc", "a", 1))), configuration(entry("deployments.apps", identity), entry("*.apps", key("aescbc", "a", 1))), false},
	} {
		if got := registry.NewRecoder(configOrNil(t, tc.primary), configOrNil(t, tc.standby)).Same(); got != tc.want {
			t.Errorf("%s: Same = %v, want %v", name, got, tc.want)
		}
	}
}

// A value that the primary's own API servers cannot read, plain where they
// were told to expect none, is no better on the standby, and no worse.
func TestRecodeCopiesWhatThePrimaryItselfCannotRead(t *testing.T) {
	text, plain := secretsWith("aescbc", "key1", 1), asProtobuf(t, secret)
	if _, err := apiServerReads(t, text, "secrets", secretKey, plain); err == nil {
		t.Fatal("the API server reads it after all")
	}
	out, got, err := registry.NewRecoder(config(t, text), config(t, text)).Recode("secrets", secretKey, plain)
	if err != nil || &out[0] != &plain[0] || &got[0] != &plain[0] {
		t.Errorf("Recode = %.40q, %.40q, %v", out, got, err)
	}
}

// Whatever the two configurations, a value that can be recoded is read by the
// standby as what the primary had.
func TestRecodeKeepsTheObject(t *testing.T) {
	plain := asProtobuf(t, secret)
	provider := rapid.Custom(func(t *rapid.T) string {
		kind := rapid.SampledFrom([]string{"identity", "aescbc", "aesgcm", "secretbox"}).Draw(t, "kind")
		if kind == "identity" {
			return identity
		}
		return key(kind, rapid.SampledFrom([]string{"key1", "key2"}).Draw(t, "name"), rapid.Byte().Draw(t, "secret")%3)
	})
	resource := rapid.SampledFrom([]string{"secrets", "*.", "*.*", "configmaps"})
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(side string) *registry.Encryption {
			return config(t, configuration(entry(resource.Draw(rt, side+" resource"), rapid.SliceOfN(provider, 1, 3).Draw(rt, side)...)))
		}
		primary, standby := draw("primary"), draw("standby")
		stored, err := primary.Encrypt("secrets", secretKey, plain)
		if err != nil {
			rt.Fatal(err)
		}
		out, got, err := registry.NewRecoder(primary, standby).Recode("secrets", secretKey, stored)
		if err != nil || !bytes.Equal(got, plain) {
			rt.Fatalf("Recode: %.40q, %v", got, err)
		}
		if read, err := standby.Decrypt("secrets", secretKey, out); err != nil || !bytes.Equal(read, plain) {
			rt.Fatalf("the standby reads %.40q, %v", read, err)
		}
	})
}

func configOrNil(t *testing.T, text string) *registry.Encryption {
	t.Helper()
	if text == "" {
		return nil
	}
	return config(t, text)
}
