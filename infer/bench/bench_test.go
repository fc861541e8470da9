package bench_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/bench"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// Every instruction set there is is measured, and the one that was in use is in use again.
func TestQuantizeAndMatmul(t *testing.T) {
	opts := bench.Options{Types: []gguf.Type{gguf.Q8_0}, Computes: []infer.Compute{infer.Int8}, Threads: []int{1}}
	before := isa.Current()
	for op, measure := range map[string]func(context.Context, bench.Options) ([]bench.Result, error){"dequantize": bench.Quantize, "matmul": bench.Matmul} {
		results, err := measure(t.Context(), opts)
		require.NoError(t, err)
		require.Equal(t, before, isa.Current())
		for _, tier := range isa.Available() {
			require.True(t, slices.ContainsFunc(results, func(r bench.Result) bool {
				return r.Op == op && r.ISA == tier.String() && r.Type == "Q8_0" && r.Value > 0
			}), "%s %s", op, tier)
		}
	}
	require.Contains(t, bench.Types(), gguf.Q4_K)
	require.NotContains(t, bench.Types(), gguf.Q8_K, "which has no codec")
}
