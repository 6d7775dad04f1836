package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/remedy"
)

// tls returns nil where every endpoint is plain http.
func (c Config) tls() (*tls.Config, error) {
	secure := false
	for _, e := range c.Endpoints {
		secure = secure || strings.HasPrefix(strings.ToLower(e), "https://")
	}
	if !secure {
		if c.CA != "" || c.Cert != "" {
			return nil, &remedy.Error{Op: "connect to " + c.Name,
				Err:    errors.New("certificates are configured, but the endpoints are http://"),
				Remedy: "write the endpoints as https://, or remove ca, cert and key", Code: remedy.Usage}
		}
		return nil, nil
	}
	if _, err := c.roots(); err != nil {
		return nil, c.fileError(err)
	}
	if c.Cert != "" {
		if _, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
			return nil, c.fileError(err)
		}
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: c.ServerName,
		// The chain is verified in VerifyConnection, with the CA file as it is
		// then: a renewed CA counts from the next connection on.
		InsecureSkipVerify: true, //nolint:gosec // verified below
		VerifyConnection:   c.verify,
	}
	if c.Cert != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
			if err != nil {
				return nil, fmt.Errorf("load the client certificate: %w", err)
			}
			return &cert, nil
		}
	}
	return config, nil
}

func (c Config) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server presented no certificate")
	}
	roots, err := c.roots()
	if err != nil {
		return err
	}
	intermediates := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	_, err = state.PeerCertificates[0].Verify(x509.VerifyOptions{
		DNSName: state.ServerName, Roots: roots, Intermediates: intermediates,
	})
	if err != nil || state.ServerName != "" {
		return err
	}
	return c.verifyAddress(state.PeerCertificates[0])
}

// verifyAddress checks the certificate where the server was dialled by IP
// address, which TLS does not send as a server name: it must be valid for one
// of the addresses that are configured.
func (c Config) verifyAddress(cert *x509.Certificate) error {
	names := []string{c.ServerName}
	if c.ServerName == "" {
		names = names[:0]
		for _, e := range c.Endpoints {
			if u, err := url.Parse(e); err == nil {
				names = append(names, u.Hostname())
			}
		}
	}
	err := error(x509.HostnameError{Certificate: cert, Host: "?"})
	for _, name := range names {
		if err = cert.VerifyHostname(name); err == nil {
			return nil
		}
	}
	return err
}

// roots returns nil, the system's roots, where no CA file is configured.
func (c Config) roots() (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", c.CA)
	}
	return pool, nil
}

func (c Config) fileError(err error) error {
	return &remedy.Error{Op: "load the certificates for " + c.Name, Err: err,
		Remedy: "check ca, cert and key of this side: understudy config view", Code: remedy.Usage}
}

// Certificate is one certificate that a connection depends on.
type Certificate struct {
	File     string    `json:"file"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"notAfter"` // 1970 where it cannot be read: to whom it is due, it has expired
	Wrong    string    `json:"wrong,omitempty"`
}

// Certificates reads the configured client certificate and CA and says until
// when they are valid. A file that cannot be read, or has another's key beside it, counts as expired
// and says why.
func (c Config) Certificates() []Certificate {
	var found []Certificate
	for _, file := range []string{c.Cert, c.CA} {
		if file == "" {
			continue
		}
		certs, err := readCertificates(file)
		if err == nil && len(certs) == 0 {
			err = errors.New("no certificate in it")
		}
		if err == nil && file == c.Cert {
			_, err = tls.LoadX509KeyPair(c.Cert, c.Key)
		}
		if err != nil {
			found = append(found, Certificate{File: file, NotAfter: time.Unix(0, 0).UTC(), Wrong: err.Error()})
			continue
		}
		for _, cert := range certs {
			found = append(found, Certificate{File: file, Subject: cert.Subject.String(), NotAfter: cert.NotAfter})
		}
	}
	return found
}

// expired says that our own client certificate has; nil = it has not, or nobody knows.
func (c Config) expired(now time.Time) error {
	certs, err := readCertificates(c.Cert)
	if c.Cert == "" || err != nil || len(certs) == 0 || now.Before(certs[0].NotAfter) {
		return nil
	}
	return fmt.Errorf("our certificate %s has expired at %s", c.Cert, certs[0].NotAfter.UTC().Format(time.RFC3339))
}
