package acceptance_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
)

// Whatever releases of etcd the two sides run: a copy, 500 streamed
// transactions and a resync after a compaction leave the standby equal to the
// primary (E), with nothing acknowledged missing (L).
func TestEveryEtcdReleaseOnEitherSide(t *testing.T) {
	if testing.Short() {
		t.Skip("starts ten etcds")
	}
	for _, series := range [][2]string{{"3.5", "3.5"}, {"3.6", "3.6"}, {"3.7", "3.7"}, {"3.5", "3.7"}, {"3.7", "3.5"}} {
		t.Run(series[0]+" to "+series[1], func(t *testing.T) {
			primary := testkit.StartEtcd(t, testkit.Version(series[0]))
			standby := testkit.StartEtcd(t, testkit.Version(series[1]))
			p := newPair(t, side{Etcd: primary}, side{Etcd: standby})
			w := checker.NewWriter(primary.Client(), workload())

			transactions(t, w, 100) // before the first copy
			daemon := p.sync(t)
			p.mustHold(t, w)

			transactions(t, w, 500) // as a stream
			p.mustHold(t, w)

			daemon.Stop()
			transactions(t, w, 100) // missed, and compacted away
			if _, err := primary.Client().Compact(t.Context(), w.Last()); err != nil {
				t.Fatal(err)
			}
			p.sync(t)
			p.mustHold(t, w)
			if !p.logged(t, "reason=checkpoint-compacted") {
				t.Error("the daemon did not resync after the compaction")
			}
		})
	}
}

const prefix = "/registry/configmaps/prod/"

// workload writes ConfigMaps as JSON, which API servers may store as well.
func workload() checker.Workload {
	return checker.Workload{Seed: 1, Prefix: prefix, Value: func(key, unique string) []byte {
		name := key[len(prefix):]
		return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"prod","uid":"uid-of-%s"},"data":{"unique":%q}}`,
			name, name, unique)
	}}
}

func transactions(t *testing.T, w *checker.Writer, n int) {
	t.Helper()
	for range n {
		if _, err := w.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// mustHold waits until the standby claims to have all that w wrote, and lets
// the checker judge the claim.
func (p *pair) mustHold(t *testing.T, w *checker.Writer) {
	t.Helper()
	p.reaches(t, w.Last())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	checkpoint, differences, err := checker.EqualAtCheckpoint(ctx, p.primary.Client(), p.standby.Client(), prefix, checker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := w.Lost(ctx, p.standby.Client(), checkpoint.SourceRevision, checkpoint.ModRevision)
	if err != nil {
		t.Fatal(err)
	}
	if len(differences) > 0 || len(lost) > 0 {
		t.Fatalf("at the primary's revision %d: %d differences, such as %v; %d writes lost, such as %v",
			checkpoint.SourceRevision, len(differences), first(differences), len(lost), first(lost))
	}
}

func first[T any](all []T) []T { return all[:min(3, len(all))] }
