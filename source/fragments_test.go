package source

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"pgregory.net/rapid"

	"github.com/understudy-dr/understudy/kv"
)

// However a response is cut into fragments, every revision comes whole, once
// and in order, and no more is held back than one revision.
func TestFragmentsAreJoinedByRevision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var events []*mvccpb.Event
		revision := int64(4)
		for range rapid.IntRange(1, 10).Draw(t, "revisions") {
			revision += int64(rapid.IntRange(1, 3).Draw(t, "step"))
			for range rapid.IntRange(1, 5).Draw(t, "events") {
				events = append(events, &mvccpb.Event{Kv: &mvccpb.KeyValue{ModRevision: revision}})
			}
		}
		parts := assembler{from: 1}
		got, through := 0, kv.Revision(0)
		for rest := events; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "fragment")
			fragment := rest[:n]
			rest = rest[n:]
			e, ok := parts.add(&pb.WatchResponse{Header: &pb.ResponseHeader{Revision: 1000}, Events: fragment, Fragment: len(rest) > 0})
			for _, held := range parts.changes {
				if int64(held.Revision) != fragment[n-1].Kv.ModRevision {
					t.Fatalf("revision %d is held back, and %d has begun", held.Revision, fragment[n-1].Kv.ModRevision)
				}
			}
			if !ok {
				continue
			}
			if len(e.Changes) == 0 || e.Changes[0].Revision <= through {
				t.Fatalf("%d changes after revision %d", len(e.Changes), through)
			}
			for _, c := range e.Changes {
				if int64(c.Revision) != events[got].Kv.ModRevision {
					t.Fatalf("change %d is of revision %d, want %d", got, c.Revision, events[got].Kv.ModRevision)
				}
				got++
			}
			through = e.Through
			if through != e.Changes[len(e.Changes)-1].Revision {
				t.Fatalf("delivered to revision %d and said %d", e.Changes[len(e.Changes)-1].Revision, through)
			}
		}
		if got != len(events) || len(parts.changes) != 0 {
			t.Fatalf("%d of %d changes were delivered, %d are held back", got, len(events), len(parts.changes))
		}
	})
}
