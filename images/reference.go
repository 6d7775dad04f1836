package images

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Reference is where an image lies.
type Reference struct {
	Host       string // of the registry, with its port where one is given
	Repository string
	Version    string // tag, or digest ("sha256:..."), which counts where both are given
}

// What a registry takes (OCI distribution spec 1.1, "Pulling manifests").
var (
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	digestPattern     = regexp.MustCompile(`^[a-z0-9]+([.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$`)
)

// Parse reads an image as a Pod names it: without a registry it is Docker Hub's,
// without a tag its "latest".
func Parse(image string) (Reference, error) {
	rest, digest, pinned := strings.Cut(image, "@")
	r := Reference{Host: dockerHub, Version: "latest"}
	if at := strings.LastIndex(rest, ":"); at > strings.LastIndex(rest, "/") {
		rest, r.Version = rest[:at], rest[at+1:]
	}
	r.Repository = rest
	if first, path, ok := strings.Cut(rest, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		r.Host, r.Repository = first, path
	}
	if Host(r.Host) == dockerHub && !strings.Contains(r.Repository, "/") {
		r.Repository = "library/" + r.Repository
	}
	r.Host = Host(r.Host)
	wrong := !repositoryPattern.MatchString(r.Repository) || !tagPattern.MatchString(r.Version)
	if pinned {
		r.Version = digest
		wrong = wrong || !digestPattern.MatchString(digest)
	}
	if wrong {
		return Reference{}, fmt.Errorf("%q: %w", image, errNoReference)
	}
	return r, nil
}

var errNoReference = errors.New("not the name of an image")

// dockerHub is how Docker Hub is called in names; its registry has another host.
const dockerHub = "docker.io"

// Host is the host of a registry as it stands in a Reference, whichever way it
// is written: with a scheme, a path, or by one of Docker Hub's other names.
func Host(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	s, _, _ = strings.Cut(s, "/")
	switch s {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return dockerHub
	}
	return s
}

// Matches reports whether credentials for a registry, written as in a
// dockerconfigjson ("https://index.docker.io/v1/", "*.example.com/team"), are
// for this image. Like kubelet's, a path is a prefix, and * stands for one label.
func (r Reference) Matches(registry string) bool {
	bare := strings.TrimPrefix(strings.TrimPrefix(registry, "https://"), "http://")
	_, path, _ := strings.Cut(bare, "/")
	path = strings.TrimSuffix(path, "/")
	if path != "" && path != "v1" && path != "v2" && r.Repository != path && !strings.HasPrefix(r.Repository, path+"/") {
		return false
	}
	want, have := strings.Split(Host(registry), "."), strings.Split(r.Host, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && want[i] != "*" {
			return false
		}
	}
	return true
}
