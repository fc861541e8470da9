package allocate

import (
	"errors"
	"math"
	"slices"
)

// ErrTooSmall means that a model does not fit into a budget even with the smallest
// types.
var ErrTooSmall = errors.New("the budget is too small for any types")

// parts is how many parts a budget is counted in.
const parts = 1 << 15

// allocate chooses a type for each group, so that the sum of their costs is least
// of all choices that take no more than budget bytes: the multiple-choice knapsack
// problem, solved by dynamic programming over the budget (Kellerer, Pferschy and
// Pisinger, Knapsack Problems, 2004, section 11.5). Bytes are rounded up to parts
// of what the smallest types leave of the budget. So the choice fits, and it is the best
// of those that leave a part for each group; it is the best of all if there are
// not more bytes than parts.
func allocate(groups []group, budget int64) ([]int, error) {
	smallest := make([]int64, len(groups))
	room := budget
	for i, g := range groups {
		smallest[i] = slices.Min(g.bytes)
		room -= smallest[i]
	}
	if room < 0 {
		return nil, ErrTooSmall
	}
	part := max(1, (room+parts-1)/parts)
	taken := func(i, option int) int64 { return (groups[i].bytes[option] - smallest[i] + part - 1) / part }

	// Of the groups so far, for each number of parts: the least cost, and the
	// option of each group with it.
	least := make([]float64, room/part+1)
	options := make([][]uint8, len(groups))
	for i, g := range groups {
		before := slices.Clone(least)
		options[i] = make([]uint8, len(least))
		for p := range least {
			least[p] = math.Inf(1)
		}
		for o, cost := range g.costs {
			for p := taken(i, o); p < int64(len(least)); p++ {
				if c := before[p-taken(i, o)] + cost; c < least[p] {
					least[p], options[i][p] = c, uint8(o)
				}
			}
		}
	}
	chosen := make([]int, len(groups))
	left := int64(len(least) - 1)
	for i := len(groups) - 1; i >= 0; i-- {
		chosen[i] = int(options[i][left])
		left -= taken(i, chosen[i])
	}
	return chosen, nil
}
