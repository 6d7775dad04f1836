package verify

import (
	"context"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// Served is an API server that gives objects in the version of the API that it is
// asked for, whatever version they are stored in; false where it does not serve that.
// The revision is that of the etcd at which the object was written.
type Served interface {
	Object(ctx context.Context, key registry.Key, apiVersion string) (object []byte, at kv.Revision, ok bool, err error)
}

// askAtMost bounds the questions of one comparison. What is beyond stays unknown.
const askAtMost = 2000

// asking asks the standby's API server about objects that it has stored in another
// version of the API than the primary's.
type asking struct {
	served Served // nil = nobody can be asked
	view   *scope.View
	asked  int
}

// settle looks again at what was found of a key. It stays OtherVersion where the API
// server does not answer, does not serve the primary's version, or has read another
// state of the object than the comparison.
func (a *asking) settle(ctx context.Context, primary, standby *kv.Pair, found finding) finding {
	if a == nil || a.served == nil || found.kind != OtherVersion || a.asked >= askAtMost {
		return found
	}
	parsed, ok := a.view.Scope.Parse(primary.Key)
	object, err := a.view.InPrimary(primary.Key, primary.Value)
	if !ok || err != nil {
		return found
	}
	a.asked++
	served, at, ok, err := a.served.Object(ctx, parsed, object.Meta.APIVersion)
	if err != nil {
		a.asked = askAtMost // one silent API server holds up nothing
		return found
	}
	if !ok || at != standby.ModRevision {
		return found
	}
	switch a.view.Locals.CompareServed(parsed.GroupResource(), object.Plain, served) {
	case scope.Equal:
		found.kind, found.why = "", nil
	case scope.Different:
		found.kind, found.why = Differing, nil
	}
	return found
}
