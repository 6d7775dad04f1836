package hold

import (
	"bytes"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// apply holds all that is to be held.
func (s *stage) apply() Outcome {
	s.t.Helper()
	items, err := Candidates(s.t.Context(), s.Client, s.view, "")
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := Apply(s.t.Context(), s.Client, s.view, items, sink.Limits{})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// With the primary gone nobody records what is created on the standby. It cannot
// have come from the primary, and is left alone.
func TestApplyLeavesWhatCameLater(t *testing.T) {
	s := newStage(t, newView(t, nil))
	web := object("deployments.apps", "a", "web", `{"replicas":5}`)
	s.replicate(web)
	s.release("")
	own := object("deployments.apps", "a", "own", `{"replicas":7}`)
	s.put(own.Key, string(own.Value))
	if out := s.apply(); out.Done != 1 || s.plain(own.Key) != string(own.Value) {
		t.Errorf("%+v: %s", out, s.plain(own.Key))
	}
}

// The original of an object that had the name before is not that of this one.
func TestApplyKeepsTheOriginalOfThisObject(t *testing.T) {
	s := newStage(t, newView(t, nil))
	web := object("deployments.apps", "a", "web", `{"replicas":5}`)
	s.replicate(web)
	if _, err := s.Delete(t.Context(), web.Key); err != nil {
		t.Fatal(err)
	}
	other := strings.NewReplacer(uid("deployments.apps", "a", "web"), "another", `"replicas":5`, `"replicas":9`).Replace(string(web.Value))
	s.put(web.Key, other)
	s.put(sink.CheckpointKey, string(s.get(sink.CheckpointKey).Value)) // the primary's
	if out := s.apply(); out.Done != 1 || string(s.get(scope.HeldKey(web.Key)).Value) != other {
		t.Errorf("%+v, the original: %s", out, s.get(scope.HeldKey(web.Key)).Value)
	}
}

// One object that does not fit into a request with its original keeps no other from being held.
func TestApplyLeavesWhatIsTooLarge(t *testing.T) {
	s := newStage(t, newView(t, nil))
	big := object("deployments.apps", "a", "aaa", `{"replicas":5,"x":"`+strings.Repeat("x", 900<<10)+`"}`)
	small := object("deployments.apps", "a", "bbb", `{"replicas":5}`)
	s.put(big.Key, string(big.Value))
	s.put(small.Key, string(small.Value))
	out := s.apply()
	if out.Done != 1 || len(out.Left) != 1 || out.Left[0].Key != big.Key || !strings.Contains(s.plain(small.Key), `"replicas":0`) {
		t.Errorf("%+v", out)
	}
}

// A volume gets its reclaim policy back only beside its claim: otherwise the
// controllers would delete what is stored in it at once.
func TestReleaseKeepsVolumesWithoutTheirClaims(t *testing.T) {
	s := newStage(t, newView(t, nil))
	volume := func(name, policy, claim string) []byte {
		return []byte(`{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"` + name + `","uid":"` + name + `"},"spec":{` + claim + `"persistentVolumeReclaimPolicy":"` + policy + `"}}` + "\n")
	}
	bound := func(to string) string {
		return `"claimRef":{"name":"` + to + `","namespace":"prod","uid":"` + to + `"},`
	}
	claim := object("persistentvolumeclaims", "prod", "here", `{"volumeName":"bound"}`)
	claim.Value = bytes.Replace(claim.Value, []byte(uid("persistentvolumeclaims", "prod", "here")), []byte("here"), 1)
	other := object("persistentvolumeclaims", "prod", "another", `{"volumeName":"x"}`)
	s.replicate(claim, other)
	volumes := map[string][]byte{
		"bound": volume("bound", "Delete", bound("here")), "free": volume("free", "Delete", ""), "free-retained": volume("free-retained", "Retain", ""),
		"lost": volume("lost", "Delete", bound("gone")), "others": volume("others", "Delete", bound("another")), "retained": volume("retained", "Retain", bound("gone")),
	}
	key := func(name string) string { return "/registry/persistentvolumes/" + name }
	for name, value := range volumes {
		p := claim
		p.Key, p.Value = key(name), value
		s.replicate(p)
	}
	for _, name := range []string{"free", "free-retained"} {
		if now := s.plain(key(name)); !strings.Contains(now, `"namespace":"understudy-held"`) || !strings.Contains(now, "Retain") {
			t.Errorf("held: %s", now)
		}
	}
	out := s.release("")
	if len(out.Left) != 2 || out.Done != 3 {
		t.Errorf("%+v", out)
	}
	for name, value := range volumes {
		released := s.plain(key(name)) == string(value)
		if left := name == "lost" || name == "others"; released == left {
			t.Errorf("%s: %s", name, s.plain(key(name)))
		}
	}
}
