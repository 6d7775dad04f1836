package main

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/twin"
	"github.com/understudy-dr/understudy/verify"
)

// preflight finds out what console.JudgePreflight judges by.
type preflight struct {
	pair    *config.Pair
	view    *scope.View
	waiting waiting
	silence time.Duration // instead of that of verify.Attend, where not 0

	httpsPort, etcdPort, apiPort string // at the VIPs
}

func newPreflight(pair *config.Pair) (*preflight, error) {
	view, err := newView(pair)
	if err != nil {
		return nil, err
	}
	if err := wrongSkips(pair); err != nil {
		return nil, err
	}
	return &preflight{pair: pair, view: view, httpsPort: "443", etcdPort: "2379", apiPort: "6443"}, nil
}

// usualPorts are what an Alauda platform's load balancers pass on.
var usualPorts = []int{80, 443, 6443, 2379, 11443}

// facts asks everybody at once. It never fails: what could not be found out is
// left unknown, with the reason.
func (g *preflight) facts(ctx context.Context) console.PreflightFacts {
	access := g.pair.Access
	f := console.PreflightFacts{
		Now: time.Now(), Pair: g.pair.Metadata.Name, Prefix: g.pair.Sync.Prefix, Prefixes: g.view.Scope.Prefixes(),
		Primary: console.PreflightSide{Name: g.pair.Primary.Name, VIP: g.pair.Primary.VIP, EncryptionGiven: g.pair.Primary.Encryption != ""},
		Standby: console.PreflightSide{Name: g.pair.Standby.Name, VIP: g.pair.Standby.VIP, EncryptionGiven: g.pair.Standby.Encryption != ""},
		Address: access.Address, AskedFor: g.askedFor(), Names: access.Names, RegistrySecrets: access.RegistrySecrets, EqualSecrets: access.EqualSecrets,
		SameEncryption: g.pair.Primary.Encryption != "" && g.pair.Standby.Encryption != "" && g.view.Recoder.Same(),
		Skipped:        g.skipped(),
	}
	f.Primary.Address, f.Standby.Address = access.Addresses.Primary, access.Addresses.Standby
	sides := []struct {
		config config.Cluster
		facts  *console.PreflightSide
	}{{g.pair.Primary, &f.Primary}, {g.pair.Standby, &f.Standby}}
	var primary, standby *etcdSide
	var done sync.WaitGroup
	together := func(what string, ask func()) {
		done.Go(func() {
			defer g.waiting.on(what)()
			ask()
		})
	}
	together("the etcds", func() { primary, standby = g.etcds(ctx, &f) })
	together("the DNS", func() { f.Resolved = resolve(ctx, f.AskedFor) })
	if len(access.Checks) > 0 {
		together("access.checks", func() { f.Checks = g.ownChecks(ctx) })
	}
	for _, side := range sides {
		together("the API server of "+side.config.Name, func() { g.api(ctx, side.config, side.facts) })
		together("the VIP of "+side.config.Name, func() { g.network(ctx, side.facts) })
		together("the DNS", func() { side.facts.Resolved = resolve(ctx, concrete(side.facts.Address, access.Names)) })
	}
	done.Wait()
	revision := f.Primary.Revision // the rest of f is being written
	together("the API servers of "+g.pair.Standby.Name, func() { f.Standby.Floor = g.floor(ctx, revision) })
	together("who answers behind the VIPs", func() {
		g.behindVIP(ctx, g.pair.Primary, &f.Primary, primary.id, g.pair.Standby)
		g.behindVIP(ctx, g.pair.Standby, &f.Standby, standby.id, g.pair.Primary)
	})
	if _, skipped := f.Skipped["images"]; !skipped {
		together("registries", func() { f.Images = g.images(ctx, primary.survey, standby.survey, &f) })
	}
	done.Wait()
	return f
}

// floor asks the standby's API servers what floor verify asks them.
func (g *preflight) floor(ctx context.Context, revision console.Found[kv.Revision]) console.Found[console.FloorFacts] {
	var r floorReport
	r.ask(ctx, g.pair, g.view, console.Facts{Primary: console.Side{Reachable: revision.Known, Revision: revision.Value}})
	if r.Unasked != "" {
		return console.NotFound[console.FloorFacts](r.Unasked)
	}
	var out console.FloorFacts
	for _, s := range r.APIServers {
		switch s.Answer {
		case kube.Expired:
			out.Expired = append(out.Expired, s.Address)
		case kube.Accepted:
			out.Accepted = append(out.Accepted, s.Address)
		default:
			out.Unasked = append(out.Unasked, s.Address)
		}
	}
	return console.FoundIf(out, nil)
}

// etcds reads all keys of both sides, or of the one that answers.
func (g *preflight) etcds(whole context.Context, f *console.PreflightFacts) (p, s *etcdSide) {
	p = &etcdSide{preflight: g, config: g.pair.Primary, facts: &f.Primary, primary: true, look: g.view.InPrimary, plain: g.view.Recoder.PlainOfPrimary, recode: g.view.Recoder.Recode}
	s = &etcdSide{preflight: g, config: g.pair.Standby, facts: &f.Standby, look: g.view.InStandby, plain: g.view.Recoder.PlainOfStandby}
	var done sync.WaitGroup
	done.Go(func() { p.dial(whole) })
	done.Go(func() { s.dial(whole) })
	done.Wait()
	done.Go(func() { p.members(whole) })
	done.Go(func() { s.members(whole) })
	done.Wait()
	p.link(whole) // one after the other, so that they do not share the way
	s.link(whole)
	ctx, end := g.attend(whole, p, s)
	defer end()
	for _, side := range []*etcdSide{p, s} {
		done.Go(func() {
			side.health(ctx, s.cluster) // first: it may leave a member out
			side.open(ctx)
		})
	}
	done.Wait()
	defer p.close()
	defer s.close()
	only := console.OnlyFacts{Primary: map[string]int64{}, Standby: map[string]int64{}, Replaced: map[string]int64{}}
	var left leftOut
	var of, with kv.Stream = nothing{}, nothing{}
	if p.cursor != nil {
		of = p.cursor
	}
	if s.cursor != nil {
		with = s.cursor
	}
	there := map[string]bool{}
	err := kv.Join(of, with, func(a, b *kv.Pair) error {
		g.seen(there, cmp.Or(a, b).Key)
		left.note(g.view, a, b)
		inA, ofA := p.tally(a)
		inB, ofB := s.tally(b)
		switch {
		case inA && b != nil, inB && a != nil:
			only.Both++
			if g.view.Twin(a.Key, ofA, ofB) {
				only.Replaced[g.resource(a.Key)]++
			}
		case inA:
			only.Primary[g.resource(a.Key)]++
		case inB:
			only.Standby[g.resource(b.Key)]++
		}
		return ctx.Err()
	})
	if cause := context.Cause(ctx); cause != nil {
		err = errors.New(cause.Error()) // which side it was, where oneLine would say "in time"
	}
	p.conclude(err)
	s.conclude(err)
	bounded, cancel := context.WithTimeout(whole, lookPatience) // one of them may be silent
	defer cancel()
	f.Standby.Guard = s.guard(bounded)
	f.Primary.Outside = p.outside(bounded)
	f.LeftOut = console.FoundIf(left.facts(), errors.Join(err, p.err, s.err))
	if s.err == nil { // otherwise other lines say that the standby cannot be read
		if stands, err := readStandstill(bounded, s.cluster.Client, describer(g.view)); err == nil {
			f.Standstill = stands
		}
	}
	f.Same = p.err == nil && s.err == nil && p.id.ID == s.id.ID
	done.Go(func() { f.Primary.Role = p.role(bounded, s.id) })
	done.Go(func() { f.Standby.Role = s.role(bounded, p.id) })
	done.Wait()
	f.Operators = console.NotFound[[]console.OperatorFacts]("both etcds are needed")
	if p.err == nil && s.err == nil && !f.Same {
		f.Operators = console.FoundIf(findOperators(whole, g.pair, g.view, p.cluster.Client, s.cluster.Client))
	}
	named := namedResources(g.pair)
	f.Named, f.Unmatched = len(named), console.FoundIf(lostPatterns(named, there), errors.Join(err, p.err, s.err))
	switch {
	case err != nil:
		f.Only = console.FoundIf(only, err)
	case p.err != nil:
		f.Only = console.NotFound[console.OnlyFacts](oneLine(p.err))
	case s.err != nil:
		f.Only = console.NotFound[console.OnlyFacts](oneLine(s.err))
	case f.Same:
		f.Only = console.NotFound[console.OnlyFacts]("both sides are the same etcd cluster")
	default:
		f.Only = console.FoundIf(only, nil)
	}
	f.Swapped = console.NotFound[console.SwappedFacts](f.Only.Why)
	if f.Only.Known {
		what, here, there := twin.Swapped(f.Primary.InScope.Value, f.Standby.InScope.Value)
		f.Swapped = console.FoundIf(console.SwappedFacts{What: what, Primary: here, Standby: there}, nil)
	}
	return p, s
}

// attend ends the context once one of the sides that are read falls silent.
func (g *preflight) attend(ctx context.Context, p, s *etcdSide) (context.Context, func()) {
	read := map[string]*clientv3.Client{}
	for name, side := range map[string]*etcdSide{"primary": p, "standby": s} {
		if side.err == nil {
			read[name] = side.cluster.Client
		}
	}
	return verify.Attend(ctx, g.silence, g.view.Scope.Prefix(), read)
}

func (g *preflight) resource(key string) string {
	if k, ok := g.view.Scope.Parse(key); ok {
		return k.GroupResource()
	}
	return "other keys"
}

// seen notes the resource of a key, and that which a CRD defines.
func (g *preflight) seen(there map[string]bool, key string) {
	k, ok := g.view.Scope.Parse(key)
	if !ok {
		return
	}
	resource := k.GroupResource()
	there[resource] = true
	if resource == "customresourcedefinitions.apiextensions.k8s.io" {
		there[k.Name] = true
	}
}

// nothing is the stream of a side that does not answer.
type nothing struct{}

func (nothing) Next() (kv.Pair, bool, error) { return kv.Pair{}, false, nil }
