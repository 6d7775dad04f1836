package replica_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
)

const teamMachines = "machines.cluster.x-k8s.io"

func teamKey(i int) string { return fmt.Sprintf("/registry/namespaces/team-%d", i) }

// teams is a pair with some Machines in each of some Namespaces, that has been copied.
func teams(t *testing.T, namespaces, each int) *pair {
	t.Helper()
	slow(t)
	t.Parallel()
	p := newPair(t)
	p.config.Breaker = replica.Breaker{Share: 30, Floor: 20, Window: 10 * time.Minute}
	put(t, p.primary.Client(), machinesCRD, definition(false))
	for i := range namespaces {
		put(t, p.primary.Client(), teamKey(i), namespace(fmt.Sprintf("team-%d", i), false))
		p.putTeam(t, i, 0, each)
	}
	p.once(t)
	return p
}

func teamMachine(ns, i int) (key, value string) {
	return fmt.Sprintf("%steam-%d/m-%04d", machineDir, ns, i),
		fmt.Sprintf(`{"apiVersion":"cluster.x-k8s.io/v1beta1","kind":"Machine","metadata":{"name":"m-%04d","namespace":"team-%d","uid":"%d-%d"}}`, i, ns, ns, i)
}

// eachOfTeam does something with the Machines first to end of a Namespace on the primary.
func (p *pair) eachOfTeam(t *testing.T, ns, first, end int, op func(key, value string) clientv3.Op) {
	t.Helper()
	for ; first < end; first += 50 {
		var ops []clientv3.Op
		for i := first; i < min(first+50, end); i++ {
			ops = append(ops, op(teamMachine(ns, i)))
		}
		_, err := p.primary.Client().Txn(t.Context()).Then(ops...).Commit()
		must(t, err)
	}
}

func (p *pair) putTeam(t *testing.T, ns, first, end int) {
	t.Helper()
	p.eachOfTeam(t, ns, first, end, func(key, value string) clientv3.Op { return clientv3.OpPut(key, value) })
}

func (p *pair) deleteTeam(t *testing.T, ns, first, end int) {
	t.Helper()
	p.eachOfTeam(t, ns, first, end, func(key, _ string) clientv3.Op { return clientv3.OpDelete(key) })
}

// markTeams marks Namespaces in one transaction.
func (p *pair) markTeams(t *testing.T, first, end int) {
	t.Helper()
	var ops []clientv3.Op
	for i := first; i < end; i++ {
		ops = append(ops, clientv3.OpPut(teamKey(i), namespace(fmt.Sprintf("team-%d", i), true)))
	}
	_, err := p.primary.Client().Txn(t.Context()).Then(ops...).Commit()
	must(t, err)
}

// compactAll lets the next session find what happened by a resync only.
func (p *pair) compactAll(t *testing.T) {
	t.Helper()
	p.write(t, 2)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
}

// marked counts the standby's objects that are being deleted.
func (p *pair) marked(t *testing.T, dir string) (n int) {
	t.Helper()
	resp, err := p.standby.Client().Get(t.Context(), dir, clientv3.WithPrefix())
	must(t, err)
	for _, o := range resp.Kvs {
		if strings.Contains(string(o.Value), "deletionTimestamp") {
			n++
		}
	}
	return n
}

func mustTripOn(t *testing.T, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, replica.ErrTripped) {
		t.Fatalf("no trip: %v", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("it says %q, not %q", err, s)
		}
	}
}

func tripped(s replica.State) bool { return errors.Is(s.Err, replica.ErrTripped) }

func (p *pair) standingTrip(t *testing.T) role.Trip {
	t.Helper()
	trip, err := role.ReadTrip(t.Context(), p.standby.Client())
	if err != nil || trip == nil {
		t.Fatalf("the record: %v, %v", trip, err)
	}
	return *trip
}

// One answer is enough for a resync, also beside what the standby is deleting already.
func TestOneAnswerSufficesBesideWhatWasMarkedBefore(t *testing.T) {
	p := teams(t, 1, 1000)
	mark := func(key, value string) clientv3.Op {
		return clientv3.OpPut(key, strings.Replace(value, `"metadata":{`, `"metadata":{"deletionTimestamp":"2026-01-02T03:04:05Z","finalizers":["x"],`, 1))
	}
	p.eachOfTeam(t, 0, 0, 10, mark) // below the floor of 20: reaches the standby
	p.once(t)
	p.deleteTeam(t, 0, 0, 400)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "390 of 1,000 "+teamMachines)
	p.answer(t, p.standingTrip(t), true)
	if _, err := p.new(t).Once(t.Context()); err != nil {
		t.Errorf("after it was accepted: %v", err)
	}
}

// A definition that goes after its few objects, which have gone from the standby
// already, takes nothing along.
func TestDefinitionAfterItsObjectsStopsNothing(t *testing.T) {
	p := teams(t, 1, 5)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.deleteTeam(t, 0, 0, 5)
	p.quiet(t)
	put(t, p.primary.Client(), machinesCRD, definition(true)) // marked, as the API server does
	p.quiet(t)
	if s := d.State(); tripped(s) {
		t.Errorf("nothing is left to lose: %v", s.Err)
	}
}
