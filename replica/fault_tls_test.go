package replica_test

import (
	"os"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/certs"
	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
)

// secured is a pair whose primary demands client certificates and stands
// behind a proxy that can make the replica connect anew.
func secured(t *testing.T, options ...testkit.EtcdOption) (*pair, *faultproxy.Proxy) {
	t.Helper()
	p := newPair(t, options...)
	proxy, url := p.primary.Proxy(0)
	files := p.primary.Files()
	p.config.Primary = cluster.Config{Name: "primary", Endpoints: []string{url}, CA: files.CA, Cert: files.Cert, Key: files.Key}
	return p, proxy
}

// until waits for a moment.
func until(t *testing.T, moment time.Time) {
	t.Helper()
	select {
	case <-time.After(time.Until(moment)):
	case <-t.Context().Done():
	}
}

// Fault 36: client certificates of 5 seconds are renewed in place. The replica
// reads them again for every connection, and notices nothing.
func TestShortCertificatesAreReloadedInPlace(t *testing.T) {
	slow(t)
	t.Parallel()
	p, proxy := secured(t, testkit.ClientLifetime(5*time.Second))
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	l := p.load(t)
	began := time.Now()
	for round := range 3 {
		until(t, began.Add(time.Duration(round+1)*3*time.Second))
		p.primary.ReissueClient(5 * time.Second)
		accepted := proxy.Accepted()
		proxy.Reset()
		testkit.Eventually(t, 10*time.Second, "a new connection", func() (bool, string) { return proxy.Accepted() > accepted, "" })
		d.wait(t, "streaming", func(s replica.State) bool { return streaming(s) && s.Lag.Known })
		if s := d.State(); s.Err != nil {
			t.Errorf("round %d: %v", round, s.Err)
		}
		p.reach(t, revision(t, p.primary.Client()))
	}
	p.judge(t, l)
}

// Fault 36: the certificate expires. That is said by name; with a new one in
// its place the replica goes on by itself.
func TestExpiredCertificateIsNamedAndResumed(t *testing.T) {
	slow(t)
	t.Parallel()
	for name, tc := range map[string]struct {
		option  testkit.EtcdOption
		reissue func(*testkit.Etcd)
	}{
		"client": {testkit.ClientLifetime(4 * time.Second), func(e *testkit.Etcd) { e.ReissueClient(time.Hour) }},
		"server": {testkit.ServerLifetime(4 * time.Second), func(e *testkit.Etcd) { e.ReissueServer(time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issued := time.Now()
			p, proxy := secured(t, tc.option)
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			l := p.load(t)
			until(t, issued.Add(6*time.Second))
			proxy.Reset()
			s := d.wait(t, "the replica to halt", func(s replica.State) bool { return s.Phase == replica.Halted })
			if remedy.CodeOf(s.Err) != remedy.Auth || remedy.Of(s.Err) == "" {
				t.Errorf("halted with %v (code %d)", s.Err, remedy.CodeOf(s.Err))
			}
			t.Log(s.Err, "|", remedy.Of(s.Err))
			tc.reissue(p.primary)
			d.wait(t, "streaming", streaming)
			p.judge(t, l)
		})
	}
}

// Fault 36: the authority changes. A server whose certificate the old CA file
// does not cover is refused by name, and accepted when the file is replaced.
func TestChangedAuthorityIsNamedAndResumed(t *testing.T) {
	slow(t)
	t.Parallel()
	p, proxy := secured(t, testkit.TLS())
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	l := p.load(t)

	right, err := os.ReadFile(p.config.Primary.CA)
	must(t, err)
	other, err := certs.NewCA("other")
	must(t, err)
	wrong := other.PEM()
	ca := p.config.Primary.CA
	must(t, os.WriteFile(ca+".new", wrong, 0o600))
	must(t, os.Rename(ca+".new", ca))
	proxy.Reset()
	s := d.wait(t, "the replica to halt", func(s replica.State) bool { return s.Phase == replica.Halted })
	if remedy.CodeOf(s.Err) != remedy.Auth || remedy.Of(s.Err) == "" {
		t.Errorf("halted with %v (code %d)", s.Err, remedy.CodeOf(s.Err))
	}
	// Both in one file, as in a rotation.
	must(t, os.WriteFile(ca+".new", append(wrong, right...), 0o600))
	must(t, os.Rename(ca+".new", ca))
	d.wait(t, "streaming", streaming)
	p.judge(t, l)
}
