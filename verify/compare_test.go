package verify

import (
	"fmt"
	"testing"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

func TestCompare(t *testing.T) {
	plain := newView(t, nil, nil)
	ours, theirs := secretbox(t, "a", 'a'), secretbox(t, "b", 'b')
	const secret, config = "/registry/secrets/p/s", "/registry/configmaps/p/c"
	sealed := func(e *registry.Encryption, value []byte) []byte {
		out, err := e.Encrypt("secrets", secret, value)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	one, two := object("ConfigMap", "p", "c", "1"), object("ConfigMap", "p", "c", "2")
	token := []byte(`{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s"},"type":"kubernetes.io/service-account-token"}`)
	opaque := []byte(`{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s"},"type":"Opaque"}`)
	torn := one[:len(one)-3]

	for name, tc := range map[string]struct {
		view                 *scope.View
		key                  string
		primary, standby     []byte // nil = absent
		want                 Kind
		wantOut, wantUnknown bool
	}{
		"equal":                     {plain, config, one, one, "", false, false},
		"differing":                 {plain, config, one, two, Differing, false, false},
		"missed":                    {plain, config, one, nil, Missed, false, false},
		"surplus":                   {plain, config, nil, one, Surplus, false, false},
		"out of scope":              {plain, "/registry/leases/p/l", one, two, "", true, false},
		"torn on both":              {plain, config, torn, torn, Undecodable, false, false},
		"torn on the standby":       {plain, config, one, torn, Undecodable, false, false},
		"torn on the primary":       {plain, config, torn, one, Undecodable, false, false},
		"torn, the primary's alone": {plain, config, torn, nil, Undecodable, false, false},
		"torn, the standby's alone": {plain, config, nil, torn, Undecodable, false, false},
		"empty on both":             {plain, config, []byte{}, []byte{}, Undecodable, false, false},
		"token on both":             {plain, secret, token, token, "", true, false},
		"token, surplus":            {plain, secret, nil, token, "", true, false},
		"token on the primary":      {plain, secret, token, opaque, Surplus, false, false},
		"token on the standby":      {plain, secret, opaque, token, Differing, false, false},
		"opaque bytes, equal":       {plain, secret, sealed(ours, opaque), nil, Missed, false, true},
		"each with its own key":     {newView(t, ours, theirs), secret, sealed(ours, opaque), sealed(theirs, opaque), "", false, false},
		"twice with the same key":   {newView(t, ours, ours), secret, sealed(ours, opaque), sealed(ours, opaque), "", false, false},
		"other object, encrypted":   {newView(t, ours, theirs), secret, sealed(ours, opaque), sealed(theirs, one), Differing, false, false},
		"copied raw, unreadable":    {newView(t, ours, theirs), secret, sealed(ours, opaque), sealed(ours, opaque), Undecodable, false, false},
		"no key for the primary":    {newView(t, theirs, theirs), secret, sealed(ours, opaque), sealed(theirs, opaque), Undecodable, false, false},
		"only the primary's config": {newView(t, ours, nil), secret, sealed(ours, opaque), sealed(ours, opaque), Undecodable, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			side := func(value []byte) *kv.Pair {
				if value == nil {
					return nil
				}
				return &kv.Pair{Key: tc.key, Value: value}
			}
			got := compare(tc.view, nil, side(tc.primary), side(tc.standby))
			if got.kind != tc.want || got.out != tc.wantOut || got.opaque != tc.wantUnknown {
				t.Errorf("got %+v, want %q, out %v, opaque %v", got, tc.want, tc.wantOut, tc.wantUnknown)
			}
			if (got.kind == Undecodable) != (got.why != nil) {
				t.Errorf("%q with reason %v", got.kind, got.why)
			}
		})
	}
}

// The hot path: values that are equal on both sides.
func BenchmarkCompareEqual(b *testing.B) {
	s, err := scope.New(scope.Config{})
	if err != nil {
		b.Fatal(err)
	}
	view := &scope.View{Scope: s, Recoder: registry.NewRecoder(nil, nil)}
	value := object("ConfigMap", "prod", "c", fmt.Sprintf("%2000d", 1))
	p := kv.Pair{Key: "/registry/configmaps/prod/c", Value: value}
	q := kv.Pair{Key: p.Key, Value: append([]byte{}, value...)}
	b.ReportAllocs()
	for b.Loop() {
		if f := compare(view, nil, &p, &q); f.kind != "" {
			b.Fatal(f)
		}
	}
}
