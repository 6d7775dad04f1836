package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// Step is what a repair does about one key.
type Step struct {
	Key    string `json:"key"`
	Kind   Kind   `json:"kind"`
	Delete bool   `json:"delete"`          // or else write the primary's object
	Leave  string `json:"leave,omitempty"` // why nothing can be done
	Bytes  int    `json:"bytes,omitempty"` // of the primary's value
	// Fields are those in which the two sides differ, "spec.replicas: 3 → 1": the
	// primary's value, then the standby's.
	Fields []string `json:"fields,omitempty"`

	meta registry.Meta
}

// Plan is what a repair would do, in the order in which it would.
type Plan struct {
	Steps  []Step
	Report Report // that it is made from
}

// Work counts the steps that would change something.
func (p Plan) Work() (writes, deletes int) {
	for _, s := range p.Steps {
		switch {
		case s.Leave != "":
		case s.Delete:
			deletes++
		default:
			writes++
		}
	}
	return writes, deletes
}

// MakePlan turns the differences of a full comparison into steps. The report
// must list all keys (Options.Limit 0). It only reads.
//
// Objects are written owners before dependents and definitions of custom
// resources last, or the standby's garbage collector would find dependents
// without owners; deletes run the other way round.
func MakePlan(ctx context.Context, sides Sides, view *scope.View, report Report) (Plan, error) {
	plan := Plan{Report: report}
	writes, err := planSteps(ctx, sides, view, report, Missed, Differing, Undecodable)
	if err != nil {
		return plan, err
	}
	deletes, err := planSteps(ctx, sides, view, report, Surplus)
	if err != nil {
		return plan, err
	}
	plan.Steps = ownersFirst(writes)
	deletes = ownersFirst(deletes)
	slices.Reverse(deletes)
	plan.Steps = append(plan.Steps, deletes...)
	for _, key := range report.Conflict.Keys {
		plan.Steps = append(plan.Steps, Step{Key: key, Kind: Conflict, Leave: ownStays})
	}
	for _, key := range report.OtherVersion.Keys {
		plan.Steps = append(plan.Steps, Step{Key: key, Kind: OtherVersion, Leave: "it is stored in another version of the API on each side, and may be equal: understudy check says what to do"})
	}
	return plan, nil
}

// OwnersOf leaves out the steps of a part of a repair that would write objects whose
// owners are missed and are not in it: the standby's garbage collector would delete
// them again. missed are all keys that the standby lacks.
func (p *Plan) OwnersOf(view *scope.View, missed []string) {
	absent := map[string]bool{}
	for _, key := range missed {
		absent[key] = true
	}
	for _, s := range p.Steps {
		delete(absent, s.Key)
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		for _, o := range s.meta.Owners {
			places, _ := view.Scope.OwnerKeys(s.Key, o)
			for _, place := range places {
				if absent[place] && !s.Delete && s.Leave == "" {
					s.Leave = "its owner is missed too, and without it the standby would delete the object again; repair both: " + place
				}
			}
		}
	}
}

// ownStays is why a repair does not touch what is in conflict.
const ownStays = "the standby has an object of its own there, which stays until a rule says otherwise: understudy scope propose"

func planSteps(ctx context.Context, sides Sides, view *scope.View, report Report, kinds ...Kind) (steps []Step, err error) {
	proof := keyProof{standby: sides.Standby, view: view, report: report}
	for _, kind := range kinds {
		for chunk := range slices.Chunk(report.Of(kind).Keys, keysAtOnce) {
			primary, err := read(ctx, sides.Primary, chunk, report.SourceRevision)
			if err != nil {
				return nil, fmt.Errorf("read the primary: %w", err)
			}
			standby, err := read(ctx, sides.Standby, chunk, report.StandbyRevision)
			if err != nil {
				return nil, fmt.Errorf("read the standby: %w", err)
			}
			for _, key := range chunk {
				step := planStep(view, kind, key, primary[key], standby[key])
				if kind == Undecodable && step.Leave == "" && standby[key] != nil {
					if step.Leave, err = proof.leave(ctx, *standby[key]); err != nil {
						return nil, err
					}
				}
				steps = append(steps, step)
			}
		}
	}
	return steps, nil
}

// planStep decides by what can be read; see keyProof for what cannot.
func planStep(view *scope.View, kind Kind, key string, primary, standby *kv.Pair) Step {
	step := Step{Key: key, Kind: kind, Delete: kind == Surplus}
	if step.Delete {
		if object, err := view.InStandby(key, standby.Value); err == nil {
			step.meta = object.Meta
		}
		return step
	}
	if primary == nil {
		step.Leave = "only the standby has it, and it cannot be read; look at it before deleting it by hand"
		return step
	}
	step.Bytes = len(primary.Value)
	want, err := view.Want(key, primary.Value)
	if err != nil {
		step.Leave = "the primary's own value cannot be read"
		return step
	}
	step.meta = want.Meta
	if kind == Differing {
		step.Fields = differingFields(view, key, primary, standby)
	}
	if want.Meta.Deleting && kind == Differing && standby != nil {
		if have, err := view.InStandby(key, standby.Value); err == nil && !have.Meta.Deleting {
			step.Leave = "the primary is deleting it; a repair marks nothing for deletion: where that is meant, delete it through the standby's API server"
		}
	}
	return step
}

// ownersFirst orders steps so that each tree of owners and dependents stands
// together with the owner before, and definitions of custom resources stand last.
func ownersFirst(steps []Step) []Step {
	children := map[string][]int{} // by the owner's UID
	here := map[string]bool{}
	for _, s := range steps {
		if s.meta.UID != "" {
			here[s.meta.UID] = true
		}
	}
	var roots []int
	for i, s := range steps {
		owned := false
		for _, o := range s.meta.Owners {
			if here[o.UID] && o.UID != s.meta.UID {
				children[o.UID] = append(children[o.UID], i)
				owned = true
			}
		}
		if !owned {
			roots = append(roots, i)
		}
	}
	ordered := make([]Step, 0, len(steps))
	waits := make([]int, len(steps)) // how many owners are yet to come
	for _, dependents := range children {
		for _, i := range dependents {
			waits[i]++
		}
	}
	placed := make([]bool, len(steps))
	place := func(from int) {
		for stack := []int{from}; len(stack) > 0; {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if placed[i] {
				continue
			}
			placed[i] = true
			ordered = append(ordered, steps[i])
			for _, child := range slices.Backward(children[steps[i].meta.UID]) {
				if waits[child]--; waits[child] <= 0 {
					stack = append(stack, child)
				}
			}
		}
	}
	for _, i := range roots {
		place(i)
	}
	for i := range steps { // objects that own each other in a circle
		place(i)
	}
	slices.SortStableFunc(ordered, func(a, b Step) int { return definition(a) - definition(b) })
	return ordered
}

func definition(s Step) int {
	if s.meta.Kind == "CustomResourceDefinition" {
		return 1
	}
	return 0
}
