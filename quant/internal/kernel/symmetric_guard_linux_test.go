package kernel_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestSymmetricFitsStayWithinTheirSlices puts every operand against pages that
// fault, with numbers of sub-blocks and super-blocks that fill vectors and that
// do not.
func TestSymmetricFitsStayWithinTheirSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		for _, start := range []bool{false, true} {
			floats := func(n int) []float32 { return guarded[float32](t, n, start) }
			for _, n := range []int{1, 8, 15, 16, 64, 67} {
				for _, size := range []int{16, 32} {
					q, x, w := guarded[uint8](t, n*size, start), random(t, n*size, start), random(t, n*size, start)
					require.NotPanics(t, func() {
						kernel.FitSymmetric(q, x, w, floats(n), floats(n), size, 8)
						kernel.FitSymmetric(q, x, nil, floats(n), nil, size, 8)
					}, "%d of %d", n, size)
				}
				q, x := guarded[uint8](t, 16*n, start), random(t, 16*n, start)
				require.NotPanics(t, func() {
					kernel.FitByDescent(q, x, floats(n), 4)
					kernel.FitScales(q, x, floats(n), 32)
					kernel.RoundSubBlocks(q, x, random(t, n, start), 4)
					kernel.WeighValues(floats(16*n), x, x, 1)
					kernel.PackQ6K(guarded[uint8](t, 210*n, start), guarded[uint8](t, 256*n, start))
					kernel.PackQ3K(guarded[uint8](t, 110*n, start), guarded[uint8](t, 256*n, start))
				}, "%d", n)
			}
		}
	})
}
