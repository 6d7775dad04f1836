package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/certs"
)

// That a port of a VIP takes connections does not say whose it is: another
// cluster's, or a balancer's that ends TLS.
func TestWhoseEtcdIsBehindTheVIP(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real etcds")
	}
	side := func(name string, e *testkit.Etcd) config.Cluster {
		files := e.Files()
		return config.Cluster{Name: name, VIP: "127.0.0.1", Etcd: config.Etcd{Endpoints: e.Endpoints(), CA: files.CA, Cert: files.Cert, Key: files.Key}}
	}
	moscow := side("moscow", testkit.StartEtcd(t, testkit.TLS()))
	spb := side("spb", testkit.StartEtcd(t, testkit.TLS()))
	port := func(c config.Cluster) string {
		u, err := url.Parse(c.Etcd.Endpoints[0])
		if err != nil {
			t.Fatal(err)
		}
		return u.Port()
	}
	ca, err := certs.NewCA("balancer")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(certs.Leaf{CommonName: "haproxy"})
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := leaf.PEM()
	if err != nil {
		t.Fatal(err)
	}
	shown, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, free, _ := net.SplitHostPort(closed.Addr().String())
	closed.Close()

	pair := &config.Pair{Primary: moscow, Standby: spb}
	pair.Sync.Prefix, pair.Sync.Profile = "/registry/", "management-cluster"
	view, err := newKeyView(pair)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := dial(t.Context(), spb)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	id, err := opened.Identify(t.Context(), "/registry/")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		port string
		want console.Found[console.Behind]
	}{
		"its own":          {port(spb), console.FoundIf(console.Behind{}, nil)},
		"the other side's": {port(moscow), console.FoundIf(console.Behind{Wrong: "the etcd of moscow"}, nil)},
		"a balancer's":     {listenTLS(t, "127.0.0.1:0", shown), console.FoundIf(console.Behind{EndsTLS: true, Whose: "haproxy"}, nil)},
		"nobody's at all":  {free, console.NotFound[console.Behind]("refused")},
	} {
		t.Run(name, func(t *testing.T) {
			g := &preflight{pair: pair, view: view, etcdPort: tc.port}
			got := g.etcdAtVIP(t.Context(), spb, id, moscow)
			if got.Value != tc.want.Value || got.Known != tc.want.Known || !strings.Contains(got.Why, tc.want.Why) {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

// A platform that sends clients to its own address again keeps them, however the
// address is written.
func TestRedirectToTheVIPItself(t *testing.T) {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatalf("this machine has no ::1, so IPv6 cannot be tested here; see: sysctl net.ipv6.conf.lo.disable_ipv6: %v", err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://[0:0::1]/console", http.StatusFound)
	}))
	server.Listener.Close()
	server.Listener = listener
	server.StartTLS()
	defer server.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if to, err := redirect(t.Context(), "::1", port); to != "" || err != nil {
		t.Errorf("it sends to %q, %v; want nowhere else", to, err)
	}
}
