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

// Our own certificate has expired from the moment on that it names, not before.
func TestOwnCertificateExpires(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.crt")
	ca, err := certs.NewCA("etcd")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(certs.Leaf{CommonName: "client", Lifetime: time.Hour})
	if err == nil {
		err = cert.WriteFiles(file, file+".key")
	}
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Cert: file}
	if err := c.expired(time.Now()); err != nil {
		t.Error(err)
	}
	if err := c.expired(time.Now().Add(2 * time.Hour)); err == nil || !strings.Contains(err.Error(), "has expired at") {
		t.Errorf("an hour later: %v", err)
	}
}
