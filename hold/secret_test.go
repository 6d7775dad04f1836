package hold

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/understudy-dr/understudy/scope"
)

// What is held of a Secret is named by its fields alone: what is in them ends up
// in terminals and tickets.
func TestListTellsNoSecrets(t *testing.T) {
	view := newView(t, nil)
	var err error
	view.Holds, err = scope.NewHolds([]scope.Hold{{Resources: []string{"secrets"}, Patch: json.RawMessage(`{"data":{"password":"eA=="}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, view)
	secret := object("secrets", "prod", "db", "{}")
	secret.Value = []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"prod","uid":"u"},"data":{"password":"c2VjcmV0LXZhbHVl"}}` + "\n")
	s.replicate(secret)
	items, err := List(t.Context(), s.Client, view, "")
	if err != nil || len(items) != 1 || !slices.Equal(items[0].Patch, []string{"data.password"}) {
		t.Errorf("held: %+v, %v", items, err)
	}
	if _, err := s.Put(t.Context(), secret.Key, string(secret.Value)); err != nil {
		t.Fatal(err)
	}
	items, err = Candidates(t.Context(), s.Client, view, "")
	if err != nil || len(items) != 1 || !slices.Equal(items[0].Patch, []string{"data.password"}) {
		t.Errorf("to be held: %+v, %v", items, err)
	}
}
