package replica_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
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
