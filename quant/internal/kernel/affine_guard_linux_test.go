package kernel_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestFitAffineStaysWithinItsSlices puts every operand against pages that
// fault.
func TestFitAffineStaysWithinItsSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		for _, start := range []bool{false, true} {
			for _, size := range []int{16, 32} {
				for _, n := range []int{7, 8, 15, 16} {
					x, w, q := random(t, n*size, start), random(t, n*size, start), guarded[uint8](t, n*size, start)
					scales, minima := guarded[float32](t, n, start), guarded[float32](t, n, start)
					for _, absolute := range []bool{false, true} {
						require.NotPanics(t, func() {
							kernel.FitAffine(q, x, w, scales, minima, size, kernel.Affine{N: 15, Steps: 3, Absolute: absolute})
						}, "%d of %d", n, size)
					}
				}
			}
		}
	})
}
