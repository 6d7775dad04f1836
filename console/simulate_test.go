package console

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func simulation(findings ...Finding) Simulation {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := Simulation{Standby: "spb", ClusterID: "bbbb", StandbyRevision: 5000, Objects: 200_123, Replicated: 150_000, Findings: findings,
		Checkpoint: &Checkpoint{SourceRevision: 1000, Time: now.Add(-2 * time.Second), Phase: Streaming}, Notes: []string{}, Time: now, TookSeconds: 4.25}
	s.Conclude()
	return s
}

func TestSimulationText(t *testing.T) {
	const want = `red: a promotion now would do harm
spb at revision 5000: 200,123 objects, 150,000 of them replicated, 4.2 s
checkpoint: revision 1000 of the primary, written 2.0 s ago

RED     1,204 would be deleted: no owner is left  [garbage-collected]
        1,000 machines.cluster.x-k8s.io, 204 secrets; 4 of them the standby's own
  Machine prod/a  /registry/cluster.x-k8s.io/machines/prod/a
      owner MachineSet b is not there
  Secret kube-system/b  /registry/secrets/kube-system/b  (the standby's own)
  and 1,202 more; --limit 0 lists them all
  remedy: understudy check

INFO    1 are held  [held]
  Cluster prod/a  /registry/cluster.x-k8s.io/clusters/prod/a

note: the primary was not asked: connection refused
`
	s := simulation(
		Finding{Finding: "garbage-collected", Severity: Red, Title: "would be deleted: no owner is left", Remedy: "understudy check", Count: 1204, Replicated: 1200,
			Resources: map[string]int64{"secrets": 204, "machines.cluster.x-k8s.io": 1000},
			Objects: []SimulatedObject{
				{Key: "/registry/cluster.x-k8s.io/machines/prod/a", Object: "Machine prod/a", Why: "owner MachineSet b is not there", Replicated: true},
				{Key: "/registry/secrets/kube-system/b", Object: "Secret kube-system/b"},
			}},
		Finding{Finding: "held", Severity: Info, Title: "are held", Count: 1, Replicated: 1, Resources: map[string]int64{"clusters.cluster.x-k8s.io": 1},
			Objects: []SimulatedObject{{Key: "/registry/cluster.x-k8s.io/clusters/prod/a", Object: "Cluster prod/a", Replicated: true}}},
	)
	s.Notes = []string{"the primary was not asked: connection refused"}
	var b strings.Builder
	if err := s.WriteText(&b); err != nil || b.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, b.String(), want)
	}
}

func TestSimulationVerdict(t *testing.T) {
	for want, severities := range map[Severity][]Severity{
		Green: nil, Yellow: {Info, Yellow, Info}, Red: {Yellow, Red, Info},
	} {
		var findings []Finding
		for _, s := range severities {
			findings = append(findings, Finding{Severity: s})
		}
		if got := simulation(findings...).Verdict; got != want {
			t.Errorf("%v: %s, want %s", severities, got, want)
		}
	}
	if s := simulation(Finding{Severity: Info}); s.Verdict != Green {
		t.Errorf("what is worth knowing takes the verdict to %s", s.Verdict)
	}
}

func TestSimulationJSON(t *testing.T) {
	raw, err := json.Marshal(simulation(Finding{Finding: "held", Severity: Info, Objects: []SimulatedObject{{Key: "k"}}}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"verdict":"green","standby":"spb","clusterID":"bbbb","standbyRevision":5000,"checkpoint":{"sourceRevision":1000,"time":"2026-03-01T11:59:58Z","phase":"streaming","sourceClusterID":""},` +
		`"objects":200123,"replicated":150000,"findings":[{"finding":"held","severity":"info","title":"","count":0,"replicated":0,"objects":[{"key":"k","replicated":false}]}],"notes":[],"time":"2026-03-01T12:00:00Z","tookSeconds":4.25}`
	if string(raw) != want {
		t.Errorf("%s\nwant\n%s", raw, want)
	}
}
