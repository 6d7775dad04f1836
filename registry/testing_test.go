package registry_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/registry"
)

// configuration is an EncryptionConfiguration of entries.
func configuration(entries ...string) string {
	return "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n" + strings.Join(entries, "")
}

// entry is one of its entries: resources, separated by spaces, and providers.
func entry(resources string, providers ...string) string {
	var out strings.Builder
	out.WriteString("- resources:\n")
	for r := range strings.FieldsSeq(resources) {
		fmt.Fprintf(&out, "  - %q\n", r)
	}
	out.WriteString("  providers:\n")
	for _, p := range providers {
		fmt.Fprintf(&out, "  - %s\n", p)
	}
	return out.String()
}

// key is a provider with one key of 32 equal bytes.
func key(provider, name string, secret byte) string {
	return fmt.Sprintf("%s: {keys: [{name: %q, secret: %s}]}", provider, name, secretOf(secret))
}

const identity = "identity: {}"

func kms(name string) string {
	return fmt.Sprintf("kms: {apiVersion: v2, name: %s, endpoint: 'unix:///kms.sock', timeout: 3s}", name)
}

func secretOf(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
}

func config(tb testing.TB, text string) *registry.Encryption {
	tb.Helper()
	e, err := registry.ParseEncryption([]byte(text))
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	return e
}
