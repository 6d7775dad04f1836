package replica_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/sink"
)

// limited is a pair whose standby accepts less than its primary.
func limited(t *testing.T, flags ...string) *pair {
	t.Helper()
	p := &pair{primary: testkit.StartEtcd(t, testkit.Flags("--max-txn-ops=512", "--max-request-bytes=8388608")),
		standby: testkit.StartEtcd(t, testkit.Flags(flags...))}
	p.config = p.defaults(t)
	return p
}

// large is an object of about n bytes.
func large(n int) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"large"},"data":{"x":"` + strings.Repeat("x", n) + `"}}`
}

// Fault 11: a value, or a transaction of the primary, that is too large for
// the standby stops the replica with the key's name. The checkpoint stays
// before it, nothing is skipped, and with larger limits it goes on by itself.
func TestTooLargeStopsAtItAndGoesOnWithLargerLimits(t *testing.T) {
	slow(t)
	t.Parallel()
	for name, tc := range map[string]struct {
		flag  string
		key   string
		write func(t *testing.T, client *clientv3.Client) kv.Revision
	}{
		"value": {flag: "--max-request-bytes=65536", key: "/registry/configmaps/prod/large",
			write: func(t *testing.T, client *clientv3.Client) kv.Revision {
				return put(t, client, "/registry/configmaps/prod/large", large(3<<20))
			}},
		"transaction": {flag: "--max-txn-ops=24", key: "/registry/configmaps/prod/many-",
			write: func(t *testing.T, client *clientv3.Client) kv.Revision {
				var ops []clientv3.Op
				for i := range 40 {
					ops = append(ops, clientv3.OpPut(fmt.Sprintf("/registry/configmaps/prod/many-%d", i), configMap(i)))
				}
				resp, err := client.Txn(t.Context()).Then(ops...).Commit()
				must(t, err)
				return kv.Revision(resp.Header.Revision)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			p := limited(t, tc.flag)
			p.write(t, 50)
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			l := p.load(t)
			testkit.Eventually(t, 10*time.Second, "writes", func() (bool, string) { return l.Last() > 100, "" })
			at := tc.write(t, p.primary.Client())
			last := l.Last()
			testkit.Eventually(t, 10*time.Second, "writes after it", func() (bool, string) { return l.Last() > last+20, "" })

			s := d.wait(t, "the replica to halt", func(s replica.State) bool { return s.Phase == replica.Halted })
			if remedy.CodeOf(s.Err) != remedy.Refused || !errors.Is(s.Err, sink.ErrTooLarge) || !strings.Contains(s.Err.Error(), tc.key) || remedy.Of(s.Err) == "" {
				t.Errorf("halted with %v (code %d), want one that names %s", s.Err, remedy.CodeOf(s.Err), tc.key)
			}
			c, err := checker.ReadCheckpoint(t.Context(), p.standby.Client())
			must(t, err)
			if kv.Revision(c.SourceRevision) != at-1 && !p.nothingBetween(t, kv.Revision(c.SourceRevision), at) {
				t.Errorf("the checkpoint is at %d, want the last change before revision %d", c.SourceRevision, at)
			}
			p.mustEqual(t)
			if n := d.State().Errors["too-large"]; n > 20 {
				t.Errorf("%d attempts", n)
			}

			p.standby.Restart("--max-txn-ops=512", "--max-request-bytes=8388608")
			d.wait(t, "streaming", streaming)
			p.judge(t, l)
		})
	}
}

// nothingBetween reports whether the primary changed nothing in (a, b).
func (p *pair) nothingBetween(t *testing.T, a, b kv.Revision) bool {
	t.Helper()
	resp, err := p.primary.Client().Get(t.Context(), "/registry/", clientv3.WithPrefix(), clientv3.WithRev(int64(b-1)),
		clientv3.WithMinModRev(int64(a)+1), clientv3.WithCountOnly())
	must(t, err)
	return resp.Count == 0
}

// Fault 11: a first copy meets a value that the standby does not accept.
func TestTooLargeStopsFirstCopy(t *testing.T) {
	p := limited(t, "--max-request-bytes=65536")
	p.write(t, 50)
	put(t, p.primary.Client(), "/registry/configmaps/prod/large", large(200<<10))
	_, err := p.new(t).Once(t.Context())
	if remedy.CodeOf(err) != remedy.Refused || !errors.Is(err, sink.ErrTooLarge) || !strings.Contains(err.Error(), "/registry/configmaps/prod/large") {
		t.Errorf("a copy of a value that is too large: %v", err)
	}
	if c, err := checker.ReadCheckpoint(t.Context(), p.standby.Client()); err == nil && strings.Contains(string(c.Raw), `"streaming"`) {
		t.Errorf("the copy says that it is complete: %s", c.Raw)
	}
	p.standby.Restart("--max-request-bytes=8388608")
	p.once(t)
	p.mustEqual(t)
}

// Fault 11: small limits do no harm to what fits, in the copy and in the stream:
// of 8 operations the checkpoint takes one, and of 8 compares ours take four, so
// that 7 keys may be put at once, or 4 where some are deleted.
func TestSmallLimitsOfStandby(t *testing.T) {
	slow(t)
	t.Parallel()
	for name, change := range map[string]func(*checker.Workload){
		"puts":      func(w *checker.Workload) { w.MaxOps, w.Deletes, w.Pace = 7, -1, 0 },
		"deletions": func(w *checker.Workload) { w.MaxOps, w.Pace = 4, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			p := limited(t, "--max-txn-ops=8", "--max-request-bytes=32768")
			fill(t, p.primary.Client(), fixture.Options{Seed: 11, Objects: 500})
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			l := p.load(t, change)
			testkit.Eventually(t, 20*time.Second, "writes", func() (bool, string) { return l.Last() > 1500, "" })
			l.end()
			p.quiet(t)
			p.standby.Restart("--max-txn-ops=512") // for the checker, which reads many keys at once
			p.judge(t, l)
		})
	}
}

// Values above gRPC's default limit for sending pass where both sides allow them.
func TestLargeValuesPassWhereAllowed(t *testing.T) {
	p := limited(t, "--max-request-bytes=8388608")
	p.config.Limits = sink.Limits{MaxBytes: 8 << 20}
	put(t, p.primary.Client(), "/registry/configmaps/prod/large-1", large(5<<20))
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	put(t, p.primary.Client(), "/registry/configmaps/prod/large-2", large(5<<20))
	p.quiet(t)
	p.mustEqual(t)
}

// Fault 18: the standby is out of space. The replica says so, does not spin,
// and goes on by itself when there is space again.
func TestStandbyOutOfSpaceIsSaidAndResumed(t *testing.T) {
	slow(t)
	t.Parallel()
	p := limited(t, "--quota-backend-bytes=4194304")
	p.write(t, 20)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	l := p.load(t)
	for i := range 60 { // 6 MB
		put(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/filler-%02d", i), large(100<<10))
	}
	said := func(s replica.State) bool { return s.Err != nil && s.Phase == replica.Connecting }
	s := d.wait(t, "the replica to say why it does not go on", said)
	attempts := s.Errors["standby-out-of-space"]
	for round := range 3 { // also when it has tried again
		s = d.wait(t, "the next attempt", func(s replica.State) bool { return said(s) && s.Errors["standby-out-of-space"] > attempts+int64(round) })
		if !errors.Is(s.Err, sink.ErrNoSpace) || remedy.Of(s.Err) == "" {
			t.Errorf("attempt %d: %v (remedy %q), want one that says out of space", round, s.Err, remedy.Of(s.Err))
		}
	}
	if len(s.Errors) != 1 {
		t.Errorf("errors counted: %v", s.Errors)
	}
	p.mustEqual(t)
	for i := range 60 {
		remove(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/filler-%02d", i))
	}

	// What an operator does: compact, defragment, disarm. The backlog holds the
	// fillers still, so the quota has to grow as well.
	p.standby.Restart("--quota-backend-bytes=104857600")
	client := p.standby.Client()
	compact(t, client, revision(t, client))
	_, err := client.Defragment(t.Context(), p.standby.Endpoints()[0])
	must(t, err)
	_, err = client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{})
	must(t, err)
	d.wait(t, "streaming", streaming)
	p.judge(t, l)
}
