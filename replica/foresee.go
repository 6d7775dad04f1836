package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

var errPrimarySilent = errors.New("the primary does not answer")

// askPrimary reads keys of the primary, with little patience: as they are now; while
// the breaker holds the stream back as of the checkpoint, which is what the standby
// has to have until somebody has answered, if the primary still keeps that.
func (m *mender) askPrimary(ctx context.Context, keys []string) (map[string]kv.Pair, error) {
	attempt, cancel := context.WithTimeout(ctx, mendPatience)
	defer cancel()
	at := kv.Revision(0)
	if m.stands {
		at = m.sink.Last().SourceRevision
	}
	found, err := readKeys(attempt, m.primary, keys, at)
	if errors.Is(err, source.ErrCompacted) {
		found, err = readKeys(attempt, m.primary, keys, 0)
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", errPrimarySilent, err)
	}
	return found, err
}

// readKeys reads keys as they were at a revision; 0 = now.
func readKeys(ctx context.Context, client *clientv3.Client, keys []string, at kv.Revision) (map[string]kv.Pair, error) {
	found := make(map[string]kv.Pair, len(keys))
	for part := range slices.Chunk(keys, readAgainMax) {
		pairs, err := source.Get(ctx, client, part, at)
		if err != nil {
			return nil, err
		}
		for _, p := range pairs {
			found[p.Key] = p
		}
	}
	return found, nil
}

// foresee marks the objects that the primary is about to delete by itself, so
// that the standby's controllers were only faster: it is deleting them, their
// namespace or the definition of their kind, or their owners are gone there, or wait
// for them to go first, and its garbage collector is to follow. Put back, they would be deleted on the standby again and again until then.
func (m *mender) foresee(ctx context.Context, scenes []scene) error {
	asked := map[string]bool{}
	for i := range scenes {
		if l := &scenes[i]; l.primary.ModRevision > 0 && l.wantErr == nil {
			for _, key := range fateKeys(m.view.Scope, l.primary.Key, l.want.Meta) {
				asked[key] = true
			}
		}
	}
	there := map[string]kv.Pair{} // an object in no namespace and without owners has nobody to ask
	if len(asked) > 0 {
		var err error
		if there, err = m.askPrimary(ctx, slices.Collect(maps.Keys(asked))); err != nil {
			return err
		}
	}
	metas := map[string]registry.Meta{}
	for key, p := range there {
		metas[key] = m.metaOfPrimary(p)
	}
	for i := range scenes {
		l := &scenes[i]
		l.dying = dying(m.view.Scope, l.primary.Key, l.want.Meta, metas)
	}
	return nil
}

// metaOfPrimary is empty where the object cannot be read.
func (m *mender) metaOfPrimary(p kv.Pair) registry.Meta {
	k, _ := m.view.Scope.Parse(p.Key)
	plain, err := m.view.Recoder.PlainOfPrimary(k.GroupResource(), p.Key, p.Value)
	if err != nil {
		return registry.Meta{}
	}
	meta, _ := registry.ReadMeta(plain)
	return meta
}

// fateKeys are the keys of the primary that decide whether an object lives on.
func fateKeys(s *scope.Scope, key string, object registry.Meta) []string {
	keys := takers(s, key)
	for _, o := range object.Owners {
		places, proof := s.OwnerKeys(key, o)
		keys = append(keys, places...)
		if proof != "" {
			keys = append(keys, proof)
		}
	}
	return keys
}

// dying reports whether a primary with these objects is about to delete the one
// at key. It is pure, and says no where it cannot tell.
func dying(s *scope.Scope, key string, object registry.Meta, primary map[string]registry.Meta) bool {
	if object.Deleting || slices.ContainsFunc(takers(s, key), func(taker string) bool { return primary[taker].Deleting }) {
		return true
	}
	gone := func(o registry.Owner) bool {
		places, proof := s.OwnerKeys(key, o)
		if _, proven := primary[proof]; len(places) == 0 || proof != "" && !proven {
			return false
		}
		return !slices.ContainsFunc(places, func(place string) bool {
			owner, there := primary[place]
			// One that goes in the foreground waits for its dependents to be deleted first.
			last := owner.Deleting && slices.Contains(owner.Finalizers, metav1.FinalizerDeleteDependents)
			return there && (owner.UID == o.UID && !last || owner.Kind == "")
		})
	}
	return len(object.Owners) > 0 && !slices.ContainsFunc(object.Owners, func(o registry.Owner) bool { return !gone(o) })
}

// takers are the keys of what takes the object at key along when it is deleted:
// its namespace, and the definition of its kind.
func takers(s *scope.Scope, key string) (keys []string) {
	k, ok := s.Parse(key)
	if !ok {
		return nil
	}
	if k.Namespace != "" {
		keys = append(keys, registry.Key{Resource: "namespaces", Name: k.Namespace}.Path(s.RegistryPrefix()))
	}
	if resource := k.GroupResource(); !registry.BuiltIn(resource) {
		keys = append(keys, registry.Key{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: resource}.Path(s.RegistryPrefix()))
	}
	return keys
}
