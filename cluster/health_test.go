package cluster

import (
	"errors"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
)

func TestDefectsOf(t *testing.T) {
	for version, want := range map[string]string{
		"3.6.16": "", "3.7.3": "", "not a version": "", "3.5.35": "", "3.4.44": "",
		"3.5.25": "members-come-back,stale-read",
		"3.5.15": "delete-lost-at-compaction,partial-transaction,delete-lost-at-watch,corrupt-by-defrag,members-come-back",
		"3.5.2":  "inconsistent-after-crash",
		"3.6.4":  "corrupt-by-defrag",
		"3.4.33": "delete-lost-at-compaction",
		"3.5.0":  "inconsistent-after-crash,auth-lost-by-snapshot,revision-decreases",
		"3.4.0":  "auth-lost-by-snapshot,stale-read",
		"3.6.0":  "corrupt-by-defrag",
	} {
		ids := ""
		for _, d := range DefectsOf(version) {
			ids += d.ID + ","
			if d.Fixed == "" || d.Source == "" || d.What == "" {
				t.Errorf("%+v", d)
			}
		}
		if want == "" && ids != "" {
			t.Errorf("%s: %s", version, ids)
		}
		for id := range strings.SplitSeq(want, ",") {
			if !strings.Contains(ids, id) {
				t.Errorf("%s: %s, want %s", version, ids, id)
			}
		}
	}
	if ids := DefectsOf("3.5.16"); strings.Contains(ids[0].ID, "compaction") {
		t.Error("3.5.16 has what it mends")
	}
}

// Alarms are those of the member that they name, whoever tells of them, also of one
// that does not answer; an alarm without a member is nobody's.
func TestJoinOfAlarms(t *testing.T) {
	status := func(id uint64, errs ...string) *clientv3.StatusResponse {
		return (*clientv3.StatusResponse)(&pb.StatusResponse{Header: &pb.ResponseHeader{ClusterId: 7, MemberId: id, Revision: 9}, Version: "3.6.16", Errors: errs})
	}
	list := []Member{{ID: 1, Name: "m1", ClientURLs: []string{"http://a"}}, {ID: 2, Name: "m2", ClientURLs: []string{"http://b"}}, {ID: 3, Name: "m3", ClientURLs: []string{"http://c"}}}
	alarms := []string{"memberID:1 alarm:NOSPACE ", "memberID:2  alarm:CORRUPT", "memberID:2 alarm:NOSPACE", "alarm:CORRUPT ", "etcdserver: no leader"}
	h := join([]answer{{"http://a", status(1, alarms...), nil}, {"http://b", nil, errors.New("refused")}, {"http://c", status(3, alarms...), nil}}, list, nil)
	got := ""
	for _, m := range h.Members {
		got += m.Label() + " " + strings.Join(m.Alarms, "+") + " " + m.Silent + "; "
	}
	if want := "m1 NOSPACE ; m2 NOSPACE+CORRUPT refused; m3  ; "; got != want || strings.Join(h.Adrift, ",") != "CORRUPT" {
		t.Errorf("%q, %v; want %q", got, h.Adrift, want)
	}
	if isKine(status(1).Header) || !isKine(&pb.ResponseHeader{Revision: 5}) {
		t.Error("kine is not told from etcd")
	}
}

// Who has as many entries of the log and fewer revisions disagrees; who lags does not.
func TestSuspicious(t *testing.T) {
	at := func(applied uint64, revision kv.Revision) MemberHealth {
		return MemberHealth{Endpoint: "http://a", applied: applied, Revision: revision}
	}
	silent := at(9, 5)
	silent.Endpoint = ""
	for name, tc := range map[string]struct {
		members []MemberHealth
		want    bool
	}{
		"alike":               {[]MemberHealth{at(9, 7), at(9, 7)}, false},
		"one lags":            {[]MemberHealth{at(8, 6), at(9, 7)}, false},
		"fewer from the same": {[]MemberHealth{at(9, 6), at(9, 7)}, true},
		"fewer from more":     {[]MemberHealth{at(10, 6), at(9, 7)}, true},
		"one is silent":       {[]MemberHealth{silent, at(9, 7)}, false},
	} {
		if got := (Health{Members: tc.members}).Suspicious(); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
