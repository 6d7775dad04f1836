package scope

import (
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/registry"
)

// maker tells by an object's metadata whether somebody made it whom the standby
// has as well: a controller, the API server, the platform. The zero Meta, that of
// an object which cannot be read, was made by nobody.
type maker struct {
	name string // in the hash and in explanations; it stands for what made says
	made func(registry.Meta) bool
	// owners: an owner of such a kind counts as made, for its own metadata is not at hand.
	owners bool
}

var (
	// Of ReplicaSets: those of Deployments, Rollouts and the like.
	byController = &maker{"made by a controller", func(m registry.Meta) bool {
		return slices.ContainsFunc(m.Owners, func(o registry.Owner) bool { return o.Controller })
	}, true}

	// Other controllers keep state of their own in ControllerRevisions: KubeVirt
	// the specification that a virtual machine was started with.
	byWorkload = &maker{"made by the controller of DaemonSets or StatefulSets", func(m registry.Meta) bool {
		return slices.ContainsFunc(m.Owners, func(o registry.Owner) bool {
			return o.Controller && o.APIVersion == "apps/v1" && (o.Kind == "DaemonSet" || o.Kind == "StatefulSet")
		})
	}, true}

	// pkg/controller/endpointslice and staging/src/k8s.io/endpointslice of
	// k8s.io/kubernetes; a slice that mirrors Endpoints is made again of them.
	bySliceController = &maker{"made by the EndpointSlice controllers", func(m registry.Meta) bool {
		by := m.Marks.Labels[registry.LabelSliceManagedBy]
		return by == "endpointslice-controller.k8s.io" || by == "endpointslicemirroring-controller.k8s.io"
	}, true}

	// Before Kubernetes 1.33 the controller sets no label, but its process is a
	// manager of the fields: that of Kubernetes, or the one that holds all of it in
	// k3s and MicroK8s.
	byEndpointController = &maker{"made by the Endpoints controller", func(m registry.Meta) bool {
		if by := m.Marks.Labels[registry.LabelEndpointsManagedBy]; by != "" {
			return by == "endpoint-controller"
		}
		return slices.ContainsFunc(m.Marks.Managers, func(manager string) bool {
			return slices.Contains([]string{"kube-controller-manager", "hyperkube", "k3s", "kubelite"}, manager)
		})
	}, true}

	byBootstrap = &maker{"labelled " + registry.LabelBootstrapping, func(m registry.Meta) bool {
		return m.Marks.Labels[registry.LabelBootstrapping] != ""
	}, false}

	// What it makes belongs to a CephCluster or to the operator's Deployment; the devices of a node have
	// its label, and the state of its disruption budgets nothing but the manager of its fields.
	byRook = &maker{"made by Rook", func(m registry.Meta) bool {
		return m.Marks.Labels[registry.LabelRookNode] != "" || slices.Contains(m.Marks.Managers, "rook") ||
			slices.ContainsFunc(m.Owners, func(o registry.Owner) bool { return o.Controller || strings.HasPrefix(o.APIVersion, "ceph.rook.io/") })
	}, true}

	byDeckhouse = &maker{"labelled heritage: deckhouse", func(m registry.Meta) bool {
		return m.Marks.Labels[registry.LabelHeritage] == "deckhouse"
	}, false}
)

// Judge decides about a key whose object has been read, plain. It adds to m the
// marks of the object where a rule asks who made it.
func (s *Scope) Judge(key string, m *registry.Meta, plain []byte) (Verdict, error) {
	return s.decide(key, func(r *rule) (bool, error) {
		if m.Marks.Labels == nil && m.Marks.Managers == nil && plain != nil {
			marks, err := registry.ReadMarks(plain)
			if err != nil {
				return false, err
			}
			m.Marks = marks
		}
		return r.maker.made(*m), nil
	}, m.Type)
}

// Object decides about a key whose object has been read, marks included. It never
// says AskObject. For an object that could not be read, an encrypted one with no
// key at hand, the zero Meta makes no rule match that asks for a type or a maker.
func (s *Scope) Object(key string, m registry.Meta) Verdict {
	v, _ := s.Judge(key, &m, nil)
	return v
}

// owner decides about an owner by its key, as the metadata of most of its kind would.
func (s *Scope) owner(key string) Verdict {
	v, _ := s.decide(key, func(r *rule) (bool, error) { return r.maker.owners, nil }, "")
	return v
}

// decide asks made where only the maker tells whether a rule matches.
func (s *Scope) decide(key string, made func(*rule) (bool, error), secretType string) (Verdict, error) {
	if v := s.Key(key); v != AskObject {
		return v, nil
	}
	k, parsed := s.Parse(key)
	for i := range slices.Backward(s.rules) {
		r := &s.rules[i]
		if !r.matches(key, k, parsed) || !r.matchesType(secretType) {
			continue
		}
		if r.maker != nil {
			if match, err := made(r); err != nil {
				return In, err
			} else if !match {
				continue
			}
		}
		return r.verdict, nil
	}
	return In, nil
}
