package replica

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

func itemUID(i int) uid { return parseUID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)) }

// drawItems draws objects in random order. owners says which of the others,
// by number, an object may be owned by.
func drawItems(t *rapid.T, owners func(i, n int) *rapid.Generator[[]int]) (items []item, ownersOf [][]int) {
	n := rapid.IntRange(0, 40).Draw(t, "objects")
	ownersOf = make([][]int, n)
	at := rapid.Permutation(slices.Collect(func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	})).Draw(t, "order")
	items = make([]item, n)
	for i := range n {
		it := item{key: fmt.Sprintf("/%d", i), uid: itemUID(i)}
		for _, o := range owners(i, n).Draw(t, fmt.Sprintf("owners of %d", i)) {
			it.owners = append(it.owners, itemUID(o))
			if o < n {
				ownersOf[at[i]] = append(ownersOf[at[i]], at[o])
			}
		}
		items[at[i]] = it
	}
	return items, ownersOf
}

// acyclic: any number of owners among those with a lower number, and some that
// are not there.
func acyclic(i, n int) *rapid.Generator[[]int] {
	if i == 0 {
		return rapid.SliceOfN(rapid.IntRange(n, n+3), 0, 2)
	}
	return rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, i-1), rapid.IntRange(n, n+3)), 0, 3)
}

// forest: one owner at most.
func forest(i, n int) *rapid.Generator[[]int] {
	if i == 0 {
		return rapid.Just([]int(nil))
	}
	return rapid.SliceOfN(rapid.IntRange(0, i-1), 0, 1)
}

// anyhow: circles and owning oneself included.
func anyhow(_, n int) *rapid.Generator[[]int] { return rapid.SliceOfN(rapid.IntRange(0, n+2), 0, 3) }

// positions returns where each item comes, over all groups one after the
// other, and the group it is in; every item must come once.
func positions(t *rapid.T, n int, groups [][]int) (position, group []int) {
	position, group = make([]int, n), make([]int, n)
	for i := range position {
		position[i] = -1
	}
	next := 0
	for g, items := range groups {
		if len(items) == 0 {
			t.Fatalf("group %d is empty", g)
		}
		for _, i := range items {
			if position[i] != -1 {
				t.Fatalf("item %d comes twice", i)
			}
			position[i], group[i] = next, g
			next++
		}
	}
	if next != n {
		t.Fatalf("%d of %d items come", next, n)
	}
	return position, group
}

// Owners come before their dependents, whatever the order and however many.
func TestTreesPutOwnersFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items, ownersOf := drawItems(t, acyclic)
		groups := trees(items)
		position, _ := positions(t, len(items), groups)
		for g := 1; g < len(groups); g++ {
			if groups[g-1][0] > groups[g][0] {
				t.Fatalf("group %d begins with %s, the one before it with %s", g, items[groups[g][0]].key, items[groups[g-1][0]].key)
			}
		}
		for i, owners := range ownersOf {
			for _, o := range owners {
				if position[o] > position[i] {
					t.Fatalf("%s comes after its dependent %s", items[o].key, items[i].key)
				}
			}
		}
	})
}

// With one owner each, an object is followed by all that hangs on it, and by
// nothing else in between.
func TestTreesAreContiguous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items, ownersOf := drawItems(t, forest)
		position, _ := positions(t, len(items), trees(items))
		size := make([]int, len(items)) // of the subtree
		for i := range items {
			for j, steps := i, 0; steps <= len(items); steps++ {
				size[j]++
				if len(ownersOf[j]) == 0 {
					break
				}
				j = ownersOf[j][0]
			}
		}
		for i := range items {
			for j := i; ; j = ownersOf[j][0] {
				if position[i] < position[j] || position[i] >= position[j]+size[j] {
					t.Fatalf("%s, at %d, is not among the %d objects from %s at %d on", items[i].key, position[i], size[j], items[j].key, position[j])
				}
				if len(ownersOf[j]) == 0 {
					break
				}
			}
		}
	})
}

// Two objects are in one group exactly when references connect them, circles
// included; every object comes once all the same.
func TestTreesGroupWhatHangsTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items, ownersOf := drawItems(t, anyhow)
		groups := trees(items)
		_, group := positions(t, len(items), groups)
		label := make([]int, len(items))
		for i := range label {
			label[i] = i
		}
		for changed := true; changed; {
			changed = false
			for i, owners := range ownersOf {
				for _, o := range owners {
					if low := min(label[i], label[o]); label[i] != low || label[o] != low {
						label[i], label[o], changed = low, low, true
					}
				}
			}
		}
		for i := range items {
			for j := range items {
				if (label[i] == label[j]) != (group[i] == group[j]) {
					t.Fatalf("%s and %s: connected %t, in one group %t", items[i].key, items[j].key, label[i] == label[j], group[i] == group[j])
				}
			}
		}
	})
}

// A circle does not keep what hangs on it from coming after it, nor an owner
// outside of it from coming before.
func TestTreesInCircles(t *testing.T) {
	owned := func(i int, owners ...int) item {
		it := item{key: fmt.Sprintf("/%d", i), uid: itemUID(i)}
		for _, o := range owners {
			it.owners = append(it.owners, itemUID(o))
		}
		return it
	}
	for name, tc := range map[string]struct {
		items []item
		want  [][]int
	}{
		"none":                 {},
		"owning oneself":       {items: []item{owned(0, 0)}, want: [][]int{{0}}},
		"two":                  {items: []item{owned(0, 1), owned(1, 0)}, want: [][]int{{0, 1}}},
		"with a dependent":     {items: []item{owned(0, 1), owned(1, 0), owned(2, 1)}, want: [][]int{{0, 1, 2}}},
		"with an owner":        {items: []item{owned(0, 1, 2), owned(1, 0), owned(2)}, want: [][]int{{2, 0, 1}}},
		"the same owner twice": {items: []item{owned(0, 1, 1), owned(1)}, want: [][]int{{1, 0}}},
		"beside another tree":  {items: []item{owned(0, 1), owned(1, 0), owned(2)}, want: [][]int{{0, 1}, {2}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := trees(tc.items)
			slices.SortFunc(got, func(a, b []int) int { return slices.Min(a) - slices.Min(b) })
			if !slices.EqualFunc(got, tc.want, slices.Equal) {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

// A UID that is no UUID serves as well as one that is.
func TestParseUID(t *testing.T) {
	seen := map[uid]string{}
	for _, s := range []string{"", "x", "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002",
		"00000000-0000-4000-8000-00000000000g", "00000000_0000_4000_8000_000000000001"} {
		u := parseUID(s)
		if other, twice := seen[u]; twice {
			t.Errorf("%q and %q are the same", s, other)
		}
		seen[u] = s
		if parseUID(s) != u {
			t.Errorf("%q is not always the same", s)
		}
	}
}

// The standby's token controller deletes a token whose ServiceAccount it does
// not find, so tokens come in the last round; other Secrets at any time.
func TestTokensComeAfterTheirAccounts(t *testing.T) {
	token := newItem("/registry/secrets/prod/token", nil, "secrets", registry.Meta{Type: scope.ServiceAccountToken})
	other := newItem("/registry/secrets/prod/other", nil, "secrets", registry.Meta{Type: "Opaque"})
	account := newItem("/registry/serviceaccounts/prod/agent", nil, "serviceaccounts", registry.Meta{})
	if !token.last || token.loose || other.last || !other.loose || account.last || !account.loose {
		t.Errorf("token %+v\nother %+v\naccount %+v", token, other, account)
	}
}
