package allocate

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// value returns what a choice takes and costs.
func value(parts []part, chosen []int) (bytes int64, cost float64) {
	for i, p := range parts {
		bytes += p.bytes[chosen[i]]
		cost += p.costs[chosen[i]]
	}
	return bytes, cost
}

// bruteForce returns the least cost of all choices within the budget, infinite if
// there are none.
func bruteForce(parts []part, budget int64) float64 {
	if len(parts) == 0 {
		if budget < 0 {
			return math.Inf(1)
		}
		return 0
	}
	least := math.Inf(1)
	for o, bytes := range parts[0].bytes {
		least = min(least, parts[0].costs[o]+bruteForce(parts[1:], budget-bytes))
	}
	return least
}

func TestAllocateFindsTheBest(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		parts := make([]part, rapid.IntRange(1, 5).Draw(r, "parts"))
		for i := range parts {
			for range rapid.IntRange(1, 5).Draw(r, "options") {
				parts[i].bytes = append(parts[i].bytes, rapid.Int64Range(0, 3000).Draw(r, "bytes"))
				// Whole numbers, whose sums are exact in any order.
				parts[i].costs = append(parts[i].costs, float64(rapid.IntRange(0, 1000).Draw(r, "cost")))
			}
		}
		budget := rapid.Int64Range(0, 16000).Draw(r, "budget")
		want := bruteForce(parts, budget)
		chosen, err := allocate(parts, budget)
		if math.IsInf(want, 1) {
			require.ErrorIs(r, err, ErrTooSmall)
			return
		}
		require.NoError(r, err)
		bytes, cost := value(parts, chosen)
		require.LessOrEqual(r, bytes, budget)
		require.Equal(r, want, cost)
	})
}

// TestAllocateRoundsUp has more bytes than units: what is found fits, and is as good as
// the best for a budget that leaves out a unit for each part.
func TestAllocateRoundsUp(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		parts := make([]part, rapid.IntRange(1, 5).Draw(r, "parts"))
		for i := range parts {
			parts[i].bytes, parts[i].costs = []int64{0}, []float64{1000}
			for range rapid.IntRange(1, 4).Draw(r, "options") {
				parts[i].bytes = append(parts[i].bytes, rapid.Int64Range(0, 1<<32).Draw(r, "bytes"))
				parts[i].costs = append(parts[i].costs, float64(rapid.IntRange(0, 1000).Draw(r, "cost")))
			}
		}
		budget := rapid.Int64Range(1<<20, 1<<34).Draw(r, "budget")
		chosen, err := allocate(parts, budget)
		require.NoError(r, err)
		bytes, cost := value(parts, chosen)
		require.LessOrEqual(r, bytes, budget)
		require.LessOrEqual(r, cost, bruteForce(parts, budget-int64(len(parts))*(budget/units(len(parts))+1)))
	})
}
