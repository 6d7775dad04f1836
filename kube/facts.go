package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// page is how many objects one answer holds.
const page = 500

// list reads all objects of a collection, a page at a time.
func list[T any](ctx context.Context, a *API, path, selector string) ([]T, error) {
	var out []T
	for next := ""; ; {
		query := url.Values{"limit": {fmt.Sprint(page)}}
		if next != "" {
			query.Set("continue", next)
		}
		var answer struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []T `json:"items"`
		}
		if err := a.read(ctx, path+"?"+query.Encode()+selector, &answer); err != nil {
			return nil, err
		}
		out = append(out, answer.Items...)
		if next = answer.Metadata.Continue; next == "" {
			return out, nil
		}
	}
}

type meta struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (m meta) String() string { return strings.TrimPrefix(m.Namespace+"/"+m.Name, "/") }

// Version is the version of the API server, "v1.36.3".
func (a *API) Version(ctx context.Context) (string, error) {
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := a.read(ctx, "/version", &v); err != nil {
		return "", err
	}
	if v.GitVersion == "" {
		return "", errors.New("GET /version: the answer does not say")
	}
	return v.GitVersion, nil
}

// ErrNoPods means that the API servers do not run as Pods of their own cluster.
var ErrNoPods = errors.New("no kube-apiserver Pods in kube-system")

// ServerFlags are the flags of each API server that runs as a Pod in
// kube-system (as kubeadm's static Pods do), by the Pod's name, without the
// leading dashes.
func (a *API) ServerFlags(ctx context.Context) (map[string]map[string]string, error) {
	type pod struct {
		Metadata meta `json:"metadata"`
		Spec     struct {
			Containers []struct {
				Command []string `json:"command"`
				Args    []string `json:"args"`
			} `json:"containers"`
		} `json:"spec"`
	}
	pods, err := list[pod](ctx, a, "/api/v1/namespaces/kube-system/pods", "&labelSelector="+url.QueryEscape("component=kube-apiserver"))
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]string{}
	for _, p := range pods {
		flags := map[string]string{}
		for _, c := range p.Spec.Containers {
			maps.Copy(flags, flagsOf(slices.Concat(c.Command, c.Args)))
		}
		if len(flags) > 0 {
			out[p.Metadata.Name] = flags
		}
	}
	if len(out) == 0 {
		return nil, ErrNoPods
	}
	return out, nil
}

// flagsOf are the flags of a command line, without the leading dashes. A server
// takes no words of its own, so one that follows a flag without = is its value.
func flagsOf(words []string) map[string]string {
	flags := map[string]string{}
	for i, word := range words {
		name, value, given := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case !strings.HasPrefix(word, "-") || name == "":
			continue
		case given:
		case i+1 < len(words) && !strings.HasPrefix(words[i+1], "-"):
			value = words[i+1]
		default:
			value = "true"
		}
		flags[name] = value
	}
	return flags
}

// Signers are what the API server accepts ServiceAccount tokens by: the issuer
// and the public keys, in a form that two clusters can be compared by.
func (a *API) Signers(ctx context.Context) (issuer string, keys []string, err error) {
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	if err := a.read(ctx, "/.well-known/openid-configuration", &discovery); err != nil {
		return "", nil, err
	}
	var set struct {
		Keys []struct {
			Kty string `json:"kty"`
			N   string `json:"n"`
			E   string `json:"e"`
			Crv string `json:"crv"`
			X   string `json:"x"`
			Y   string `json:"y"`
		} `json:"keys"`
	}
	if err := a.read(ctx, "/openid/v1/jwks", &set); err != nil {
		return "", nil, err
	}
	if discovery.Issuer == "" || len(set.Keys) == 0 {
		return "", nil, errors.New("the API server names no issuer or no keys")
	}
	for _, k := range set.Keys {
		sum := sha256.Sum256(fmt.Append(nil, k.Kty, " ", k.N, " ", k.E, " ", k.Crv, " ", k.X, " ", k.Y))
		keys = append(keys, hex.EncodeToString(sum[:8]))
	}
	slices.Sort(keys)
	return discovery.Issuer, slices.Compact(keys), nil
}

// CRD is what a CustomResourceDefinition serves and has stored.
type CRD struct {
	Served, Stored []string // versions
}

// CRDs are all CustomResourceDefinitions by name.
func (a *API) CRDs(ctx context.Context) (map[string]CRD, error) {
	type crd struct {
		Metadata meta `json:"metadata"`
		Spec     struct {
			Versions []struct {
				Name   string `json:"name"`
				Served bool   `json:"served"`
			} `json:"versions"`
		} `json:"spec"`
		Status struct {
			Stored []string `json:"storedVersions"`
		} `json:"status"`
	}
	items, err := list[crd](ctx, a, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "")
	if err != nil {
		return nil, err
	}
	out := map[string]CRD{}
	for _, c := range items {
		one := CRD{Stored: c.Status.Stored}
		for _, v := range c.Spec.Versions {
			if v.Served {
				one.Served = append(one.Served, v.Name)
			}
		}
		slices.Sort(one.Served)
		slices.Sort(one.Stored)
		out[c.Metadata.Name] = one
	}
	return out, nil
}

// ServiceCIDRs are the ranges that ClusterIPs come from: by the ServiceCIDR
// objects, which API servers before 1.33 do not have.
func (a *API) ServiceCIDRs(ctx context.Context) ([]string, error) {
	type cidr struct {
		Spec struct {
			CIDRs []string `json:"cidrs"`
		} `json:"spec"`
	}
	items, err := list[cidr](ctx, a, "/apis/networking.k8s.io/v1/servicecidrs", "")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range items {
		out = append(out, c.Spec.CIDRs...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// ClusterIPs are those of all Services, by namespace/name.
func (a *API) ClusterIPs(ctx context.Context) (map[string][]string, error) {
	type service struct {
		Metadata meta `json:"metadata"`
		Spec     struct {
			ClusterIPs []string `json:"clusterIPs"`
		} `json:"spec"`
	}
	items, err := list[service](ctx, a, "/api/v1/services", "")
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, s := range items {
		for _, ip := range s.Spec.ClusterIPs {
			if ip != "None" && ip != "" {
				out[s.Metadata.String()] = append(out[s.Metadata.String()], ip)
			}
		}
	}
	return out, nil
}

// PullSecrets are the Secrets with registry credentials, by namespace/name,
// each with a digest of what it holds.
func (a *API) PullSecrets(ctx context.Context) (map[string]string, error) {
	type secret struct {
		Metadata meta              `json:"metadata"`
		Data     map[string]string `json:"data"`
	}
	items, err := list[secret](ctx, a, "/api/v1/secrets", "&fieldSelector="+url.QueryEscape("type=kubernetes.io/dockerconfigjson"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, s := range items {
		raw, err := json.Marshal(s.Data)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(raw)
		out[s.Metadata.String()] = hex.EncodeToString(sum[:8])
	}
	return out, nil
}

// UsedPullSecrets are the registry credentials that ServiceAccounts name, by
// namespace/name.
func (a *API) UsedPullSecrets(ctx context.Context) ([]string, error) {
	type account struct {
		Metadata meta   `json:"metadata"`
		Secrets  []meta `json:"imagePullSecrets"`
	}
	items, err := list[account](ctx, a, "/api/v1/serviceaccounts", "")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range items {
		for _, used := range s.Secrets {
			out = append(out, s.Metadata.Namespace+"/"+used.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
