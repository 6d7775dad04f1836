package replica_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
)

// pair is two real etcds and what a replica between them needs.
type pair struct {
	primary, standby *testkit.Etcd
	config           replica.Config
}

func newPair(t *testing.T, options ...testkit.EtcdOption) *pair {
	t.Helper()
	p := &pair{primary: testkit.StartEtcd(t, options...), standby: testkit.StartEtcd(t)}
	p.config = p.defaults(t)
	return p
}

func (p *pair) defaults(t *testing.T) replica.Config {
	t.Helper()
	s, err := scope.New(scope.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return replica.Config{
		Primary:     cluster.Config{Name: "primary", Endpoints: p.primary.Endpoints()},
		Standby:     cluster.Config{Name: "standby", Endpoints: p.standby.Endpoints()},
		View:        &scope.View{Scope: s, Recoder: registry.NewRecoder(nil, nil)},
		Pair:        "test",
		Identity:    t.Name(),
		LeaseTTL:    2 * time.Second,
		HaltedRetry: 200 * time.Millisecond,
		Log:         slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func (p *pair) new(t *testing.T) *replica.Replica {
	t.Helper()
	r, err := replica.New(p.config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// once copies and returns; an error fails the test. Its lead outlasts a machine
// that is busy with other tests.
func (p *pair) once(t *testing.T) replica.State {
	t.Helper()
	patient := *p
	patient.config.LeaseTTL = 30 * time.Second
	state, err := patient.new(t).Once(t.Context())
	if err != nil {
		t.Fatalf("copy: %v", err)
	}
	return state
}

// daemon is a running replica.
type daemon struct {
	*replica.Replica
	cancel context.CancelFunc
	done   chan error
}

// start runs a replica until the test ends or stop is called.
func (p *pair) start(t *testing.T) *daemon {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d := &daemon{Replica: p.new(t), cancel: cancel, done: make(chan error, 1)}
	go func() { d.done <- d.Run(ctx) }()
	t.Cleanup(func() { d.stop(t) })
	return d
}

func (d *daemon) stop(t *testing.T) {
	t.Helper()
	d.cancel()
	select {
	case err := <-d.done:
		d.done <- err
		if err != nil {
			t.Errorf("replica ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("replica does not end")
	}
}

// wait returns when the replica's state satisfies the condition.
func (d *daemon) wait(t *testing.T, what string, ok func(replica.State) bool) replica.State {
	t.Helper()
	var s replica.State
	testkit.Eventually(t, 60*time.Second, what, func() (bool, string) {
		s = d.State()
		return ok(s), fmt.Sprintf("%s, checkpoint %d, lag %+v, error %v", s.Phase, s.Checkpoint.SourceRevision, s.Lag, s.Err)
	})
	return s
}

func streaming(s replica.State) bool { return s.Phase == replica.Streaming }

// write makes n writes to objects in scope on the primary.
func (p *pair) write(t *testing.T, n int) kv.Revision {
	t.Helper()
	var last int64
	for i := range n {
		resp, err := p.primary.Client().Put(t.Context(), fmt.Sprintf("/registry/configmaps/prod/w-%04d", i%200), configMap(i))
		if err != nil {
			t.Fatal(err)
		}
		last = resp.Header.Revision
	}
	return kv.Revision(last)
}

// configMap is a small JSON object, as a custom resource would be stored.
func configMap(i int) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"w","namespace":"prod","uid":"00000000-0000-4000-8000-%012d"},"data":{"n":"%d"}}`, i, i)
}

// quiet waits until the checkpoint has reached the primary's revision of now.
func (p *pair) quiet(t *testing.T) {
	t.Helper()
	resp, err := p.primary.Client().Get(t.Context(), "/registry/")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 90*time.Second, "the checkpoint to reach the primary's revision", func() (bool, string) {
		c, err := checker.ReadCheckpoint(t.Context(), p.standby.Client())
		if err != nil {
			return false, err.Error()
		}
		return c.SourceRevision >= resp.Header.Revision, fmt.Sprintf("checkpoint %d, primary %d", c.SourceRevision, resp.Header.Revision)
	})
}

// out reports whether the metadata of an object leave it out.
func (p *pair) out(side checker.Side, key string, value []byte) bool {
	look := p.config.View.InPrimary
	if side == checker.Destination {
		look = p.config.View.InStandby
	}
	object, err := look(key, value)
	return err == nil && !object.In
}

// mustEqual fails unless the independent checker finds the standby equal to
// the primary at the checkpoint.
func (p *pair) mustEqual(t *testing.T) {
	t.Helper()
	_, differences, err := checker.EqualAtCheckpoint(t.Context(), p.primary.Client(), p.standby.Client(), "/registry/",
		checker.Options{Ignore: func(key string) bool { return p.config.View.Scope.Key(key) == scope.Out }, Out: p.out})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range differences {
		if i == 10 {
			t.Errorf("… and %d more", len(differences)-i)
			break
		}
		t.Errorf("%v", d)
	}
	if len(differences) > 0 {
		t.FailNow()
	}
}

func get(t *testing.T, client *clientv3.Client, key string) (string, bool) {
	t.Helper()
	resp, err := client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return "", false
	}
	return string(resp.Kvs[0].Value), true
}
