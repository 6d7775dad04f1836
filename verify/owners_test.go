package verify

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/sink"
)

// A standby is equal where it lacks the references to owners out of scope, and
// differs where it still has them, be it byte for byte the primary's object; a
// repair writes the object without them. What the scope does because of owners
// is counted.
func TestDroppedReferencesBelongToAnEqualStandby(t *testing.T) {
	for name, encrypted := range map[string]bool{"plain": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			var ours, theirs *registry.Encryption
			if encrypted {
				ours, theirs = secretbox(t, "a", 'a'), secretbox(t, "b", 'b')
			}
			view := newView(t, ours, theirs)
			put := func(client *clientv3.Client, e *registry.Encryption, o thing) {
				p := o.pair(t)
				if e != nil {
					var err error
					if p.Value, err = e.Encrypt("secrets", p.Key, p.Value); err != nil {
						t.Fatal(err)
					}
				}
				s.put(client, p.Key, p.Value)
			}
			whole := secret("some", "v1 Pod p p", "v1 Secret none n", "v1 Node n n")
			put(s.sides.Primary, ours, secret("none"))
			put(s.sides.Primary, ours, whole)
			put(s.sides.Primary, ours, secret("orphan", "v1 Pod p p"))
			put(s.sides.Standby, theirs, secret("none"))
			put(s.sides.Standby, theirs, whole)
			s.checkpoint(nil)

			report := s.check(view)
			key := whole.pair(t).Key
			if diff := cmp.Diff(Keys{Count: 1, Keys: []string{key}}, report.Differing); diff != "" || report.Differences() != 1 {
				t.Errorf("with the references still there: %s\n%+v", diff, report)
			}
			if diff := cmp.Diff(Resource{Replicated: 2, Excluded: 1, OwnersLeftOut: 1, ReferencesDropped: 2}, report.Scope["secrets"]); diff != "" {
				t.Errorf("counted: %s", diff)
			}

			plan, err := MakePlan(t.Context(), s.sides, view, report)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := Repair(t.Context(), s.sides, view, plan, sink.Limits{}); err != nil || out.Written != 1 {
				t.Errorf("repaired: %+v, %v", out, err)
			}
			if report := s.check(view); report.Verdict != Consistent || report.Compared != 2 {
				t.Errorf("after the repair: %+v", report)
			}
			there, err := s.sides.Standby.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := view.Recoder.PlainOfStandby("secrets", key, there.Kvs[0].Value)
			if err != nil {
				t.Fatal(err)
			}
			if meta, err := registry.ReadMeta(plain); err != nil || len(meta.Owners) != 1 || meta.Owners[0].Name != "none" {
				t.Errorf("repaired to %s, %v", plain, err)
			}
		})
	}
}
