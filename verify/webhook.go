package verify

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/registry"
)

const apiServiceResource = "apiservices.apiregistration.k8s.io"

// service is what counts of a Service.
type service struct {
	key      string
	name     string // namespace/name
	in       bool
	external bool // an ExternalName: it has no endpoints here
	ports    []int32
}

// caller is something of the API server's that asks a Service.
type caller struct {
	problem  Problem
	severity Severity // where the Service is not there
	key      string
	name     string // of the webhook; "" where the object has one only
	service  serviceReference
	purpose  string
}

// call notes that the API server asks a backend, to be judged when all
// Services are known.
func (s *simulator) call(p Problem, severity Severity, o *record, name string, to clientConfig, purpose string) {
	if to.Service != nil {
		s.callers = append(s.callers, caller{p, severity, o.key, name, *to.Service, purpose})
	}
}

// readWebhooks looks at the webhooks without which a write is refused. Those
// with failurePolicy Ignore do no harm.
func (s *simulator) readWebhooks(_ registry.Key, o *record, plain []byte) error {
	if o.resource.plural == "validatingwebhookconfigurations" {
		var c admissionv1.ValidatingWebhookConfiguration
		if err := decode(plain, &c); err != nil {
			return err
		}
		for _, w := range c.Webhooks {
			s.readWebhook(o, w.Name, w.FailurePolicy, w.ClientConfig, w.Rules)
		}
		return nil
	}
	var c admissionv1.MutatingWebhookConfiguration
	if err := decode(plain, &c); err != nil {
		return err
	}
	for _, w := range c.Webhooks {
		s.readWebhook(o, w.Name, w.FailurePolicy, w.ClientConfig, w.Rules)
	}
	return nil
}

func (s *simulator) readWebhook(o *record, name string, policy *admissionv1.FailurePolicyType, to admissionv1.WebhookClientConfig, rules []admissionv1.RuleWithOperations) {
	if policy != nil && *policy == admissionv1.Ignore || len(rules) == 0 { // Fail is the default
		return
	}
	if to.URL != nil {
		s.note(WebhookByURL, Info, o, func() string { return "webhook " + name + " asks " + *to.URL })
		return
	}
	if to.Service != nil {
		service := serviceReference{to.Service.Namespace, to.Service.Name, to.Service.Port}
		s.call(WebhookBackend, Red, o, "webhook "+name, clientConfig{Service: &service}, "; it is asked for "+purpose(rules))
	}
}

// purpose says what a webhook is asked for: "create, update of machines.cluster.x-k8s.io".
func purpose(rules []admissionv1.RuleWithOperations) string {
	var operations, resources []string
	for _, rule := range rules {
		for _, op := range rule.Operations {
			operations = append(operations, strings.ToLower(string(op)))
		}
		for _, resource := range rule.Resources {
			for _, group := range rule.APIGroups {
				resources = append(resources, schema.GroupResource{Group: group, Resource: resource}.String())
			}
		}
	}
	return few(operations, 4) + " of " + few(resources, 3)
}

func few(of []string, n int) string {
	slices.Sort(of)
	of = slices.Compact(of)
	if len(of) > n {
		return strings.Join(of[:n], ", ") + fmt.Sprintf(" and %d more", len(of)-n)
	}
	return strings.Join(of, ", ")
}

// readAPIService: one without a service is the API server's own, and says what
// it serves.
func (s *simulator) readAPIService(_ registry.Key, o *record, plain []byte) error {
	var a struct {
		Spec struct {
			Group   string            `json:"group"`
			Version string            `json:"version"`
			Service *serviceReference `json:"service"`
		} `json:"spec"`
	}
	if err := decode(plain, &a); err != nil {
		return err
	}
	if a.Spec.Service == nil {
		s.groupVersions[schema.GroupVersion{Group: a.Spec.Group, Version: a.Spec.Version}] = true
		return nil
	}
	s.aggregated[schema.GroupVersion{Group: a.Spec.Group, Version: a.Spec.Version}] = true
	severity := Yellow // it was like that before
	if o.in {
		severity = Red
	}
	s.call(APIServiceBackend, severity, o, "", clientConfig{Service: a.Spec.Service}, "")
	return nil
}

func (s *simulator) readService(key registry.Key, o *record, plain []byte) error {
	var v corev1.Service
	if err := decode(plain, &v); err != nil {
		return err
	}
	svc := &service{key: o.key, name: key.Namespace + "/" + key.Name, in: o.in, external: v.Spec.Type == corev1.ServiceTypeExternalName}
	for _, p := range v.Spec.Ports {
		svc.ports = append(svc.ports, p.Port)
	}
	s.services[svc.name] = svc
	s.readAddresses(svc, v.Spec)
	s.readBalancer(svc, &v)
	return nil
}

// readEndpoints notes the Services that have a ready address. Either kind
// counts: both are written by the standby's own controllers.
func (s *simulator) readEndpoints(key registry.Key, plural string, plain []byte) error {
	if plural == "endpoints" {
		var e corev1.Endpoints //nolint:staticcheck // API servers still ask for them
		if err := decode(plain, &e); err != nil {
			return err
		}
		for _, subset := range e.Subsets {
			if len(subset.Addresses) > 0 {
				s.endpoints[key.Namespace+"/"+key.Name] = true
			}
		}
		return nil
	}
	var e discoveryv1.EndpointSlice
	if err := decode(plain, &e); err != nil {
		return err
	}
	for _, endpoint := range e.Endpoints {
		if len(endpoint.Addresses) > 0 && (endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready) {
			s.endpoints[key.Namespace+"/"+e.Labels[discoveryv1.LabelServiceName]] = true
			break
		}
	}
	return nil
}

// judgeBackends finds what the API server asks in vain. A Service without a
// ready address may come alive with the promotion, when held workloads are
// released; one that is not there does not.
func (s *simulator) judgeBackends() {
	for _, c := range s.callers {
		severity := c.severity
		missing, idle := s.backend(c.service)
		if missing == "" {
			missing, severity = idle, Yellow
		}
		if missing == "" {
			continue
		}
		i := s.find(c.key)
		s.note(c.problem, severity, &s.objects[i], func() string {
			if c.name == "" {
				return missing + c.purpose
			}
			return c.name + ": " + missing + c.purpose
		})
	}
}

// backend says why a Service cannot be asked: it is missing, or idle.
func (s *simulator) backend(to serviceReference) (missing, idle string) {
	name := to.Namespace + "/" + to.Name
	port := int32(443)
	if to.Port != nil {
		port = *to.Port
	}
	svc := s.services[name]
	switch {
	case svc == nil:
		return "Service " + name + " is not there", ""
	case s.objects[s.find(svc.key)].doomed:
		return "Service " + name + " is being deleted or would be", ""
	case svc.external:
		return "", ""
	case !slices.Contains(svc.ports, port):
		return fmt.Sprintf("Service %s has no port %d", name, port), ""
	case !s.endpoints[name]:
		return "", "nothing behind Service " + name + " is ready"
	}
	return "", ""
}
