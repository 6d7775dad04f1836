package testkit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit/certs"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
)

// RegistryOptions say how an image registry is started.
type RegistryOptions struct {
	Storage   string    // directory; one of its own where it is ""
	TLS       *certs.CA // that signs its certificate; without it it speaks plain HTTP
	Hosts     []string  // names in the certificate
	Password  bool      // asks for the user RegistryUser and RegistryPassword
	TokenURL  string    // of the server whose tokens it asks for
	TokenRoot *certs.CA // that signs the token server's certificate
}

// Who may pull where a password is asked for. The hash is bcrypt's.
const (
	RegistryUser     = "puller"
	RegistryPassword = "right"
	registryHash     = "$2a$04$pRwhsYKA6hslj.FjvJf4ZOraHcZGgEI5lFiDHLBYsVFMT9zJeEPyi"
)

// Registry is Docker's distribution registry on a loopback port, which ends
// with the test.
type Registry struct {
	t    testing.TB
	port int
	opts RegistryOptions
}

// StartRegistry runs /usr/bin/docker-registry (Debian's docker-registry).
func StartRegistry(t testing.TB, opts RegistryOptions) *Registry {
	t.Helper()
	r := &Registry{t: t, opts: opts}
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Fatalf("%v; install it: make deps", err)
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if r.opts.Storage == "" {
		r.opts.Storage = in("storage")
	}
	ports, err := proc.Ports(1)
	r.must(err)
	r.port = ports[0]
	t.Cleanup(func() { proc.ReleasePorts(r.port) })
	config := map[string]any{"version": "0.1", "log": map[string]any{"accesslog": map[string]any{"disabled": true}},
		"storage": map[string]any{"filesystem": map[string]any{"rootdirectory": r.opts.Storage}}}
	serve := map[string]any{"addr": fmt.Sprintf("127.0.0.1:%d", r.port)}
	if opts.TLS != nil {
		cert, err := opts.TLS.Issue(certs.Leaf{CommonName: "registry", Hosts: opts.Hosts})
		r.must(err)
		r.must(cert.WriteFiles(in("tls.crt"), in("tls.key")))
		serve["tls"] = map[string]any{"certificate": in("tls.crt"), "key": in("tls.key")}
	}
	config["http"] = serve
	switch {
	case opts.Password:
		r.must(os.WriteFile(in("htpasswd"), []byte(RegistryUser+":"+registryHash+"\n"), 0o600))
		config["auth"] = map[string]any{"htpasswd": map[string]any{"realm": "test", "path": in("htpasswd")}}
	case opts.TokenURL != "":
		r.must(opts.TokenRoot.WriteFile(in("root.crt")))
		config["auth"] = map[string]any{"token": map[string]any{"realm": opts.TokenURL, "service": "registry", "issuer": "test", "rootcertbundle": in("root.crt")}}
	}
	text, err := json.Marshal(config) // which is YAML, too
	r.must(err)
	r.must(os.WriteFile(in("config.yml"), text, 0o600))
	p, err := proc.Start(proc.Spec{Path: path, Args: []string{"serve", in("config.yml")}, Log: in("registry.log")})
	r.must(err)
	t.Cleanup(p.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r.must(p.Until(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url("/v2/"), nil)
		if err != nil {
			return err
		}
		resp, err := r.client().Do(req)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}))
	return r
}

// Port is the one on 127.0.0.1 that it listens on.
func (r *Registry) Port() int { return r.port }

// Host is how images of this registry begin where it is reached directly.
func (r *Registry) Host() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

// Push stores an image that can be pulled for the architectures; more than one
// makes an index of them. It needs a registry that lets anybody write.
func (r *Registry) Push(repository, tag string, archs ...string) {
	r.t.Helper()
	const manifest, index = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
	var list []map[string]any
	for _, arch := range archs {
		image := fmt.Appendf(nil, `{"os":"linux","architecture":%q,"rootfs":{"type":"layers","diff_ids":[]}}`, arch)
		config := "sha256:" + sum(image)
		resp := r.send(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", nil, http.StatusAccepted)
		r.send(http.MethodPut, resp.Header.Get("Location")+"&digest="+config, "application/octet-stream", image, http.StatusCreated)
		raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifest, "layers": []any{},
			"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": len(image)}})
		r.must(err)
		digest := "sha256:" + sum(raw)
		at := digest
		if len(archs) == 1 {
			at = tag
		}
		r.send(http.MethodPut, "/v2/"+repository+"/manifests/"+at, manifest, raw, http.StatusCreated)
		list = append(list, map[string]any{"mediaType": manifest, "digest": digest, "size": len(raw),
			"platform": map[string]any{"os": "linux", "architecture": arch}})
	}
	if len(archs) == 1 {
		return
	}
	raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": index, "manifests": list})
	r.must(err)
	r.send(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, index, raw, http.StatusCreated)
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func (r *Registry) url(path string) string {
	scheme := "http"
	if r.opts.TLS != nil {
		scheme = "https"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d%s", scheme, r.port, path)
}

func (r *Registry) client() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	if r.opts.TLS != nil {
		transport.TLSClientConfig.RootCAs = r.opts.TLS.Pool()
		transport.TLSClientConfig.InsecureSkipVerify = true // its certificate is for another name
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func (r *Registry) send(method, path, kind string, body []byte, want int) *http.Response {
	r.t.Helper()
	if len(path) > 0 && path[0] == '/' {
		path = r.url(path)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, path, bytes.NewReader(body))
	r.must(err)
	req.Header.Set("Content-Type", kind)
	resp, err := r.client().Do(req)
	r.must(err)
	resp.Body.Close()
	if resp.StatusCode != want {
		r.t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	return resp
}

func (r *Registry) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("registry: %v", err)
	}
}
