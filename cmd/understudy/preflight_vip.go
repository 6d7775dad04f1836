package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kube"
)

// behindVIP asks who answers behind a side's VIP. That a port takes connections
// says nothing about whose it is.
func (g *preflight) behindVIP(ctx context.Context, side config.Cluster, facts *console.PreflightSide, id cluster.Identity, other config.Cluster) {
	if side.VIP == "" {
		return
	}
	facts.VIPAsked = map[string]bool{"etcd": g.passesOn(g.etcdPort), "API server": g.passesOn(g.apiPort),
		"redirect": g.passesOn(g.httpsPort) && g.askedFor() != ""}
	var done sync.WaitGroup
	if facts.VIPAsked["etcd"] {
		done.Go(func() { facts.VIPEtcd = g.etcdAtVIP(ctx, side, id, other) })
	}
	if facts.VIPAsked["API server"] {
		done.Go(func() { facts.VIPAPI = g.apiAtVIP(ctx, side, facts) })
	}
	if facts.VIPAsked["redirect"] {
		done.Go(func() {
			facts.VIPRedirect = console.FoundIf(redirect(ctx, side.VIP, g.httpsPort))
		})
	}
	done.Wait()
}

// passesOn reports whether a VIP is to take a port.
func (g *preflight) passesOn(port string) bool {
	n, err := strconv.Atoi(port)
	return err == nil && slices.Contains(g.ports(), n)
}

func (g *preflight) etcdAtVIP(ctx context.Context, side config.Cluster, id cluster.Identity, other config.Cluster) console.Found[console.Behind] {
	if id.ID == 0 {
		return console.NotFound[console.Behind]("its etcd was not reached otherwise either")
	}
	address := net.JoinHostPort(side.VIP, g.etcdPort)
	at := clusterConfig(side)
	if strings.HasPrefix(at.Endpoints[0], "https://") {
		chain, err := shownBy(ctx, address)
		if err != nil {
			return console.NotFound[console.Behind](err.Error())
		}
		leaf := chain[0]
		if !signedBy(chain, at.CA) && other.Etcd.CA != "" && signedBy(chain, other.Etcd.CA) {
			return console.FoundIf(console.Behind{Wrong: "the etcd of " + other.Name}, nil)
		}
		if !signedBy(chain, at.CA) {
			return console.FoundIf(console.Behind{EndsTLS: true, Whose: leaf.Subject.CommonName}, nil)
		}
		at.ServerName = nameIn(leaf, at.ServerName)
		at.Endpoints = []string{"https://" + address}
	} else {
		at.Endpoints = []string{"http://" + address}
	}
	there, err := cluster.Dial(ctx, at)
	if err != nil {
		return console.NotFound[console.Behind](oneLine(err))
	}
	defer there.Close()
	got, err := there.Identify(ctx, g.view.Scope.Prefix())
	if err == nil && got.ID != id.ID {
		return console.FoundIf(console.Behind{Wrong: fmt.Sprintf("etcd cluster %s, not %s", cluster.FormatID(got.ID), cluster.FormatID(id.ID))}, nil)
	}
	return console.FoundIf(console.Behind{}, err)
}

// shownBy is the certificate that an address shows, whoever signed it, with what
// it hangs on.
func shownBy(ctx context.Context, address string) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, knockFor)
	defer cancel()
	// Which certificate it is, is the question.
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}} //nolint:gosec // nothing is sent
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil, errors.New("it shows no certificate")
	}
	return chain, nil
}

// signedBy reports whether an authority signed a certificate, whatever names and
// dates are in it. Without a file the system's authorities decide, elsewhere.
func signedBy(chain []*x509.Certificate, caFile string) bool {
	if caFile == "" {
		return true
	}
	raw, err := os.ReadFile(caFile)
	if err != nil {
		return true // other lines say so
	}
	// By its signature alone: an authority that was renewed is younger than what
	// it has signed before.
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		authority, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		for at, cert := range chain {
			if cert.CheckSignatureFrom(authority) == nil {
				return true
			}
			if at+1 == len(chain) || cert.CheckSignatureFrom(chain[at+1]) != nil {
				break
			}
		}
	}
	return false
}

// nameIn is a name that the certificates of all members are likely to have, since
// nobody knows to which of them the VIP leads next.
func nameIn(leaf *x509.Certificate, configured string) string {
	candidates := append([]string{configured, "localhost", "127.0.0.1"}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		candidates = append(candidates, ip.String())
	}
	for _, name := range candidates {
		if name != "" && leaf.VerifyHostname(name) == nil {
			return name
		}
	}
	return configured
}

func (g *preflight) apiAtVIP(ctx context.Context, side config.Cluster, facts *console.PreflightSide) console.Found[console.Behind] {
	if !facts.OwnAPI.Known || facts.OwnAPI.Value != "" {
		return console.NotFound[console.Behind]("its API server was not reached otherwise either")
	}
	own, err := kube.Open(side.Kubeconfig)
	if err != nil {
		return console.NotFound[console.Behind](oneLine(err))
	}
	there, err := own.At(net.JoinHostPort(side.VIP, g.apiPort))
	if err != nil {
		return console.NotFound[console.Behind](oneLine(err))
	}
	before, err1 := own.Identify(ctx)
	seen, err2 := there.Identify(ctx)
	after, err3 := own.Identify(ctx)
	var authority x509.UnknownAuthorityError
	if errors.As(err2, &authority) {
		return console.FoundIf(console.Behind{EndsTLS: true, Whose: authority.Cert.Subject.CommonName}, nil)
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return console.NotFound[console.Behind](oneLine(err))
	}
	whose := notOf(etcdIdentity{uid: before.UID, before: before.Revision, after: after.Revision}, seen, side.Name)
	return console.FoundIf(console.Behind{Wrong: strings.ReplaceAll(whose, "is another", "an API server that is another")}, nil)
}

// redirect is the host that the platform at a VIP sends a client to who came by
// the VIP itself; "" = none.
func redirect(ctx context.Context, vip, port string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, knockFor)
	defer cancel()
	host := vip
	if port != "443" {
		host = net.JoinHostPort(vip, port)
	} else if strings.Contains(vip, ":") {
		host = "[" + vip + "]"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/", nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// The certificate is for the name, and another check looks at it.
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}} //nolint:gosec // nothing is sent
	resp, err := client.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return "", err
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if errors.Is(err, http.ErrNoLocation) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if console.Covers(vip, to.Hostname()) { // however an IPv6 address is written
		return "", nil
	}
	return to.Hostname(), nil
}
