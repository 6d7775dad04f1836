package console

import (
	"strings"
	"testing"
)

func init() {
	preflightCases = append(preflightCases, map[string]preflightCase{
		"full member of the primary": {func(f *PreflightFacts) {
			f.Primary.Ailments = []Ailment{FullMember("moscow", "m0", "etcdctl defrag")}
		}, "etcd-health", CheckFail, "the etcd member m0 of moscow is full (alarm NOSPACE)"},
		"corrupt, unnamed": {func(f *PreflightFacts) {
			f.Standby.Ailments = []Ailment{CorruptMember("spb", "", "understudy check --deep")}
		},
			"etcd-health", CheckFail, "and not of which"},
		"silent member": {func(f *PreflightFacts) {
			f.Standby.Health = found([]Member{{Name: "m0"}, {Name: "m1", Silent: "connection refused"}})
		}, "etcd-health", CheckWarn, "m1 of spb does not answer"},
		"not all compared": {func(f *PreflightFacts) { f.Standby.Uncompared = "1 of 3 members were compared" }, "etcd-health", Unchecked, "1 of 3"},
		"kine": {func(f *PreflightFacts) {
			f.Primary.Kine, f.Primary.Health = "this is kine, not etcd", NotFound[[]Member]("")
		},
			"etcd-health", CheckFail, "moscow: this is kine, not etcd"},
		"a known defect": {func(f *PreflightFacts) {
			f.Primary.Health = found([]Member{{Name: "m0", Version: "3.5.15", Defects: []Defect{{"lost", "a deletion is lost", "3.5.16", "etcd #18089"}}}, {Name: "m1"}})
		}, "etcd-defects", CheckWarn, "moscow runs etcd 3.5.15: a deletion is lost (etcd #18089, mended in 3.5.16)"},
	})
}

// A primary that is full is read as before: a warning. So is a member that is silent.
func TestWarningsOfMembers(t *testing.T) {
	f := protected()
	f.Primary.Ailments = []Ailment{FullMember("moscow", "m1", "make space")}
	f.Standby.Members = []Member{{Name: "m0"}, {Name: "m1", Silent: "no answer in time"}}
	s := Judge(f)
	if s.Verdict != Protected || len(s.Warnings) != 2 || !strings.Contains(s.Warnings[0], "m1 of moscow is full") || !strings.Contains(s.Warnings[1], "m1 of spb does not answer") {
		t.Errorf("%s, %q", s.Verdict, s.Warnings)
	}
}

// What is to be pasted stands on one line, whatever its length.
func TestCommandsAreNotBroken(t *testing.T) {
	command := "etcdctl --endpoints=" + strings.Repeat("https://10.0.0.1:2379,", 10) + " alarm disarm"
	f := protected()
	f.Standby.Ailments = []Ailment{FullMember("spb", "m1", command+"\nthen look at why it was "+strings.Repeat("full ", 30))}
	var b strings.Builder
	if err := Judge(f).WriteText(&b, Style{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\n            next: "+command+"\n                  then look") {
		t.Error(b.String())
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > width+1 && !strings.Contains(line, command) {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}
