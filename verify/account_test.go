package verify

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

func based(at kv.Revision, missed ...string) *Account {
	a := NewAccount()
	r := newReport(time.Now())
	r.StandbyRevision = at
	for _, key := range missed {
		r.add(key, Missed, nil, 0)
	}
	r.conclude()
	a.rebase(r)
	return a
}

func TestAccount(t *testing.T) {
	for name, tc := range map[string]struct {
		account     *Account
		tell        func(*Account)
		want        Verdict
		differences []string
		pending     int64
	}{
		"new":                      {account: NewAccount(), want: Unknown},
		"equal":                    {account: based(10), want: Consistent},
		"differs":                  {account: based(10, "k"), want: Inconsistent, differences: []string{"k"}},
		"differs, then written":    {account: based(10, "k"), tell: func(a *Account) { a.Own("k", 11) }, want: Consistent},
		"written before the check": {account: based(10, "k"), tell: func(a *Account) { a.Own("k", 9) }, want: Inconsistent, differences: []string{"k"}},
		"foreign write":            {account: based(10), tell: func(a *Account) { a.Foreign("k", 11) }, want: Unknown, pending: 1},
		"foreign write, overwritten by us, told late": {account: based(10), tell: func(a *Account) {
			a.Foreign("k", 11)
			a.Own("k", 12)
		}, want: Consistent},
		"our write, overwritten by others": {account: based(10), tell: func(a *Account) {
			a.Foreign("k", 13)
			a.Own("k", 12)
		}, want: Unknown, pending: 1},
		"found different": {account: based(10), tell: func(a *Account) {
			a.Foreign("k", 11)
			a.found(Result{Key: "k", Kind: Surplus}, 12)
		}, want: Inconsistent, differences: []string{"k"}},
		"found equal": {account: based(10, "k"), tell: func(a *Account) {
			a.Foreign("k", 11)
			a.found(Result{Key: "k"}, 12)
		}, want: Consistent},
		"found too early": {account: based(10), tell: func(a *Account) {
			a.Foreign("k", 11)
			a.Foreign("k", 13)
			a.found(Result{Key: "k"}, 12)
		}, want: Unknown, pending: 1},
		"found after we have written": {account: based(10), tell: func(a *Account) {
			a.Foreign("k", 11)
			a.Own("k", 13)
			a.found(Result{Key: "k", Kind: Missed}, 12)
		}, want: Consistent},
		"blind":          {account: based(10), tell: func(a *Account) { a.Blind("no watch") }, want: Unknown},
		"sees again":     {account: based(10), tell: func(a *Account) { a.Blind("no watch"); a.Blind("") }, want: Consistent},
		"invalid":        {account: based(10, "k"), tell: func(a *Account) { a.Invalidate("a gap") }, want: Unknown},
		"too much to do": {account: based(10), tell: tooMany, want: Unknown},
		"own write during the check": {account: based(10), tell: func(a *Account) {
			a.checking, a.own = true, map[string]kv.Revision{}
			a.Own("k", 16)
			r := newReport(time.Now())
			r.StandbyRevision = 15
			r.add("k", Differing, nil, 0)
			a.rebase(r)
		}, want: Consistent},
		"foreign write during the check": {account: based(10), tell: func(a *Account) {
			a.Foreign("old", 14)
			a.Foreign("new", 16)
			r := newReport(time.Now())
			r.StandbyRevision = 15
			a.rebase(r)
		}, want: Unknown, pending: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.tell != nil {
				tc.tell(tc.account)
			}
			got := tc.account.Report(0)
			var keys []string
			for _, kind := range Kinds {
				keys = append(keys, got.Of(kind).Keys...)
			}
			if got.Verdict != tc.want || got.Pending != tc.pending || !cmp.Equal(keys, tc.differences) {
				t.Errorf("verdict %q (%s), pending %d, keys %q; want %q, %d, %q", got.Verdict, got.Reason, got.Pending, keys, tc.want, tc.pending, tc.differences)
			}
			if got.Verdict == Unknown && got.Reason == "" {
				t.Error("unknown without a reason")
			}
		})
	}
}

func tooMany(a *Account) {
	for i := range maxOpen + 1 {
		a.Foreign(fmt.Sprint(i), 11)
	}
}

// More differences than an account names still count, and do not vanish.
func TestAccountCountsWhatItCannotName(t *testing.T) {
	a := based(10)
	r := newReport(time.Now())
	r.StandbyRevision = 11
	for i := range 5 {
		r.add(fmt.Sprint(i), Missed, nil, 2)
	}
	a.rebase(r)
	a.Own("0", 12)
	a.Own("4", 12) // not known by name: counted until the next full comparison
	got := a.Report(0)
	if got.Missed.Count != 4 || len(got.Missed.Keys) != 1 || got.Verdict != Inconsistent {
		t.Errorf("%+v", got.Missed)
	}
	a.Own("1", 12)
	if got := a.Report(0); got.Verdict != Inconsistent {
		t.Errorf("verdict %q with %d unnamed keys", got.Verdict, got.Missed.Count)
	}
}

// Fed from the standby's watch, an account follows what others do there, and
// forgets it when the replication or a repair puts it right.
func TestAccountFollowsTheStandby(t *testing.T) {
	s := newStage(t)
	view := newView(t, nil, nil)
	a := NewAccount()
	r := s.replicate(view)
	key, value := configMap(1)
	r.reached(s.put(s.sides.Primary, key, value))
	if report, err := a.Check(t.Context(), s.sides, view, Options{}); err != nil || report.Verdict != Consistent {
		t.Fatalf("%+v, %v", report, err)
	}
	go a.Run(t.Context(), s.sides, view)
	watched := make(chan error, 1)
	go func() { watched <- feed(t, s, a) }()
	t.Cleanup(func() {
		if err := <-watched; err != nil && !errors.Is(err, t.Context().Err()) {
			t.Errorf("watch: %v", err)
		}
	})
	awaits := func(what string, want Verdict, kind Kind) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, what, func() (bool, string) {
			got := a.Report(0)
			ok := got.Verdict == want && (kind == "" || cmp.Equal(got.Of(kind).Keys, []string{key}))
			return ok, fmt.Sprintf("%+v", got)
		})
	}

	s.remove(s.sides.Standby, key)
	awaits("the deletion", Inconsistent, Missed)
	s.put(s.sides.Standby, key, []byte(`{"kind":"ConfigMap"}`))
	awaits("the edit", Inconsistent, Differing)
	s.put(s.sides.Standby, key, value)
	awaits("the repair", Consistent, "")
	s.remove(s.sides.Standby, key)
	awaits("the second deletion", Inconsistent, Missed)
	r.reached(s.put(s.sides.Primary, key, value))
	awaits("the replicated write", Consistent, "")
	s.remove(s.sides.Standby, key)
	awaits("the third deletion", Inconsistent, Missed)
	r.reached(s.remove(s.sides.Primary, key)) // shows in no watch of the standby
	awaits("the deletion on the primary", Consistent, "")
}

// feed tells the account of every write to the standby.
func feed(t *testing.T, s *stage, a *Account) error {
	return source.Watch(t.Context(), s.sides.Standby, source.Span{Begin: "/", End: "0", From: 1}, func(e source.Events) error {
		ours := map[kv.Revision]bool{}
		for _, c := range e.Changes {
			ours[c.Revision] = ours[c.Revision] || c.Key == sink.CheckpointKey
		}
		for _, c := range e.Changes {
			switch {
			case c.Key == sink.CheckpointKey:
			case ours[c.Revision]:
				a.Own(c.Key, c.Revision)
			default:
				a.Foreign(c.Key, c.Revision)
			}
		}
		return nil
	})
}
