package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

func (s *stage) plan(t *testing.T) Plan {
	t.Helper()
	view := newView(t, nil, nil)
	plan, err := MakePlan(t.Context(), s.sides, view, s.check(view))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func (s *stage) repair(t *testing.T, plan Plan) Outcome {
	t.Helper()
	out, err := Repair(t.Context(), s.sides, newView(t, nil, nil), plan, sink.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// damage fills both sides and then breaks the standby in every way.
func damage(t *testing.T) *stage {
	s := newStage(t)
	for i := range 10 {
		key, value := configMap(i)
		s.put(s.sides.Primary, key, value)
		s.put(s.sides.Standby, key, value)
	}
	s.put(s.sides.Standby, "/registry/leases/prod/own", []byte("not ours"))
	s.checkpoint(nil)
	missed, _ := configMap(1)
	differing, _ := configMap(2)
	torn, value := configMap(3)
	s.remove(s.sides.Standby, missed)
	s.put(s.sides.Standby, differing, object("ConfigMap", "prod", "c-00002", "other"))
	s.put(s.sides.Standby, torn, value[:20])
	s.put(s.sides.Standby, surplusKey, object("ConfigMap", "prod", "zz", "own"))
	s.put(s.sides.Standby, sink.SurplusPrefix+surplusKey, nil)
	return s
}

const surplusKey = "/registry/configmaps/prod/zz"

func TestRepair(t *testing.T) {
	s := damage(t)
	plan := s.plan(t)
	if writes, deletes := plan.Work(); writes != 3 || deletes != 1 {
		t.Errorf("the plan writes %d and deletes %d keys: %+v", writes, deletes, plan.Steps)
	}
	if report := s.check(newView(t, nil, nil)); report.Differences() != 4 {
		t.Errorf("a plan changes something: %+v", report)
	}
	out := s.repair(t, plan)
	if diff := cmp.Diff(Outcome{Written: 3, Deleted: 1, Left: []Left{}}, out); diff != "" {
		t.Error(diff)
	}
	if report := s.check(newView(t, nil, nil)); report.Verdict != Consistent {
		t.Errorf("after the repair: %+v", report)
	}
	for key, want := range map[string]int{"/registry/leases/prod/own": 1, sink.SurplusPrefix + surplusKey: 0} {
		if resp, err := s.sides.Standby.Get(t.Context(), key); err != nil || len(resp.Kvs) != want {
			t.Errorf("%s: %v, %v", key, resp, err)
		}
	}
	if out := s.repair(t, plan); out.Equal != 4 || out.Written+out.Deleted != 0 {
		t.Errorf("the second time: %+v", out)
	}
}

// What has changed between the comparison and the repair is left alone.
func TestRepairLeavesWhatChanged(t *testing.T) {
	s := damage(t)
	plan := s.plan(t)
	missed, _ := configMap(1)
	foreign := object("ConfigMap", "prod", "zz", "changed since")
	s.put(s.sides.Standby, surplusKey, foreign)
	s.put(s.sides.Standby, missed, foreign)
	out := s.repair(t, plan)
	if out.Deleted != 0 || out.Written != 2 || len(out.Left) != 2 {
		t.Errorf("%+v", out)
	}
	for _, key := range []string{surplusKey, missed} {
		resp, err := s.sides.Standby.Get(t.Context(), key)
		if err != nil || len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != string(foreign) {
			t.Errorf("%s was touched: %v, %v", key, resp, err)
		}
	}
}

// What the primary changed and the replication has applied since counts, not
// what the comparison saw.
func TestRepairWritesWhatThePrimaryHasNow(t *testing.T) {
	s := damage(t)
	plan := s.plan(t)
	gone, _ := configMap(1)
	newer, _ := configMap(2)
	s.remove(s.sides.Primary, gone)
	value := object("ConfigMap", "prod", "c-00002", "newer")
	s.put(s.sides.Primary, newer, value)
	s.put(s.sides.Primary, surplusKey, value)
	s.checkpoint(nil)
	out := s.repair(t, plan)
	if out.Equal != 1 || out.Written != 2 || out.Deleted != 0 || len(out.Left) != 1 {
		t.Errorf("%+v", out)
	}
	resp, err := s.sides.Standby.Get(t.Context(), newer)
	if err != nil || string(resp.Kvs[0].Value) != string(value) {
		t.Errorf("%s: %v, %v", newer, resp, err)
	}
}

// A role that changes, or a checkpoint that moves, refuses the transaction.
func TestRepairIsFenced(t *testing.T) {
	for name, move := range map[string]func(*stage){
		"role":       func(s *stage) { s.put(s.sides.Standby, role.Key, []byte(`{"role":"primary"}`)) },
		"checkpoint": func(s *stage) { s.checkpoint(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := damage(t)
			view := newView(t, nil, nil)
			plan := s.plan(t)
			r := repair{sides: s.sides, view: view, at: plan.Report.StandbyRevision}
			m, err := r.readStandby(t.Context(), plan.Steps)
			if err != nil {
				t.Fatal(err)
			}
			move(s)
			done, err := r.commit(t.Context(), plan.Steps, m)
			if done || err != nil || r.out.Written+r.out.Deleted != 0 {
				t.Errorf("done %v, %v, %+v", done, err, r.out)
			}
			if done, err := r.try(t.Context(), plan.Steps); !done || err != nil || r.out.Written != 3 {
				t.Errorf("the next attempt: done %v, %v, %+v", done, err, r.out)
			}
		})
	}
}

// A repair beside a replication that writes as fast as it can either does it,
// or says that it did not; it never leaves something else behind.
func TestRepairUnderLoad(t *testing.T) {
	s := newStage(t)
	view := newView(t, nil, nil)
	r := s.replicate(view)
	key, value := configMap(1)
	r.reached(s.put(s.sides.Primary, key, value))
	stop := startWriters(t, s, 2)
	defer sync.OnceFunc(stop)()
	repaired := 0
	for range 10 {
		s.remove(s.sides.Standby, key)
		plan, err := MakePlan(t.Context(), s.sides, view, s.check(view))
		if err != nil {
			t.Fatal(err)
		}
		out, err := Repair(t.Context(), s.sides, view, plan, sink.Limits{})
		switch {
		case err == nil && out.Written == 1:
			repaired++
		case remedy.CodeOf(err) == remedy.LostRace:
			s.put(s.sides.Standby, key, value)
		default:
			t.Fatalf("%+v, %v", out, err)
		}
		if report := s.check(view); report.Verdict != Consistent {
			t.Fatalf("after a repair: %+v", report)
		}
	}
	t.Logf("%d of 10 repairs found a free moment", repaired)
}

func TestRepairNeedsACheckpoint(t *testing.T) {
	s := damage(t)
	plan := s.plan(t)
	s.checkpoint(func(c *sink.Checkpoint) { c.Phase = sink.Copying })
	var none *NoPointError
	_, err := Repair(t.Context(), s.sides, newView(t, nil, nil), plan, sink.Limits{})
	if !errors.As(err, &none) || remedy.CodeOf(err) != remedy.Refused {
		t.Errorf("while a copy runs: %v", err)
	}
}

// A key that does not fit is no reason to write with it.
func TestPlanLeavesWrongKeys(t *testing.T) {
	s := newStage(t)
	ours, theirs, wrong := secretbox(t, "a", 'a'), secretbox(t, "b", 'b'), secretbox(t, "b", 'x')
	const key = "/registry/secrets/prod/s"
	for _, side := range []struct {
		client kvClient
		e      *registry.Encryption
	}{{s.sides.Primary, ours}, {s.sides.Standby, theirs}} {
		stored, err := side.e.Encrypt("secrets", key, object("Secret", "prod", "s", "v"))
		if err == nil {
			_, err = side.client.Put(t.Context(), key, string(stored))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.checkpoint(nil)
	view := newView(t, ours, wrong)
	plan, err := MakePlan(t.Context(), s.sides, view, s.check(view))
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Steps) != 1 || !strings.Contains(plan.Steps[0].Leave, "does not fit") {
		t.Errorf("%+v", plan.Steps)
	}
}

// A damaged value is written anew where others prove that its key is right: it
// opens what the standby's own API servers wrote, or most of the others.
func TestPlanMendsADamagedValueOfAProvenKey(t *testing.T) {
	s := newStage(t)
	ours, theirs, other := secretbox(t, "a", 'a'), secretbox(t, "b", 'b'), secretbox(t, "b", 'x')
	for name, tc := range map[string]struct {
		good, damaged int                  // of the primary's Secrets
		own           *registry.Encryption // seals a Secret out of scope; nil = there is none
		want          string               // why they are left; "" = mended
	}{
		"others open":                {good: 3, damaged: 1},
		"several are damaged":        {good: 3, damaged: 2},
		"others open, the own too":   {good: 3, damaged: 1, own: theirs},
		"only the standby's own":     {damaged: 1, own: theirs},
		"the own one does not open":  {good: 3, damaged: 1, own: other, want: "correct that first"},
		"most do not open":           {good: 2, damaged: 3, want: "correct that first"},
		"no other value to judge by": {damaged: 1, want: "repair again: etcdctl del /registry/secrets/prod/s-0"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, client := range []*clientv3.Client{s.sides.Primary, s.sides.Standby} {
				if _, err := client.Delete(t.Context(), "/registry/", clientv3.WithPrefix()); err != nil {
					t.Fatal(err)
				}
			}
			seal := func(e *registry.Encryption, key string) []byte {
				stored, err := e.Encrypt("secrets", key, object("Secret", "prod", "s", key))
				if err != nil {
					t.Fatal(err)
				}
				return stored
			}
			for i := range tc.good + tc.damaged {
				key := fmt.Sprintf("/registry/secrets/prod/s-%d", i)
				stored := seal(theirs, key)
				if i < tc.damaged {
					stored[len(stored)-9] ^= 1
				}
				s.put(s.sides.Primary, key, seal(ours, key))
				s.put(s.sides.Standby, key, stored)
			}
			if tc.own != nil {
				const key = "/registry/secrets/kube-system/own"
				s.put(s.sides.Standby, key, seal(tc.own, key))
			}
			s.checkpoint(nil)
			view := newView(t, ours, theirs)
			plan, err := MakePlan(t.Context(), s.sides, view, s.check(view))
			if err != nil || len(plan.Steps) != tc.damaged {
				t.Fatalf("%+v, %v; want %d steps", plan.Steps, err, tc.damaged)
			}
			for _, step := range plan.Steps {
				if (step.Leave == "") != (tc.want == "") || !strings.Contains(step.Leave, tc.want) {
					t.Errorf("%s: leave %q, want %q", step.Key, step.Leave, tc.want)
				}
			}
			if tc.want != "" {
				return
			}
			if _, err := Repair(t.Context(), s.sides, view, plan, sink.Limits{}); err != nil {
				t.Fatal(err)
			}
			if report := s.check(view); report.Verdict != Consistent {
				t.Errorf("after the repair: %+v", report)
			}
		})
	}
}

func TestOwnersFirst(t *testing.T) {
	step := func(name string, owners ...string) Step {
		s := Step{Key: name}
		s.meta.UID = name
		for _, o := range owners {
			s.meta.Owners = append(s.meta.Owners, registry.Owner{UID: o})
		}
		if strings.HasPrefix(name, "crd") {
			s.meta.Kind = "CustomResourceDefinition"
		}
		return s
	}
	for name, tc := range map[string]struct {
		in   []Step
		want string
	}{
		"none":              {nil, ""},
		"dependent first":   {[]Step{step("pod", "set"), step("set", "deploy"), step("deploy")}, "deploy set pod"},
		"tree by tree":      {[]Step{step("a1", "a"), step("b1", "b"), step("a"), step("b"), step("a2", "a")}, "a a1 a2 b b1"},
		"two owners":        {[]Step{step("x", "a", "b"), step("a"), step("b")}, "a b x"},
		"definitions last":  {[]Step{step("crd"), step("z"), step("a", "z")}, "z a crd"},
		"owner elsewhere":   {[]Step{step("x", "elsewhere"), step("a")}, "x a"},
		"a circle":          {[]Step{step("a", "b"), step("b", "a"), step("c")}, "c a b"},
		"owns itself":       {[]Step{step("a", "a")}, "a"},
		"no UID, no owners": {[]Step{{Key: "x"}, {Key: "y"}}, "x y"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range ownersFirst(tc.in) {
				got = append(got, s.Key)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	// A long chain must not be quadratic, nor deep on the stack.
	var chain []Step
	for i := range 50_000 {
		chain = append(chain, step(fmt.Sprint(i), fmt.Sprint(i+1)))
	}
	if got := ownersFirst(chain); len(got) != len(chain) || got[0].Key != "49999" || !slices.IsSortedFunc(got, func(a, b Step) int {
		var x, y int
		_ = json.Unmarshal([]byte(a.Key), &x)
		_ = json.Unmarshal([]byte(b.Key), &y)
		return y - x
	}) {
		t.Errorf("a chain of %d came out as %d, first %s", len(chain), len(got), got[0].Key)
	}
}
