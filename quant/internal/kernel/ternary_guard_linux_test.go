package kernel_test

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestTernarySearchesStayWithinTheirArrays puts every operand against pages that
// fault.
func TestTernarySearchesStayWithinTheirArrays(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		vectors := isa.Current() == isa.AVX2 || isa.Current() == isa.AVX512
		for _, start := range []bool{false, true} {
			work := &guarded[kernel.TernaryWork](t, 1, start)[0]
			x, importance, w := random(t, 32, start), positive(t, 32, start), guarded[float32](t, 32, start)
			s := &guarded[kernel.IQ1S](t, 1, start)[0]
			require.NotPanics(t, func() {
				require.Equal(t, vectors, s.Sort((*[32]float32)(w), (*[32]float32)(x), importance, 1, 1e-12, work))
				if vectors {
					s.Add()
					require.True(t, s.LikelyCuts(work))
				}
			})
			x, importance, w = random(t, 16, start), positive(t, 16, start), guarded[float32](t, 16, start)
			m := &guarded[kernel.IQ1M](t, 1, start)[0]
			require.NotPanics(t, func() {
				require.Equal(t, vectors, m.Sort((*[16]float32)(w), (*[16]float32)(x), nil, 0, 1e-7, work))
				require.Equal(t, vectors, m.Sort((*[16]float32)(w), (*[16]float32)(x), importance, 1, 1e-7, work))
				if vectors {
					m.Add()
					require.True(t, m.LikelyCuts(work))
				}
			})
			values := &guarded[[4]float32](t, 1, start)[0]
			points := guarded[uint16](t, 16, start)
			x, w = random(t, 8, start), positive(t, 8, start)
			require.NotPanics(t, func() {
				kernel.NearestTernary(points, (*[8]float32)(x), (*[8]float32)(w), values)
				kernel.FitTernary(guarded[uint16](t, 1, start), guarded[uint8](t, 1, start), &guarded[[16][4]float32](t, 1, start)[0], x, w)
			})
		}
	})
}

func positive(t *testing.T, n int, start bool) []float32 {
	x := random(t, n, start)
	for i, v := range x {
		x[i] = float32(math.Abs(float64(v)))
	}
	return x
}
