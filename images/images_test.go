package images

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/certs"
)

func TestParse(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for image, want := range map[string]Reference{
		"nginx":                              {"docker.io", "library/nginx", "latest"},
		"grafana/grafana:12":                 {"docker.io", "grafana/grafana", "12"},
		"index.docker.io/a/b":                {"docker.io", "a/b", "latest"},
		"localhost/a":                        {"localhost", "a", "latest"},
		"registry.example.com:5000/a/b/c:v1": {"registry.example.com:5000", "a/b/c", "v1"},
		"registry.example.com:5000/a":        {"registry.example.com:5000", "a", "latest"},
		"quay.io/a/b:v1@" + digest:           {"quay.io", "a/b", digest},
		"quay.io/a/b@" + digest:              {"quay.io", "a/b", digest},
		"":                                   {},
		"a:":                                 {},
		"quay.io/A/b":                        {},
		"quay.io/a/../b":                     {},
		"quay.io/a@sha256":                   {},
	} {
		got, err := Parse(image)
		if got != want || (err != nil) != (want == Reference{}) {
			t.Errorf("%q: %+v, %v", image, got, err)
		}
	}
}

func TestCredentialsMatchAsKubeletHasIt(t *testing.T) {
	for registry, want := range map[string]bool{
		"registry.example.com": true, "https://registry.example.com": true, "https://registry.example.com/v2/": true,
		"registry.example.com/team": true, "registry.example.com/team/": true, "registry.example.com/te": false,
		"*.example.com": true, "*.com": false, "example.com": false, "registry.example.com:5000": false, "": false,
	} {
		if got := (Reference{"registry.example.com", "team/app", "v1"}).Matches(registry); got != want {
			t.Errorf("%q: %t", registry, got)
		}
	}
	if !(Reference{"docker.io", "library/nginx", "1"}).Matches("https://index.docker.io/v1/") {
		t.Error("Docker Hub is not known by its other name")
	}
}

// What a real registry says of images that are there, that are not, and that it
// does not show.
func TestPlatformsOfARealRegistry(t *testing.T) {
	dir := t.TempDir()
	open := testkit.StartRegistry(t, testkit.RegistryOptions{Storage: dir})
	open.Push("team/both", "v1", "amd64", "arm64")
	open.Push("team/one", "v1", "arm64")
	ca, err := certs.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	issuer := tokenServer(t, ca)
	byName := testkit.StartRegistry(t, testkit.RegistryOptions{Storage: dir, TLS: ca, Hosts: []string{"platform.example.com"}, Password: true})
	registries := map[string]*testkit.Registry{"open": open,
		"password": testkit.StartRegistry(t, testkit.RegistryOptions{Storage: dir, Password: true}),
		"token":    testkit.StartRegistry(t, testkit.RegistryOptions{Storage: dir, TokenURL: issuer.URL, TokenRoot: ca})}
	right, wrong := Auth{testkit.RegistryUser, testkit.RegistryPassword}, Auth{testkit.RegistryUser, "wrong"}
	for name, tc := range map[string]struct {
		registry, image string
		auths           []Auth
		want            string
		err             error
	}{
		"an index":             {"open", "team/both:v1", nil, "linux/amd64 linux/arm64", nil},
		"one manifest":         {"open", "team/one:v1", nil, "linux/arm64", nil},
		"no such tag":          {"open", "team/one:v2", nil, "", ErrMissing},
		"no such repository":   {"open", "team/none:v1", nil, "", ErrMissing},
		"a password":           {"password", "team/one:v1", []Auth{right}, "linux/arm64", nil},
		"the second password":  {"password", "team/one:v1", []Auth{wrong, right}, "linux/arm64", nil},
		"a wrong password":     {"password", "team/one:v1", []Auth{wrong}, "", ErrDenied},
		"no password":          {"password", "team/one:v1", nil, "", ErrDenied},
		"missing, by password": {"password", "team/one:v2", []Auth{right}, "", ErrMissing},
		"a token":              {"token", "team/both:v1", []Auth{right}, "linux/amd64 linux/arm64", nil},
		"no token":             {"token", "team/both:v1", []Auth{wrong}, "", ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Parse(registries[tc.registry].Host() + "/" + tc.image)
			if err != nil {
				t.Fatal(err)
			}
			got, err := New(nil, nil).Platforms(t.Context(), r, tc.auths)
			slices.Sort(got)
			if strings.Join(got, " ") != tc.want || !errors.Is(err, tc.err) || tc.err == nil && err != nil {
				t.Errorf("%v, %v", got, err)
			}
		})
	}

	t.Run("by a name that leads elsewhere", func(t *testing.T) {
		r, err := Parse("platform.example.com/team/one:v1")
		if err != nil {
			t.Fatal(err)
		}
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "platform.example.com:443" {
				t.Errorf("%s is called", address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, byName.Host())
		}
		if got, err := New(ca.Pool(), dial).Platforms(t.Context(), r, []Auth{right}); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
		if _, err := New(nil, dial).Platforms(t.Context(), r, []Auth{right}); err == nil || errors.Is(err, ErrDenied) {
			t.Errorf("a certificate that nobody vouches for: %v", err)
		}
	})
}

// A password goes by TLS, or not at all.
func TestNoPasswordInClear(t *testing.T) {
	a := &asker{client: New(nil, nil), reference: Reference{"registry.example.com", "a", "v1"}, auth: Auth{"a", "b"}}
	if _, err := a.token(t.Context(), "http://auth.example.com/token", "registry"); err == nil || !strings.Contains(err.Error(), "gets no password") {
		t.Errorf("%v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://registry.example.com/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if onlySafe(req, nil) == nil {
		t.Error("a redirect to plain HTTP is followed")
	}
}

// tokenServer gives whoever knows the password the tokens that the registry
// demands, which checks their signature.
func tokenServer(t *testing.T, ca *certs.CA) *httptest.Server {
	t.Helper()
	leaf, err := ca.Issue(certs.Leaf{CommonName: "tokens"})
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := leaf.PEM()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != testkit.RegistryUser || password != testkit.RegistryPassword {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		kind, rest, _ := strings.Cut(r.URL.Query().Get("scope"), ":")
		name, action, _ := strings.Cut(rest, ":")
		now := time.Now().Unix()
		fmt.Fprintf(w, `{"token":%q}`, sign(t, pair, map[string]any{"iss": "test", "aud": r.URL.Query().Get("service"), "sub": user, "jti": "1",
			"iat": now - 5, "nbf": now - 5, "exp": now + 60, "access": []any{map[string]any{"type": kind, "name": name, "actions": []string{action}}}}))
	}))
	t.Cleanup(server.Close)
	return server
}

// sign makes a JSON web token with its certificate in the header.
func sign(t *testing.T, pair tls.Certificate, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	text := part(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(pair.Certificate[0])}}) + "." + part(claims)
	hash := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, pair.PrivateKey.(*ecdsa.PrivateKey), hash[:])
	if err != nil {
		t.Error(err)
	}
	signature := append(fill(r), fill(s)...)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func fill(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
