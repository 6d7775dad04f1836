package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// stage is a pair of real etcds.
type stage struct {
	t     *testing.T
	sides Sides
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return &stage{t, Sides{Primary: testkit.StartEtcd(t).Client(), Standby: testkit.StartEtcd(t).Client()}}
}

func newView(t *testing.T, primary, standby *registry.Encryption) *scope.View {
	t.Helper()
	s, err := scope.New(scope.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &scope.View{Scope: s, Recoder: registry.NewRecoder(primary, standby)}
}

func object(kind, namespace, name, data string) []byte {
	raw, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": kind, "data": map[string]string{"v": data},
		"metadata": map[string]string{"namespace": namespace, "name": name, "uid": namespace + "-" + name},
	})
	if err != nil {
		panic(err)
	}
	return raw
}

func configMap(i int) (key string, value []byte) {
	name := fmt.Sprintf("c-%05d", i)
	return "/registry/configmaps/prod/" + name, object("ConfigMap", "prod", name, "1")
}

func (s *stage) put(client *clientv3.Client, key string, value []byte) kv.Revision {
	s.t.Helper()
	resp, err := client.Put(s.t.Context(), key, string(value))
	if err != nil {
		s.t.Fatal(err)
	}
	return kv.Revision(resp.Header.Revision)
}

func (s *stage) remove(client *clientv3.Client, key string) kv.Revision {
	s.t.Helper()
	resp, err := client.Delete(s.t.Context(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	return kv.Revision(resp.Header.Revision)
}

func (s *stage) compact(client *clientv3.Client) {
	s.t.Helper()
	resp, err := client.Get(s.t.Context(), "x", clientv3.WithCountOnly())
	if err == nil {
		_, err = client.Compact(s.t.Context(), resp.Header.Revision)
	}
	if err != nil {
		s.t.Error(err)
	}
}

func (s *stage) check(view *scope.View) Report {
	s.t.Helper()
	report, err := Run(s.t.Context(), s.sides, view, Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	return report
}

// replicator is the smallest thing that keeps the contract of the checkpoint:
// no re-encryption, no fence, no resync.
type replicator struct {
	stage   *stage
	view    *scope.View
	lose    atomic.Pointer[string] // the next change to this key is lost
	cancel  context.CancelFunc
	done    chan struct{}
	sink    *sink.Sink
	through atomic.Int64
}

// replicate begins with an empty standby and the primary's history from revision 1.
func (s *stage) replicate(view *scope.View) *replicator {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	r := &replicator{stage: s, view: view, cancel: cancel, done: make(chan struct{})}
	r.sink = sink.New(s.sides.Standby, nil, sink.Limits{}, sink.Stored{})
	go func() {
		defer close(r.done)
		begin := view.Scope.Prefix()
		err := source.Watch(ctx, s.sides.Primary, source.Span{Begin: begin, End: kv.PrefixEnd(begin), From: 1}, func(e source.Events) error { return r.apply(ctx, e) })
		if !errors.Is(err, context.Canceled) && ctx.Err() == nil {
			s.t.Errorf("replicator: %v", err)
		}
	}()
	s.t.Cleanup(r.stop)
	return r
}

func (r *replicator) stop() {
	r.cancel()
	<-r.done
}

func (r *replicator) apply(ctx context.Context, e source.Events) error {
	var changes []kv.Change
	through := e.Through
	for rest := e.Changes; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Revision == rest[0].Revision {
			n++
		}
		revision := rest[:n]
		rest = rest[n:]
		taken := func(c kv.Change) bool {
			return slices.ContainsFunc(changes, func(d kv.Change) bool { return c.Key == d.Key })
		}
		if len(changes) > 50 || slices.ContainsFunc(revision, taken) {
			if err := r.commit(ctx, changes, through); err != nil {
				return err
			}
			changes = nil
		}
		for _, c := range revision {
			if lost := r.lose.Load(); lost != nil && *lost == c.Key {
				r.lose.Store(nil)
			} else if r.view.Scope.Key(c.Key) != scope.Out {
				changes = append(changes, c)
			}
		}
		through = revision[0].Revision
	}
	return r.commit(ctx, changes, through)
}

func (r *replicator) commit(ctx context.Context, changes []kv.Change, through kv.Revision) error {
	next := sink.Checkpoint{SourceClusterID: r.stage.primaryID(), SourceRevision: through, Time: time.Now(),
		ScopeHash: r.view.Scope.Hash(), HoldsHash: r.view.HoldsHash(), Phase: sink.Streaming}
	if err := r.sink.Apply(ctx, changes, next); err != nil {
		return err
	}
	r.through.Store(int64(through))
	return nil
}

// reached waits until the standby has everything up to rev.
func (r *replicator) reached(rev kv.Revision) {
	r.stage.t.Helper()
	testkit.Eventually(r.stage.t, 20*time.Second, "the replicator to catch up", func() (bool, string) {
		at := r.through.Load()
		return at >= int64(rev), fmt.Sprintf("at %d, awaited %d", at, rev)
	})
}

func (s *stage) primaryID() string {
	resp, err := s.sides.Primary.Get(context.Background(), "x", clientv3.WithCountOnly())
	if err != nil {
		return err.Error()
	}
	return cluster.FormatID(resp.Header.ClusterId)
}

// checkpoint says that the standby equals the primary as it is now.
func (s *stage) checkpoint(change func(*sink.Checkpoint)) {
	s.t.Helper()
	resp, err := s.sides.Primary.Get(s.t.Context(), "x", clientv3.WithCountOnly())
	if err != nil {
		s.t.Fatal(err)
	}
	c := sink.Checkpoint{SourceClusterID: s.primaryID(), SourceRevision: kv.Revision(resp.Header.Revision), Phase: sink.Streaming}
	if change != nil {
		change(&c)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(s.sides.Standby, sink.CheckpointKey, raw)
}

type kvClient interface {
	Put(ctx context.Context, key, val string, opts ...clientv3.OpOption) (*clientv3.PutResponse, error)
}

// fill writes n ConfigMaps of at least size bytes to the primary and says at
// which revision it has them.
func (s *stage) fill(n, size int) (at kv.Revision) {
	s.t.Helper()
	padding := strings.Repeat("x", size)
	for i := 0; i < n; i += 100 {
		var ops []clientv3.Op
		for j := i; j < min(n, i+100); j++ {
			key, _ := configMap(j)
			ops = append(ops, clientv3.OpPut(key, string(object("ConfigMap", "prod", key, padding))))
		}
		resp, err := s.sides.Primary.Txn(s.t.Context()).Then(ops...).Commit()
		if err != nil {
			s.t.Fatal(err)
		}
		at = kv.Revision(resp.Header.Revision)
	}
	return at
}

// secretbox is an EncryptionConfiguration for Secrets with one key.
func secretbox(t *testing.T, name string, secret byte) *registry.Encryption {
	t.Helper()
	e, err := registry.ParseEncryption([]byte(fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox: {keys: [{name: %s, secret: %s}]}
  - identity: {}
`, name, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{secret}, 32)))))
	if err != nil {
		t.Fatal(err)
	}
	return e
}
