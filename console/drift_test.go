package console

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// drifted are the facts of a pair on whose standby others have written.
func drifted() Facts {
	f := protected()
	f.Report.Drift = &Drift{
		Deleted: 1204, Changed: 1, Created: 2, Repaired: 1200, Pending: 1,
		Flapping: []Incident{{What: "deleted", Kind: "Secret", Namespace: "prod", Name: "ca", Key: "/registry/secrets/prod/ca", By: "garbage collector (owner Cluster kazan)"}},
		Recent: []Incident{
			{What: "deleted", Kind: "Secret", Namespace: "prod", Name: "ca", Key: "/registry/secrets/prod/ca", When: now.Add(-3 * time.Second), By: "garbage collector (owner Cluster kazan)", Outcome: "stopped"},
			{What: "changed", Kind: "ConfigMap", Namespace: "prod", Name: "app", When: now.Add(-90 * time.Second), By: "kubectl-edit", Outcome: "reported"},
			{What: "deleted", Marked: true, Kind: "Machine", Namespace: "prod", Name: "m-1", When: now.Add(-time.Hour), By: "unknown", Outcome: "repaired"},
			{What: "created", Key: "/registry/raw", When: now.Add(-2 * time.Hour), By: "unknown", Outcome: "reported"},
		},
	}
	return f
}

func TestScreenOfDrift(t *testing.T) {
	got := render(t, Judge(drifted()), Style{})
	for _, want := range []string{
		"AT RISK  moscow-spb",
		"drift       1,204 deleted, 1 changed, 2 created by others since the daemon\n            started; 1,200 repaired, 1 pending\n",
		"            3.0 s ago: Secret prod/ca deleted, probably by garbage collector\n            (owner Cluster kazan), stopped\n",
		"            90 s ago: ConfigMap prod/app changed, probably by kubectl-edit,\n            reported\n",
		"            60 min ago: Machine prod/m-1 marked for deletion, nothing tells by\n            whom, repaired\n",
		"AT RISK     Secret prod/ca is deleted on the standby again and again, probably\n            by garbage collector (owner Cluster kazan); it is no longer repaired\n            next: stop who does it, then: understudy repair --apply\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "/registry/raw") {
		t.Errorf("more incidents than fit:\n%s", got)
	}
	if quiet := render(t, Judge(protected()), Style{}); strings.Contains(quiet, "drift") {
		t.Errorf("drift without any:\n%s", quiet)
	}
}

func TestCheckSaysDrift(t *testing.T) {
	s := &answers{facts: drifted(), check: Check{Verdict: Inconsistent, Missed: Keys{Count: 1, Keys: []string{"/registry/secrets/prod/ca"}}, Drift: drifted().Report.Drift}}
	code, body := get(t, s, "/check", "")
	for _, want := range []string{
		"LOCAL ETCD missed keys: 1\nLOCAL ETCD surplus keys: 0\ninconsistent: 1 missed",
		"\ndrift: 1,204 deleted, 1 changed, 2 created by others since the daemon started; 1,200 repaired, 1 pending\n",
		"\nno longer repaired: Secret prod/ca  /registry/secrets/prod/ca, deleted again and again, probably by garbage collector (owner Cluster kazan)\n",
	} {
		if code != 409 || !strings.Contains(body, want) {
			t.Errorf("%d, no %q in\n%s", code, want, body)
		}
	}
	_, body = get(t, s, "/check", "application/json")
	var got struct {
		Drift struct {
			Deleted, Changed, Created, Repaired, Pending int64
			Flapping                                     []struct{ Key, By string }
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Drift.Deleted != 1204 || got.Drift.Pending != 1 || len(got.Drift.Flapping) != 1 || got.Drift.Flapping[0].By == "" {
		t.Errorf("%+v, %v\n%s", got, err, body)
	}
}

func TestMetricsOfDrift(t *testing.T) {
	_, body := get(t, &answers{facts: drifted()}, "/metrics", "")
	for _, line := range []string{
		`understudy_drift_total{kind="deleted",pair="moscow-spb"} 1204`, `understudy_drift_total{kind="changed",pair="moscow-spb"} 1`, `understudy_drift_total{kind="created",pair="moscow-spb"} 2`,
		`understudy_drift_repaired_total{pair="moscow-spb"} 1200`, `understudy_drift_pending{pair="moscow-spb"} 1`, `understudy_drift_flapping{pair="moscow-spb"} 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %q in\n%s", line, body)
		}
	}
}
