package verify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// simulator is the pure part of a simulation: it is given every key of the
// standby once, and concludes. Of an object it keeps the metadata that the
// conclusions need, about 300 bytes; bodies are read of the few kinds that say
// how the API server works, and not kept.
type simulator struct {
	scope    *scope.Scope
	standby  *registry.Encryption
	recoder  *registry.Recoder // of standby with itself: tells what nobody can read
	findings *findings

	objects    []record
	resources  map[groupResource]*resource
	names      map[string]string // interned kinds
	replicated int64

	definitions   map[string]*crd // by "plural.group"
	byKind        map[schema.GroupKind]*crd
	groupVersions map[schema.GroupVersion]bool // that an APIService announces
	aggregated    map[schema.GroupVersion]bool // those that a backend of an APIService serves
	services      map[string]*service          // by namespace/name
	endpoints     map[string]bool              // with a ready address, by namespace/name of the Service
	callers       []caller                     // in the order of their keys, per problem
	addresses     []address
	balancers     []balancer
	volumes       []volume
	policies      map[policyName]*policy
	placed        []placed
	schedulers    map[string]bool // that have placed Pods of the standby's own
	ranges        ranges
}

type groupResource struct{ group, plural string }

// resource is what all objects of one resource share.
type resource struct {
	group, plural, name string // name is "plural.group"
	custom              bool
	namespaced          bool // one of its objects has a namespace
	aggregated          bool // a backend of an APIService serves it
	plainUnread         bool // the standby's API servers cannot read a plain value
	definition          *crd
}

// record is what is kept of a stored object.
type record struct {
	key        string
	resource   *resource
	kind       string // as it says itself; "" where it could not be read
	version    string // of its apiVersion
	group      string
	uid        string
	owners     []registry.Owner
	finalizers []string // of one that is being deleted
	in         bool     // in scope
	deleting   bool
	orphans    bool // leaves its dependents alone when it is deleted
	doomed     bool // is or would be deleted; see collect
}

func newSimulator(s *scope.Scope, standby *registry.Encryption, limit int) *simulator {
	return &simulator{
		scope: s, standby: standby, recoder: registry.NewRecoder(standby, standby),
		findings: newFindings(limit), resources: map[groupResource]*resource{}, names: map[string]string{},
		definitions: map[string]*crd{}, byKind: map[schema.GroupKind]*crd{},
		groupVersions: map[schema.GroupVersion]bool{}, aggregated: map[schema.GroupVersion]bool{}, services: map[string]*service{}, endpoints: map[string]bool{},
		schedulers: map[string]bool{},
	}
}

// add looks at one key, and at the original where the object is held: what is
// said of an object is said of what a release puts there. Keys come in ascending
// order.
func (s *simulator) add(p kv.Pair, original *kv.Pair) {
	key, ok := s.scope.Parse(p.Key)
	if !ok {
		return
	}
	r := s.resource(key)
	r.namespaced = r.namespaced || key.Namespace != ""
	o := record{key: p.Key, resource: r}
	object := s.see(r, p)
	v := object
	o.in = s.inScope(key, p.Key, v.meta, v.plain)
	if original != nil {
		v = s.judged(&o, object, original)
	}
	o.in = s.inScope(key, p.Key, v.meta, v.plain)
	if v.readable() {
		o.take(v.meta, s.intern)
		if err := s.readBody(key, &o, v.plain); err != nil {
			broken := v
			broken.err = err
			s.noteRead(&o, p, broken, v.original)
		}
	}
	if o.in {
		s.replicated++
	}
	s.objects = append(s.objects, o)
	s.noteRead(&o, p, object, false)
}

// provider is how an encrypted value begins: "k8s:enc:aescbc:v1:key1".
func provider(stored []byte) string {
	parts := bytes.SplitN(stored[:min(len(stored), 256)], []byte(":"), 6)
	return strings.ToValidUTF8(string(bytes.Join(parts[:min(len(parts), 5)], []byte(":"))), "?")
}

// read decrypts as the standby's API servers would; nil without an error for
// what nobody here can read.
func (s *simulator) read(r *resource, p kv.Pair) ([]byte, error) {
	if s.recoder.Opaque(r.name, p.Value) {
		return nil, nil
	}
	plain, err := s.standby.Decrypt(r.name, p.Key, p.Value)
	if err == nil && r.plainUnread && bytes.Equal(plain, p.Value) {
		err = fmt.Errorf("%w: it is stored in plain text, and identity is not among the providers for %s", registry.ErrNoKey, r.name)
	}
	return plain, err
}

// inScope decides as the copy does. An unreadable object has no metadata.
func (s *simulator) inScope(k registry.Key, key string, meta registry.Meta, plain []byte) bool {
	verdict, _ := s.scope.Judge(key, &meta, plain)
	return verdict == scope.In && !s.scope.Orphaned(key, meta) && !s.scope.ClaimLeftOut(k, plain)
}

func (s *simulator) resource(key registry.Key) *resource {
	gr := groupResource{key.Group, key.Resource}
	if r := s.resources[gr]; r != nil {
		return r
	}
	r := &resource{group: strings.Clone(key.Group), plural: strings.Clone(key.Resource), name: key.GroupResource()}
	switch r.name {
	case definitionResource, apiServiceResource: // their keys look like those of custom resources
	default:
		r.custom = r.group != "" && registry.EtcdName(r.name) == r.group+"/"+r.plural
	}
	r.plainUnread = !s.readsPlain(r.name)
	s.resources[groupResource{r.group, r.plural}] = r
	return r
}

// readsPlain tells whether the standby's API servers read a value of the
// resource that is not encrypted: exactly then a Recoder leaves it as it is.
func (s *simulator) readsPlain(groupResource string) bool {
	plain := []byte("{}")
	out, _, err := registry.NewRecoder(&registry.Encryption{}, s.standby).Recode(groupResource, "", plain)
	return err == nil && bytes.Equal(out, plain)
}

// take keeps what is needed of the metadata.
func (o *record) take(m registry.Meta, intern func(string) string) {
	group, version, found := strings.Cut(m.APIVersion, "/")
	if !found {
		group, version = "", m.APIVersion
	}
	o.group, o.version, o.kind, o.uid, o.owners = intern(group), intern(version), intern(m.Kind), m.UID, m.Owners
	o.deleting = m.Deleting
	o.orphans = slices.Contains(m.Finalizers, "orphan")
	if m.Deleting {
		o.finalizers = m.Finalizers
	}
}

// intern gives equal strings one memory.
func (s *simulator) intern(text string) string {
	if known, ok := s.names[text]; ok {
		return known
	}
	text = strings.Clone(text)
	s.names[text] = text
	return text
}

// conclude makes the findings that need all objects. each reads again what add
// was given.
func (s *simulator) conclude(ctx context.Context, each each) error {
	byKey := func(a, b record) int { return cmp.Compare(a.key, b.key) }
	if !slices.IsSortedFunc(s.objects, byKey) {
		slices.SortFunc(s.objects, byKey)
	}
	s.judgeDefinitions()
	s.judgeStored()
	s.judgeBuiltins()
	s.judgeDeletions(s.collect())
	s.judgeBackends()
	s.judgeAddresses()
	s.judgeBalancers()
	s.judgeNamespaces()
	s.judgeVolumes()
	s.judgeSchedulers()
	if err := s.selectParameters(ctx, each); err != nil {
		return err
	}
	s.judgePolicies()
	return nil
}

// note adds an object to a finding.
func (s *simulator) note(p Problem, severity Severity, o *record, why func() string) {
	s.findings.add(p, severity, o.resource.name, s.item(o), why)
}

// noteBy adds an object with a severity that depends on whose it is.
func (s *simulator) noteBy(p Problem, inScope, own Severity, o *record, why func() string) {
	severity := own
	if o.in {
		severity = inScope
	}
	s.note(p, severity, o, why)
}

func (s *simulator) item(o *record) Item {
	return Item{Key: o.key, Object: s.describe(o), Own: !o.in}
}

// describe names an object for people: "Machine prod/worker-1".
func (s *simulator) describe(o *record) string {
	k := s.keyOf(o)
	kind := o.kind
	if kind == "" || kind == "RangeAllocation" {
		kind = registry.Kind(o.resource.name)
	}
	if k.Namespace != "" {
		return kind + " " + k.Namespace + "/" + k.Name
	}
	return kind + " " + k.Name
}

func (s *simulator) keyOf(o *record) registry.Key {
	k, _ := s.scope.Parse(o.key) // add let no other in
	return k
}

// clusterKey is the key of a cluster-scoped object.
func (s *simulator) clusterKey(groupResource, name string) string {
	return s.scope.Directories(groupResource)[0] + name
}

// find is the index of the object with a key, or -1.
func (s *simulator) find(key string) int {
	if i, found := slices.BinarySearchFunc(s.objects, key, func(o record, key string) int { return cmp.Compare(o.key, key) }); found {
		return i
	}
	return -1
}

// readBody reads the objects that say how the API server works.
func (s *simulator) readBody(key registry.Key, o *record, plain []byte) error {
	if podSpecs[o.resource.name] != nil {
		s.readTemplate(o, plain)
		return nil
	}
	switch o.resource.name {
	case definitionResource:
		return s.readDefinition(key, o, plain)
	case apiServiceResource:
		return s.readAPIService(key, o, plain)
	case "validatingwebhookconfigurations.admissionregistration.k8s.io", "mutatingwebhookconfigurations.admissionregistration.k8s.io":
		return s.readWebhooks(key, o, plain)
	case "validatingadmissionpolicies.admissionregistration.k8s.io", "mutatingadmissionpolicies.admissionregistration.k8s.io":
		return s.readPolicy(key, o, plain)
	case "validatingadmissionpolicybindings.admissionregistration.k8s.io", "mutatingadmissionpolicybindings.admissionregistration.k8s.io":
		return s.readBinding(key, o, plain)
	case schedulerWebhooks:
		return s.readSchedulerWebhooks(o, plain)
	case "persistentvolumes":
		return s.readVolume(key, o, plain)
	case "services":
		return s.readService(key, o, plain)
	case "endpointslices.discovery.k8s.io", "endpoints":
		return s.readEndpoints(key, o.resource.plural, plain)
	case "servicecidrs.networking.k8s.io", "ranges":
		return s.readRange(key, o, plain)
	case "ipaddresses.networking.k8s.io":
		return s.readIPAddress(key, o, plain)
	}
	return nil
}

// decode reads a whole object, in whichever encoding it is stored.
func decode(plain []byte, into any) (err error) {
	typed, hasProtobuf := into.(interface{ Unmarshal([]byte) error })
	switch {
	case hasProtobuf && bytes.HasPrefix(plain, []byte("k8s\x00")):
		var envelope runtime.Unknown
		if err = envelope.Unmarshal(plain[4:]); err == nil {
			err = typed.Unmarshal(envelope.Raw)
		}
	case bytes.HasPrefix(plain, []byte{0xd9, 0xd9, 0xf7}):
		err = direct.Unmarshal(plain, into)
	default:
		err = json.Unmarshal(plain, into)
	}
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong): // its own words repeat the whole type
		return fmt.Errorf("%w: JSON: %s cannot be of type %s", registry.ErrUndecodable, wrong.Field, wrong.Value)
	case err != nil:
		return fmt.Errorf("%w: %w", registry.ErrUndecodable, err)
	}
	return nil
}
