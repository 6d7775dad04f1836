package replica_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

// release puts everything back that is held.
func (p *pair) release(t *testing.T) {
	t.Helper()
	items, err := hold.List(t.Context(), p.standby.Client(), p.config.View, "")
	must(t, err)
	_, err = hold.Release(t.Context(), p.standby.Client(), p.config.View, items, sink.Limits{})
	must(t, err)
	p.answerRelease(t)
}

// answerRelease lets replication go on.
func (p *pair) answerRelease(t *testing.T) {
	t.Helper()
	r, err := role.ReadRelease(t.Context(), p.standby.Client())
	must(t, err)
	must(t, role.AnswerRelease(t.Context(), p.standby.Client(), *r, role.ReleaseAnswer{By: "test", At: time.Now()}))
}

// What was released is held again by the next sync, with the primary's original.
func TestNextSyncHoldsAgain(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	key, original := numbered(4)
	put(t, p.primary.Client(), key, original)
	p.once(t)
	p.release(t)
	if s := p.once(t); s.Resyncs[replica.ReasonReleased] != 1 {
		t.Errorf("resyncs %v", s.Resyncs)
	}
	p.standsHeld(t, "after the next sync", key, `"replicas":0`, original)
	p.consistent(t, "after the next sync", 1)
	if s := p.once(t); len(s.Resyncs) != 0 {
		t.Errorf("nothing was written by hand since, and yet %v", s.Resyncs)
	}

	// So is what was held by hand, whatever somebody had made of it meanwhile.
	p.release(t)
	put(t, p.standby.Client(), key, strings.Replace(original, `"replicas":3`, `"replicas":5`, 1))
	items, err := hold.Candidates(t.Context(), p.standby.Client(), p.config.View, "")
	must(t, err)
	_, err = hold.Apply(t.Context(), p.standby.Client(), p.config.View, items, sink.Limits{})
	must(t, err)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.standsHeld(t, "after hold apply and a sync", key, `"replicas":0`, original)
	p.consistent(t, "after hold apply and a sync", 1)
}

// What has been decided about a Job, and which Jobs of a CronJob run, the primary
// knew; the standby's controllers said no more than that they were suspended.
func TestReleaseGivesJobsThePrimarysStatus(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	const decided = `,"status":{"conditions":[{"reason":"PodFailurePolicy","status":"True","type":"FailureTarget"}],"failed":1,"terminating":1}`
	const cronKey = "/registry/cronjobs/prod/backup"
	cron := func(suspend, status string) string {
		return `{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"backup","namespace":"prod","uid":"00000000-0000-4000-8000-000000000002"},"spec":{"suspend":` + suspend + `},"status":{` + status + `}}`
	}
	put(t, p.primary.Client(), jobKey, job(1, ""))
	put(t, p.primary.Client(), cronKey, cron("false", ""))
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	held, _ := get(t, p.standby.Client(), jobKey)
	put(t, p.standby.Client(), jobKey, strings.TrimSuffix(strings.TrimSpace(held), "}")+suspended+"}")
	put(t, p.primary.Client(), jobKey, job(1, decided))
	running := cron("false", `"active":[{"name":"backup-1"}],"lastScheduleTime":"2026-01-01T01:00:00Z"`)
	put(t, p.primary.Client(), cronKey, running)
	p.quiet(t)
	p.standsHeld(t, "held", jobKey, `"Suspended"`, job(1, decided))
	d.stop(t)
	p.release(t)
	for key, want := range map[string]string{jobKey: job(1, decided), cronKey: running} {
		if now, _ := get(t, p.standby.Client(), key); strings.TrimSpace(now) != want {
			t.Errorf("released: %s\nwant %s", now, want)
		}
	}
}

// A webhook's caBundle comes from the primary where nobody injects one on the
// standby, and none is made up where the primary has no place for it.
func TestCABundleOfADefinition(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	definition := func(conversion string) string {
		return `{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition","metadata":{"name":"machines.cluster.x-k8s.io","uid":"00000000-0000-4000-8000-000000000001"},"spec":{"conversion":` + conversion + `,"group":"cluster.x-k8s.io"}}` + "\n"
	}
	hook := func(ca string) string {
		return definition(`{"strategy":"Webhook","webhookClientConfig":{` + ca + `"service":{"name":"w"}}}`)
	}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	for _, step := range []struct{ standby, primary, want string }{
		{"", hook(""), hook("")},
		{"", hook(`"caBundle":"UFJJ",`), hook(`"caBundle":"UFJJ",`)},
		{hook(`"caBundle":"U1RB",`), hook(`"caBundle":"UFIy",`), hook(`"caBundle":"U1RB",`)},
		{"", definition(`{"strategy":"None"}`), definition(`{"strategy":"None"}`)},
	} {
		if step.standby != "" {
			put(t, p.standby.Client(), machinesCRD, step.standby)
		}
		put(t, p.primary.Client(), machinesCRD, step.primary)
		p.quiet(t)
		if now, _ := get(t, p.standby.Client(), machinesCRD); now != step.want {
			t.Errorf("the primary has %sthe standby %swant %s", step.primary, now, step.want)
		}
		p.consistent(t, "then", 1)
	}
}

// A session that has not heard of the pause around a release, nor of its end, writes
// nothing over what was released: not even its checkpoint.
func TestReleaseFencesTheSessionBefore(t *testing.T) {
	p := newPair(t)
	p.hold(t)
	key, original := numbered(4)
	put(t, p.primary.Client(), key, original)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	record, err := json.Marshal(role.Release{Since: time.Now(), By: "test", Last: "test"})
	must(t, err)
	put(t, p.standby.Client(), role.ReleaseKey, string(record))
	put(t, p.primary.Client(), key, strings.Replace(original, `"replicas":3`, `"replicas":4`, 1))
	s := d.wait(t, "waiting for an answer", func(s replica.State) bool { return s.Phase == replica.Halted })
	if s.Release == nil || !s.Release.Stands(s.Checkpoint.Revision) {
		t.Errorf("the release %+v does not stand", s.Release)
	}
	p.standsHeld(t, "after the release", key, `"replicas":0`, original)
}
