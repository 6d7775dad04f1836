package console

import (
	"strings"
	"testing"
	"time"
)

var (
	now        = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	aMinuteAgo = now.Add(-time.Minute)
)

// protected are the facts of a pair that lacks nothing.
func protected() Facts {
	return Facts{
		Now: now, Pair: "moscow-spb", LagThreshold: 30 * time.Second, CheckInterval: 5 * time.Minute,
		Primary:    Side{Name: "moscow", ClusterID: "aaaa", Revision: 1010, Reachable: true},
		Standby:    Side{Name: "spb", ClusterID: "bbbb", Revision: 1_000_005_000, Reachable: true, Role: "standby", Term: 1},
		Checkpoint: &Checkpoint{SourceRevision: 1000, Time: now.Add(-2 * time.Second), Phase: Streaming, SourceClusterID: "aaaa"},
		Leader:     "host/1",
		Report: &Report{
			Time: now.Add(-3 * time.Second), Identity: "host/1", State: Streaming, Since: now.Add(-time.Hour),
			PrimaryConnected: true, StandbyConnected: true, SourceRevision: 1000, StandbyRevision: 4990, Lag: KnownLag(0.2, 10),
			LastCheck: &Summary{Verdict: Consistent, Time: now.Add(-time.Minute), Compared: 12345, SourceRevision: 900, StandbyRevision: 4900, TookSeconds: 1.2},
			Live:      &Summary{Verdict: Consistent},
			Scope:     map[string]Resource{"configmaps": {Replicated: 12000, Excluded: 7, OwnersLeftOut: 3, ReferencesDropped: 4}, "leases.coordination.k8s.io": {Excluded: 40}},
			ScopeTime: &aMinuteAgo,
		},
		Certificates: []Certificate{{Side: "primary", File: "reader.crt", NotAfter: now.AddDate(1, 0, 0)}},
	}
}

func TestJudgeProtected(t *testing.T) {
	s := Judge(protected())
	if s.Verdict != Protected || len(s.Reasons) != 0 || len(s.Warnings) != 0 {
		t.Errorf("verdict %s, reasons %+v, warnings %q", s.Verdict, s.Reasons, s.Warnings)
	}
}

// Each rule, by the smallest change that makes it apply.
func TestJudge(t *testing.T) {
	unreachable := func(s *Side) { *s = Side{Name: s.Name, Error: "connection refused"} }
	noStandby := func(f *Facts) { unreachable(&f.Standby); f.Checkpoint, f.Leader, f.Report = nil, "", nil }
	tested := map[string]bool{}
	for name, tc := range map[string]struct {
		change func(*Facts)
		want   Verdict
		rule   string // the first reason's
	}{
		"two primaries":                  {func(f *Facts) { f.Standby.Role, f.Primary.Role = "primary", "primary" }, Split, "two-primaries"},
		"promoted, old one without role": {func(f *Facts) { f.Standby.Role = "primary" }, Split, "two-primaries"},
		"operation":                      {func(f *Facts) { f.Operation = "switchover 7" }, OperationRunning, "operation"},
		"split prevails":                 {func(f *Facts) { f.Operation, f.Standby.Role = "switchover 7", "primary" }, Split, "two-primaries"},
		"operation prevails":             {func(f *Facts) { f.Operation, f.Leader = "switchover 7", "" }, OperationRunning, "operation"},
		"roles swapped":                  {func(f *Facts) { f.Standby.Role, f.Primary.Role = "primary", "standby" }, AtRisk, "roles-swapped"},
		"sides swapped": {func(f *Facts) {
			f.Standby.Role, f.Primary.Role, f.Checkpoint = "", "standby", nil
		}, AtRisk, "sides-swapped"},
		"two standbys":      {func(f *Facts) { f.Primary.Role = "standby" }, AtRisk, "sides-swapped"},
		"standby took over": {func(f *Facts) { f.Standby.Role = "primary"; unreachable(&f.Primary) }, AtRisk, "standby-took-over"},
		"a corrupt member":  {func(f *Facts) { f.Primary.Ailments = []Ailment{CorruptMember("moscow", "m1", "replace it")} }, AtRisk, ruleCorrupt},
		"a full member":     {func(f *Facts) { f.Standby.Ailments = []Ailment{FullMember("spb", "m1", "make space")} }, AtRisk, ruleFull},
		"members disagree": {func(f *Facts) {
			f.Primary.Ailments = []Ailment{Disagreement("moscow", "m2", []string{"m2 is at revision 7"}, "replace it")}
		}, AtRisk, ruleDisagree},
		"members disagree by their data": {func(f *Facts) { f.Report.Apart = []string{"moscow: m1 and m2"} }, AtRisk, ruleDisagree},
		"same cluster":                   {func(f *Facts) { f.Standby.ClusterID = "aaaa" }, AtRisk, "same-cluster"},
		"standby unreachable":            {noStandby, AtRisk, "standby-unreachable"},
		"primary unreachable":            {func(f *Facts) { unreachable(&f.Primary); f.Report.PrimaryConnected = false }, AtRisk, "primary-unreachable"},
		"primary unreachable from here":  {func(f *Facts) { unreachable(&f.Primary) }, Unverified, "primary-unseen"},
		"neither reachable":              {func(f *Facts) { noStandby(f); unreachable(&f.Primary) }, Unverified, "nothing-known"},
		"no checkpoint":                  {func(f *Facts) { f.Checkpoint = nil }, AtRisk, "no-checkpoint"},
		"copying":                        {func(f *Facts) { f.Checkpoint.Phase = Copying }, AtRisk, "copying"},
		"a copy that has halted":         {func(f *Facts) { f.Checkpoint.Phase, f.Report.State = Copying, Halted }, AtRisk, "halted"},
		"a copy without a daemon":        {func(f *Facts) { f.Checkpoint.Phase, f.Leader = Copying, "" }, AtRisk, "no-daemon"},
		"another primary":                {func(f *Facts) { f.Checkpoint.SourceClusterID = "cccc" }, AtRisk, "another-primary"},
		"rolled back":                    {func(f *Facts) { f.Primary.Revision = 999 }, AtRisk, "rolled-back"},
		"no daemon":                      {func(f *Facts) { f.Leader = "" }, AtRisk, "no-daemon"},
		"no daemon, paused":              {func(f *Facts) { f.Leader, f.Paused = "", &Pause{Since: now} }, AtRisk, "paused"},
		"restored from an old backup":    {func(f *Facts) { f.Restored = "the primary is behind" }, AtRisk, "restored"},
		"deleted by others":              {func(f *Facts) { f.Alone = &Alone{Missing: 1} }, AtRisk, "missing-since-checkpoint"},
		"nobody has watched":             {func(f *Facts) { f.Alone = &Alone{Unknown: "after 12:00 no daemon watched it"} }, Unverified, "unwatched"},
		"paused": {func(f *Facts) {
			f.Paused = &Pause{Since: now.Add(-time.Hour), Reason: "upgrade"}
			f.Report.State = Paused
		}, AtRisk, "paused"},
		"released": {func(f *Facts) {
			f.Released, f.Paused = &Released{Objects: 3, Since: now, Text: "3 objects are released", Next: "understudy hold apply"}, &Pause{Since: now}
			f.Report.State = Paused
		}, AtRisk, "released"},
		"the breaker has tripped": {func(f *Facts) {
			f.Standstill = massDeletion()
			f.Report.State, f.Report.Error = Halted, "the breaker stopped replication"
		}, AtRisk, "breaker"},
		"the breaker has tripped, and no daemon runs": {func(f *Facts) { f.Standstill, f.Leader = massDeletion(), "" }, AtRisk, "breaker"},
		"halted":                             {func(f *Facts) { f.Report.State, f.Report.Error = Halted, "too large" }, AtRisk, "halted"},
		"halted, and gave up the lead":       {func(f *Facts) { f.Leader, f.Report.State = "", Halted }, AtRisk, "halted"},
		"halted long ago":                    {func(f *Facts) { f.Leader, f.Report.State, f.Report.Time = "", Halted, now.Add(-time.Hour) }, AtRisk, "no-daemon"},
		"disconnected, and gave up the lead": {func(f *Facts) { f.Leader, f.Report.State = "", Connecting }, AtRisk, "disconnected"},
		"connecting":                         {func(f *Facts) { f.Report.State, f.Report.Since = Connecting, now.Add(-5*time.Second) }, Unverified, "connecting"},
		"disconnected":                       {func(f *Facts) { f.Report.State, f.Report.Since = Connecting, now.Add(-time.Minute) }, AtRisk, "disconnected"},
		"last check differs": {func(f *Facts) {
			f.Report.Live = nil
			f.Report.LastCheck.Verdict, f.Report.LastCheck.Missed = Inconsistent, 2
		}, AtRisk, "differences"},
		"live account differs": {func(f *Facts) { f.Report.Live = &Summary{Verdict: Inconsistent, Surplus: 1} }, AtRisk, "differences"},
		"undecodable":          {func(f *Facts) { f.Report.Live = &Summary{Verdict: Inconsistent, Undecodable: 1} }, AtRisk, "differences"},
		"live account unknown, check differs": {func(f *Facts) {
			f.Report.LastCheck.Verdict, f.Report.LastCheck.Missed = Inconsistent, 2
			f.Report.Live = &Summary{Verdict: Unknown, Reason: "no watch"}
		}, AtRisk, "differences"},
		"a key flaps": {func(f *Facts) {
			f.Report.Drift = &Drift{Deleted: 4, Repaired: 3, Flapping: []Incident{{What: "deleted", Kind: "Secret", Name: "a", By: "garbage collector"}}}
		}, AtRisk, "flapping"},
		"conflict":                {func(f *Facts) { f.Report.Live = &Summary{Verdict: Inconsistent, Conflict: 2} }, AtRisk, "conflict"},
		"certificate expired":     {func(f *Facts) { f.Certificates[0].NotAfter = now }, AtRisk, "certificate-expired"},
		"certificate unreadable":  {func(f *Facts) { f.Certificates[0].Wrong = "no certificate in it" }, AtRisk, "certificate-expired"},
		"never reported":          {func(f *Facts) { f.Report = nil }, Unverified, "silent-daemon"},
		"another's report":        {func(f *Facts) { f.Report.Identity = "host/0" }, Unverified, "silent-daemon"},
		"old report":              {func(f *Facts) { f.Report.Time = now.Add(-time.Minute) }, Unverified, "silent-daemon"},
		"report of tomorrow":      {func(f *Facts) { f.Report.Time = now.Add(26 * time.Hour) }, Unverified, "silent-daemon"},
		"not streaming":           {func(f *Facts) { f.Report.State = Waiting }, Unverified, "not-streaming"},
		"lag unknown":             {func(f *Facts) { f.Report.Lag = Lag{} }, Unverified, "lag-unknown"},
		"never checked":           {func(f *Facts) { f.Report.LastCheck = nil }, Unverified, "unchecked"},
		"check unknown":           {func(f *Facts) { f.Report.LastCheck = &Summary{Verdict: Unknown, Time: now} }, Unverified, "check-unknown"},
		"check old":               {func(f *Facts) { f.Report.LastCheck.Time = now.Add(-time.Hour) }, Unverified, "check-old"},
		"live unknown":            {func(f *Facts) { f.Report.Live = &Summary{Verdict: Unknown, Reason: "no watch"} }, Unverified, "live-unknown"},
		"other scope":             {func(f *Facts) { f.OtherScope = true }, Unverified, "other-scope"},
		"encryption keys changed": {func(f *Facts) { f.Report.StaleKeys = []string{"/etc/keys.yaml"} }, Unverified, "stale-keys"},
		"opaque values":           {func(f *Facts) { f.Report.LastCheck.Opaque = 3 }, Unverified, "opaque"},
		"lag":                     {func(f *Facts) { f.Report.Lag = KnownLag(31, 400) }, Lagging, "lag"},
		"unverified prevails":     {func(f *Facts) { f.Report.Lag = KnownLag(31, 400); f.OtherScope = true }, Unverified, "other-scope"},
	} {
		tested[tc.rule] = true
		t.Run(name, func(t *testing.T) {
			f := protected()
			tc.change(&f)
			s := Judge(f)
			if s.Verdict != tc.want || s.Reasons[0].Rule != tc.rule {
				t.Errorf("verdict %s, reasons %+v; want %s, %s", s.Verdict, s.Reasons, tc.want, tc.rule)
			}
			if s.Reasons[0].Next == "" && tc.rule != "halted" && tc.rule != "disconnected" {
				t.Errorf("%s names no next command", tc.rule)
			}
			for _, r := range s.Reasons[1:] {
				if r.Rule == "copying" && r.Next == statusAgain {
					t.Errorf("nobody copies, and the advice is to wait for it")
				}
			}
		})
	}
	for _, r := range rules {
		if !tested[r.name] {
			t.Errorf("rule %s has no test", r.name)
		}
	}
}

// Whatever is missing from the facts, the verdict is not PROTECTED.
func TestUnknownIsNeverProtected(t *testing.T) {
	for name, forget := range map[string]func(*Facts){
		"everything": func(f *Facts) { *f = Facts{Now: now} },
		"report":     func(f *Facts) { f.Report = nil },
		"leader":     func(f *Facts) { f.Leader = "" },
		"checkpoint": func(f *Facts) { f.Checkpoint = nil },
		"primary":    func(f *Facts) { f.Primary = Side{} },
		"standby":    func(f *Facts) { f.Standby = Side{} },
		"state":      func(f *Facts) { f.Report.State = "" },
		"lag":        func(f *Facts) { f.Report.Lag.Seconds = nil },
		"check":      func(f *Facts) { f.Report.LastCheck = nil },
		"verdict":    func(f *Facts) { f.Report.LastCheck.Verdict = "" },
		"phase":      func(f *Facts) { f.Checkpoint.Phase = "" },
	} {
		f := protected()
		forget(&f)
		if s := Judge(f); s.Verdict == Protected {
			t.Errorf("without %s: PROTECTED", name)
		}
	}
}

// Fit clusters do not stay so; what is known of it has an age.
func TestWarningOfAnOldPreflight(t *testing.T) {
	for name, tc := range map[string]struct {
		at   *time.Time
		want string
	}{
		"not looked": {nil, ""},
		"none":       {&time.Time{}, "no preflight of this pair is kept"},
		"6 days ago": {when(now.AddDate(0, 0, -6)), ""},
		"8 days ago": {when(now.AddDate(0, 0, -8)), "the last preflight was 8 days ago"},
	} {
		got := strings.Join(warnOfPreflight(Facts{Now: now, Preflight: tc.at}), "; ")
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func when(t time.Time) *time.Time { return &t }

func TestWarningsLeaveTheVerdict(t *testing.T) {
	f := protected()
	f.Certificates[0].NotAfter = now.Add(72 * time.Hour)
	f.Report.HoldError = "forbidden"
	s := Judge(f)
	if s.Verdict != Protected || len(s.Warnings) != 2 {
		t.Errorf("verdict %s, warnings %q", s.Verdict, s.Warnings)
	}
	if !strings.Contains(s.Warnings[0], "expires in 3 days") {
		t.Errorf("warning %q", s.Warnings[0])
	}
}

// What a daemon said before it died is not what differs now.
func TestNothingIsKnownOfNowWithoutADaemon(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"nobody leads":         func(f *Facts) { f.Leader = "" },
		"it has not spoken":    func(f *Facts) { f.Report.Time = now.Add(-time.Minute) },
		"another one leads it": func(f *Facts) { f.Leader = "host/2" },
	} {
		f := protected()
		change(&f)
		if s := Judge(f); s.Live.Verdict != Unknown || s.Verdict == Protected {
			t.Errorf("%s: %s, now %+v", name, s.Verdict, s.Live)
		}
	}
}
