package hold

import (
	"encoding/json"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/role"
)

// What was released is not scaled to zero again before somebody has answered.
func TestNothingIsKeptAtZeroBesideARelease(t *testing.T) {
	etcd := testkit.StartEtcd(t).Client()
	if _, err := role.EnsureStandby(t.Context(), etcd, "moscow-spb", "aa", time.Now()); err != nil {
		t.Fatal(err)
	}
	fence, standing, err := Standing(t.Context(), etcd)
	if err != nil || !standing {
		t.Fatalf("a standby where nothing is released: %v, %v", standing, err)
	}
	record, err := json.Marshal(role.Release{Since: time.Now(), By: "test", Last: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Put(t.Context(), role.ReleaseKey, string(record)); err != nil {
		t.Fatal(err)
	}
	if _, standing, err := Standing(t.Context(), etcd); standing || err != nil {
		t.Errorf("beside a release: %v, %v", standing, err)
	}
	resp, err := etcd.Txn(t.Context()).If(fence...).Then(clientv3.OpPut("a", "b")).Commit()
	if err != nil || resp.Succeeded {
		t.Errorf("the fence from before the release holds: %v", err)
	}
	release, err := role.ReadRelease(t.Context(), etcd)
	if err != nil {
		t.Fatal(err)
	}
	if err := role.AnswerRelease(t.Context(), etcd, *release, role.ReleaseAnswer{By: "test", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, standing, err := Standing(t.Context(), etcd); !standing || err != nil {
		t.Errorf("once somebody has answered: %v, %v", standing, err)
	}
}
