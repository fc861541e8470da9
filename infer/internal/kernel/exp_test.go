package kernel_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

func TestExpSumOfEveryLength(t *testing.T) {
	isatest.ForEach(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		for n := range 70 {
			const scale = 0.25
			x := random(rng, n+1)
			for i := range x {
				x[i] *= 35
			}
			canary := x[n]
			want, got, sum, top := x[:n:n], append([]float32(nil), x...), 0.0, math.Inf(-1)
			for _, v := range want {
				top = max(top, float64(v))
			}
			total := kernel.ExpSum(got[:n], scale)
			for i, v := range want {
				e := math.Exp(scale * (float64(v) - top))
				sum += e
				// The argument, above -90, is rounded twice.
				require.InEpsilon(t, e, got[i], 0x1p-21+90*0x1p-23, "%d of %d: exp(%v)", i, n, scale*(float64(v)-top))
			}
			require.InDelta(t, sum, total, 1e-5*sum)
			require.Equal(t, canary, got[n], "what follows %d elements changed", n)
		}
	})
}

func TestExpSumOfExtremes(t *testing.T) {
	inf := float32(math.Inf(1))
	isatest.ForEach(t, func(t *testing.T) {
		// 20 elements: a whole vector and a rest on every instruction set.
		x := make([]float32, 20)
		for i := range x {
			x[i] = -inf
		}
		x[3], x[17], x[18], x[19] = 1000, 1000, 900, 1000-87
		require.Equal(t, float32(2), kernel.ExpSum(x, 1))
		require.Equal(t, []float32{0, 1, 0}, []float32{x[0], x[3], x[18]})
		require.InEpsilon(t, math.Exp(-87), x[19], 1e-6)

		x = make([]float32, 20)
		x[18] = float32(math.NaN())
		require.True(t, math.IsNaN(float64(kernel.ExpSum(x, 1))), "a NaN must not vanish")
		x = make([]float32, 20)
		x[2] = float32(math.NaN())
		require.True(t, math.IsNaN(float64(kernel.ExpSum(x, 1))), "a NaN must not vanish")
	})
}

func TestSiLUMulOfEveryLength(t *testing.T) {
	isatest.ForEach(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 2))
		for n := range 70 {
			gate, up := random(rng, n+1), random(rng, n)
			for i := range gate {
				gate[i] *= 10
			}
			got := append([]float32(nil), gate...)
			kernel.SiLUMul(got[:n], up)
			for i := range n {
				x := float64(gate[i])
				require.InEpsilon(t, x/(1+math.Exp(-x))*float64(up[i]), got[i], 0x1p-20, "silu(%v)", x)
			}
			require.Equal(t, gate[n], got[n], "what follows %d elements changed", n)
		}
	})
}

func TestSiLUMulOfExtremes(t *testing.T) {
	isatest.ForEach(t, func(t *testing.T) {
		gate := make([]float32, 20)
		gate[0], gate[1], gate[2], gate[19] = 100, -100, float32(math.NaN()), -3e38
		up := make([]float32, 20)
		for i := range up {
			up[i] = 2
		}
		kernel.SiLUMul(gate, up)
		require.Equal(t, float32(200), gate[0])
		require.InDelta(t, 0, gate[1], 1e-35)
		require.True(t, math.IsNaN(float64(gate[2])))
		require.InDelta(t, 0, gate[3], 0)
		require.InDelta(t, 0, gate[19], 1e-35)
	})
}

func TestGELUMul(t *testing.T) {
	isatest.ForEach(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 1))
		for _, n := range []int{0, 1, 15, 16, 70} {
			gate, up := random(rng, n), random(rng, n)
			for i := range gate {
				gate[i] *= float32(i) // also far from 0
			}
			want := make([]float64, n)
			for i, v := range gate {
				x := float64(v)
				z := math.Sqrt(8/math.Pi) * (x + 0.044715*x*x*x)
				want[i] = x / (1 + math.Exp(-z)) * float64(up[i])
			}
			kernel.GELUMul(gate, up)
			for i, got := range gate {
				require.InDelta(t, want[i], got, 0x1p-18*math.Abs(want[i])+1e-37, "element %d of %d", i, n)
			}
		}
		gate, up := []float32{-1e36, 1e36, 0}, []float32{1, 2, 3}
		kernel.GELUMul(gate, up)
		require.Equal(t, []float32{0, 2e36, 0}, gate)
	})
}
