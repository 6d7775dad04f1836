package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit/certs"
)

// What cannot be used counts as expired, and does not vanish.
func TestCertificatesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	ca, err := certs.NewCA("etcd")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		cert, err := ca.Issue(certs.Leaf{CommonName: name})
		if err == nil {
			err = cert.WriteFiles(in(name+".crt"), in(name+".key"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(in("torn.crt"), []byte("-----BEGIN CERTIFICATE-----\nMIIB"), 0o600); err != nil {
		t.Fatal(err)
	}
	for wrong, c := range map[string]Config{
		"":                      {Cert: in("a.crt"), Key: in("a.key")},
		"private key does not":  {Cert: in("a.crt"), Key: in("b.key")},
		"no certificate in it":  {Cert: in("torn.crt"), Key: in("a.key")},
		"no such file":          {CA: in("absent.crt")},
		"no certificate in it ": {CA: in("torn.crt")},
	} {
		got := c.Certificates()
		if len(got) != 1 || !strings.Contains(got[0].Wrong, strings.TrimSpace(wrong)) || (wrong == "") != got[0].NotAfter.After(time.Now()) || wrong != "" && got[0].NotAfter.Unix() != 0 {
			t.Errorf("%q: %+v", wrong, got)
		}
	}
}
