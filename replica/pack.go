package replica

import "github.com/understudy-dr/understudy/sink"

// chain is a run of transactions that must be applied one after the other;
// each is a list of item indices. Different chains may be applied at once.
type chain [][]int

// pack fills transactions with whole trees. A tree that does not fit into one
// transaction becomes a chain of its own.
func pack(items []item, trees [][]int, room sink.Room, emit func(chain) error) error {
	var current []int
	ops, bytes := 0, 0
	flush := func() error {
		if len(current) == 0 {
			return nil
		}
		c := chain{current}
		current, ops, bytes = nil, 0, 0
		return emit(c)
	}
	for _, tree := range trees {
		count, size := 0, 0
		for _, i := range tree {
			count += items[i].operations()
			size += itemCost(items[i])
		}
		if count > room.Ops || size > room.Bytes {
			if err := flush(); err != nil {
				return err
			}
			if err := emit(split(items, tree, room)); err != nil {
				return err
			}
			continue
		}
		if ops+count > room.Ops || bytes+size > room.Bytes {
			if err := flush(); err != nil {
				return err
			}
		}
		current = append(current, tree...)
		ops += count
		bytes += size
	}
	return flush()
}

func split(items []item, tree []int, room sink.Room) chain {
	var c chain
	var current []int
	ops, bytes := 0, 0
	for _, i := range tree {
		count, size := items[i].operations(), itemCost(items[i])
		if len(current) > 0 && (ops+count > room.Ops || bytes+size > room.Bytes) {
			c = append(c, current)
			current, ops, bytes = nil, 0, 0
		}
		current = append(current, i)
		ops += count
		bytes += size
	}
	return append(c, current)
}

func itemCost(it item) int { return sink.CostOf(len(it.key), it.size) }
