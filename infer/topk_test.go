package infer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer"
)

// TestTopKIsTorch has scores of which many are equal: what torch.topk of transformers' version takes of them.
func TestTopKIsTorch(t *testing.T) {
	for _, c := range []struct {
		tokens, seen, k, values int
		want                    []int32
	}{
		{48, 48, 16, 5, []int32{4, 9, 14, 19, 21, 22, 24, 26, 27, 29, 34, 39, 41, 42, 44, 47}},
		{48, 30, 16, 3, []int32{1, 2, 5, 8, 11, 14, 17, 19, 20, 23, 24, 25, 26, 27, 28, 29}},
		{61, 61, 8, 2, []int32{38, 39, 40, 41, 42, 43, 44, 45}},
		{100, 71, 33, 7, []int32{
			1, 2, 4, 5, 8, 9, 11, 12, 15, 19, 22, 23, 26, 29, 30, 32, 33, 36, 37, 39, 40, 43, 44, 46, 47, 50, 51, 53, 54, 57, 61, 64, 68,
		}},
	} {
		scores, got := make([]float32, c.seen), make([]int32, c.k)
		for i := range scores {
			scores[i] = float32((i*i*31+i*17)%c.values - 1)
		}
		infer.TopK(got, scores, c.tokens)
		require.Equal(t, c.want, got)
	}
}

// TestTopK has scores in orders that quickselects may find hard, and some that are no numbers.
func TestTopK(t *testing.T) {
	rng, nan := rand.New(rand.NewPCG(1, 2)), float32(math.NaN())
	for name, score := range map[string]func(i, n int) float32{
		"equal":      func(_, _ int) float32 { return 0 },
		"ascending":  func(i, _ int) float32 { return float32(i) },
		"descending": func(i, _ int) float32 { return float32(-i) },
		"a pipe":     func(i, n int) float32 { return float32(min(i, n-i)) },
		"a saw":      func(i, _ int) float32 { return float32(i % 7) },
		"random":     func(_, _ int) float32 { return rng.Float32() - 0.5 },
		"NaN":        func(i, _ int) float32 { return []float32{nan, 1, float32(math.Inf(-1)), -1}[i%4] },
	} {
		for _, n := range []int{1, 2, 3, 4, 5, 50, 1000} {
			for _, k := range []int{1, n/2 + 1, n} {
				scores, got := make([]float32, n), make([]int32, k)
				for i := range scores {
					scores[i] = score(i, n)
				}
				infer.TopK(got, scores, n+n%3)
				ranks, chosen := make([]float64, n), make([]float64, k)
				for i, s := range scores {
					if ranks[i] = float64(s); math.IsNaN(ranks[i]) {
						ranks[i] = math.Inf(1) // above all numbers
					}
				}
				for i, pos := range got {
					chosen[i] = ranks[pos]
				}
				require.Len(t, slices.Compact(got), k)
				slices.Sort(ranks)
				slices.Sort(chosen)
				require.Equal(t, ranks[n-k:], chosen, name)
			}
		}
	}
}
