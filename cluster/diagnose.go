package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/understudy-dr/understudy/remedy"
)

// diagnose connects to the endpoints below gRPC, which hides every cause
// behind "deadline exceeded". nil: at least one accepts a connection.
func (c Config) diagnose(ctx context.Context) error {
	if len(c.Endpoints) == 0 {
		return &remedy.Error{Op: "connect to " + c.Name, Err: errors.New("no endpoints are configured"),
			Remedy: "set etcd.endpoints of this side", Code: remedy.Usage}
	}
	results := make(chan error, len(c.Endpoints))
	for _, endpoint := range c.Endpoints {
		go func() {
			if err := c.connect(ctx, endpoint); err != nil {
				results <- fmt.Errorf("%s: %w", endpoint, err)
				return
			}
			results <- nil
		}()
	}
	var problems []error
	for range c.Endpoints {
		err := <-results
		if err == nil {
			return nil
		}
		problems = append(problems, err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.explain(errors.Join(problems...))
}

func (c Config) connect(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return fmt.Errorf("not a URL: %w", errBadEndpoint)
	}
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	// ctx ends with the DialTimeout at the latest, or when the command is
	// interrupted; reads and writes end with it.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if u.Scheme != "https" {
		err := readPreface(conn)
		if errors.Is(err, errNotHTTP2) && c.answersTLS(ctx, u.Host) {
			return errWantsTLS
		}
		return err
	}
	config, err := c.tls()
	if err != nil {
		return err
	}
	config.NextProtos = []string{"h2"}
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		if errors.Is(err, io.EOF) && c.answersPlain(ctx, u.Host) {
			return errSpeaksPlain
		}
		return err
	}
	// In TLS 1.3 a server refuses our certificate only after the handshake.
	return readPreface(secure)
}

var (
	errBadEndpoint = errors.New("write it as https://HOST:2379")
	errWantsTLS    = errors.New("the server expects TLS")
	errSpeaksPlain = errors.New("the server does not use TLS")
)

// answersPlain tells whether a server that hung up on a TLS handshake speaks
// HTTP/2 in clear text.
func (c Config) answersPlain(ctx context.Context, host string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	return readPreface(conn) == nil
}

// answersTLS tells whether a server that does not speak HTTP/2 in clear text
// answers a TLS handshake, be it with an alert. One that hangs up on both may
// be a load balancer before an etcd that is down. Nothing is sent over the
// connection, so who answers does not matter.
func (c Config) answersTLS(ctx context.Context, host string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(c.DialTimeout))
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	var alert *net.OpError
	return err == nil || errors.As(err, &alert) && alert.Op == "remote error"
}

var errNotHTTP2 = errors.New("the server does not speak HTTP/2")

// readPreface opens an HTTP/2 connection and reads the server's first frame
// header, which must be SETTINGS (RFC 9113, 3.4). The error is errNotHTTP2 where
// the server answers something else or hangs up.
func readPreface(conn net.Conn) error {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	emptySettings := []byte{0, 0, 0, 4, 0, 0, 0, 0, 0}
	if _, err := conn.Write(append([]byte(preface), emptySettings...)); err != nil {
		return err
	}
	var header [9]byte
	for n := 0; n < len(header); {
		m, err := conn.Read(header[n:])
		n += m
		if err != nil && n < len(header) {
			if n > 0 || isHangUp(err) {
				return fmt.Errorf("%w (%w)", errNotHTTP2, err)
			}
			return err
		}
	}
	if header[3] != 4 {
		return errNotHTTP2
	}
	return nil
}

func isHangUp(err error) bool {
	var alert tls.AlertError
	var op *net.OpError
	if errors.As(err, &alert) || (errors.As(err, &op) && op.Op == "remote error") {
		return false
	}
	return !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err)
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// explain gives a connection error its remedy and exit code.
func (c Config) explain(err error) error {
	e := &remedy.Error{Op: "connect to " + c.Name, Err: err}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	text := err.Error()
	switch {
	case errors.As(err, &authority):
		e.Code, e.Remedy = remedy.Auth, "ca must be the authority that signed this server's certificate (kubeadm: /etc/kubernetes/pki/etcd/ca.crt of that cluster)"
	case errors.As(err, &host):
		e.Code, e.Remedy = remedy.Auth, "set serverName to a name in the server's certificate"
	case errors.As(err, &invalid):
		e.Code, e.Remedy = remedy.Auth, "renew that server's certificate (etcd's --cert-file), or the CA that signed it; nothing has to be restarted here"
	case errors.Is(err, errWantsTLS):
		e.Code, e.Remedy = remedy.Auth, "write the endpoint as https:// and set ca, cert and key"
	case errors.Is(err, errSpeaksPlain), errors.As(err, &record), strings.Contains(text, "first record does not look like a TLS handshake"):
		e.Code, e.Remedy = remedy.Auth, "the server speaks plain HTTP: write the endpoint as http://, or give etcd certificates"
	case strings.Contains(text, "remote error: tls:") && c.expired(time.Now()) != nil:
		e.Err = fmt.Errorf("%w (%w)", c.expired(time.Now()), err)
		e.Code, e.Remedy = remedy.Auth, "renew the certificate in "+remedy.Quote(c.Cert)+" and its key; both are read again without a restart"
	case strings.Contains(text, "remote error: tls:"):
		e.Code, e.Remedy = remedy.Auth, "the server refused our certificate: cert and key must be signed by the CA that etcd trusts (its --trusted-ca-file) and be valid now"
	case errors.Is(err, rpctypes.ErrAuthFailed), strings.Contains(text, "authentication failed"):
		e.Code, e.Remedy = remedy.Auth, "check username and passwordFile of this side"
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty), strings.Contains(text, "permission denied"):
		e.Code, e.Remedy = remedy.Auth, "this etcd asks for a user: set username and passwordFile, and grant the user the prefix"
	case errors.Is(err, errBadEndpoint):
		e.Code, e.Remedy = remedy.Usage, "correct etcd.endpoints of this side"
	default:
		e.Remedy = "is etcd running there, and does a firewall let us through? see also: understudy config view"
	}
	return e
}

// explain gives a request's error its remedy and exit code.
func (c *Cluster) explain(err error) error { return c.config.explain(err) }

// IsDenied reports whether etcd refused a request for want of permission.
func IsDenied(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrUserEmpty) ||
		errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrInvalidAuthToken)
}

// Denied gives a request that etcd refused for want of permission its remedy.
func Denied(op string, err error) error {
	return &remedy.Error{Op: op, Err: err, Code: remedy.Auth,
		Remedy: "etcd does not let this user do that: compare what its role grants with what docs/quickstart.md asks for, and check passwordFile"}
}
