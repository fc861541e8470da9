package kernel_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestSumsStayWithinTheirSlices puts every operand against pages that fault.
func TestSumsStayWithinTheirSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		for _, start := range []bool{false, true} {
			for _, n := range []int{7, 8, 15, 16} {
				for _, size := range []int{16, 48} {
					x, sums := random(t, n*size, start), guarded[float32](t, n, start)
					require.NotPanics(t, func() {
						kernel.SumSquares(sums, x, size)
						kernel.SumMagnitudes(sums, x, size)
					}, "%d rows of %d", n, size)
				}
			}
		}
	})
}
