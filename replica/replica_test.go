package replica_test

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/fixture"
)

// fill writes realistic objects to an etcd and returns how many.
func fill(t *testing.T, client *clientv3.Client, options fixture.Options) int {
	t.Helper()
	n := 0
	var ops []clientv3.Op
	flush := func() {
		if len(ops) == 0 {
			return
		}
		if _, err := client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		ops = nil
	}
	for p := range fixture.Generate(options) {
		ops = append(ops, clientv3.OpPut(p.Key, string(p.Value)))
		if n++; len(ops) == 100 {
			flush()
		}
	}
	flush()
	return n
}

// After a copy the standby holds exactly what the primary holds in scope.
func TestOnceCopiesAllInScope(t *testing.T) {
	p := newPair(t)
	fill(t, p.primary.Client(), fixture.Options{Seed: 1, Objects: 2000})
	state := p.once(t)
	if state.Copy.Written == 0 {
		t.Fatalf("nothing was written: %+v", state.Copy)
	}
	p.mustEqual(t)

	again := p.once(t)
	if again.Copy.Written != 0 || again.Transactions > 1 {
		t.Errorf("a second run wrote %d keys in %d transactions, want nothing but the checkpoint", again.Copy.Written, again.Transactions)
	}
	p.mustEqual(t)
}

// A running replica applies what is written to the primary, in step.
func TestRunFollowsWrites(t *testing.T) {
	p := newPair(t)
	fill(t, p.primary.Client(), fixture.Options{Seed: 2, Objects: 300})
	p.start(t)
	p.write(t, 500)
	p.quiet(t)
	p.mustEqual(t)
}

// With next to no memory a copy writes what belongs to no tree at once, puts
// trees away on disk, and still ends equal.
func TestCopyWithASmallBuffer(t *testing.T) {
	p := newPair(t)
	p.config.BufferBytes = 100 << 10
	fill(t, p.primary.Client(), fixture.Options{Seed: 5, Objects: 1500})
	p.once(t)
	p.mustEqual(t)
}
