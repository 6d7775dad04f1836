// Package certs issues the certificates that tests need, from seconds to years long.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const defaultLifetime = 24 * time.Hour

// CA signs certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Leaf describes a certificate. It serves both as server and client certificate.
type Leaf struct {
	CommonName    string
	Organizations []string      // the user's groups, where Kubernetes reads it
	Hosts         []string      // names and addresses; 127.0.0.1, ::1 and localhost if nil
	Lifetime      time.Duration // one day if zero; may be negative: already expired
}

// Cert is an issued certificate with its key.
type Cert struct {
	ca   *CA
	leaf Leaf
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes a certificate authority that lives for ten years.
func NewCA(name string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	cert, err := sign(template, template, key, key)
	if err != nil {
		return nil, err
	}
	return &CA{cert: cert, key: key}, nil
}

// Issue signs a certificate with a fresh key.
func (ca *CA) Issue(leaf Leaf) (*Cert, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return ca.issue(leaf, key)
}

func (ca *CA) issue(leaf Leaf, key *ecdsa.PrivateKey) (*Cert, error) {
	lifetime := leaf.Lifetime
	if lifetime == 0 {
		lifetime = defaultLifetime
	}
	hosts := leaf.Hosts
	if hosts == nil {
		hosts = []string{"127.0.0.1", "::1", "localhost"}
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: leaf.CommonName, Organization: leaf.Organizations},
		NotBefore:    now.Add(-48 * time.Hour),
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, err := sign(template, ca.cert, key, ca.key)
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", leaf.CommonName, err)
	}
	return &Cert{ca: ca, leaf: leaf, cert: cert, key: key}, nil
}

// Reissue signs the same name again, for another lifetime, keeping the key:
// written over the old certificate it fits the key file at every moment.
func (c *Cert) Reissue(lifetime time.Duration) (*Cert, error) {
	leaf := c.leaf
	leaf.Lifetime = lifetime
	return c.ca.issue(leaf, c.key)
}

// Pool holds the CA alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// PEM is the CA's certificate.
func (ca *CA) PEM() []byte { return certPEM(ca.cert) }

// WriteFile puts the CA's certificate at path, replacing it in one step.
func (ca *CA) WriteFile(path string) error { return writeFile(path, ca.PEM()) }

// WriteKey puts the CA's private key at path, replacing it in one step.
func (ca *CA) WriteKey(path string) error {
	text, err := keyPEM(ca.key)
	if err != nil {
		return err
	}
	return writeFile(path, text)
}

// WriteFiles puts certificate and key at the paths, replacing each in one step.
func (c *Cert) WriteFiles(certPath, keyPath string) error {
	text, err := keyPEM(c.key)
	if err != nil {
		return err
	}
	if err := writeFile(keyPath, text); err != nil {
		return err
	}
	return writeFile(certPath, certPEM(c.cert))
}

// PEM are certificate and key.
func (c *Cert) PEM() (cert, key []byte, err error) {
	key, err = keyPEM(c.key)
	return certPEM(c.cert), key, err
}

// NotAfter is the end of the certificate's life.
func (c *Cert) NotAfter() time.Time { return c.cert.NotAfter }

// ClientTLS trusts the CA and presents the certificate.
func (c *Cert) ClientTLS() *tls.Config {
	return &tls.Config{
		RootCAs:      c.ca.Pool(),
		Certificates: []tls.Certificate{{Certificate: [][]byte{c.cert.Raw}, PrivateKey: c.key}},
	}
}

func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand never fails on Linux
	}
	return n
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func writeFile(path string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".cert-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(text); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
