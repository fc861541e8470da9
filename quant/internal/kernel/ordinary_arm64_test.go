//go:build !purego

package kernel_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// TestKernelsTakeOrdinaryValues requires that nothing is left to the generic Go,
// where it would not be missed.
func TestKernelsTakeOrdinaryValues(t *testing.T) {
	const n = 67 // sub-blocks, the last of which do not fill vectors
	rng := rand.New(rand.NewPCG(6, 6))
	values := func(n int, value func() float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(value())
		}
		return x
	}
	x := values(n*32, rng.NormFloat64)
	copy(x[3*32:], make([]float32, 32)) // a sub-block of zeros
	w, variances := values(n*32, rng.Float64), values(n, rng.Float64)
	q, dst := make([]uint8, n*32), make([]byte, 4*n*32)
	scales, minima, sums := make([]float32, n), make([]float32, n), make([]float32, n)
	var work kernel.AffineWork
	for _, size := range []int{16, 32} {
		x, w, q := x[:n*size], w[:n*size], q[:n*size]
		require.Equal(t, n, kernel.FitSymmetric(q, x, nil, scales, nil, size, 32))
		require.Equal(t, n, kernel.FitSymmetric(q, x, w, scales, sums, size, 4))
		for _, weighing := range []kernel.Weighing{kernel.ByMagnitude, kernel.ByRMS, kernel.ByImportance} {
			search := kernel.Affine{N: 15, First: -1, Step: 0.1, Steps: 20, Weighing: weighing}
			require.Equal(t, n, kernel.FitAffines(&work, q, x, w, variances, scales, minima, sums, size, search))
		}
		require.True(t, kernel.RoundAffines(q, x, scales, minima, size, 15))
	}
	require.Equal(t, n, kernel.FitByDescent(q, x[:16*n], scales, 4))
	require.True(t, kernel.RoundSubBlocks(q, x[:16*n], scales, 32))
	require.Equal(t, n*32, kernel.WeighValues(w, x, w, 1))
	require.Equal(t, n/8, kernel.SumSuperBlocks(sums[:n/8], x))
	require.Equal(t, 4, kernel.SumSquares(sums, x, 32))
	require.Equal(t, 4, kernel.SumMagnitudes(sums, x, 32))
	var errors, candidates [8]float32
	require.True(t, kernel.PositiveErrors(&errors, &candidates, x[:16], w, 15))
	require.Equal(t, n, kernel.FitIQ4(scales, x, nil, nil))
	require.Equal(t, n, kernel.FitIQ4(scales, x, w, variances))
	require.Equal(t, n, kernel.PackIQ4(dst, 16, x, scales))
	for name, quantize := range map[string]func(dst []byte, x []float32) int{
		"Q4_0": kernel.QuantizeQ40, "Q5_0": kernel.QuantizeQ50, "Q8_0": kernel.QuantizeQ80,
	} {
		require.Equal(t, n, quantize(dst, x), name)
	}
	require.Equal(t, 2*n, kernel.QuantizeF16(dst, x))
	require.Equal(t, 2*n, kernel.QuantizeBF16(dst, x))
	// The sign of a minimum of 0 is for the generic Go.
	require.Equal(t, 3, kernel.QuantizeQ41(dst, x))
	require.Equal(t, n-4, kernel.QuantizeQ51(dst, x[4*32:]))
}
