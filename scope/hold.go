package scope

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	kjson "k8s.io/apimachinery/pkg/util/json"

	"github.com/understudy-dr/understudy/registry"
)

// Hold keeps objects inert while they are on the standby: a merge patch (RFC
// 7386) that is laid over every object of the given resources.
type Hold struct {
	// Resources are "plural.group"; "*.group" is all of a group and of its
	// subgroups; "*" is every custom resource, and needs a When.
	Resources []string
	Patch     json.RawMessage // a JSON object
	// When leaves objects alone that do not look like it: a JSON object, each field
	// of which must be in the object. null: the field is not there; an object or a
	// list: all that is in it is there too; else the value is the same. nil = all objects.
	When   json.RawMessage
	Origin string // "profile management-cluster"; "" = "hold.objects[N]", its place among those without one

	patch, when map[string]any // Patch and When, read
	clue        clue           // to objects that When is for
}

// Holds are all holds of a pair. The zero Holds hold nothing.
type Holds struct {
	all  []Hold
	hash string

	mu sync.RWMutex
	of map[string][]Hold // by resource, as they were asked for
}

// DefaultHolds are the holds of a profile. The profile everything has none: it
// is for a standby whose controllers do not run.
func DefaultHolds(profile string) []Hold {
	if profile == "everything" {
		return nil
	}
	var out []Hold
	for _, p := range Presets {
		for _, hold := range p.Holds {
			hold.Origin = "profile " + profile
			out = append(out, hold)
		}
	}
	return out
}

// NewHolds checks the holds. Several for one resource are laid over each other
// in their order; an empty patch, {}, takes back those before it.
func NewHolds(holds []Hold) (*Holds, error) {
	h := &Holds{of: map[string][]Hold{}}
	configured := 0
	for _, hold := range holds {
		builtIn := hold.Origin != ""
		if !builtIn {
			hold.Origin = fmt.Sprintf("hold.objects[%d]", configured)
			configured++
		}
		var err error
		if hold.patch, err = jsonObject(hold.Patch); err != nil {
			return nil, &RuleError{Field: hold.Origin + ".patch", Err: err}
		}
		if err := checkPatch(hold.patch, builtIn); err != nil {
			return nil, &RuleError{Field: hold.Origin + ".patch", Err: err}
		}
		if hold.When != nil {
			if hold.when, err = jsonObject(hold.When); err == nil && len(hold.when) == 0 {
				err = errors.New("fits every object: leave it out")
			}
			if err != nil {
				return nil, &RuleError{Field: hold.Origin + ".when", Err: err}
			}
			hold.clue.of(hold.when)
		}
		if err := checkHeldResources(hold); err != nil {
			return nil, &RuleError{Field: hold.Origin + ".resources", Err: err}
		}
		for _, gr := range hold.Resources {
			for field, part := range map[string]map[string]any{".patch": hold.patch, ".when": hold.when} {
				if err := registry.CheckFields(gr, registry.Fields(merged(nil, part).(map[string]any))); err != nil {
					return nil, &RuleError{Field: hold.Origin + field, Err: fmt.Errorf("%s: %w", gr, err)}
				}
			}
		}
		h.all = append(h.all, hold)
	}
	if len(h.all) == 0 {
		return h, nil
	}
	type decider struct {
		Resources   []string
		Patch, When json.RawMessage
	}
	var deciders []decider
	for _, hold := range h.all {
		deciders = append(deciders, decider{hold.Resources, hold.Patch, hold.When})
	}
	raw, err := json.Marshal(deciders)
	if err != nil {
		return nil, fmt.Errorf("holds: %w", err)
	}
	sum := sha256.Sum256(raw)
	h.hash = hex.EncodeToString(sum[:16])
	return h, nil
}

func jsonObject(raw json.RawMessage) (map[string]any, error) {
	var out map[string]any
	if err := kjson.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("must be a JSON object: %w", err)
	}
	if out == nil {
		return nil, errors.New("must be a JSON object")
	}
	return out, nil
}

// checkHeldResources refuses what would silently concern no object, or every one.
func checkHeldResources(hold Hold) error {
	if len(hold.Resources) == 0 {
		return errors.New("names no resource")
	}
	for _, gr := range hold.Resources {
		if gr == "*" {
			if hold.when == nil {
				return errors.New(`"*" is every custom resource: say which of them with when`)
			}
			continue
		}
		group, pattern := strings.CutPrefix(gr, "*.")
		if err := checkResources([]string{group}); err != nil {
			return err
		}
		if pattern && !strings.Contains(group, ".") {
			return fmt.Errorf("%q is a group of built-in kinds; name each resource", gr)
		}
	}
	return nil
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
// Under /status that is what a hold of the profiles means: what the primary's
// controllers said of the object is not said on the standby, neither held nor released.
func Overlap(h *Holds, l *Locals) error {
	var resources []string
	if h != nil {
		for _, hold := range h.all {
			resources = append(resources, hold.Resources...)
		}
	}
	if l != nil {
		for gr := range l.of {
			resources = append(resources, gr)
		}
	}
	slices.Sort(resources)
	for _, gr := range slices.Compact(resources) {
		if gr = strings.Replace(gr, "*.", "x.", 1); gr == "*" {
			continue // what is local names its resources
		}
		holds := h.list(gr)
		for _, f := range l.fields(gr) {
			for _, hold := range holds {
				said := strings.HasPrefix(hold.Origin, "profile ") && f.path[0] == "status"
				if !said && touches(hold.patch, f.path) {
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

// list is the holds of a resource, in the order in which they are laid over its objects.
func (h *Holds) list(groupResource string) []Hold {
	if h == nil || len(h.all) == 0 {
		return nil
	}
	h.mu.RLock()
	list, known := h.of[groupResource]
	h.mu.RUnlock()
	if known {
		return list
	}
	for _, hold := range h.all {
		switch {
		case !slices.ContainsFunc(hold.Resources, func(pattern string) bool { return fitsResource(pattern, groupResource) }):
		case len(hold.patch) == 0:
			list = nil
		default:
			list = append(list, hold)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.of) >= maxPlaces {
		clear(h.of)
	}
	h.of[strings.Clone(groupResource)] = list
	return list
}

// fitsResource reports whether a resource is one that a Hold names.
func fitsResource(pattern, groupResource string) bool {
	switch {
	case pattern == groupResource:
		return true
	case pattern == "*":
		_, group, _ := strings.Cut(groupResource, ".")
		return strings.Contains(group, ".") && !registry.BuiltIn(groupResource)
	}
	return strings.HasPrefix(pattern, "*.") && strings.HasSuffix(groupResource, pattern[1:])
}

// Concerns reports whether objects of a resource may be held.
func (h *Holds) Concerns(groupResource string) bool { return len(h.list(groupResource)) > 0 }

// Names reports whether a hold names a resource or its group: then an object that
// nobody can read may be one that acts.
func (h *Holds) Names(groupResource string) bool {
	return slices.ContainsFunc(h.list(groupResource), func(hold Hold) bool {
		return slices.ContainsFunc(hold.Resources, func(pattern string) bool { return pattern != "*" && fitsResource(pattern, groupResource) })
	})
}

// Of are the holds of a resource, in the order in which they are laid over it.
func (h *Holds) Of(groupResource string) []Hold { return slices.Clone(h.list(groupResource)) }

// Apply gives the object in its held form, and false where it is inert already:
// a Cluster that is paused on the primary is nothing to release later.
func (h *Holds) Apply(groupResource string, plain []byte) (held []byte, changed bool, err error) {
	holds := h.list(groupResource)
	if !slices.ContainsFunc(holds, func(hold Hold) bool { return hold.clue.in(plain) }) {
		return plain, false, nil
	}
	fields, err := registry.ReadFields(plain)
	if err != nil {
		return nil, false, fmt.Errorf("hold: %w", err)
	}
	patched := any(map[string]any(fields))
	for _, hold := range holds {
		if hold.when == nil || looksLike(map[string]any(fields), hold.when) {
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
