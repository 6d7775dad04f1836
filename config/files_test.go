package config

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit/certs"
)

// One certificate of a file that is valid now is enough, and one that is torn too much.
func TestCheckCertificates(t *testing.T) {
	ca, err := certs.NewCA("etcd")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(lifetime time.Duration) string {
		cert, err := ca.Issue(certs.Leaf{CommonName: "client", Lifetime: lifetime})
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := cert.PEM()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	day, week := issue(24*time.Hour), issue(7*24*time.Hour)
	const torn = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	for name, tc := range map[string]struct {
		file string
		in   time.Duration
		want string
	}{
		"valid":                     {day, 0, ""},
		"expired":                   {day, 48 * time.Hour, "it has expired at"},
		"not yet valid":             {day, -365 * 24 * time.Hour, "it is not valid before"},
		"the first of two expired":  {day + week, 48 * time.Hour, ""},
		"the last of two expired":   {week + day, 48 * time.Hour, ""},
		"torn":                      {torn, 0, "x509"},
		"torn beside one that fits": {day + torn, 0, "x509"},
		"nothing in it":             {"", 0, "no whole certificate"},
		"a key instead":             {strings.ReplaceAll(day, "CERTIFICATE", "EC PRIVATE KEY"), 0, "no whole certificate"},
	} {
		err := checkCertificates([]byte(tc.file), time.Now().Add(tc.in))
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
