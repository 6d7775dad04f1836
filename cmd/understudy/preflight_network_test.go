package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// authority issues certificates that end after some days.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a *authority) issue(t *testing.T, name string, isCA bool, days int) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(0, 0, days), IsCA: isCA, BasicConstraintsValid: true}
	if !isCA {
		template.DNSNames = []string{name}
	}
	if a == nil {
		a = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// A certificate is good for no longer than those that it hangs on: clients refuse
// it when the intermediate has expired, however long the certificate itself lasts.
func TestACertificateLastsAsLongAsItsIntermediate(t *testing.T) {
	const name = "platform.example.com"
	var none *authority
	root := none.issue(t, "root", true, 1000)
	for title, days := range map[string]int{"expired": -1, "expires soon": 3, "lasts longer": 500} {
		t.Run(title, func(t *testing.T) {
			intermediate := root.issue(t, "intermediate", true, days)
			leaf := intermediate.issue(t, name, false, 60)
			port := listenTLS(t, "127.0.0.1:0", tls.Certificate{Certificate: [][]byte{leaf.cert.Raw, intermediate.cert.Raw}, PrivateKey: leaf.key})
			c, err := certificate(t.Context(), "127.0.0.1:"+port, name, nil, func() (*x509.CertPool, error) { return nil, nil })
			if err != nil {
				t.Fatal(err)
			}
			want := leaf.cert.NotAfter
			if days < 60 {
				want = intermediate.cert.NotAfter
			}
			if !c.NotAfter.Equal(want) {
				t.Errorf("valid until %s, want %s", c.NotAfter, want)
			}
		})
	}
}
