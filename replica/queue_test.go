package replica

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
)

// run writes changes as "key@revision".
func run(changes ...string) (all []kv.Change) {
	for _, c := range changes {
		key, revision, _ := strings.Cut(c, "@")
		all = append(all, kv.Change{Key: key, Value: make([]byte, 76), Revision: kv.Revision(revision[0] - '0')}) // 101 bytes of room each
	}
	return all
}

func TestCut(t *testing.T) {
	wide := sink.Room{Ops: 100, Bytes: 100_000}
	for name, tc := range map[string]struct {
		changes []kv.Change
		room    sink.Room
		want    int
	}{
		"nothing":                               {room: wide},
		"all":                                   {run("a@1", "b@2", "c@3"), wide, 3},
		"key twice":                             {run("a@1", "b@2", "a@3"), wide, 2},
		"key twice in a revision of several":    {run("a@1", "b@2", "a@2", "c@2"), wide, 1},
		"operations":                            {run("a@1", "b@2", "c@3"), sink.Room{Ops: 2, Bytes: 100_000}, 2},
		"bytes":                                 {run("a@1", "b@2", "c@3"), sink.Room{Ops: 100, Bytes: 202}, 2},
		"one byte short":                        {run("a@1", "b@2", "c@3"), sink.Room{Ops: 100, Bytes: 201}, 1},
		"a revision is not split":               {run("a@1", "b@2", "c@2", "d@2"), sink.Room{Ops: 3, Bytes: 100_000}, 1},
		"the first revision, whatever its size": {run("a@1", "b@1", "c@1", "d@2"), sink.Room{Ops: 2, Bytes: 10}, 3},
		"only one revision, too large":          {run("a@1", "b@1", "c@1"), sink.Room{Ops: 1, Bytes: 1}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cut(tc.changes, tc.room); got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}

// drawChanges draws changes of ascending revisions, no key twice in one.
func drawChanges(t *rapid.T) (all []kv.Change) {
	revision := kv.Revision(0)
	for range rapid.IntRange(0, 20).Draw(t, "revisions") {
		revision += kv.Revision(rapid.IntRange(1, 3).Draw(t, "step"))
		for _, key := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-f]`), 1, 4, rapid.ID).Draw(t, "keys") {
			all = append(all, kv.Change{Key: key, Value: make([]byte, rapid.IntRange(0, 60).Draw(t, "size")), Revision: revision})
		}
	}
	return all
}

// However the changes are pushed and cut, they come out complete, in order, as
// transactions of whole revisions that name no key twice and fit.
func TestQueueDeliversWholeRevisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changes := drawChanges(t)
		room := sink.Room{Ops: rapid.IntRange(1, 10).Draw(t, "ops"), Bytes: rapid.IntRange(30, 600).Draw(t, "bytes")}
		q := newQueue(0)
		if len(changes) > 0 {
			if err := q.push(context.Background(), changes, changes[len(changes)-1].Revision+5); err != nil {
				t.Fatal(err)
			}
		}
		var out []kv.Change
		for len(q.changes) > 0 {
			batch, reached := q.head(room, everything)
			keys := map[string]bool{}
			for _, c := range batch {
				if keys[c.Key] {
					t.Fatalf("key %s twice in one transaction", c.Key)
				}
				keys[c.Key] = true
			}
			first, last := batch[0].Revision, batch[len(batch)-1].Revision
			if first != last && (len(batch) > room.Ops || sink.Cost(batch) > room.Bytes) {
				t.Fatalf("%d changes of %d bytes, room for %+v", len(batch), sink.Cost(batch), room)
			}
			out = append(out, batch...)
			rest := changes[len(out):]
			if len(rest) > 0 && (rest[0].Revision == last || reached != last) || len(rest) == 0 && reached != last+5 {
				t.Fatalf("the transaction through revision %d reaches %d; %d changes are left", last, reached, len(rest))
			}
			q.drop(len(batch))
		}
		if !slices.EqualFunc(out, changes, func(a, b kv.Change) bool { return a.Key == b.Key && a.Revision == b.Revision }) || q.bytes != 0 {
			t.Fatalf("%d changes came out of %d, %d bytes are left", len(out), len(changes), q.bytes)
		}
	})
}

// A full queue holds its writer back until something is taken out, or the
// writer is told to end.
func TestFullQueueHoldsBack(t *testing.T) {
	q := newQueue(0)
	large := []kv.Change{{Key: "a", Value: make([]byte, queueBytes+1), Revision: 1}}
	if err := q.push(t.Context(), large, 1); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.push(ended, run("b@2"), 2); !errors.Is(err, context.Canceled) {
		t.Errorf("pushed into a full queue: %v", err)
	}
	pushed := make(chan error)
	go func() { pushed <- q.push(t.Context(), run("b@2"), 2) }()
	select {
	case err := <-pushed:
		t.Errorf("pushed into a full queue: %v", err)
	default:
	}
	q.drop(1)
	if err := <-pushed; err != nil {
		t.Error(err)
	}
	if batch, reached := q.head(sink.Room{Ops: 10, Bytes: 1000}, everything); len(batch) != 1 || reached != 2 {
		t.Errorf("%d changes to revision %d", len(batch), reached)
	}
}

// The end of the watch is seen after everything that was pushed before.
func TestQueueTellsTheEndLast(t *testing.T) {
	q, end := newQueue(3), errors.New("the end")
	if _, ready, err := q.wait(3); ready || err != nil {
		t.Errorf("an empty queue: ready %t, %v", ready, err)
	}
	if err := q.push(t.Context(), run("a@4"), 4); err != nil {
		t.Fatal(err)
	}
	q.close(end)
	if _, ready, err := q.wait(3); !ready || err != nil {
		t.Errorf("with a change outstanding: ready %t, %v", ready, err)
	}
	q.drop(1)
	if _, ready, err := q.wait(3); !ready || err != nil {
		t.Errorf("with progress outstanding: ready %t, %v", ready, err)
	}
	if _, ready, err := q.wait(4); ready || !errors.Is(err, end) {
		t.Errorf("at the end: ready %t, %v", ready, err)
	}
}
