package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/console"
)

// knockFor bounds one connection.
const knockFor = 5 * time.Second

func resolve(ctx context.Context, name string) console.Found[[]string] {
	if name == "" {
		return console.NotFound[[]string]("no name is set")
	}
	ctx, cancel := context.WithTimeout(ctx, knockFor)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	slices.Sort(addresses)
	return console.FoundIf(addresses, err)
}

// network knocks at a side's VIP.
func (g *preflight) network(ctx context.Context, side *console.PreflightSide) {
	if side.VIP == "" {
		side.Certificate = console.NotFound[console.CertificateFacts]("vip is not set")
		return
	}
	side.Ports = map[int]console.Found[bool]{}
	var mu sync.Mutex
	var done sync.WaitGroup
	for _, port := range g.ports() {
		done.Go(func() {
			found := console.FoundIf(true, knock(ctx, net.JoinHostPort(side.VIP, strconv.Itoa(port))))
			mu.Lock()
			defer mu.Unlock()
			side.Ports[port] = found
		})
	}
	name, names := g.askedFor(), slices.Clone(g.pair.Access.Names)
	if name == "" {
		name = concrete(side.Address, names)
	}
	for _, covered := range []string{g.pair.Access.Address, side.Address} {
		if covered != "" && covered != name {
			names = append(names, covered)
		}
	}
	if name == "" {
		side.Certificate = console.NotFound[console.CertificateFacts]("access.address is not set, or stands for no name that is known")
	} else {
		done.Go(func() {
			side.Certificate = console.FoundIf(certificate(ctx, net.JoinHostPort(side.VIP, g.httpsPort), name, names, g.roots))
		})
	}
	done.Wait()
}

// ports are those that both VIPs must take.
func (g *preflight) ports() []int {
	if len(g.pair.Access.Ports) > 0 {
		return g.pair.Access.Ports
	}
	return usualPorts
}

// askedFor is the host that stands for the access address.
func (g *preflight) askedFor() string { return concrete(g.pair.Access.Address, g.pair.Access.Names) }

// concrete is a name that can be asked for: a wildcard stands for the first of
// the others that is below it.
func concrete(name string, names []string) string {
	if !strings.HasPrefix(name, "*.") {
		return name
	}
	for _, other := range names {
		if !strings.HasPrefix(other, "*.") && console.Covers(name, other) {
			return other
		}
	}
	return ""
}

func knock(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: knockFor}).DialContext(ctx, "tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return err
	}
	return conn.Close()
}

// certificate asks a VIP as a client that follows the name does.
func certificate(ctx context.Context, address, name string, others []string, trusted func() (*x509.CertPool, error)) (c console.CertificateFacts, err error) {
	ctx, cancel := context.WithTimeout(ctx, knockFor)
	defer cancel()
	// What is wrong with the certificate is what we came for, so that the
	// handshake must not end over it.
	dialer := tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // verified below
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return c, err
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return c, errors.New("it shows no certificate")
	}
	leaf := chain[0]
	sum := sha256.Sum256(leaf.Raw)
	c = console.CertificateFacts{Digest: hex.EncodeToString(sum[:]), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
	for _, n := range append([]string{name}, others...) {
		if !inCertificate(leaf, n) {
			c.Uncovered = append(c.Uncovered, n)
		}
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	// At a time at which it is valid: that is judged by itself.
	at := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	roots, err := trusted()
	if err != nil {
		return c, err
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: at}); err != nil {
		c.Untrusted = err.Error()
	}
	c.NotAfter = lasts(leaf, chain[1:], roots, intermediates)
	return c, nil
}

// inCertificate reports whether a certificate is for a name; for *.example.com it
// has to say just that.
func inCertificate(leaf *x509.Certificate, name string) bool {
	if strings.HasPrefix(name, "*.") {
		return slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, name) })
	}
	return leaf.VerifyHostname(name) == nil
}

// lasts is until when a certificate is good: no longer than those that it hangs on.
func lasts(leaf *x509.Certificate, shown []*x509.Certificate, roots, intermediates *x509.CertPool) (until time.Time) {
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
	if err != nil { // not trusted here, or no longer: what was shown has to tell
		chains = [][]*x509.Certificate{{leaf}}
		for at := leaf; ; {
			var issuer *x509.Certificate
			for _, cert := range shown {
				if !slices.Contains(chains[0], cert) && at.CheckSignatureFrom(cert) == nil && (issuer == nil || cert.NotAfter.After(issuer.NotAfter)) {
					issuer = cert
				}
			}
			if issuer == nil {
				break
			}
			chains[0] = append(chains[0], issuer)
			at = issuer
		}
	}
	for _, chain := range chains {
		first := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
		if first.NotAfter.After(until) {
			until = first.NotAfter
		}
	}
	return until
}
