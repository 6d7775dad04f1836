package console

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func render(t *testing.T, s Status, style Style) string {
	t.Helper()
	var b strings.Builder
	if err := s.WriteText(&b, style); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestScreen(t *testing.T) {
	const want = `PROTECTED  moscow-spb                                        2026-03-01 12:00:00

primary     moscow           revision 1,010  cluster aaaa
standby     spb              revision 1,000,005,000  cluster bbbb
checkpoint  revision 1,000 of the primary, written 2.0 s ago
lag         0.2 s, 10 revisions
floor       the standby is 1,000,003,990 revisions above the primary
daemon      host/1, streaming for 60 min
last check  consistent, 60 s ago, at revision 900: 12,345 keys in 1.2 s
now         nothing differs, said 3.0 s ago
scope       12,000 keys of 2 resources replicated, 47 left out (60 s ago)
            3 of them with all their owners; 4 owner references dropped
            configmaps                               12,000          7 out
            leases.coordination.k8s.io                    0         40 out
`
	if got := render(t, Judge(protected()), Style{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestScreenWithReasons(t *testing.T) {
	f := protected()
	f.Primary = Side{Name: "moscow", Error: "connect to moscow: https://10.0.0.1:2379: dial tcp 10.0.0.1:2379: connect: connection refused"}
	f.Report.PrimaryConnected = false
	f.Paused = &Pause{Since: now.Add(-1000e9), Reason: "an upgrade"}
	got := render(t, Judge(f), Style{})
	for _, want := range []string{
		"AT RISK  moscow-spb", "primary     moscow unknown: connect to moscow",
		"AT RISK     the primary does not answer", "next: find out whether it is lost",
		"AT RISK     replication is paused for 16 min: an upgrade", "next: understudy resume",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
}

// Nothing known at all still makes a screen, and says so.
func TestScreenOfNothing(t *testing.T) {
	got := render(t, Judge(Facts{Now: now, Pair: "p", Primary: Side{Name: "a"}, Standby: Side{Name: "b"}}), Style{})
	if n := strings.Count(got, "unknown"); n < 7 {
		t.Errorf("%d times unknown:\n%s", n, got)
	}
}

// However low the terminal, the verdict and what to do stand on it.
func TestLowScreenKeepsTheVerdict(t *testing.T) {
	f := protected()
	f.Primary = Side{Name: "moscow", Error: "connection refused"}
	f.Report.PrimaryConnected = false
	got := render(t, Judge(f), Style{Columns: 70, Lines: 8})
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != 7 || !strings.HasPrefix(lines[0], "AT RISK  moscow-spb") || !strings.Contains(got, "next: find out") || !strings.Contains(lines[6], "more lines") {
		t.Errorf("%d lines:\n%s", len(lines), got)
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 70 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if whole := render(t, Judge(f), Style{}); strings.Contains(whole, "more lines") {
		t.Errorf("cut, where nobody asked for that:\n%s", whole)
	}
}

func TestScreenIsEightyColumns(t *testing.T) {
	long := strings.Repeat("долгая причина ", 30) + strings.Repeat("x", 200)
	f := protected()
	f.Pair, f.Primary.Name, f.Standby.ClusterID, f.Leader = long, long, long, long
	f.Report.Identity, f.Report.State, f.Report.Error, f.Report.Remedy = long, Halted, long+"\nsecond line", long
	for i := range 20 {
		f.Report.Scope[fmt.Sprintf("%d.%s", i, long)] = Resource{int64(i) * 1e9, 1e12, 1e12, 1e12}
	}
	f.Certificates[0].File = long
	f.Certificates[0].NotAfter = now
	for line := range strings.Lines(render(t, Judge(f), Style{})) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestColorIsOnlyTheVerdicts(t *testing.T) {
	s := Judge(protected())
	if got := render(t, s, Style{}); strings.Contains(got, "\x1b") {
		t.Error("an escape sequence without color")
	}
	got := render(t, s, Style{Color: true})
	if !strings.HasPrefix(got, "\x1b[1;32mPROTECTED\x1b[0m  moscow-spb") || strings.Count(got, "\x1b") != 2 {
		t.Errorf("%q", got)
	}
	for _, v := range verdicts {
		if colors[v] == "" {
			t.Errorf("%s has no color", v)
		}
	}
}

// The names of these fields are a contract.
func TestStatusJSON(t *testing.T) {
	var got map[string]any
	raw, err := json.Marshal(Judge(protected()))
	if err == nil {
		err = json.Unmarshal(raw, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"verdict", "reasons", "primary.name", "primary.clusterID", "primary.revision", "primary.reachable",
		"standby.name", "standby.clusterID", "standby.revision", "standby.reachable", "checkpoint.sourceRevision", "checkpoint.time",
		"lag.seconds", "lag.revisions", "lag.known", "scope.configmaps.replicated", "scope.configmaps.excluded", "scope.configmaps.ownersLeftOut", "scope.configmaps.referencesDropped", "lastCheck.verdict",
		"daemon.leader", "daemon.state",
	} {
		var at any = got
		for name := range strings.SplitSeq(path, ".") {
			fields, _ := at.(map[string]any)
			if at = fields[name]; at == nil {
				t.Errorf("%s is missing: %s", path, raw)
				break
			}
		}
	}
}

func TestCheckText(t *testing.T) {
	c := Check{
		Verdict: Inconsistent, SourceRevision: 10, StandbyRevision: 20, Compared: 1234, TookSeconds: 0.5,
		Missed:      Keys{Count: 3, Keys: []string{"/registry/configmaps/prod/app"}},
		Undecodable: Keys{Count: 1, Keys: []string{"/raw"}}, Why: map[string]string{"/raw": "cut short"},
	}
	var b strings.Builder
	if err := c.WriteText(&b, describeForTest); err != nil {
		t.Fatal(err)
	}
	const want = `inconsistent: 3 missed, 1 undecodable; 1,234 keys compared
compared as of the primary's revision 10 and the standby's 20, 0.5 s

3 missed: the primary has them, the standby does not
  ConfigMap prod/app  /registry/configmaps/prod/app
  and 2 more; --limit 0 lists them all

1 undecodable: a value cannot be read
  key  /raw
      cut short

remedy: understudy repair shows what would be written; understudy repair --apply writes it
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func describeForTest(key string) string {
	if rest, ok := strings.CutPrefix(key, "/registry/configmaps/"); ok {
		return "ConfigMap " + rest
	}
	return ""
}

func TestNumber(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %s, want %s", n, got, want)
		}
	}
}
