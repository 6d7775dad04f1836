// Package images asks image registries whether an image can be pulled, and for
// which platforms.
//
// It speaks the OCI distribution API, pulls no layer, writes nothing, and
// retries nothing: every question is bounded in time, and an answer other than
// yes is an error that errors.Is tells apart. Passwords go to the registry that
// they are for, or to the token server that it names, and only by TLS or to this
// machine.
package images

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Why an image cannot be pulled.
var (
	ErrMissing = errors.New("it is not there")
	ErrDenied  = errors.New("the registry does not let us pull it")
)

// Auth are credentials for one registry. The zero Auth is nobody.
type Auth struct{ Username, Password string }

// patience bounds what is asked for one image.
const patience = 20 * time.Second

// largest is the most that one answer may be: a manifest has a few KiB.
const largest = 4 << 20

// Client asks registries.
type Client struct{ http *http.Client }

// New trusts the roots (nil = the system's). dial reaches a host, "host:port", in
// another way than by its name; nil dials as usual.
func New(roots *x509.CertPool, dial func(ctx context.Context, network, address string) (net.Conn, error)) *Client {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return &Client{&http.Client{CheckRedirect: onlySafe, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial, TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}}}
}

// onlySafe follows no redirect to where a password could be read on the way.
func onlySafe(req *http.Request, via []*http.Request) error {
	if req.URL.Scheme != "https" && !isLocal(req.URL.Host) || len(via) > 5 {
		return fmt.Errorf("a redirect to %s://%s, which is not followed", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// Platforms are those that an image can be pulled for, as "linux/arm64"; nil of
// Docker Hub, where reading a manifest counts as a pull and only asking whether
// it is there does not. Any of the credentials may open the registry, and so may
// none.
func (c *Client) Platforms(ctx context.Context, r Reference, auths []Auth) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	why := ErrDenied
	for _, auth := range append(auths[:len(auths):len(auths)], Auth{}) {
		platforms, err := (&asker{client: c, reference: r, auth: auth}).platforms(ctx)
		switch {
		case errors.Is(err, ErrDenied):
		case errors.Is(err, ErrMissing):
			why = err // others may see more
		default:
			return platforms, err
		}
	}
	return nil, why
}

// asker asks for one image with one set of credentials.
type asker struct {
	client    *Client
	reference Reference
	auth      Auth
	header    string // Authorization, once the registry has said which it wants
}

// What a manifest may be; the first two are lists of manifests.
const (
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	dockerList  = "application/vnd.docker.distribution.manifest.list.v2+json"
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	dockerImage = "application/vnd.docker.distribution.manifest.v2+json"
)

const manifests = ociIndex + ", " + dockerList + ", " + ociManifest + ", " + dockerImage

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

func (p platform) String() string { return p.OS + "/" + p.Architecture }

func (a *asker) platforms(ctx context.Context) ([]string, error) {
	var manifest struct {
		Manifests []struct {
			Platform platform `json:"platform"`
		} `json:"manifests"`
		Config struct {
			Digest string `json:"digest"`
		} `json:"config"`
	}
	if a.reference.Host == dockerHub {
		return nil, a.ask(ctx, http.MethodHead, "manifests/"+a.reference.Version, manifests, nil)
	}
	if err := a.ask(ctx, http.MethodGet, "manifests/"+a.reference.Version, manifests, &manifest); err != nil {
		return nil, err
	}
	var out []string
	for _, m := range manifest.Manifests {
		if m.Platform.OS != "unknown" { // attestations
			out = append(out, m.Platform.String())
		}
	}
	if manifest.Config.Digest == "" {
		return out, nil
	}
	var image platform // of a single manifest
	err := a.ask(ctx, http.MethodGet, "blobs/"+manifest.Config.Digest, "*/*", &image)
	return []string{image.String()}, err
}

func (a *asker) ask(ctx context.Context, method, path, accept string, into any) error {
	resp, err := a.send(ctx, method, path, accept)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && a.header == "" {
		challenge := resp.Header.Values("WWW-Authenticate")
		resp.Body.Close()
		if a.header, err = a.authorize(ctx, challenge); err == nil {
			resp, err = a.send(ctx, method, path, accept)
		}
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return ErrMissing
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrDenied
	default:
		return fmt.Errorf("%s answers %s", a.reference.Host, resp.Status)
	}
	if into == nil {
		return nil
	}
	return decode(resp.Body, into)
}

func decode(body io.Reader, into any) error {
	raw, err := io.ReadAll(io.LimitReader(body, largest))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("an answer that is no registry's: %w", err)
	}
	return nil
}

func (a *asker) send(ctx context.Context, method, path, accept string) (*http.Response, error) {
	host := a.reference.Host
	if host == dockerHub {
		host = "registry-1.docker.io"
	}
	scheme := "https"
	if isLocal(host) {
		scheme = "http" // as container runtimes do for this machine
	}
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("%s://%s/v2/%s/%s", scheme, host, a.reference.Repository, path), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if a.header != "" {
		req.Header.Set("Authorization", a.header)
	}
	resp, err := a.client.http.Do(req)
	return resp, short(err)
}

// short leaves the URL out, which says nothing new.
func short(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

var challengeWord = regexp.MustCompile(`([a-z]+)="([^"]*)"`)

// authorize gives the header that a registry has asked for: by password, or by a
// token that is fetched with one.
func (a *asker) authorize(ctx context.Context, challenges []string) (string, error) {
	for _, challenge := range challenges {
		kind, words, _ := strings.Cut(challenge, " ")
		switch strings.ToLower(kind) {
		case "basic":
			if a.auth == (Auth{}) {
				return "", ErrDenied
			}
			req := http.Request{Header: http.Header{}}
			req.SetBasicAuth(a.auth.Username, a.auth.Password)
			return req.Header.Get("Authorization"), nil
		case "bearer":
			given := map[string]string{}
			for _, m := range challengeWord.FindAllStringSubmatch(words, -1) {
				given[m[1]] = m[2]
			}
			token, err := a.token(ctx, given["realm"], given["service"])
			return "Bearer " + token, err
		}
	}
	return "", fmt.Errorf("%s asks for an authentication that is not known here", a.reference.Host)
}

// token asks the token server that the registry names (distribution's token
// specification).
func (a *asker) token(ctx context.Context, realm, service string) (string, error) {
	u, err := url.Parse(realm)
	if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && isLocal(u.Host)) {
		return "", fmt.Errorf("%s names %q as its token server, which gets no password from us", a.reference.Host, realm)
	}
	query := u.Query()
	query.Set("service", service)
	query.Set("scope", "repository:"+a.reference.Repository+":pull")
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	if a.auth != (Auth{}) {
		req.SetBasicAuth(a.auth.Username, a.auth.Password)
	}
	resp, err := a.client.http.Do(req)
	if err != nil {
		return "", short(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return "", ErrDenied
	default:
		return "", fmt.Errorf("the token server of %s answers %s", a.reference.Host, resp.Status)
	}
	var answer struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	if err := decode(resp.Body, &answer); err != nil {
		return "", err
	}
	if answer.Token == "" {
		answer.Token = answer.Access
	}
	return answer.Token, nil
}
