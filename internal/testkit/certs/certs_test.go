package certs

import (
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestIssuedCertificatesSpeakToEachOther(t *testing.T) {
	ca, err := NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "s.crt"), filepath.Join(dir, "s.key")
	server, err := ca.Issue(Leaf{CommonName: "server"})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.WriteFiles(certPath, keyPath); err != nil {
		t.Fatal(err)
	}
	client, err := ca.Issue(Leaf{CommonName: "client"})
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, ca, certPath, keyPath, client); err != nil {
		t.Fatalf("handshake: %v", err)
	}

	// Expired, reissued over the same file with the same key: refused.
	expired, err := server.Reissue(-time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := expired.WriteFiles(certPath, keyPath); err != nil {
		t.Fatal(err)
	}
	var refused *tls.CertificateVerificationError
	if err := handshake(t, ca, certPath, keyPath, client); !errors.As(err, &refused) {
		t.Fatalf("handshake with an expired server: %v", err)
	}
}

func handshake(t *testing.T, ca *CA, certPath, keyPath string, client *Cert) error {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = tls.Server(conn, &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		}).Handshake()
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client.ClientTLS())
	if err != nil {
		return err
	}
	return conn.Close()
}
