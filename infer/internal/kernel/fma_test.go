package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFMARoundsOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	exact := func() *big.Float { return new(big.Float).SetPrec(600) }
	ties := 0
	for i := range 100_000 {
		// The product is beside half a unit of z, by less than float64 has room for.
		off := float32(1+rng.IntN(200)) * 0x1p-23
		x, y, z := 1+off, (1-off)*0x1p-24, 1+float32(rng.IntN(1<<23))*0x1p-23
		if i%2 == 0 {
			x = -x
		}
		if i%3 == 0 { // or anywhere
			y, z = rng.Float32(), rng.Float32()
		}
		sum := exact().Mul(big.NewFloat(float64(x)), big.NewFloat(float64(y)))
		want, _ := sum.Add(sum, big.NewFloat(float64(z))).Float32()
		require.Equal(t, want, fma(x, y, z), "%v * %v + %v", x, y, z)
		if float32(float64(x)*float64(y)+float64(z)) != want {
			ties++
		}
	}
	require.Positive(t, ties, "rounding twice would have been wrong")
	require.True(t, math.IsNaN(float64(fma(float32(math.Inf(1)), 1, float32(math.Inf(-1))))))
}
