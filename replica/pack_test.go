package replica

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-dr/understudy/sink"
)

// Transactions respect the room, trees that fit stay whole, the others become
// a chain of their own, and every item is written once, in order.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := sink.Room{Ops: rapid.IntRange(1, 8).Draw(t, "ops"), Bytes: rapid.IntRange(50, 400).Draw(t, "bytes")}
		var items []item
		var trees [][]int
		for range rapid.IntRange(0, 12).Draw(t, "trees") {
			var tree []int
			for range rapid.IntRange(1, 12).Draw(t, "size of tree") {
				tree = append(tree, len(items))
				items = append(items, item{key: fmt.Sprintf("/%d", len(items)), size: rapid.IntRange(0, 200).Draw(t, "size")})
			}
			trees = append(trees, tree)
		}
		cost := func(of []int) (sum int) {
			for _, i := range of {
				sum += itemCost(items[i])
			}
			return sum
		}
		var written []int
		chainOf, txnOf := map[int]int{}, map[int]int{}
		chains, txns := 0, 0
		err := pack(items, trees, room, func(c chain) error {
			chains++
			for _, txn := range c {
				txns++
				if len(txn) == 0 || len(txn) > room.Ops || (len(txn) > 1 && cost(txn) > room.Bytes) {
					t.Fatalf("a transaction of %d operations and %d bytes, room for %+v", len(txn), cost(txn), room)
				}
				for _, i := range txn {
					chainOf[i], txnOf[i] = chains, txns
				}
				written = append(written, txn...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := slices.Concat(trees...); !slices.Equal(written, want) {
			t.Fatalf("written %v, want %v", written, want)
		}
		for _, tree := range trees {
			for _, i := range tree {
				if chainOf[i] != chainOf[tree[0]] {
					t.Fatalf("tree %v is spread over chains, which may be applied at once", tree)
				}
				if len(tree) <= room.Ops && cost(tree) <= room.Bytes && txnOf[i] != txnOf[tree[0]] {
					t.Fatalf("tree %v fits into one transaction and was split", tree)
				}
			}
		}
	})
}

func TestPackEndsAtFirstError(t *testing.T) {
	items := []item{{key: "a"}, {key: "b"}, {key: "c"}}
	want, calls := errors.New("no"), 0
	err := pack(items, [][]int{{0}, {1}, {2}}, sink.Room{Ops: 1, Bytes: 100}, func(chain) error { calls++; return want })
	if !errors.Is(err, want) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
