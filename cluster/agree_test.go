package cluster_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/remedy"
)

// put writes n keys through the first member.
func put(t *testing.T, e *testkit.Etcd, dir string, n int) {
	t.Helper()
	for i := range n {
		if _, err := e.Client().Put(t.Context(), fmt.Sprintf("/registry/configmaps/%s/%d", dir, i), "v"); err != nil {
			t.Fatal(err)
		}
	}
}

func labels(all []cluster.MemberHealth) string {
	var names []string
	for _, m := range all {
		names = append(names, m.Label())
	}
	return strings.Join(names, ",")
}

// Fault 46: one member of three has lost revisions. It is named, and from the first
// connection on only the majority is asked.
func TestMemberThatLostRevisionsIsLeftOut(t *testing.T) {
	t.Parallel()
	e := testkit.StartEtcd(t, testkit.Members(3))
	put(t, e, "a", 20)
	before := dial(t, e)
	if a, err := before.Compare(t.Context(), true); err != nil || len(a.Disagree) > 0 || a.Unasked != "" || !a.Hashed {
		t.Fatalf("a sound cluster: %+v, %v", a, err)
	}
	e.LoseRevisions(2, 5)
	put(t, e, "b", 3)

	c := dial(t, e)
	if got := labels(c.Deviants()); got != "m2" {
		t.Fatalf("left out: %q", got)
	}
	a, err := c.Compare(t.Context(), false)
	t.Log(a.Disagree)
	if err != nil || len(a.Disagree) != 2 || labels(a.Deviants) != "m2" || !strings.HasPrefix(a.Disagree[0], "m2 is at revision ") {
		t.Errorf("%+v, %v", a, err)
	}
	right, err := e.Client().Status(t.Context(), e.Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // a client of all three would meet the third soon
		id, err := c.Identify(t.Context(), "/registry/")
		if err != nil || int64(id.Revision) < right.Header.Revision {
			t.Fatalf("revision %d, %v; the majority has %d", id.Revision, err, right.Header.Revision)
		}
	}
	if h, err := c.Health(t.Context()); err != nil || len(h.Members) != 3 || h.Members[2].Endpoint == "" && h.Members[0].Endpoint == "" {
		t.Errorf("the deviant is not seen any more: %+v, %v", h, err)
	}

	// A cluster of which too few can be asked is not read at all.
	_, err = cluster.Dial(t.Context(), cluster.Config{Name: "spb", Endpoints: e.Endpoints()[1:]})
	if err != nil {
		t.Errorf("two of three that disagree, the third known by the list: %v", err)
	}
	e.KillMember(0)
	testkit.Eventually(t, 30*time.Second, "a leader among the other two", func() (bool, string) {
		s, err := e.Client().Status(t.Context(), e.Endpoints()[1])
		return err == nil && s.Leader != 0, fmt.Sprint(err)
	})
	_, err = cluster.Dial(t.Context(), cluster.Config{Name: "spb", Endpoints: e.Endpoints()})
	if !errors.Is(err, cluster.ErrNoMajority) || remedy.CodeOf(err) != remedy.Refused || remedy.Of(err) == "" {
		t.Errorf("two of three that disagree: %v", err)
	}
	t.Log(err, "|", remedy.Of(err))
	if got, want := len(before.Deviants()), 0; got != want {
		t.Errorf("%d deviants before", got)
	}
}

// A value that one member holds otherwise shows in the data only.
func TestMemberWithOtherDataIsFound(t *testing.T) {
	t.Parallel()
	e := testkit.StartEtcd(t, testkit.Members(3))
	put(t, e, "a", 20)
	e.Settle()
	e.ForgeLast(1, "/a/19", "/a/xx")
	c := dial(t, e)
	if len(c.Deviants()) != 0 {
		t.Errorf("found without reading: %s", labels(c.Deviants()))
	}
	a, err := c.Compare(t.Context(), true)
	if err != nil || labels(a.Deviants) != "m1" || len(a.Disagree) != 2 || !strings.Contains(a.Disagree[0], "different data") {
		t.Fatalf("%+v, %v", a, err)
	}
	if !c.Stay(a) || c.Stay(a) || labels(c.Deviants()) != "m1" {
		t.Error("it does not stay with the majority")
	}
}

// Members that lag, or are written to while they are asked, agree.
func TestMembersUnderLoadAgree(t *testing.T) {
	t.Parallel()
	e := testkit.StartEtcd(t, testkit.Members(3))
	c := dial(t, e)
	done := make(chan struct{})
	defer close(done)
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					_, _ = e.Client().Put(t.Context(), fmt.Sprintf("/registry/configmaps/%d/%d", w, i%50), "v")
				}
			}
		}()
	}
	for i := range 60 {
		a, err := c.Compare(t.Context(), i%10 == 0)
		if err != nil || len(a.Disagree) > 0 {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	// One that stands still meanwhile is silent or behind, and no deviant.
	still := (e.LeaderIndex() + 1) % 3
	e.PauseMember(still)
	testkit.Eventually(t, 20*time.Second, "the member to fall silent", func() (bool, string) {
		a, err := c.Compare(t.Context(), false)
		if err != nil || len(a.Disagree) > 0 {
			t.Fatalf("%+v, %v", a, err)
		}
		return strings.Contains(a.Unasked, "2 of 3"), a.Unasked
	})
	e.ContinueMember(still)
}

// An older data directory under one member of three: etcd itself does not let it
// serve what it no longer has. It ends, or catches up by its log.
func TestOlderDataDirectoryOfAMember(t *testing.T) {
	t.Parallel()
	e := testkit.StartEtcd(t, testkit.Members(3))
	put(t, e, "a", 20)
	e.Settle()
	e.KillMember(2)
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(e.MemberDataDir(2))); err != nil {
		t.Fatal(err)
	}
	e.RestartMember(2)
	put(t, e, "b", 50)
	e.Settle()
	e.KillMember(2)
	if err := os.RemoveAll(e.MemberDataDir(2)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(e.MemberDataDir(2), os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	e.Launch()
	c := dial(t, e)
	for range 10 {
		id, err := c.Identify(t.Context(), "/registry/")
		if err != nil || id.Revision < 70 {
			t.Fatalf("revision %d, %v", id.Revision, err)
		}
	}
	a, err := c.Compare(t.Context(), true)
	if err != nil || len(a.Disagree) > 0 {
		t.Errorf("%+v, %v", a, err)
	}
	t.Log(e.Running(2), a.Unasked)
}
