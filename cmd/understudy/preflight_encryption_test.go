package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/registry"
)

// providers is an EncryptionConfiguration for Secrets.
func providers(list string) string {
	return "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{resources: [secrets], providers: [" + list + "]}]\n"
}

// aescbc is a provider with a key named key1 made of one letter.
func aescbc(letter string) string {
	return "{aescbc: {keys: [{name: key1, secret: " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32))) + "}]}}"
}

// What preflight says of encryption is what sync does: a value that would be
// stored in clear is named, and so is one that alone among many cannot be read.
func TestPreflightSaysWhatBecomesOfEncryptedValues(t *testing.T) {
	for name, tc := range map[string]struct {
		stored           []string // by which letter each Secret of the primary is encrypted
		primary, standby string   // encryption; "" = not configured
		want             console.PreflightState
		text             string
	}{
		"the standby stores in clear":    {[]string{"a", "a"}, aescbc("a") + ", {identity: {}}", "{identity: {}}", console.CheckWarn, "2 values of moscow are encrypted and are stored in clear on spb"},
		"another key":                    {[]string{"a", "a"}, aescbc("a"), aescbc("b"), console.CheckOK, "encrypted anew"},
		"the standby reads the same key": {[]string{"a"}, aescbc("a"), "{identity: {}}, " + aescbc("a"), console.CheckOK, "the encryption configurations differ"},
		"nothing is said of the standby": {[]string{"a"}, aescbc("a"), "", console.CheckFail, "sync cannot store 1 encrypted values of moscow on spb"},
		"two keys of one name":           {[]string{"a", "b", "b", "b"}, aescbc("a"), aescbc("a"), console.CheckFail, "3 of 4 values begin k8s:enc:aescbc:v1:key1:"},
	} {
		t.Run(name, func(t *testing.T) {
			primary, standby := testkit.StartEtcd(t), testkit.StartEtcd(t)
			for i, letter := range tc.stored {
				e, err := registry.ParseEncryption([]byte(providers(aescbc(letter))))
				if err != nil {
					t.Fatal(err)
				}
				key := fmt.Sprintf("/registry/secrets/prod/s%d", i)
				value, err := e.Encrypt("secrets", key, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s%d","namespace":"prod","uid":"u%d"}}`, i, i))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := primary.Client().Put(t.Context(), key, string(value)); err != nil {
					t.Fatal(err)
				}
			}
			pair, err := config.Load(pairFile(t, primary.Endpoints()[0], standby.Endpoints()[0], ""))
			if err != nil {
				t.Fatal(err)
			}
			for file, text := range map[*string]string{&pair.Primary.Encryption: tc.primary, &pair.Standby.Encryption: tc.standby} {
				if text == "" {
					continue
				}
				*file = filepath.Join(t.TempDir(), "encryption.yaml")
				if err := os.WriteFile(*file, []byte(providers(text)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			view, err := newView(pair)
			if err != nil {
				t.Fatal(err)
			}
			g := &preflight{pair: pair, view: view, httpsPort: "443"}
			for _, line := range console.JudgePreflight(g.facts(t.Context())).Lines {
				if line.Check == "encryption" && (line.State != tc.want || !strings.Contains(line.Text, tc.text)) {
					t.Errorf("%s: %s; want %s: %q", line.State, line.Text, tc.want, tc.text)
				}
			}
		})
	}
}
