package console

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
)

type answers struct {
	check Check
	facts Facts
	limit int
}

func (s *answers) Check(limit int) Check      { s.limit = limit; return s.check }
func (s *answers) Facts() Facts               { return s.facts }
func (s *answers) Describe(key string) string { return describeForTest(key) }

func get(t *testing.T, s *answers, path, accept string) (int, string) {
	t.Helper()
	m := NewMetrics("moscow-spb", func() Report { return *s.facts.Report })
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	Handler(s, m.Gatherer()).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestCheckOverHTTP(t *testing.T) {
	two := Keys{Count: 2, Keys: []string{"/registry/configmaps/prod/a", "/registry/configmaps/prod/b"}}
	for name, tc := range map[string]struct {
		check Check
		code  int
		lines []string
		never string
	}{
		"consistent": {Check{Verdict: Consistent}, 200, []string{"LOCAL ETCD missed keys: 0", "LOCAL ETCD surplus keys: 0"}, "remedy"},
		"inconsistent": {Check{Verdict: Inconsistent, Missed: two}, 409, []string{"LOCAL ETCD missed keys: 2", "LOCAL ETCD surplus keys: 0",
			"  ConfigMap prod/a  /registry/configmaps/prod/a", "remedy: understudy repair"}, "unknown"},
		"unknown": {Check{Verdict: Unknown, Reason: "no watch"}, 503, []string{"LOCAL ETCD missed keys: unknown", "unknown: no watch"}, "keys: 0"},
		"nothing": {Check{}, 503, []string{"LOCAL ETCD missed keys: unknown"}, "keys: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &answers{check: tc.check, facts: protected()}
			code, body := get(t, s, "/check", "")
			if code != tc.code || s.limit != keysListed {
				t.Errorf("status %d, want %d; limit %d", code, tc.code, s.limit)
			}
			for _, line := range tc.lines {
				if !strings.Contains("\n"+body, "\n"+line) {
					t.Errorf("no line %q in\n%s", line, body)
				}
			}
			if strings.Contains(body, tc.never) {
				t.Errorf("%q in\n%s", tc.never, body)
			}
			if !strings.HasPrefix(body, "LOCAL ETCD missed") {
				t.Errorf("begins with another line:\n%s", body)
			}

			code, body = get(t, s, "/check?limit=0", "text/html, application/json;q=0.9")
			var got Check
			if err := json.Unmarshal([]byte(body), &got); err != nil || code != tc.code || s.limit != 0 {
				t.Fatalf("JSON: status %d, limit %d, %v", code, s.limit, err)
			}
			if got.Verdict != tc.check.Verdict || got.Missed.Count != tc.check.Missed.Count {
				t.Errorf("JSON: %s", body)
			}
		})
	}
	if code, _ := get(t, &answers{facts: protected()}, "/check?limit=many", ""); code != http.StatusBadRequest {
		t.Errorf("limit=many: status %d", code)
	}
}

func TestStatusOverHTTP(t *testing.T) {
	s := &answers{facts: protected()}
	if code, body := get(t, s, "/status", "text/plain"); code != 200 || !strings.HasPrefix(body, "PROTECTED") {
		t.Errorf("status %d\n%s", code, body)
	}
	code, body := get(t, s, "/status", "application/json")
	var got Status
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 || got.Verdict != Protected {
		t.Errorf("status %d, %v\n%s", code, err, body)
	}
}

func TestReadiness(t *testing.T) {
	for state, want := range map[string]int{Streaming: 200, Copying: 200, Waiting: 200, Paused: 200, Halted: 503, Connecting: 503, "": 503} {
		f := protected()
		own := *f.Report
		own.State, own.Error, own.Remedy = state, "why", "what"
		f.Self = &own
		code, body := get(t, &answers{facts: f}, "/readyz", "")
		if code != want || (want == 503) != strings.Contains(body, "remedy: what") {
			t.Errorf("%s: status %d, want %d\n%s", state, code, want, body)
		}
		if code, _ := get(t, &answers{facts: f}, "/livez", ""); code != 200 {
			t.Errorf("%s: livez %d", state, code)
		}
	}
}

func TestMetrics(t *testing.T) {
	f := protected()
	f.Report.Resyncs = map[string]int64{"compacted": 1}
	f.Report.Errors = map[string]int64{"connection": 4}
	f.Report.Certificates = []Certificate{
		{Side: "primary", File: "ca.crt", NotAfter: now.AddDate(1, 0, 0)}, {Side: "primary", File: "ca.crt", NotAfter: now},
	}
	m := NewMetrics("moscow-spb", func() Report { return *f.Report })
	m.Applied(20 * time.Millisecond)
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}

	_, body := get(t, &answers{facts: f}, "/metrics", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	for _, line := range []string{
		`understudy_connected{pair="moscow-spb",side="primary"} 1`, `understudy_lag_known{pair="moscow-spb"} 1`, `understudy_lag_seconds{pair="moscow-spb"} 0.2`, `understudy_lag_revisions{pair="moscow-spb"} 10`,
		`understudy_source_revision{pair="moscow-spb"} 1000`, `understudy_standby_revision{pair="moscow-spb"} 4990`, `understudy_events_total{pair="moscow-spb"} 0`, `understudy_bytes_total{pair="moscow-spb"} 0`,
		`understudy_resyncs_total{pair="moscow-spb",reason="compacted"} 1`, `understudy_errors_total{pair="moscow-spb",reason="connection"} 4`,
		`understudy_check_differences{kind="missed",pair="moscow-spb"} 0`, `understudy_check_verdict{pair="moscow-spb",verdict="consistent"} 1`,
		`understudy_apply_duration_seconds_count{pair="moscow-spb"} 0`, `understudy_state{pair="moscow-spb",state="streaming"} 1`,
		`understudy_certificate_expiry_timestamp_seconds{file="ca.crt",pair="moscow-spb",side="primary"} 1.7723664e+09`,
		`understudy_last_check_timestamp_seconds{pair="moscow-spb"} 1.77236634e+09`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %q in\n%s", line, body)
		}
	}

	f.Report.Lag, f.Report.Live = Lag{}, &Summary{Verdict: Unknown}
	_, body = get(t, &answers{facts: f}, "/metrics", "")
	for _, absent := range []string{"understudy_lag_seconds{", "understudy_lag_revisions{", "understudy_check_differences{"} {
		if strings.Contains(body, absent) {
			t.Errorf("%s has a value although it is unknown", absent)
		}
	}
	if !strings.Contains(body, `understudy_check_verdict{pair="moscow-spb",verdict="unknown"} 1`) || !strings.Contains(body, `understudy_lag_known{pair="moscow-spb"} 0`) {
		t.Errorf("unknown is not shown:\n%s", body)
	}
}

// A report survives being stored.
func TestReportEncodes(t *testing.T) {
	want := *protected().Report
	raw, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeReport([]byte(raw))
	if err != nil || got.Identity != want.Identity || *got.Lag.Seconds != 0.2 || got.LastCheck.Compared != 12345 || !got.Time.Equal(want.Time) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := DecodeReport([]byte("{")); err == nil {
		t.Error("half a report decodes")
	}
}
