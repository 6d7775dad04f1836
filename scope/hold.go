package scope

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	kjson "k8s.io/apimachinery/pkg/util/json"

	"github.com/understudy-dr/understudy/registry"
)

// Hold keeps objects inert while they are on the standby: a merge patch (RFC
// 7386) that is laid over every object of the given resources.
type Hold struct {
	Resources []string        // "plural.group", no patterns
	Patch     json.RawMessage // a JSON object
	Unless    registry.Path   // leave objects alone that have something there; nil = none
	Origin    string          // "profile management-cluster"; "" = "hold.objects[N]", its place among those without one
	patch     map[string]any  // Patch, read
}

// Holds are all holds of a pair. The zero Holds hold nothing.
type Holds struct {
	of   map[string][]Hold // by resource
	hash string
}

// defaultHolds are those of the profiles for a standby whose controllers run.
// Cluster API pauses a whole tree by its Cluster; a DaemonSet has no replicas,
// so it is given a selector that no node satisfies.
var defaultHolds = []Hold{
	{Resources: []string{"clusters.cluster.x-k8s.io"}, Patch: json.RawMessage(`{"spec":{"paused":true}}`)},
	{Resources: []string{"deployments.apps", "statefulsets.apps", "replicationcontrollers"}, Patch: json.RawMessage(`{"spec":{"replicas":0}}`)},
	{Resources: []string{"daemonsets.apps"}, Patch: json.RawMessage(`{"spec":{"template":{"spec":{"nodeSelector":{"understudy.dev/held":"true"}}}}}`)},
	// The standby's controllers reclaim a volume whose claim they do not find, and what it stands for.
	{Resources: []string{"persistentvolumes"}, Patch: json.RawMessage(`{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)},
	// They bind a free one to a claim of the standby's own. One that is kept for a claim that nobody makes stays free.
	{Resources: []string{"persistentvolumes"}, Unless: registry.Path{"spec", "claimRef"},
		Patch: json.RawMessage(`{"spec":{"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"held","namespace":"understudy-held"}}}`)},
	{Resources: []string{"cronjobs.batch", "jobs.batch"}, Patch: json.RawMessage(`{"spec":{"suspend":true}}`)},
}

// DefaultHolds are the holds of a profile. The profile everything has none: it
// is for a standby whose controllers do not run.
func DefaultHolds(profile string) []Hold {
	if profile == "everything" {
		return nil
	}
	out := slices.Clone(defaultHolds)
	for i := range out {
		out[i].Origin = "profile " + profile
	}
	return out
}

// NewHolds checks the holds. Several for one resource are laid over each other
// in their order; an empty patch, {}, takes back those before it.
func NewHolds(holds []Hold) (*Holds, error) {
	h := &Holds{of: map[string][]Hold{}}
	configured := 0
	for _, hold := range holds {
		if hold.Origin == "" {
			hold.Origin = fmt.Sprintf("hold.objects[%d]", configured)
			configured++
		}
		if err := kjson.Unmarshal(hold.Patch, &hold.patch); err != nil {
			return nil, &RuleError{Field: hold.Origin + ".patch", Err: fmt.Errorf("must be a JSON object: %w", err)}
		} else if hold.patch == nil {
			return nil, &RuleError{Field: hold.Origin + ".patch", Err: errors.New("must be a JSON object")}
		}
		for _, field := range []string{"metadata", "apiVersion", "kind"} {
			if _, identity := hold.patch[field]; identity {
				return nil, &RuleError{Field: hold.Origin + ".patch", Err: fmt.Errorf("must not touch %s: a held object stays the same object", field)}
			}
		}
		if err := checkResources(hold.Resources); err != nil {
			return nil, &RuleError{Field: hold.Origin + ".resources", Err: err}
		}
		for _, gr := range hold.Resources {
			if len(hold.patch) == 0 {
				delete(h.of, gr)
				continue
			}
			if err := registry.CheckFields(gr, registry.Fields(merged(nil, hold.patch).(map[string]any))); err != nil {
				return nil, &RuleError{Field: hold.Origin + ".patch", Err: fmt.Errorf("%s: %w", gr, err)}
			}
			h.of[gr] = append(h.of[gr], hold)
		}
	}
	if len(h.of) == 0 {
		return h, nil
	}
	patches := map[string][]json.RawMessage{}
	for gr, list := range h.of {
		for _, hold := range list {
			patches[gr] = append(patches[gr], hold.Patch)
		}
	}
	raw, err := json.Marshal(patches)
	if err != nil {
		return nil, fmt.Errorf("holds: %w", err)
	}
	sum := sha256.Sum256(raw)
	h.hash = hex.EncodeToString(sum[:16])
	return h, nil
}

// checkResources refuses what would silently concern no object.
func checkResources(resources []string) error {
	if len(resources) == 0 {
		return errors.New("names no resource")
	}
	for _, gr := range resources {
		if strings.ContainsAny(gr, `*?[\`) {
			return fmt.Errorf("%q is a pattern; name each resource", gr)
		}
		if err := checkResource(gr); err != nil {
			return err
		}
	}
	return nil
}

// Overlap refuses local fields that a hold writes: a release would take the held
// value for the standby's own, and the primary's would be lost with its record.
func Overlap(h *Holds, l *Locals) error {
	for gr, holds := range h.of {
		for _, f := range l.fields(gr) {
			for _, hold := range holds {
				if touches(hold.patch, f.path) {
					return &RuleError{Field: f.Origin + ".fields", Err: fmt.Errorf("%s of %s is what %s writes: a field is held or local, not both", f.Fields[0], gr, hold.Origin)}
				}
			}
		}
	}
	return nil
}

func touches(patch any, path registry.Path) bool {
	for _, step := range path {
		fields, ok := patch.(map[string]any)
		if !ok {
			return true // all that is below
		}
		if patch, ok = fields[step]; !ok {
			return false
		}
	}
	return true
}

// Hash changes with everything that Apply depends on; "" where nothing is held.
func (h *Holds) Hash() string {
	if h == nil {
		return ""
	}
	return h.hash
}

// Concerns reports whether objects of a resource may be held.
func (h *Holds) Concerns(groupResource string) bool {
	return h != nil && len(h.of[groupResource]) > 0
}

// Resources are those of which objects may be held, sorted.
func (h *Holds) Resources() []string {
	if h == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(h.of))
}

// Of are the holds of a resource, in the order in which they are laid over it.
func (h *Holds) Of(groupResource string) []Hold {
	if h == nil {
		return nil
	}
	return slices.Clone(h.of[groupResource])
}

// Apply gives the object in its held form, and false where it is inert already:
// a Cluster that is paused on the primary is nothing to release later.
func (h *Holds) Apply(groupResource string, plain []byte) (held []byte, changed bool, err error) {
	if !h.Concerns(groupResource) {
		return plain, false, nil
	}
	fields, err := registry.ReadFields(plain)
	if err != nil {
		return nil, false, fmt.Errorf("hold: %w", err)
	}
	patched := any(map[string]any(fields))
	for _, hold := range h.of[groupResource] {
		if hold.Unless == nil || !leads(map[string]any(fields), hold.Unless, isSet) {
			patched = merged(patched, hold.patch)
		}
	}
	if reflect.DeepEqual(patched, any(map[string]any(fields))) {
		return plain, false, nil
	}
	// The original is kept beside it, so nothing is lost for good.
	held, err = registry.WriteKnownFields(patched.(map[string]any), plain)
	if err != nil {
		return nil, false, fmt.Errorf("hold: %w", err)
	}
	return held, true, nil
}
