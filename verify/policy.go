package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
)

// The rules are those of kube-apiserver 1.36, apiserver's
// pkg/admission/plugin/policy: a kind of parameter that is not served is a
// configuration error of the policy, with bindings or without; a parameter that
// is not found is one of the binding where it says Deny, and turns the policy
// off where it says Allow. What becomes of an error failurePolicy decides.

// policy is what counts of an admission policy, validating or mutating.
type policy struct {
	key      string
	in       bool
	kind     *admissionv1.ParamKind // nil: it takes no parameter
	ignores  bool                   // failurePolicy: Ignore
	bindings []binding
}

// binding is what counts of the binding of a policy.
type binding struct {
	key      string
	in       bool
	ref      *admissionv1.ParamRef
	selector labels.Selector // of ref, where it has one
	selected bool            // the selector finds something
}

// policyName tells a mutating policy from a validating one of that name.
type policyName struct {
	mutating bool
	name     string
}

func (s *simulator) policyOf(name policyName) *policy {
	if s.policies == nil {
		s.policies = map[policyName]*policy{}
	}
	if s.policies[name] == nil {
		s.policies[name] = &policy{}
	}
	return s.policies[name]
}

func (s *simulator) readPolicy(key registry.Key, o *record, plain []byte) error {
	var kind *admissionv1.ParamKind
	var failure *admissionv1.FailurePolicyType
	mutating := o.resource.plural == "mutatingadmissionpolicies"
	if mutating {
		var p admissionv1.MutatingAdmissionPolicy
		if err := decode(plain, &p); err != nil {
			return err
		}
		kind, failure = p.Spec.ParamKind, p.Spec.FailurePolicy
	} else {
		var p admissionv1.ValidatingAdmissionPolicy
		if err := decode(plain, &p); err != nil {
			return err
		}
		kind, failure = p.Spec.ParamKind, p.Spec.FailurePolicy
	}
	p := s.policyOf(policyName{mutating, key.Name})
	p.key, p.in, p.kind, p.ignores = o.key, o.in, kind, failure != nil && *failure == admissionv1.Ignore // Fail is the default
	return nil
}

func (s *simulator) readBinding(_ registry.Key, o *record, plain []byte) error {
	var of policyName
	b := binding{key: o.key, in: o.in}
	if o.resource.plural == "mutatingadmissionpolicybindings" {
		var stored admissionv1.MutatingAdmissionPolicyBinding
		if err := decode(plain, &stored); err != nil {
			return err
		}
		of, b.ref = policyName{true, stored.Spec.PolicyName}, stored.Spec.ParamRef
	} else {
		var stored admissionv1.ValidatingAdmissionPolicyBinding
		if err := decode(plain, &stored); err != nil {
			return err
		}
		of, b.ref = policyName{false, stored.Spec.PolicyName}, stored.Spec.ParamRef
	}
	if b.ref != nil && b.ref.Name == "" && b.ref.Selector != nil {
		selector, err := metav1.LabelSelectorAsSelector(b.ref.Selector)
		if err != nil {
			selector = labels.Nothing() // an error there as well
		}
		b.selector = selector
	}
	p := s.policyOf(of)
	p.bindings = append(p.bindings, b)
	return nil
}

// each visits the keys of a range at the revision of the simulation.
type each func(ctx context.Context, begin, end string, visit func(kv.Pair) error) error

// selectParameters looks for the parameters that bindings select by labels,
// which are not kept of objects. Most clusters have no such binding.
func (s *simulator) selectParameters(ctx context.Context, each each) error {
	for _, p := range s.policies {
		if p.kind == nil {
			continue
		}
		at, why := s.served(p.kind.APIVersion, p.kind.Kind)
		if why != "" {
			continue
		}
		for i := range p.bindings {
			b := &p.bindings[i]
			if b.selector == nil {
				continue
			}
			for _, begin := range s.scope.Directories(at.resource) {
				if at.namespaced && b.ref.Namespace != "" {
					begin += b.ref.Namespace + "/"
				}
				err := each(ctx, begin, kv.PrefixEnd(begin), func(found kv.Pair) error {
					b.selected = b.selected || s.selects(b.selector, found)
					return nil
				})
				if err != nil {
					return fmt.Errorf("read the parameters of an admission policy: %w", err)
				}
			}
		}
	}
	return nil
}

// selects tells whether an object is there for a selector: one that goes is not.
func (s *simulator) selects(selector labels.Selector, p kv.Pair) bool {
	i := s.find(p.Key)
	if i < 0 || s.objects[i].doomed {
		return false
	}
	plain, err := s.read(s.objects[i].resource, p)
	if err != nil || plain == nil {
		return true // nobody can tell, which is said elsewhere
	}
	var o metav1.PartialObjectMetadata
	return decode(plain, &o) != nil || selector.Matches(labels.Set(o.Labels))
}

// judgePolicies finds the admission policies that would deny all that they
// match, or nothing any more, for want of their parameters. Those of the standby
// alone do so today.
func (s *simulator) judgePolicies() {
	for _, p := range s.policies {
		if p.key == "" || p.kind == nil {
			continue
		}
		at, why := s.served(p.kind.APIVersion, p.kind.Kind)
		if why != "" {
			if gv, err := schema.ParseGroupVersion(p.kind.APIVersion); err == nil && s.aggregated[gv] {
				continue // another API server knows
			}
			s.notePolicy(p.key, p.in, !p.ignores, p, "parameters are of the kind "+p.kind.Kind+" of "+p.kind.APIVersion+": "+why)
			continue
		}
		for _, b := range p.bindings {
			if b.ref == nil || s.hasParameter(b, at) {
				continue
			}
			denies := b.ref.ParameterNotFoundAction != nil && *b.ref.ParameterNotFoundAction == admissionv1.DenyAction
			s.notePolicy(b.key, b.in || p.in, denies && !p.ignores, p, s.parameter(b, p.kind.Kind)+" is not there")
		}
	}
}

func (s *simulator) notePolicy(key string, in, denies bool, p *policy, why string) {
	o := s.objects[s.find(key)]
	o.in = in
	severity, then := Yellow, "the policy does nothing then"
	if denies {
		then = "all that it matches is denied then"
		if in {
			severity = Red
		}
	}
	s.note(PolicyParameter, severity, &o, func() string {
		why := why + ": " + then
		if key != p.key {
			return "policy " + s.keyOf(&record{key: p.key}).Name + ", " + why
		}
		return why
	})
}

// hasParameter tells whether a binding finds a parameter. Where it names no
// namespace, that of the request counts: one anywhere will do.
func (s *simulator) hasParameter(b binding, at place) bool {
	if b.selector != nil {
		return b.selected
	}
	for _, dir := range s.scope.Directories(at.resource) {
		name := b.ref.Name
		if at.namespaced && b.ref.Namespace != "" {
			name = b.ref.Namespace + "/" + name
		}
		if at.namespaced && b.ref.Namespace == "" && s.anywhere(dir, name) || s.stays(dir+name) {
			return true
		}
	}
	return false
}

// anywhere tells whether an object of a name stays in any namespace.
func (s *simulator) anywhere(dir, name string) bool {
	return slices.ContainsFunc(s.objects, func(o record) bool {
		return strings.HasPrefix(o.key, dir) && !o.doomed && s.keyOf(&o).Name == name
	})
}

// stays tells whether an object is there and nothing deletes it.
func (s *simulator) stays(key string) bool {
	i := s.find(key)
	return i >= 0 && !s.objects[i].doomed
}

// parameter names what a binding looks for.
func (s *simulator) parameter(b binding, kind string) string {
	where := ""
	if b.ref.Namespace != "" {
		where = b.ref.Namespace + "/"
	}
	if b.selector != nil {
		if where != "" {
			where = " in " + b.ref.Namespace
		}
		return kind + " with " + b.selector.String() + where
	}
	return kind + " " + where + b.ref.Name
}
