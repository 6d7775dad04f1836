package scope

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/understudy-dr/understudy/registry"
)

// Hold keeps objects inert while they are on the standby: a merge patch (RFC
// 7386) that is laid over every object of the given resources.
type Hold struct {
	Resources []string        // "plural.group"
	Patch     json.RawMessage // a JSON object
}

// Holds are all holds of a pair. The zero Holds hold nothing.
type Holds struct {
	patches map[string][]json.RawMessage
	hash    string
}

// defaultHolds are those of the profiles for a standby whose controllers run.
// Cluster API pauses a whole tree by its Cluster; a DaemonSet has no replicas,
// so it is given a selector that no node satisfies.
var defaultHolds = []Hold{
	{Resources: []string{"clusters.cluster.x-k8s.io"}, Patch: json.RawMessage(`{"spec":{"paused":true}}`)},
	{Resources: []string{"deployments.apps", "statefulsets.apps"}, Patch: json.RawMessage(`{"spec":{"replicas":0}}`)},
	{Resources: []string{"daemonsets.apps"}, Patch: json.RawMessage(`{"spec":{"template":{"spec":{"nodeSelector":{"understudy.dev/held":"true"}}}}}`)},
	{Resources: []string{"cronjobs.batch", "jobs.batch"}, Patch: json.RawMessage(`{"spec":{"suspend":true}}`)},
}

// DefaultHolds are the holds of a profile. The profile everything has none: it
// is for a standby whose controllers do not run.
func DefaultHolds(profile string) []Hold {
	if profile == "everything" {
		return nil
	}
	return slices.Clone(defaultHolds)
}

// NewHolds checks the holds. Several for one resource are laid over each other
// in their order; an empty patch, {}, takes back those before it.
func NewHolds(holds []Hold) (*Holds, error) {
	h := &Holds{patches: map[string][]json.RawMessage{}}
	for i, hold := range holds {
		var patch map[string]any
		if err := json.Unmarshal(hold.Patch, &patch); err != nil || patch == nil {
			return nil, &RuleError{Field: fmt.Sprintf("hold.objects[%d].patch", i), Err: fmt.Errorf("must be a JSON object: %v", err)}
		}
		if _, identity := patch["metadata"]; identity {
			return nil, &RuleError{Field: fmt.Sprintf("hold.objects[%d].patch", i), Err: fmt.Errorf("must not touch metadata: a held object stays the same object")}
		}
		for _, gr := range hold.Resources {
			if len(patch) == 0 {
				delete(h.patches, gr)
				continue
			}
			h.patches[gr] = append(h.patches[gr], hold.Patch)
		}
	}
	raw, err := json.Marshal(h.patches)
	if err != nil {
		return nil, fmt.Errorf("holds: %w", err)
	}
	if len(h.patches) > 0 {
		sum := sha256.Sum256(raw)
		h.hash = hex.EncodeToString(sum[:16])
	}
	return h, nil
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
	return h != nil && len(h.patches[groupResource]) > 0
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
	document, err := json.Marshal(fields)
	if err != nil {
		return nil, false, fmt.Errorf("hold: %w", err)
	}
	patched := document
	for _, patch := range h.patches[groupResource] {
		if patched, err = jsonpatch.MergePatch(patched, patch); err != nil {
			return nil, false, fmt.Errorf("hold: %w", err)
		}
	}
	if jsonpatch.Equal(document, patched) {
		return plain, false, nil
	}
	changedFields, err := registry.ReadFields(patched)
	if err != nil {
		return nil, false, fmt.Errorf("hold: %w", err)
	}
	// The original is kept beside it, so nothing is lost for good.
	held, err = registry.WriteKnownFields(changedFields, plain)
	if err != nil {
		return nil, false, fmt.Errorf("hold: %w", err)
	}
	return held, true, nil
}
