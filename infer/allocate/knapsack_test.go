package allocate

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
)

// value returns what a choice takes and costs.
func value(groups []group, chosen []int) (bytes int64, cost float64) {
	for i, g := range groups {
		bytes += g.bytes[chosen[i]]
		cost += g.costs[chosen[i]]
	}
	return bytes, cost
}

// bruteForce returns the least cost of all choices within the budget, infinite if
// there are none.
func bruteForce(groups []group, budget int64) float64 {
	if len(groups) == 0 {
		if budget < 0 {
			return math.Inf(1)
		}
		return 0
	}
	least := math.Inf(1)
	for o, bytes := range groups[0].bytes {
		least = min(least, groups[0].costs[o]+bruteForce(groups[1:], budget-bytes))
	}
	return least
}

func TestAllocateFindsTheBest(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		groups := make([]group, rapid.IntRange(1, 5).Draw(r, "groups"))
		for i := range groups {
			for range rapid.IntRange(1, 5).Draw(r, "options") {
				groups[i].bytes = append(groups[i].bytes, rapid.Int64Range(0, 3000).Draw(r, "bytes"))
				// Whole numbers, whose sums are exact in any order.
				groups[i].costs = append(groups[i].costs, float64(rapid.IntRange(0, 1000).Draw(r, "cost")))
			}
		}
		budget := rapid.Int64Range(0, 16000).Draw(r, "budget")
		want := bruteForce(groups, budget)
		chosen, err := allocate(groups, budget)
		if math.IsInf(want, 1) {
			require.ErrorIs(r, err, ErrTooSmall)
			return
		}
		require.NoError(r, err)
		bytes, cost := value(groups, chosen)
		require.LessOrEqual(r, bytes, budget)
		require.Equal(r, want, cost)
	})
}

// TestAllocateRoundsUp has more bytes than parts: what is found fits, and is as good as
// the best for a budget that leaves out a part for each group.
func TestAllocateRoundsUp(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		groups := make([]group, rapid.IntRange(1, 5).Draw(r, "groups"))
		for i := range groups {
			groups[i].bytes, groups[i].costs = []int64{0}, []float64{1000}
			for range rapid.IntRange(1, 4).Draw(r, "options") {
				groups[i].bytes = append(groups[i].bytes, rapid.Int64Range(0, 1<<32).Draw(r, "bytes"))
				groups[i].costs = append(groups[i].costs, float64(rapid.IntRange(0, 1000).Draw(r, "cost")))
			}
		}
		budget := rapid.Int64Range(1<<20, 1<<34).Draw(r, "budget")
		chosen, err := allocate(groups, budget)
		require.NoError(r, err)
		bytes, cost := value(groups, chosen)
		require.LessOrEqual(r, bytes, budget)
		require.LessOrEqual(r, cost, bruteForce(groups, budget-int64(len(groups))*(budget/parts+1)))
	})
}

func TestGroupBytesArePadded(t *testing.T) {
	g := group{tensors: []int{0, 1}, types: []gguf.Type{gguf.F16, gguf.Q4_1}}
	g.measure([]gguf.TensorInfo{{Shape: []int64{32, 3}}, {Shape: []int64{32}}}, 32)
	require.Equal(t, []int64{192 + 64, 64 + 32}, g.bytes)
}
