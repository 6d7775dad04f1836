package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
	"github.com/understudy-dr/understudy/verify"
)

// preflight finds out what console.JudgePreflight judges by.
type preflight struct {
	pair      *config.Pair
	view      *scope.View
	httpsPort string
	silence   time.Duration // instead of that of verify.Attend, where not 0
}

// usualPorts are what an Alauda platform's load balancers pass on.
var usualPorts = []int{80, 443, 6443, 2379, 11443}

// facts asks everybody at once. It never fails: what could not be found out is
// left unknown, with the reason.
func (g *preflight) facts(ctx context.Context) console.PreflightFacts {
	f := console.PreflightFacts{
		Now: time.Now(), Pair: g.pair.Metadata.Name, Prefix: g.pair.Sync.Prefix,
		Primary: console.PreflightSide{Name: g.pair.Primary.Name, VIP: g.pair.Primary.VIP, EncryptionGiven: g.pair.Primary.Encryption != ""},
		Standby: console.PreflightSide{Name: g.pair.Standby.Name, VIP: g.pair.Standby.VIP, EncryptionGiven: g.pair.Standby.Encryption != ""},
		Address: g.pair.Access.Address, Names: g.pair.Access.Names, RegistrySecrets: g.pair.Access.RegistrySecrets,
		SameEncryption: g.pair.Primary.Encryption != "" && g.pair.Standby.Encryption != "" && g.view.Recoder.Same(),
	}
	var done sync.WaitGroup
	done.Go(func() { g.etcds(ctx, &f) })
	done.Go(func() { f.Resolved = resolve(ctx, f.Address) })
	for _, side := range []struct {
		config config.Cluster
		facts  *console.PreflightSide
	}{{g.pair.Primary, &f.Primary}, {g.pair.Standby, &f.Standby}} {
		done.Go(func() { g.api(ctx, side.config, side.facts) })
		done.Go(func() { g.network(ctx, side.facts) })
	}
	done.Wait()
	f.Standby.Floor = g.floor(ctx, f)
	return f
}

// floor asks the standby's API servers what floor verify asks them.
func (g *preflight) floor(ctx context.Context, f console.PreflightFacts) console.Found[console.FloorFacts] {
	var r floorReport
	r.ask(ctx, g.pair, g.view, console.Facts{Primary: console.Side{Reachable: f.Primary.Revision.Known, Revision: f.Primary.Revision.Value}})
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

// api asks a side's API server.
func (g *preflight) api(ctx context.Context, config config.Cluster, side *console.PreflightSide) {
	var api *kube.API
	err := errors.New("kubeconfig is not set")
	if config.Kubeconfig != "" {
		api, err = kube.Open(config.Kubeconfig)
	}
	side.OwnAPI = console.NotFound[string](fmt.Sprint(err))
	if err == nil {
		side.APIAddress = api.Address()
		side.OwnAPI, err = g.ownAPI(ctx, config, api)
	}
	if err != nil {
		why := oneLine(err)
		side.Kubernetes, side.Flags = console.NotFound[string](why), console.NotFound[map[string]map[string]string](why)
		side.Signers, side.CRDs = console.NotFound[console.SignerFacts](why), console.NotFound[map[string]console.CRDFacts](why)
		side.CIDRs, side.ClusterIPs = console.NotFound[[]string](why), console.NotFound[map[string]console.ServiceFacts](why)
		side.PullSecrets, side.UsedSecrets = console.NotFound[map[string]string](why), console.NotFound[[]string](why)
		return
	}
	side.Kubernetes = console.FoundIf(api.Version(ctx))
	side.Flags = console.FoundIf(api.ServerFlags(ctx))
	issuer, keys, err := api.Signers(ctx)
	side.Signers = console.FoundIf(console.SignerFacts{Issuer: issuer, Keys: keys}, err)
	crds, err := api.CRDs(ctx)
	versions := map[string]console.CRDFacts{}
	for name, crd := range crds {
		versions[name] = console.CRDFacts(crd)
	}
	side.CRDs = console.FoundIf(versions, err)
	ranges, err := api.ServiceCIDRs(ctx)
	if apierrors.IsNotFound(err) { // before Kubernetes 1.33 only the flags tell
		ranges, err = serviceRanges(side.Flags)
	}
	side.CIDRs = console.FoundIf(ranges, err)
	ips, err := api.ClusterIPs(ctx)
	services := map[string]console.ServiceFacts{}
	for name, one := range ips {
		key := registry.ResourcePrefix(g.view.Scope.RegistryPrefix(), "services") + name
		services[name] = console.ServiceFacts{IPs: one, InScope: g.view.Scope.Key(key) != scope.Out}
	}
	side.ClusterIPs = console.FoundIf(services, err)
	side.PullSecrets = console.FoundIf(api.PullSecrets(ctx))
	side.UsedSecrets = console.FoundIf(api.UsedPullSecrets(ctx))
}

func serviceRanges(flags console.Found[map[string]map[string]string]) ([]string, error) {
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

// etcds reads all keys of both sides, or of the one that answers.
func (g *preflight) etcds(whole context.Context, f *console.PreflightFacts) {
	p := &etcdSide{preflight: g, config: g.pair.Primary, facts: &f.Primary, look: g.view.InPrimary, plain: g.view.Recoder.PlainOfPrimary, recode: g.view.Recoder.Recode}
	s := &etcdSide{preflight: g, config: g.pair.Standby, facts: &f.Standby, look: g.view.InStandby, plain: g.view.Recoder.PlainOfStandby}
	var done sync.WaitGroup
	done.Go(func() { p.dial(whole) })
	done.Go(func() { s.dial(whole) })
	done.Wait()
	ctx, end := g.attend(whole, p, s)
	defer end()
	done.Go(func() { p.open(ctx) })
	done.Go(func() { s.open(ctx) })
	done.Wait()
	defer p.close()
	defer s.close()
	only := console.OnlyFacts{Primary: map[string]int64{}, Standby: map[string]int64{}, Replaced: map[string]int64{}}
	var left, right kv.Stream = nothing{}, nothing{}
	if p.cursor != nil {
		left = p.cursor
	}
	if s.cursor != nil {
		right = s.cursor
	}
	there := map[string]bool{}
	err := kv.Join(left, right, func(a, b *kv.Pair) error {
		g.seen(there, cmp.Or(a, b).Key)
		inA, uidA := p.tally(a)
		inB, uidB := s.tally(b)
		switch {
		case inA && b != nil, inB && a != nil:
			only.Both++
			if uidA != "" && uidB != "" && uidA != uidB {
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
	if s.err == nil { // otherwise other lines say that the standby cannot be read
		if stands, err := readStandstill(bounded, s.cluster.Client, describer(g.view)); err == nil {
			f.Standstill = stands
		}
	}
	f.Same = p.err == nil && s.err == nil && p.id.ID == s.id.ID
	done.Go(func() { f.Primary.Role = p.role(bounded, s.id) })
	done.Go(func() { f.Standby.Role = s.role(bounded, p.id) })
	done.Wait()
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
	if k, ok := registry.ParseKey(g.view.Scope.RegistryPrefix(), key); ok {
		return k.GroupResource()
	}
	return "other keys"
}

// seen notes the resource of a key, and that which a CRD defines.
func (g *preflight) seen(there map[string]bool, key string) {
	k, ok := registry.ParseKey(g.view.Scope.RegistryPrefix(), key)
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

// etcdSide is one etcd while it is read.
type etcdSide struct {
	preflight *preflight
	config    config.Cluster
	facts     *console.PreflightSide
	look      func(key string, stored []byte) (scope.Object, error)
	plain     func(groupResource, key string, stored []byte) ([]byte, error)
	recode    func(groupResource, key string, stored []byte) (out, plain []byte, err error) // nil for the standby

	cluster *cluster.Cluster
	id      cluster.Identity
	cursor  *source.Cursor
	err     error

	keys      int64
	encrypted map[string]*console.EncryptedValues
}

func (e *etcdSide) dial(ctx context.Context) {
	e.encrypted = map[string]*console.EncryptedValues{}
	if e.cluster, e.err = dial(ctx, e.config); e.err == nil {
		e.id, e.err = e.cluster.Identify(ctx, e.preflight.view.Scope.Prefix())
	}
}

func (e *etcdSide) open(ctx context.Context) {
	if e.err == nil {
		begin, end := e.preflight.view.Range()
		e.cursor, e.err = source.Open(ctx, e.cluster.Client, begin, end, 0)
	}
}

// role is what the cluster says it is, and whether the peer may be replicated
// into it. An etcd that was not reached says nothing.
func (e *etcdSide) role(ctx context.Context, peer cluster.Identity) console.Found[console.RoleFacts] {
	if e.cursor == nil {
		return console.NotFound[console.RoleFacts](oneLine(e.err))
	}
	state, err := role.Read(ctx, e.cluster.Client)
	facts := console.RoleFacts{Standby: state.Role == role.Standby, Pair: state.Pair}
	if refused := state.AcceptsReplication(cluster.FormatID(peer.ID)); refused != nil && peer.ID != 0 {
		facts.Refuses = oneLine(errors.Unwrap(refused))
	}
	return console.FoundIf(facts, err)
}

// guard asks whether the daemon may watch the cluster.
func (e *etcdSide) guard(ctx context.Context) console.Found[console.Refusal] {
	if e.err != nil {
		return console.NotFound[console.Refusal](oneLine(e.err))
	}
	err := replica.MayWatch(ctx, e.cluster.Client, e.preflight.view, e.id.Revision)
	if remedy.CodeOf(err) == remedy.Auth {
		return console.FoundIf(console.Refusal{Why: oneLine(err), Remedy: remedy.Of(err)}, nil)
	}
	return console.FoundIf(console.Refusal{}, err)
}

func (e *etcdSide) close() {
	if e.cursor != nil {
		e.cursor.Close()
	}
	if e.cluster != nil {
		e.cluster.Close()
	}
}

// tally counts a key and tells whether it is in scope, and which object it is.
func (e *etcdSide) tally(p *kv.Pair) (in bool, uid string) {
	if p == nil {
		return false, ""
	}
	e.keys++
	object, err := e.look(p.Key, p.Value)
	in = object.In || err != nil && e.preflight.view.Scope.Key(p.Key) != scope.Out // what cannot be read is there all the same
	prefix := encryptionPrefix(p.Value)
	if prefix == "" || !in && !e.facts.EncryptionGiven { // what is out of scope proves the key as well
		return in, object.Meta.UID
	}
	v := e.encrypted[prefix]
	if v == nil {
		v = &console.EncryptedValues{Prefix: prefix, Read: console.Found[bool]{Known: e.facts.EncryptionGiven, Value: true}}
		e.encrypted[prefix] = v
	}
	v.Count++
	resource := e.preflight.resource(p.Key)
	if e.facts.EncryptionGiven {
		if _, err := e.plain(resource, p.Key, p.Value); err != nil { // two keys may have one name
			v.Unread++
			v.Read.Value, v.Read.Why = false, oneLine(err)
			return in, object.Meta.UID
		}
	}
	if in && e.recode != nil {
		switch out, _, err := e.recode(resource, p.Key, p.Value); {
		case err != nil:
			v.Refused++
			v.Why = oneLine(err)
		case encryptionPrefix(out) == "":
			v.Clear++
		}
	}
	return in, object.Meta.UID
}

// encryptionPrefix is "k8s:enc:aescbc:v1:key1:" of a value that begins so.
func encryptionPrefix(stored []byte) string {
	const mark = "k8s:enc:"
	head := string(stored[:min(len(stored), 300)])
	if !strings.HasPrefix(head, mark) {
		return ""
	}
	parts := strings.SplitN(head, ":", 6)
	if len(parts) < 6 {
		return mark
	}
	return strings.Join(parts[:5], ":") + ":"
}

// conclude writes down what was read; err is that of reading both.
func (e *etcdSide) conclude(err error) {
	if e.err != nil || err != nil {
		why := oneLine(errors.Join(e.err, err))
		e.facts.Revision, e.facts.Etcd = console.NotFound[kv.Revision](why), console.NotFound[string](why)
		e.facts.Keys, e.facts.Encrypted = console.NotFound[int64](why), console.NotFound[[]console.EncryptedValues](why)
		return
	}
	e.facts.Revision = console.FoundIf(e.id.Revision, nil)
	e.facts.Etcd = console.Found[string]{Value: e.id.Version, Known: e.id.Version != "", Why: "no member says its version"}
	e.facts.Keys = console.FoundIf(e.keys, nil)
	var values []console.EncryptedValues
	for _, v := range e.encrypted {
		values = append(values, *v)
	}
	slices.SortFunc(values, func(a, b console.EncryptedValues) int { return strings.Compare(a.Prefix, b.Prefix) })
	e.facts.Encrypted = console.FoundIf(values, nil)
}
