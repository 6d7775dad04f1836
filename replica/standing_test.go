package replica_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/verify"
)

// pausable is a Machine whose condition Paused has a reason.
func pausable(i, generation int, reason string) string {
	return fmt.Sprintf(`{"apiVersion":"cluster.x-k8s.io/v1beta1","kind":"Machine","metadata":{"generation":%d,"name":"m-%04d","namespace":"%s","uid":"00000000-0000-4000-8000-%012d"},`+
		`"status":{"conditions":[{"reason":"%s","type":"Paused"}]}}`+"\n", generation, i, machineNamespace(i), i, reason)
}

// Updates do not cost a read of the standby each.
func TestLocalFieldsAreRemembered(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	for i := range 5 {
		put(t, p.primary.Client(), machineKey(i), pausable(i, 0, "running"))
	}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)
	const updates = 200
	const requests = `grpc_server_handled_total{grpc_code="OK",grpc_method="Txn",grpc_service="etcdserverpb.KV",grpc_type="unary"}`
	before, applied := p.standby.Metrics()[requests], d.State().Transactions
	for n := range updates {
		put(t, p.primary.Client(), machineKey(n%5), pausable(n%5, n, "running"))
	}
	created := put(t, p.primary.Client(), machineKey(5), pausable(5, 0, "running"))
	p.reach(t, created)
	reads := p.standby.Metrics()[requests] - before - float64(d.State().Transactions-applied)
	if before == 0 || reads > updates/10 { // each Machine once, and what watches over the session
		t.Errorf("%v reads on the standby for %d updates", reads, updates)
	}
	p.consistent(t, "after the updates", 6)
}

// A resync that can keep the objects neither in memory nor on disk reads them
// twice, and still leaves the standby its local fields.
func TestLocalFieldsSurviveACopyThatReadsTwice(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	const machines = 5
	for i := range machines {
		put(t, p.primary.Client(), machineKey(i), pausable(i, 0, "running"))
	}
	p.once(t)
	for i := range machines {
		put(t, p.standby.Client(), machineKey(i), pausable(i, 0, "held"))
		put(t, p.primary.Client(), machineKey(i), pausable(i, 1, "running"))
	}
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	t.Setenv("TMPDIR", "/nowhere")
	p.config.BufferBytes = 1
	p.once(t)
	for i := range machines {
		if now, _ := get(t, p.standby.Client(), machineKey(i)); now != pausable(i, 1, "held") {
			t.Errorf("the standby has %s\nwant generation 1, reason held", now)
		}
	}
}

// What the standby's controllers write into local fields is never lost, however
// their writes and the primary's fall together, and neither is the primary's.
func TestLocalFieldsSurviveEveryInterleaving(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	p.hold(t)
	const machines, rounds = 8, 150
	for i := range machines {
		put(t, p.primary.Client(), machineKey(i), pausable(i, 0, "running"))
	}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.quiet(t)

	done := make(chan map[int]string)
	go func() { // the standby's controllers
		rng := rand.New(rand.NewPCG(7, 1))
		standby, said := p.standby.Client(), map[int]string{}
		defer func() { done <- said }()
		for n := 0; n < rounds || len(said) < machines; n++ {
			i := rng.IntN(machines)
			resp, err := standby.Get(t.Context(), machineKey(i))
			if err != nil || len(resp.Kvs) == 0 {
				t.Errorf("%s on the standby: %v, %v", machineKey(i), resp, err)
				return
			}
			now := string(resp.Kvs[0].Value)
			_, old, _ := strings.Cut(now, `"reason":"`)
			old, _, _ = strings.Cut(old, `"`)
			if was, known := said[i]; old != was && (known || old != "running") {
				t.Errorf("%s: the standby's controller wrote %q and finds %q", machineKey(i), was, old)
			}
			reason := fmt.Sprintf("held%d", n)
			txn, err := standby.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision(machineKey(i)), "=", resp.Kvs[0].ModRevision)).
				Then(clientv3.OpPut(machineKey(i), strings.Replace(now, `"`+old+`"`, `"`+reason+`"`, 1))).Commit()
			if err != nil {
				t.Error(err)
				return
			}
			if txn.Succeeded {
				said[i] = reason
			}
		}
	}()
	rng := rand.New(rand.NewPCG(7, 2))
	generations := map[int]int{}
	for n := range 4 * rounds {
		i := rng.IntN(machines)
		generations[i] = n
		put(t, p.primary.Client(), machineKey(i), pausable(i, n, fmt.Sprintf("running%d", n)))
	}
	said := <-done
	p.quiet(t)
	for i, reason := range said {
		if now, _ := get(t, p.standby.Client(), machineKey(i)); now != pausable(i, generations[i], reason) {
			t.Errorf("the standby has %s\nwant generation %d, reason %s", now, generations[i], reason)
		}
	}
	p.consistent(t, "in the end", machines)
}

const jobKey = "/registry/jobs/prod/migrate"

func job(uid int, status string) string {
	return fmt.Sprintf(`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"migrate","namespace":"prod","uid":"00000000-0000-4000-8000-%012d"},"spec":{"suspend":false}%s}`, uid, status)
}

const (
	complete  = `,"status":{"completionTime":"2026-01-01T00:00:00Z","conditions":[{"status":"True","type":"Complete"}],"succeeded":1}`
	suspended = `,"status":{"conditions":[{"status":"True","type":"Suspended"}]}`
)

// A Job under the name of an older one has not run because that one has: local
// fields are an object's own, not a name's.
func TestLocalFieldsAreNotInheritedByANamesake(t *testing.T) {
	t.Run("resync", func(t *testing.T) {
		p := newPair(t)
		p.hold(t)
		put(t, p.primary.Client(), jobKey, job(1, complete))
		p.once(t)
		remove(t, p.primary.Client(), jobKey)
		put(t, p.primary.Client(), jobKey, job(2, ""))
		compact(t, p.primary.Client(), revision(t, p.primary.Client()))
		p.once(t)
		p.mustNotHaveRun(t)
	})
	t.Run("stream", func(t *testing.T) { // over a stranger's, which the standby has run
		p := newPair(t)
		p.rules(t, scope.Config{Replace: []scope.Rule{{Resources: []string{"jobs.batch"}}}})
		p.hold(t)
		d := p.start(t)
		d.wait(t, "streaming", streaming)
		put(t, p.standby.Client(), jobKey, job(1, complete))
		p.guarded(t, revision(t, p.standby.Client()))
		put(t, p.primary.Client(), jobKey, job(2, ""))
		p.quiet(t)
		p.mustNotHaveRun(t)
	})
}

func (p *pair) mustNotHaveRun(t *testing.T) {
	t.Helper()
	if now, _ := get(t, p.standby.Client(), jobKey); strings.Contains(now, "Complete") || !strings.Contains(now, "000000000002") {
		t.Errorf("the standby has %s", now)
	}
}

// A Job that has ended on the primary has ended on the standby, though the
// standby's controller has said there that it is suspended: it must not run again.
func TestJobsEndOnTheStandbyToo(t *testing.T) {
	ends := map[string]func(p *pair, t *testing.T){
		"stream": func(p *pair, t *testing.T) {
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			put(t, p.primary.Client(), jobKey, job(1, complete))
			p.quiet(t)
			d.stop(t)
		},
		"resync": func(p *pair, t *testing.T) {
			put(t, p.primary.Client(), jobKey, job(1, complete))
			compact(t, p.primary.Client(), revision(t, p.primary.Client()))
			p.once(t)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.hold(t)
			put(t, p.primary.Client(), jobKey, job(1, ""))
			p.once(t)
			held, _ := get(t, p.standby.Client(), jobKey)
			put(t, p.standby.Client(), jobKey, strings.TrimSuffix(strings.TrimSpace(held), "}")+suspended+"}")
			end(p, t)
			p.standsHeld(t, "ended on the primary", jobKey, `"Complete"`, job(1, complete))
			p.standsHeld(t, "ended on the primary", jobKey, `"suspend":true`, job(1, complete))
			p.consistent(t, "ended on the primary", 1)
			items, err := hold.List(t.Context(), p.standby.Client(), p.config.View, "")
			must(t, err)
			_, err = hold.Release(t.Context(), p.standby.Client(), p.config.View, items, sink.Limits{})
			must(t, err)
			if now, _ := get(t, p.standby.Client(), jobKey); now != job(1, complete) {
				t.Errorf("released: %s", now)
			}
			// One that the check finds on a standby of before it knew of this is no equal.
			put(t, p.standby.Client(), jobKey, strings.TrimSuffix(job(1, ""), "}")+suspended+"}")
			sides := verify.Sides{Primary: p.primary.Client(), Standby: p.standby.Client()}
			if r, err := verify.Run(t.Context(), sides, p.config.View, verify.Options{}); err != nil || r.Differing.Count != 1 {
				t.Errorf("a Job that is to run again: %+v, %v", r, err)
			}
		})
	}
}

// When a CronJob ran last is the primary's to say: the standby's controller would
// run it again for that time. What it says itself while suspended stays.
func TestCronJobsKeepTheirLastRun(t *testing.T) {
	const key = "/registry/cronjobs/prod/backup"
	cron := func(spec, status string) string {
		return `{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"backup","namespace":"prod","uid":"00000000-0000-4000-8000-000000000001"},"spec":{` + spec + `},"status":{` + status + `}}`
	}
	p := newPair(t)
	p.hold(t)
	put(t, p.primary.Client(), key, cron(`"suspend":false`, `"active":[{"name":"backup-1"}],"lastScheduleTime":"2026-01-01T01:00:00Z"`))
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	put(t, p.standby.Client(), key, cron(`"suspend":true`, `"lastScheduleTime":"2026-01-01T01:00:00Z","lastSuccessfulTime":"2026-01-01T01:05:00Z"`))
	put(t, p.primary.Client(), key, cron(`"suspend":false`, `"active":[{"name":"backup-2"}],"lastScheduleTime":"2026-01-01T02:00:00Z"`))
	p.quiet(t)
	now, _ := get(t, p.standby.Client(), key)
	if strings.Contains(now, "active") || !strings.Contains(now, `"lastScheduleTime":"2026-01-01T02:00:00Z","lastSuccessfulTime":"2026-01-01T01:05:00Z"`) {
		t.Errorf("the standby has %s", now)
	}
	if s := d.State(); s.Drift.Changed != 0 {
		t.Errorf("drift %+v", s.Drift)
	}
	p.consistent(t, "then", 1)
}
