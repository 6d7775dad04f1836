package scope

import (
	"encoding/json"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"pgregory.net/rapid"
)

// Patches are merged as RFC 7386 says: the same as the library does that API
// servers use, whatever the patch (but that it drops nulls inside of lists), and
// the object itself is not touched.
func TestMergedAsTheRFCSays(t *testing.T) {
	leaf := rapid.SampledFrom([]string{"null", "0", "1.5", "true", `"x"`, "[]", `[{"a":1}]`, "{}"})
	var text func(t *rapid.T, depth int) string
	text = func(t *rapid.T, depth int) string {
		if depth == 0 || depth < 4 && rapid.Bool().Draw(t, "leaf") {
			return leaf.Draw(t, "value")
		}
		members := map[string]json.RawMessage{}
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			members[rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")] = json.RawMessage(text(t, depth-1))
		}
		raw, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	rapid.Check(t, func(t *rapid.T) {
		document, patch := text(t, 4), text(t, 4)
		want, err := jsonpatch.MergePatch([]byte(document), []byte(patch))
		if err != nil {
			t.Fatal(err)
		}
		var target, over map[string]any
		if err := kjson.Unmarshal([]byte(document), &target); err != nil {
			t.Fatal(err)
		}
		if err := kjson.Unmarshal([]byte(patch), &over); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(merged(target, over))
		if err != nil {
			t.Fatal(err)
		}
		if !jsonpatch.Equal(got, want) {
			t.Fatalf("%s over %s gives %s, want %s", patch, document, got, want)
		}
		if after, err := json.Marshal(target); err != nil || !jsonpatch.Equal(after, []byte(document)) {
			t.Fatalf("%s over %s has made %s of it", patch, document, after)
		}
	})
}
