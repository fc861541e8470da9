package allocate

import (
	"errors"
	"math"
	"slices"
)

// ErrTooSmall means that a model does not fit into a budget even with the smallest
// types.
var ErrTooSmall = errors.New("the budget is too small for any types")

// units is how many units a budget is counted in: as many as a table of them for each part may have,
// and not more than are of any use.
func units(parts int) int64 { return min(1<<17, max(1<<15, int64(1<<26/max(1, parts)))) }

// allocate chooses a type for each part, so that the sum of their costs is least
// of all choices that take no more than budget bytes: the multiple-choice knapsack
// problem, solved by dynamic programming over the budget (Kellerer, Pferschy and
// Pisinger, Knapsack Problems, 2004, section 11.5). Bytes are rounded up to units
// of what the smallest types leave of the budget. So the choice fits, and it is the best
// of those that leave a unit for each part; it is the best of all if there are
// not more bytes than units.
func allocate(parts []part, budget int64) ([]int, error) {
	smallest := make([]int64, len(parts))
	room := budget
	for i, p := range parts {
		smallest[i] = slices.Min(p.bytes)
		room -= smallest[i]
	}
	if room < 0 {
		return nil, ErrTooSmall
	}
	n := units(len(parts))
	unit := max(1, (room+n-1)/n)
	taken := func(i, option int) int64 { return (parts[i].bytes[option] - smallest[i] + unit - 1) / unit }

	// Of the parts so far, for each number of units: the least cost, and the
	// option of each part with it.
	least := make([]float64, room/unit+1)
	options := make([][]uint8, len(parts))
	for i, part := range parts {
		before := slices.Clone(least)
		options[i] = make([]uint8, len(least))
		for u := range least {
			least[u] = math.Inf(1)
		}
		for o, cost := range part.costs {
			takes := taken(i, o)
			for u := takes; u < int64(len(least)); u++ {
				if c := before[u-takes] + cost; c < least[u] {
					least[u], options[i][u] = c, uint8(o)
				}
			}
		}
	}
	chosen := make([]int, len(parts))
	left := int64(len(least) - 1)
	for i := len(parts) - 1; i >= 0; i-- {
		chosen[i] = int(options[i][left])
		left -= taken(i, chosen[i])
	}
	return chosen, nil
}
