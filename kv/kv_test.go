package kv_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-dr/understudy/kv"
)

// list is a Stream over pairs.
type list struct {
	pairs []kv.Pair
	err   error // after the last pair
}

func (l *list) Next() (kv.Pair, bool, error) {
	if len(l.pairs) == 0 {
		return kv.Pair{}, false, l.err
	}
	p := l.pairs[0]
	l.pairs = l.pairs[1:]
	return p, true, nil
}

func stream(side map[string]bool) *list {
	l := &list{}
	for _, key := range slices.Sorted(maps.Keys(side)) {
		l.pairs = append(l.pairs, kv.Pair{Key: key})
	}
	return l
}

// Every key that stands on either side is visited once, in order, with exactly
// the sides that have it.
func TestJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.MapOf(rapid.StringMatching(`[a-d/]{1,3}`), rapid.Just(true))
		a, b := keys.Draw(t, "a"), keys.Draw(t, "b")
		var visited []string
		err := kv.Join(stream(a), stream(b), func(x, y *kv.Pair) error {
			key := ""
			switch {
			case x != nil && y != nil && x.Key != y.Key:
				t.Fatalf("joined %q with %q", x.Key, y.Key)
			case x != nil:
				key = x.Key
			default:
				key = y.Key
			}
			if a[key] != (x != nil) || b[key] != (y != nil) {
				t.Fatalf("%q: sides %v %v, want %v %v", key, x != nil, y != nil, a[key], b[key])
			}
			visited = append(visited, key)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		all := maps.Clone(a)
		maps.Copy(all, b)
		if want := slices.Sorted(maps.Keys(all)); !slices.Equal(visited, want) {
			t.Fatalf("visited %q, want %q", visited, want)
		}
	})
}

// An error of a stream ends the join: the rest of the other side is not taken
// for keys that only one side has.
func TestJoinStopsAtAnError(t *testing.T) {
	broken := errors.New("broken")
	for name, sides := range map[string][2]*list{
		"left":  {{pairs: []kv.Pair{{Key: "a"}}, err: broken}, stream(map[string]bool{"a": true, "b": true})},
		"right": {stream(map[string]bool{"a": true, "b": true}), {pairs: []kv.Pair{{Key: "a"}}, err: broken}},
	} {
		n := 0
		err := kv.Join(sides[0], sides[1], func(_, _ *kv.Pair) error { n++; return nil })
		if !errors.Is(err, broken) || n != 1 {
			t.Errorf("%s: %v after %d keys, want the error after 1", name, err, n)
		}
	}
}

// [prefix, PrefixEnd(prefix)) holds exactly the keys with the prefix.
func TestPrefixEnd(t *testing.T) {
	text := rapid.StringOf(rapid.RuneFrom([]rune{'a', 'b', '/', 0x00, 0x7f}))
	rapid.Check(t, func(t *rapid.T) {
		prefix, key := text.Draw(t, "prefix"), text.Draw(t, "key")
		end := kv.PrefixEnd(prefix)
		within := key >= prefix && (end == "\x00" || key < end)
		if within != strings.HasPrefix(key, prefix) {
			t.Fatalf("PrefixEnd(%q) = %q: %q within = %v", prefix, end, key, within)
		}
	})
	for prefix, want := range map[string]string{"": "\x00", "\xff\xff": "\x00", "a\xff": "b", "/registry/": "/registry0"} {
		if got := kv.PrefixEnd(prefix); got != want {
			t.Errorf("PrefixEnd(%q) = %q, want %q", prefix, got, want)
		}
	}
}
