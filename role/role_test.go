package role_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
)

func campaign(t *testing.T, client *clientv3.Client, identity string) *role.Leader {
	t.Helper()
	l, err := role.Campaign(t.Context(), client, 2*time.Second, identity)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// holds reports whether a transaction under the leader's fence goes through.
func holds(t *testing.T, client *clientv3.Client, fence []clientv3.Cmp) bool {
	t.Helper()
	resp, err := client.Txn(t.Context()).If(fence...).Then(clientv3.OpPut("/x", "")).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return resp.Succeeded
}

// The fence falls when the lead, the role or the order to go on is gone.
func TestFence(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	s, err := role.EnsureStandby(t.Context(), client, "pair", "peer", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l := campaign(t, client, "one")
	fence := l.Fence(s)
	if !holds(t, client, fence) {
		t.Fatal("the leader's own fence refuses it")
	}
	if _, err := role.SetPause(t.Context(), client, role.Pause{By: "me"}); err != nil {
		t.Fatal(err)
	}
	if holds(t, client, fence) {
		t.Error("writes while paused")
	}
	if was, err := role.ClearPause(t.Context(), client); err != nil || !was {
		t.Fatal(was, err)
	}
	if !holds(t, client, fence) {
		t.Error("refused after resume")
	}
	if _, err := client.Put(t.Context(), role.Key, `{"role":"primary","term":2}`); err != nil {
		t.Fatal(err)
	}
	if holds(t, client, fence) {
		t.Error("writes after the role has changed")
	}
	if s, err = role.Read(t.Context(), client); err != nil || s.Term != 2 {
		t.Fatal(s, err)
	}
	if fence = l.Fence(s); !holds(t, client, fence) {
		t.Error("refused under the new role")
	}
	if err := l.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if holds(t, client, fence) {
		t.Error("writes after resigning")
	}
}

// One daemon leads; the next one follows at once when it resigns.
func TestCampaignWaitsForTheLeader(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	one := campaign(t, client, "one")
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := role.Campaign(short, client, 2*time.Second, "two"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("second campaign: %v, want to wait", err)
	}
	if who, err := role.CurrentLeader(t.Context(), client); err != nil || who != "one" {
		t.Fatalf("leader %q, %v", who, err)
	}
	if err := one.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	two := campaign(t, client, "two")
	defer two.Resign(context.WithoutCancel(t.Context()))
	if who, _ := role.CurrentLeader(t.Context(), client); who != "two" {
		t.Errorf("leader %q", who)
	}
}

func TestEnsureStandbyRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ stored, peer string }{
		"a primary":      {`{"role":"primary","term":3,"pair":"p","peer":"abc"}`, "abc"},
		"another's pair": {`{"role":"standby","term":1,"pair":"p","peer":"abc"}`, "def"},
	} {
		t.Run(name, func(t *testing.T) {
			client := testkit.StartEtcd(t).Client()
			if _, err := client.Put(t.Context(), role.Key, tc.stored); err != nil {
				t.Fatal(err)
			}
			_, err := role.EnsureStandby(t.Context(), client, "p", tc.peer, time.Now())
			if remedy.CodeOf(err) != remedy.Refused || remedy.Of(err) == "" {
				t.Fatalf("%v, want it refused with a remedy", err)
			}
			resp, err := client.Get(t.Context(), role.Key)
			if err != nil || string(resp.Kvs[0].Value) != tc.stored {
				t.Errorf("the role was changed: %s, %v", resp.Kvs[0].Value, err)
			}
		})
	}
}

// Only the leader reports; while nobody leads, whoever has something to say.
func TestWriteReport(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	write := func(identity string) bool {
		t.Helper()
		ok, err := role.WriteReport(t.Context(), client, identity, "/understudy/report", identity)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !write("two") {
		t.Error("refused although nobody leads")
	}
	one := campaign(t, client, "one")
	defer one.Resign(context.WithoutCancel(t.Context()))
	if !write("one") {
		t.Error("the leader was refused")
	}
	if write("two") {
		t.Error("somebody else wrote")
	}
}

// An order to pause that stands already is not replaced, and its author is told.
func TestSetPauseKeepsTheFirstOrder(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	first, err := role.SetPause(t.Context(), client, role.Pause{By: "alice", Reason: "upgrade"})
	if err != nil || first.By != "alice" {
		t.Fatal(first, err)
	}
	if second, err := role.SetPause(t.Context(), client, role.Pause{By: "bob"}); err != nil || second.By != "alice" {
		t.Errorf("%+v, %v; want alice's order", second, err)
	}
	if was, err := role.ClearPause(t.Context(), client); err != nil || !was {
		t.Error(was, err)
	}
	if was, err := role.ClearPause(t.Context(), client); err != nil || was {
		t.Error("cleared twice")
	}
}

// A record of a trip has room for so many bytes of keys, shared among its losses.
func TestTripIsShortened(t *testing.T) {
	trip := func() role.Trip {
		return role.Trip{Losses: []role.Loss{{Keys: []string{"aaaaaa", "aaaaaa", "aaaaaa"}}, {Keys: []string{"b"}}, {Keys: []string{"cccccc", "cccccc"}}}}
	}
	for bytes, want := range map[int][3]int{0: {0, 0, 0}, 15: {1, 1, 0}, 30: {1, 1, 1}, 45: {2, 1, 2}, 1000: {3, 1, 2}} {
		t3 := trip()
		t3.Shorten(bytes)
		if got := [3]int{len(t3.Losses[0].Keys), len(t3.Losses[1].Keys), len(t3.Losses[2].Keys)}; got != want {
			t.Errorf("%d bytes: %v, want %v", bytes, got, want)
		}
	}
}
