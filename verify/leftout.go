package verify

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// LeftOut are the objects of the primary whose owners the scope leaves out.
type LeftOut struct {
	Revision kv.Revision // of the primary; it was read at it
	// Findings are OwnersLeftOut and ClaimLeftOut, for objects that are not
	// replicated for it, and OwnerLeftOut, for those that only lose the references to these owners.
	Findings []Finding
}

// FindLeftOut reads the primary at its newest revision for what a simulation
// on the standby cannot see: objects that are not there because every owner
// of theirs is left out. It gives up when the primary sends nothing for as long
// as patience, because the primary may be about to die. What it cannot decrypt
// or decode it passes over; a check names those.
func FindLeftOut(ctx context.Context, primary *clientv3.Client, view *scope.View, limit int, patience time.Duration) (LeftOut, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	silent := time.AfterFunc(patience, func() { giveUp(fmt.Errorf("it sent nothing for %s", patience)) })
	defer silent.Stop()

	if err := source.Learn(ctx, primary, view.Scope, view.Recoder.PlainOfPrimary, 0); err != nil {
		return LeftOut{}, because(ctx, err)
	}
	begin, end := view.Range()
	cursor, err := source.Open(ctx, primary, begin, end, 0)
	if err != nil {
		return LeftOut{}, because(ctx, err)
	}
	defer cursor.Close()
	found := newFindings(limit)
	for n := 0; ; n++ {
		if n%256 == 0 {
			silent.Reset(patience)
		}
		pair, ok, err := cursor.Next()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return LeftOut{}, because(ctx, err)
		}
		if !ok {
			return LeftOut{cursor.Revision(), found.sorted()}, nil
		}
		leftOut(found, view, pair)
	}
}

// because prefers the reason of the end of ctx to what the client makes of it.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// leftOut notes one object of the primary.
func leftOut(found *findings, view *scope.View, p kv.Pair) {
	object, err := view.InPrimary(p.Key, p.Value)
	if err != nil {
		return
	}
	k, _ := view.Scope.Parse(p.Key) // only objects have owners, or a claim
	switch {
	case object.Orphaned && view.Scope.ClaimLeftOut(k, object.Plain):
		found.add(ClaimLeftOut, Info, k.GroupResource(), itemOf(k, p.Key, object.Meta), func() string { return "its claim is out of scope" })
	case object.Orphaned:
		noteOwners(found, OwnersLeftOut, Yellow, k, p.Key, object.Meta, object.Meta.Owners)
	case len(object.Dropped) > 0:
		noteOwners(found, OwnerLeftOut, Info, k, p.Key, object.Meta, object.Dropped)
	}
}

// itemOf names an object for people.
func itemOf(k registry.Key, key string, m registry.Meta) Item {
	name := k.Name
	if k.Namespace != "" {
		name = k.Namespace + "/" + name
	}
	return Item{Key: key, Object: m.Kind + " " + name}
}

// noteOwners notes an object with those of its owners that are out of scope.
func noteOwners(found *findings, problem Problem, severity Severity, k registry.Key, key string, m registry.Meta, out []registry.Owner) {
	found.add(problem, severity, k.GroupResource(), itemOf(k, key, m), func() string {
		var names []string
		for _, owner := range out {
			names = append(names, owner.Kind+" "+owner.Name)
		}
		if len(names) == 1 {
			return "owner " + names[0] + " is out of scope"
		}
		return "owners " + strings.Join(names, ", ") + " are out of scope"
	})
}

// Merge adds findings of another look.
func (s *Simulation) Merge(more []Finding) {
	all := append(s.Findings, more...)
	s.Findings = make([]Finding, 0, len(all))
	for _, severity := range Severities {
		for _, p := range problems {
			for _, f := range all {
				if f.Severity == severity && f.Problem == p.Problem {
					s.Findings = append(s.Findings, f)
				}
			}
		}
	}
}
