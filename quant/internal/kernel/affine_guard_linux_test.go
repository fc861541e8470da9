package kernel_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestAffineStaysWithinItsSlices puts every operand against pages that fault.
func TestAffineStaysWithinItsSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		for _, start := range []bool{false, true} {
			for _, size := range []int{16, 32} {
				for _, n := range []int{1, 15, 16, 17, 31, 32, 64} {
					x, importance, q := random(t, n*size, start), random(t, n*size, start), guarded[uint8](t, n*size, start)
					scales, minima, sums := guarded[float32](t, n, start), guarded[float32](t, n, start), guarded[float32](t, n, start)
					variances := random(t, n, start)
					work := &guarded[kernel.AffineWork](t, 1, start)[0]
					for _, weighing := range []kernel.Weighing{kernel.ByMagnitude, kernel.ByRMS, kernel.ByImportance} {
						require.NotPanics(t, func() {
							search := kernel.Affine{N: 15, Steps: 3, Absolute: weighing == kernel.ByMagnitude, Weighing: weighing}
							kernel.FitAffines(work, q, x, importance, variances, scales, minima, sums, size, search)
							kernel.RoundAffines(q, x, scales, minima, size, 15)
						}, "%d of %d", n, size)
					}
				}
			}
		}
	})
}

func TestPositiveErrorsStaysWithinItsSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		for _, start := range []bool{false, true} {
			for _, n := range []int{0, 1, 8, 16, 32} {
				x, w := random(t, n, start), random(t, n, start)
				errors, candidates := (*[8]float32)(guarded[float32](t, 8, start)), (*[8]float32)(guarded[float32](t, 8, start))
				require.NotPanics(t, func() { kernel.PositiveErrors(errors, candidates, x, w, 15) }, "%d values", n)
			}
		}
	})
}
