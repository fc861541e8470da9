package kernel_test

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// fused returns a*b + c, rounded once.
func fused(a, b, c float32) float32 {
	exact := func() *big.Float { return new(big.Float).SetPrec(600) }
	sum := exact().Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
	v, _ := sum.Add(sum, big.NewFloat(float64(c))).Float32()
	return v
}

// TestFusedBits demands the bits of fused multiplications and additions of every tier.
func TestFusedBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	const m, n, k, block = kernel.TileRows, kernel.TileCols, 259, 256
	x, w := random(rng, m*k), random(rng, n*k)
	a, b, product := make([]float32, kernel.PackedLenA(m, k)), make([]float32, kernel.PackedLenB(n, k)), make([]float32, m*n)
	kernel.PackA(a, x, k, m, k)
	kernel.PackB(b, w, k, n, k)
	for i := range product {
		for first := 0; first < k; first += block {
			var sum float32
			for l := first; l < min(k, first+block); l++ {
				sum = fused(x[i/n*k+l], w[i%n*k+l], sum)
			}
			product[i] += sum
		}
	}

	const lanes, factor = 64, float32(0.3)
	u, v := random(rng, 5*lanes), random(rng, 5*lanes)
	sums, scaled := make([]float32, lanes), make([]float32, len(u))
	for i := range u {
		sums[i%lanes] = fused(u[i], v[i], sums[i%lanes])
		scaled[i] = fused(v[i], factor, u[i])
	}
	for n := lanes / 2; n > 0; n /= 2 {
		for i := range n {
			sums[i] += sums[i+n]
		}
	}

	isatest.ForEach(t, func(t *testing.T) {
		c := make([]float32, m*n)
		kernel.Mul(c, n, a, b, m, n, k)
		require.Equal(t, product, c)
		require.Equal(t, sums[0], kernel.Dot(u, v))
		dst := append([]float32(nil), u...)
		kernel.AddScaled(dst, v, factor)
		require.Equal(t, scaled, dst)
	})
}
