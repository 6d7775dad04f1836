package console

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// massDeletion is a trip that stands since a second ago.
func massDeletion() Standstill {
	at := now.Add(-time.Second)
	s := Standstill{Breaker: "1,000 of 1,000 machines.cluster.x-k8s.io were deleted", Tripped: &at, Answer: "understudy resume --accept-deletes or --resync",
		HeldBack: []Loss{{Resource: "machines.cluster.x-k8s.io", Deleted: 1000, Of: 1000, Applied: 3, Named: 500}}}
	for i := range s.HeldBack[0].Named {
		s.HeldBack[0].Objects = append(s.HeldBack[0].Objects, Object{fmt.Sprintf("Machine prod/m-%03d", i), fmt.Sprintf("/registry/cluster.x-k8s.io/machines/prod/m-%03d", i)})
	}
	return s
}

// The report of a daemon is up to some seconds older than the trip.
func TestATripOverridesAnOlderReport(t *testing.T) {
	f := protected()
	f.Standstill = massDeletion()
	s := Judge(f)
	if s.Daemon.State != Halted || !s.Daemon.Since.Equal(*f.Tripped) || s.Daemon.Error != f.Breaker || s.Lag.Known || s.Lag.Seconds != nil {
		t.Errorf("%+v, lag %+v", s.Daemon, s.Lag)
	}
	got := render(t, s, Style{})
	for _, want := range []string{
		"AT RISK  moscow-spb", "daemon      host/1, halted for 1.0 s\n", "lag         unknown: the breaker has stopped replication\n",
		"now         nothing differs as of the checkpoint; ", "held back   997 machines.cluster.x-k8s.io:\n            Machine prod/m-000\n            Machine prod/m-001\n            Machine prod/m-002\n            and 994 more\n            understudy check names them\n", "next: understudy resume --accept-deletes or --resync\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	f.Report.State, f.Report.Error = Halted, "the daemon's own words"
	if s := Judge(f); s.Daemon.Error != "the daemon's own words" {
		t.Errorf("%+v", s.Daemon)
	}
}

func TestAPauseOverridesAnOlderReport(t *testing.T) {
	f := protected()
	f.Paused = &Pause{Since: now.Add(-2 * time.Second)}
	if s := Judge(f); s.Daemon.State != Paused || s.Lag.Known || s.Daemon.Since != &f.Paused.Since {
		t.Errorf("%+v, lag %+v", s.Daemon, s.Lag)
	}
}

// Where the breaker and a pause stand, the breaker is answered first, and that is all.
func TestOrderOfAnswers(t *testing.T) {
	f := protected()
	f.Standstill = massDeletion()
	f.Paused = &Pause{Since: now}
	var next []string
	for _, r := range Judge(f).Reasons {
		next = append(next, r.Rule+": "+r.Next)
	}
	if want := []string{"breaker: " + f.Answer, "paused: " + answerEndsPause}; !slices.Equal(next, want) {
		t.Errorf("%q", next)
	}
}

// A check names what the breaker holds back, and says what the comparison is worth.
func TestCheckNamesWhatIsHeldBack(t *testing.T) {
	c := Check{Verdict: Consistent, Compared: 5000, SourceRevision: 7, StandbyRevision: 9, Time: now}.As(massDeletion().Limited(2))
	var b strings.Builder
	if err := c.WriteText(&b, describeForTest); err != nil {
		t.Fatal(err)
	}
	const want = `the breaker has stopped replication: 1,000 of 1,000 machines.cluster.x-k8s.io were deleted
unknown: nothing differs as of the checkpoint, which does not move: what the primary has written since is not on the standby
compared as of the primary's revision 7 and the standby's 9, 0.0 s

3 machines.cluster.x-k8s.io gone before it stopped: the standby has them no more

997 machines.cluster.x-k8s.io held back: the primary deletes them, the standby still has them
  Machine prod/m-000  /registry/cluster.x-k8s.io/machines/prod/m-000
  Machine prod/m-001  /registry/cluster.x-k8s.io/machines/prod/m-001
  and 995 more; --limit 0 lists them
remedy: understudy resume --accept-deletes or --resync
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
	c.Standstill = massDeletion()
	b.Reset()
	_ = c.WriteText(&b, describeForTest)
	if !strings.Contains(b.String(), "  and 497 more, which were counted, not recorded by name\n") {
		t.Error(&b)
	}
}

// A live answer says of when its numbers are.
func TestLiveCheckSaysWhen(t *testing.T) {
	asked := now.Add(4 * time.Minute)
	c := Check{Verdict: Inconsistent, Compared: 5000, SourceRevision: 7, StandbyRevision: 9, Time: now, Asked: &asked, Surplus: Keys{Count: 1, Keys: []string{"/registry/configmaps/prod/a"}}}
	var b strings.Builder
	_ = c.WriteText(&b, describeForTest)
	for _, want := range []string{"inconsistent: 1 surplus now\n", "last full check 4 min ago: 5,000 keys compared, primary at revision 7, standby at revision 9, 0.0 s\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

// A daemon that waits answers with what the leader said, as long as that is fresh.
func TestCheckOfLeader(t *testing.T) {
	f := protected()
	f.Report.Live = &Summary{Verdict: Inconsistent, Missed: 2, Compared: 12345, SourceRevision: 900, StandbyRevision: 4900, Time: now.Add(-time.Minute)}
	c := CheckOfLeader(f)
	if c.Verdict != Inconsistent || c.Missed.Count != 2 || c.Compared != 12345 || !strings.HasPrefix(c.Notes[0], "waiting; host/1 leads, and this is its account of 3.0 s ago") {
		t.Errorf("%+v", c)
	}
	for name, tc := range map[string]struct {
		change func(*Facts)
		want   string
	}{
		"stale":          {func(f *Facts) { f.Report.Time = now.Add(-time.Hour) }, "waiting; host/1 leads and has not reported lately"},
		"no report":      {func(f *Facts) { f.Report = nil }, "waiting; host/1 leads and has not reported lately"},
		"nothing live":   {func(f *Facts) { f.Report.Live = nil }, "waiting; host/1 leads and has not said what differs"},
		"nobody is seen": {func(f *Facts) { f.Leader = "" }, "this daemon waits for the lead, and who leads is not known"},
	} {
		f := protected()
		tc.change(&f)
		if c := CheckOfLeader(f); c.Verdict != Unknown || c.Reason != tc.want {
			t.Errorf("%s: %s, %q", name, c.Verdict, c.Reason)
		}
	}
}

// A daemon that waits has no metric that only the one that leads knows, so that no
// alert fires for it.
func TestMetricsOfADaemonThatWaits(t *testing.T) {
	r := *protected().Report
	r.State = Waiting
	m := NewMetrics("moscow-spb", func() Report { return r })
	for _, name := range []string{"connected", "lag_known", "check_verdict", "last_check_timestamp_seconds", "breaker_tripped", "floor_margin_revisions"} {
		if n := testutil.CollectAndCount(m, "understudy_"+name); n != 0 {
			t.Errorf("understudy_%s: %d", name, n)
		}
	}
	for _, name := range []string{"leading", "state"} {
		if testutil.CollectAndCount(m, "understudy_"+name) == 0 {
			t.Errorf("no understudy_%s", name)
		}
	}
}

// What is too much to be listed is counted by resource.
func TestCheckCountsByResource(t *testing.T) {
	c := Check{Verdict: Inconsistent, Missed: Keys{Count: 1200, Keys: []string{"/registry/configmaps/prod/a"}},
		ByResource: map[string]map[string]int64{"secrets": {"missed": 1000}, "configmaps": {"missed": 200, "surplus": 3}}}
	var b strings.Builder
	_ = c.WriteText(&b, describeForTest)
	if want := "\n1,200 missed: the primary has them, the standby does not\n  in all 1,000 secrets, 200 configmaps\n  ConfigMap prod/a  "; !strings.Contains(b.String(), want) {
		t.Errorf("no %q in\n%s", want, &b)
	}
}
