package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// asked is the answer to a question, or why there is nobody to put it to.
func asked[T any](nobody error, question func() (T, error)) console.Found[T] {
	if nobody != nil {
		return console.NotFound[T](oneLine(nobody))
	}
	return console.FoundIf(question())
}

// api asks a side's API server. Nothing else is asked of one that is another
// cluster's.
func (g *preflight) api(ctx context.Context, config config.Cluster, side *console.PreflightSide) {
	var api *kube.API
	nobody := errors.New("kubeconfig is not set")
	if config.Kubeconfig != "" {
		api, nobody = kube.Open(config.Kubeconfig)
	}
	side.OwnAPI = console.NotFound[string](fmt.Sprint(nobody))
	if nobody == nil {
		side.APIAddress = api.Address()
		side.OwnAPI, nobody = g.ownAPI(ctx, config, api)
	}
	var done sync.WaitGroup // one that hangs costs its patience once
	done.Go(func() {
		side.Kubernetes = asked(nobody, func() (string, error) { return api.Version(ctx) })
		side.Clock = asked(nobody, func() (console.ClockFacts, error) {
			clock, err := api.Clock(ctx)
			return console.ClockFacts(clock), err
		})
	})
	done.Go(func() {
		side.Flags = asked(nobody, func() (map[string]map[string]string, error) { return api.ServerFlags(ctx) })
		side.CIDRs = asked(nobody, func() ([]string, error) { return serviceRanges(ctx, api, side.Flags) })
	})
	done.Go(func() {
		side.Signers = asked(nobody, func() (f console.SignerFacts, err error) {
			f.Issuer, f.Keys, err = api.Signers(ctx)
			return f, err
		})
	})
	done.Go(func() {
		side.CRDs = asked(nobody, func() (map[string]console.CRDFacts, error) { return crdFacts(ctx, api) })
	})
	done.Go(func() {
		side.ClusterIPs = asked(nobody, func() (map[string]console.ServiceFacts, error) { return g.services(ctx, api) })
	})
	done.Go(func() {
		side.PullSecrets = asked(nobody, func() (map[string]string, error) { return api.PullSecrets(ctx) })
		side.UsedSecrets = asked(nobody, func() ([]string, error) { return api.UsedPullSecrets(ctx) })
	})
	done.Wait()
}

func crdFacts(ctx context.Context, api *kube.API) (map[string]console.CRDFacts, error) {
	crds, err := api.CRDs(ctx)
	versions := map[string]console.CRDFacts{}
	for name, crd := range crds {
		versions[name] = console.CRDFacts(crd)
	}
	return versions, err
}

func (g *preflight) services(ctx context.Context, api *kube.API) (map[string]console.ServiceFacts, error) {
	ips, err := api.ClusterIPs(ctx)
	services := map[string]console.ServiceFacts{}
	for name, one := range ips {
		key := registry.ResourcePrefix(g.view.Scope.RegistryPrefix(), "services") + name
		services[name] = console.ServiceFacts{IPs: one, InScope: g.view.Scope.Key(key) != scope.Out}
	}
	return services, err
}

// serviceRanges are the service CIDRs. Before Kubernetes 1.33 only the flags tell.
func serviceRanges(ctx context.Context, api *kube.API, flags console.Found[map[string]map[string]string]) ([]string, error) {
	ranges, err := api.ServiceCIDRs(ctx)
	if !apierrors.IsNotFound(err) {
		return ranges, err
	}
	var out []string
	for _, one := range flags.Value {
		if v := one["service-cluster-ip-range"]; v != "" {
			out = append(out, strings.Split(v, ",")...)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("it has no ServiceCIDR objects, and its flags are not known")
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
