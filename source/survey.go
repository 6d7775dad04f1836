package source

import (
	"context"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// Outside is what an etcd has below one first segment of its keys, and outside
// the prefixes that were asked about.
type Outside struct {
	Prefix  string `json:"prefix"` // "/registry-gardener/"; without a slash at its end it is a key
	Keys    int64  `json:"keys"`
	Objects bool   `json:"objects"` // among the first of them are objects of an API server
	Example string `json:"example"` // the first that is one, or else the first key
}

// Bounds of a survey: an etcd that is no API server's may have any keys.
const (
	surveySegments = 200 // first segments that are looked at
	surveySample   = 20  // keys that are read below each
)

// Survey counts the keys outside some prefixes by their first segment, and looks
// whether those are objects of API servers. What never takes part it passes over.
// Where a Kubernetes API server keeps its Namespaces comes first.
func Survey(ctx context.Context, client *clientv3.Client, prefixes []string) (found []Outside, err error) {
	for at := "\x00"; len(found) < surveySegments; {
		resp, err := client.Get(ctx, at, clientv3.WithFromKey(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil {
			return found, fmt.Errorf("look for keys outside the prefix: %w", err)
		}
		if len(resp.Kvs) == 0 {
			break
		}
		key := string(resp.Kvs[0].Key)
		segment := firstSegment(key)
		if at = kv.PrefixEnd(segment); !strings.HasSuffix(segment, "/") {
			at = segment + "\x00"
		}
		if scope.Never(key) != "" || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(segment, p) }) {
			continue
		}
		one, err := surveyOne(ctx, client, segment, prefixes)
		if err != nil {
			return found, err
		}
		if one.Keys > 0 {
			found = append(found, one)
		}
	}
	home := map[string]bool{}
	for _, one := range found {
		resp, err := client.Get(ctx, one.Prefix+"namespaces/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return found, fmt.Errorf("look for keys outside the prefix: %w", err)
		}
		home[one.Prefix] = one.Objects && resp.Count > 0
	}
	slices.SortStableFunc(found, func(a, b Outside) int {
		switch {
		case home[a.Prefix] == home[b.Prefix]:
			return 0
		case home[a.Prefix]:
			return -1
		}
		return 1
	})
	return found, nil
}

// firstSegment is "/registry/" of "/registry/pods/a/b", and all of "a" and "/a".
func firstSegment(key string) string {
	if i := strings.IndexByte(key[min(1, len(key)):], '/'); i >= 0 {
		return key[:i+2]
	}
	return key
}

// surveyOne looks at the gaps that the prefixes leave below one segment.
func surveyOne(ctx context.Context, client *clientv3.Client, segment string, prefixes []string) (Outside, error) {
	one := Outside{Prefix: segment}
	at, end := segment, kv.PrefixEnd(segment)
	if !strings.HasSuffix(segment, "/") {
		end = segment + "\x00"
	}
	inside := slices.DeleteFunc(slices.Sorted(slices.Values(prefixes)), func(p string) bool { return !strings.HasPrefix(p, segment) })
	for _, prefix := range append(inside, end) {
		if at < prefix {
			if err := one.look(ctx, client, at, prefix); err != nil {
				return one, err
			}
		}
		at = max(at, kv.PrefixEnd(prefix))
	}
	return one, nil
}

func (o *Outside) look(ctx context.Context, client *clientv3.Client, begin, end string) error {
	resp, err := client.Get(ctx, begin, clientv3.WithRange(end), clientv3.WithLimit(surveySample))
	if err != nil {
		return fmt.Errorf("look for keys outside the prefix: %w", err)
	}
	o.Keys += resp.Count
	for _, p := range resp.Kvs {
		key := string(p.Key)
		if o.Example == "" {
			o.Example = key
		}
		if _, ok := scope.ParseBelow(o.Prefix, key); ok && !o.Objects && readsAsObject(p.Value) {
			o.Objects, o.Example = true, key
		}
	}
	return nil
}

// readsAsObject reports whether a value is an object of an API server, be it encrypted.
func readsAsObject(value []byte) bool {
	if registry.SealedWith(value) != "" {
		return true
	}
	meta, err := registry.ReadMeta(value)
	return err == nil && meta.APIVersion != ""
}
