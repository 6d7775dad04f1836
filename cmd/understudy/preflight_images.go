package main

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/images"
)

// pullSecret is what a Secret of the type kubernetes.io/dockerconfigjson holds.
type pullSecret struct {
	auths map[string]images.Auth // by registry, as it is written there
	err   error                  // why it cannot be read
}

func readPullSecret(raw []byte) pullSecret {
	var file struct {
		Auths map[string]struct {
			Username string `json:"username"`
			Password string `json:"password"`
			Auth     string `json:"auth"` // both, where they are not given by themselves
			Token    string `json:"identitytoken"`
		} `json:"auths"`
	}
	if json.Unmarshal(raw, &file) != nil { // its text may show the password
		return pullSecret{err: errors.New("it is no docker configuration")}
	}
	p := pullSecret{auths: map[string]images.Auth{}}
	for registry, a := range file.Auths {
		one := images.Auth{Username: a.Username, Password: a.Password}
		if a.Auth != "" && one == (images.Auth{}) {
			both, err := base64.StdEncoding.DecodeString(a.Auth)
			if err != nil {
				return pullSecret{err: fmt.Errorf("auth of %s is not base64", registry)}
			}
			one.Username, one.Password, _ = strings.Cut(string(both), ":")
		}
		if a.Token != "" && one.Password == "" {
			one.Password = a.Token
		}
		p.auths[registry] = one
	}
	return p
}

// facts are what may be shown of it.
func (p pullSecret) facts() []console.Credential {
	if p.err != nil {
		return []console.Credential{{Lacks: p.err.Error()}}
	}
	var out []console.Credential
	for _, registry := range slices.Sorted(maps.Keys(p.auths)) {
		one := console.Credential{Registry: registry}
		switch a := p.auths[registry]; {
		case a == images.Auth{}:
			one.Lacks = "user and password"
		case a.Username == "":
			one.Lacks = "user"
		case a.Password == "":
			one.Lacks = "password"
		}
		out = append(out, one)
	}
	return out
}

const (
	// mostImages are asked for. Registries count, and nobody reads a longer list.
	mostImages = 300
	// askersOfImages ask at a time, and all of them for so long.
	askersOfImages = 6
	imagePatience  = 90 * time.Second
)

// images asks for the images of all workloads in scope where the standby would
// pull them: with the credentials that it has, or will have from the primary,
// and what the access address leads to at its own VIP.
func (g *preflight) images(ctx context.Context, primary, standby *survey, f *console.PreflightFacts) console.Found[[]console.ImageFacts] {
	workloads := f.Primary.Workloads
	if !workloads.Known {
		workloads = f.Standby.Workloads
	}
	if !workloads.Known {
		return console.NotFound[[]console.ImageFacts](workloads.Why)
	}
	roots, err := g.roots()
	if err != nil {
		return console.NotFound[[]console.ImageFacts](err.Error())
	}
	wanted := map[string]*console.ImageFacts{}
	auths := map[string][]images.Auth{}
	for _, w := range workloads.Value {
		if !w.InScope {
			continue
		}
		for _, image := range w.Images {
			one := wanted[image]
			if one == nil {
				one = &console.ImageFacts{Image: image, Example: fmt.Sprintf("%s %s/%s", w.Kind, w.Namespace, w.Name)}
				wanted[image] = one
			}
			one.Workloads++
			auths[image] = append(auths[image], authsOf(w, image, standby, primary)...)
		}
	}
	names := slices.Sorted(maps.Keys(wanted))
	ctx, cancel := context.WithTimeout(ctx, imagePatience)
	defer cancel()
	client := images.New(roots, g.dialStandby)
	work := make(chan string)
	var done sync.WaitGroup
	for range askersOfImages {
		done.Go(func() {
			for name := range work {
				askFor(ctx, client, wanted[name], auths[name])
			}
		})
	}
	for i, name := range names {
		if i >= mostImages {
			wanted[name].Unknown = fmt.Sprintf("more than %d images", mostImages)
			continue
		}
		work <- name
	}
	close(work)
	done.Wait()
	var out []console.ImageFacts
	for _, name := range names {
		out = append(out, *wanted[name])
	}
	return console.FoundIf(out, nil)
}

func askFor(ctx context.Context, client *images.Client, one *console.ImageFacts, auths []images.Auth) {
	reference, err := images.Parse(one.Image)
	if err == nil {
		one.Registry = reference.Host
		slices.SortFunc(auths, func(a, b images.Auth) int {
			return strings.Compare(a.Username+"\x00"+a.Password, b.Username+"\x00"+b.Password)
		})
		var platforms []string
		platforms, err = client.Platforms(ctx, reference, slices.Compact(auths))
		for _, p := range platforms {
			if arch, ok := strings.CutPrefix(p, "linux/"); ok {
				one.Archs = append(one.Archs, arch)
			}
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, images.ErrMissing), errors.Is(err, images.ErrDenied):
		one.Lost, one.Denied = err.Error(), errors.Is(err, images.ErrDenied)
	default:
		one.Unknown = oneLine(err)
	}
}

// authsOf are the credentials for an image of a workload: those that it names,
// and those of its ServiceAccount.
func authsOf(w console.WorkloadFacts, image string, sides ...*survey) (out []images.Auth) {
	reference, err := images.Parse(image)
	if err != nil {
		return nil
	}
	named := slices.Clone(w.PullSecrets)
	for _, side := range sides {
		named = append(named, side.accounts[w.Account]...)
	}
	slices.Sort(named)
	for _, name := range slices.Compact(named) {
		for _, side := range sides {
			secret, there := side.credentials[name]
			if !there {
				continue
			}
			for registry, auth := range secret.auths {
				if reference.Matches(registry) {
					out = append(out, auth)
				}
			}
			break // the standby's own counts where it has one
		}
	}
	return out
}

// roots are the authorities that vouch for registries and the like.
func (g *preflight) roots() (*x509.CertPool, error) {
	if g.pair.Access.CA == "" {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	raw, err := os.ReadFile(g.pair.Access.CA)
	if err != nil {
		return nil, fmt.Errorf("access.ca: %w", err)
	}
	if !roots.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("access.ca: %s holds no certificate", g.pair.Access.CA)
	}
	return roots, nil
}

// dialStandby connects as a client does once the standby serves: the name that
// leads to the pair leads to its VIP then.
func (g *preflight) dialStandby(ctx context.Context, network, address string) (net.Conn, error) {
	return g.dialAt(g.pair.Standby.VIP, g.pair.Access.Addresses.Standby)(ctx, network, address)
}

// dialAt connects to a side's VIP where a name of the pair, or of the side, is asked for.
func (g *preflight) dialAt(vip, own string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err == nil && vip != "" && (console.Covers(g.pair.Access.Address, host) || console.Covers(own, host)) {
			address = net.JoinHostPort(vip, port)
		}
		return (&net.Dialer{Timeout: knockFor}).DialContext(ctx, network, address)
	}
}
