package replica_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
)

func configMaps(t *testing.T, client *clientv3.Client, dir string, n int) {
	t.Helper()
	for i := range n {
		name := fmt.Sprintf("%s-%d", dir, i)
		_, err := client.Put(t.Context(), "/registry/configmaps/prod/"+name, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"`+name+`","namespace":"prod","uid":"`+name+`"}}`)
		must(t, err)
	}
}

// Fault 46: a member of the primary has lost revisions, and serves all the same. It is
// not taken for a primary that was rolled back, and nothing is read from it: not
// by a copy that begins, and not by a daemon that streams.
func TestMajorityIsFollowed(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t, testkit.Members(3))
	configMaps(t, p.primary.Client(), "a", 20)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	p.reach(t, revision(t, p.primary.Client()))
	p.primary.LoseRevisions(2, 10)
	right := p.primary.NewClient(clientv3.Config{Endpoints: p.primary.Endpoints()[:2]})
	configMaps(t, right, "b", 3)
	d.MembersDisagree("primary") // as the daemon's check says when it has found it
	d.wait(t, "the member to be named", func(s replica.State) bool { return len(s.Apart["primary"]) > 0 })
	d.wait(t, "streaming", streaming)
	p.reach(t, revision(t, right))
	d.stop(t)
	for range 6 { // a client of all three would meet the wrong one soon
		p.once(t)
	}
	for _, name := range []string{"a-19", "b-2"} {
		resp, err := p.standby.Client().Get(t.Context(), "/registry/configmaps/prod/"+name)
		if err != nil || len(resp.Kvs) == 0 {
			t.Errorf("the standby has no %s: %v", name, err)
		}
	}

	// With one of the right two gone nobody can tell, and nothing is done.
	p.primary.KillMember(0)
	testkit.Eventually(t, 30*time.Second, "a leader", func() (bool, string) {
		s, err := p.primary.Client().Status(t.Context(), p.primary.Endpoints()[1])
		return err == nil && s.Leader != 0, fmt.Sprint(err)
	})
	_, err := p.new(t).Once(t.Context())
	if !errors.Is(err, cluster.ErrNoMajority) || remedy.CodeOf(err) != remedy.Refused {
		t.Errorf("%v, want it refused", err)
	}
}

// Other data at the same revision is found by the hash of all of it, at the beginning.
func TestMemberWithOtherDataIsNotRead(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t, testkit.Members(3))
	configMaps(t, p.primary.Client(), "a", 20)
	p.primary.ForgeLast(1, "prod/a-19", "prod/x-19")
	for i := range 4 {
		if i == 2 {
			must(t, wipe(t.Context(), p.standby.Client()))
		}
		s := p.once(t)
		if len(s.Apart["primary"]) == 0 {
			t.Fatal("not found")
		}
		for name, want := range map[string]int{"a-19": 1, "x-19": 0} {
			resp, err := p.standby.Client().Get(t.Context(), "/registry/configmaps/prod/"+name)
			if err != nil || len(resp.Kvs) != want {
				t.Fatalf("copy %d: %d of %s, %v", i, len(resp.Kvs), name, err)
			}
		}
	}
}

func wipe(ctx context.Context, client *clientv3.Client) error {
	_, err := client.Delete(ctx, "/", clientv3.WithPrefix())
	return err
}
