package kernel_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

func TestDotAndAddScaled(t *testing.T) {
	isatest.ForEach(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for n := range 300 {
			a, b, dst, want := make([]float32, n), make([]float32, n), make([]float32, n), make([]float64, n)
			factor := float32(rng.NormFloat64())
			var sum, size float64
			for i := range n {
				a[i], b[i], dst[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64()), float32(rng.NormFloat64())
				sum += float64(a[i]) * float64(b[i])
				size += math.Abs(float64(a[i]) * float64(b[i]))
				want[i] = float64(dst[i]) + float64(a[i])*float64(factor)
			}
			require.InDelta(t, sum, kernel.Dot(a, b), (float64(n/64)+7)*0x1p-24*size*1.01, "%d", n)
			kernel.AddScaled(dst, a, factor)
			for i := range n {
				require.InDelta(t, want[i], dst[i], 0x1p-23*(math.Abs(want[i])+math.Abs(float64(a[i]*factor))), "%d of %d", i, n)
			}
		}
	})
}
