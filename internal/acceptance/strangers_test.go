package acceptance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// strangers are the writes to the standby's Cluster API objects that understudy
// has not made: its own share a transaction with its state, all others come
// from the standby's API server.
//
// Two things Cluster API's controllers do without regard to a pause, and they
// are told apart from everything else: they say in each object that they have
// seen the pause, and they put their finalizer on a new object first of all.
// The primary's manager puts the same one there, so that a finalizer too many
// shows as a difference. And the garbage collector deletes what the deletion of
// an owner on the primary has left behind, where it is faster than the primary's.
type strangers struct {
	mu         sync.Mutex
	reports    map[string]int // the condition Paused and nothing more, by resource
	finalizers map[string]int // one of their own more and nothing else
	swept      []string       // keys of deleted objects that are no machine
	acts       []string       // anything else
}

// ownFinalizers are those that Cluster API's core controllers put on what they look at.
var ownFinalizers = []any{"cluster.cluster.x-k8s.io", "cluster.x-k8s.io/machinedeployment", "cluster.x-k8s.io/machineset", "machine.cluster.x-k8s.io"}

// watchStrangers notes them from now until the test ends.
func watchStrangers(t *testing.T, c *testkit.ControlPlane) *strangers {
	t.Helper()
	s := &strangers{reports: map[string]int{}, finalizers: map[string]int{}}
	watchOthers(t, c, s.judge, s.note)
	return s
}

// watchOthers hands on every event in the standby's etcd that is not
// understudy's, from now until the test ends. ended is told why it ends before.
func watchOthers(t *testing.T, c *testkit.ControlPlane, each func(*clientv3.Event), ended func(why string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	events := c.Etcd().Client().Watch(clientv3.WithRequireLeader(ctx), "/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	<-events // it watches
	go func() {
		defer close(done)
		for resp := range events {
			if err := resp.Err(); err != nil && ctx.Err() == nil {
				ended("the watch has ended: " + err.Error())
			}
			own := map[int64]bool{} // etcd does not spread a revision over two messages
			for _, e := range resp.Events {
				if strings.HasPrefix(string(e.Kv.Key), "/understudy/") {
					own[e.Kv.ModRevision] = true
				}
			}
			for _, e := range resp.Events {
				if !own[e.Kv.ModRevision] {
					each(e)
				}
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func (s *strangers) judge(e *clientv3.Event) {
	key := string(e.Kv.Key)
	path := strings.Split(strings.TrimPrefix(key, "/registry/"), "/")
	if len(path) != 4 || !strings.HasSuffix(path[0], coreGroup) {
		return
	}
	switch {
	case e.Type == clientv3.EventTypeDelete && slices.Contains([]string{clusters.Resource, capiMachines.Resource, infraMachines.Resource}, path[1]):
		s.note("delete " + key)
	case e.Type == clientv3.EventTypeDelete:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.swept = append(s.swept, key)
	case e.PrevKv == nil:
		s.note("create " + key)
	default:
		before, after := parse(e.PrevKv.Value), parse(e.Kv.Value)
		changed := differing("", before, after)
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case len(changed) == 0:
			s.reports[path[1]]++
		case len(changed) == 1 && oneFinalizerMore(before, after):
			s.finalizers[path[1]]++
		default:
			s.acts = append(s.acts, fmt.Sprintf("change %s: %s", key, strings.Join(changed, "; ")))
		}
	}
}

// oneFinalizerMore reports whether after has all finalizers of before, and then
// one of Cluster API's own.
func oneFinalizerMore(before, after map[string]any) bool {
	was, _, _ := unstructured.NestedSlice(before, "metadata", "finalizers")
	is, _, _ := unstructured.NestedSlice(after, "metadata", "finalizers")
	return len(is) == len(was)+1 && reflect.DeepEqual(append([]any{}, was...), is[:len(was)]) && slices.Contains(ownFinalizers, is[len(was)])
}

func (s *strangers) note(act string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts = append(s.acts, act)
}

// acted lists what changed more than the report of a pause.
func (s *strangers) acted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.acts)
}

// reported says how many reports of a pause, and finalizers, there were.
func (s *strangers) reported() (reports, finalizers map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.reports), maps.Clone(s.finalizers)
}

// gone are the keys of the objects that were deleted and are no machine. The
// primary must have deleted them as well.
func (s *strangers) gone() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.swept)
}

// parse reads a stored custom resource but for the report of a pause and the
// record of who wrote which field.
func parse(value []byte) map[string]any {
	var object map[string]any
	if err := json.Unmarshal(value, &object); err != nil {
		return map[string]any{"unreadable": string(value)}
	}
	if metadata, ok := object["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
	}
	if status, ok := object["status"].(map[string]any); ok {
		if conditions, ok := status["conditions"].([]any); ok {
			status["conditions"] = slices.DeleteFunc(conditions, func(c any) bool {
				condition, _ := c.(map[string]any)
				return condition["type"] == "Paused"
			})
			if len(status["conditions"].([]any)) == 0 {
				delete(status, "conditions")
			}
		}
		if len(status) == 0 {
			delete(object, "status")
		}
	}
	return object
}

// differing lists the fields in which two values differ.
func differing(path string, a, b any) []string {
	x, isMap := a.(map[string]any)
	y, both := b.(map[string]any)
	if !isMap || !both {
		if reflect.DeepEqual(a, b) {
			return nil
		}
		return []string{fmt.Sprintf("%s: %v → %v", path, a, b)}
	}
	var out []string
	names := maps.Clone(x)
	maps.Copy(names, y)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out = append(out, differing(path+"/"+name, x[name], y[name])...)
	}
	return out
}
