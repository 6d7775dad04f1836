package verify

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/registry"
)

const definitionResource = "customresourcedefinitions.apiextensions.k8s.io"

// crd is what counts of a CustomResourceDefinition.
type crd struct {
	key           string
	group, plural string
	namespaced    bool
	in            bool
	versions      map[string]bool // served
	stored        []string        // status.storedVersions
	storage       int             // versions that are the storage version
	refused       bool            // its names collide, or it is not established
}

func (d *crd) resource() string { return d.plural + "." + d.group }

func (d *crd) serves(version string) bool { return d.versions[version] }

// storedDefinition is the part of a CustomResourceDefinition that is read; its
// schemas, by far the most of it, are not. version and webhookClientConfig are
// v1beta1's, as which API servers store definitions.
type storedDefinition struct {
	Spec struct {
		Group string `json:"group"`
		Names struct {
			Kind   string `json:"kind"`
			Plural string `json:"plural"`
		} `json:"names"`
		Scope    string `json:"scope"`
		Version  string `json:"version"`
		Versions []struct {
			Name    string `json:"name"`
			Served  bool   `json:"served"`
			Storage bool   `json:"storage"`
		} `json:"versions"`
		Conversion struct {
			Strategy string `json:"strategy"`
			Webhook  struct {
				ClientConfig clientConfig `json:"clientConfig"`
			} `json:"webhook"`
			WebhookClientConfig clientConfig `json:"webhookClientConfig"`
		} `json:"conversion"`
	} `json:"spec"`
	Status struct {
		StoredVersions []string `json:"storedVersions"`
		Conditions     []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

// clientConfig says where a webhook or an API is served.
type clientConfig struct {
	URL     *string           `json:"url"`
	Service *serviceReference `json:"service"`
}

type serviceReference struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Port      *int32 `json:"port"` // nil is 443
}

func (s *simulator) readDefinition(_ registry.Key, o *record, plain []byte) error {
	var stored storedDefinition
	if err := decode(plain, &stored); err != nil {
		return err
	}
	d := &crd{
		key: o.key, group: stored.Spec.Group, plural: stored.Spec.Names.Plural, namespaced: stored.Spec.Scope == "Namespaced",
		in: o.in, versions: map[string]bool{}, stored: stored.Status.StoredVersions,
	}
	for _, v := range stored.Spec.Versions {
		d.versions[v.Name] = v.Served
		if v.Storage {
			d.storage++
		}
	}
	if len(stored.Spec.Versions) == 0 && stored.Spec.Version != "" {
		d.versions[stored.Spec.Version], d.storage = true, 1
	}
	for _, c := range stored.Status.Conditions {
		if c.Status == "False" && (c.Type == "Established" || c.Type == "NamesAccepted") {
			d.refused = true
		}
	}
	s.definitions[d.resource()] = d
	gk := schema.GroupKind{Group: d.group, Kind: stored.Spec.Names.Kind}
	if other := s.byKind[gk]; other == nil || other.refused {
		s.byKind[gk] = d
	}
	if stored.Spec.Conversion.Strategy == "Webhook" {
		severity := Yellow
		if o.in && len(d.versions) > 1 {
			severity = Red
		}
		for _, to := range []clientConfig{stored.Spec.Conversion.Webhook.ClientConfig, stored.Spec.Conversion.WebhookClientConfig} {
			s.call(ConversionBackend, severity, o, "conversion", to, "")
		}
	}
	return nil
}

// judgeDefinitions finds what the API server makes nothing of, and tells every
// resource its definition.
func (s *simulator) judgeDefinitions() {
	for _, r := range s.resources {
		if r.custom {
			r.definition = s.definitions[r.name]
		}
		for gv := range s.aggregated {
			r.aggregated = r.aggregated || gv.Group == r.group
		}
	}
	for i := range s.objects {
		if o := &s.objects[i]; o.resource.name == definitionResource {
			if d := s.definitions[s.keyOf(o).Name]; d != nil && d.key == o.key {
				if why := d.broken(); why != "" {
					s.noteBy(DefinitionBroken, Red, Yellow, o, func() string { return why })
				}
			}
		}
	}
}

// broken is what is wrong with the definition, "" where nothing is.
//
// That every stored version must still be there is apiextensions' own rule
// (validation.ValidateCustomResourceDefinitionStoredVersions): where it is
// broken, every update of the definition is refused, its status' among them.
func (d *crd) broken() string {
	var gone []string
	for _, v := range d.stored {
		if _, there := d.versions[v]; !there {
			gone = append(gone, v)
		}
	}
	switch {
	case len(d.versions) == 0:
		return "it has no versions"
	case d.storage != 1:
		return fmt.Sprintf("it has %d storage versions, and must have one", d.storage)
	case len(gone) > 0:
		return "status.storedVersions lists " + strings.Join(gone, ", ") + ", which spec.versions does not have: every update of it is refused"
	case d.refused:
		return "the API server has not established it: its names are taken, or it was refused"
	}
	return ""
}

// judgeStored finds custom resources that the API server cannot read, or soon
// no more.
func (s *simulator) judgeStored() {
	for i := range s.objects {
		o := &s.objects[i]
		d := o.resource.definition
		switch {
		case !o.resource.custom:
			continue
		case d == nil && o.resource.aggregated:
			continue // its backend knows what it has stored
		case d == nil:
			s.noteBy(DefinitionMissing, Red, Yellow, o, func() string { return o.resource.name + " is not on the standby" })
			continue
		case o.kind == "": // unreadable
			continue
		}
		served, there := d.versions[o.version]
		stored := func() string { return "stored as " + o.version + " of " + o.group }
		switch {
		case !there || o.group != d.group:
			s.note(VersionUnknown, Red, o, stored)
		case !served:
			s.noteBy(VersionNotServed, Yellow, Info, o, stored)
		case len(d.stored) > 0 && !slices.Contains(d.stored, o.version):
			s.noteBy(VersionNotListed, Yellow, Info, o, stored)
		}
	}
}

// shown tells whether the API server shows objects of the resource, so that
// controllers can act on them.
func (r *resource) shown() bool {
	return !r.custom || r.aggregated || r.definition != nil && !r.definition.refused
}
