package kernel_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestIQ4StaysWithinItsSlices puts every operand against pages that fault.
func TestIQ4StaysWithinItsSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		for _, start := range []bool{false, true} {
			for _, n := range []int{1, 7, 8, 15, 16, 17} {
				x, importance := random(t, n*32, start), random(t, n*32, start)
				scales, variances := guarded[float32](t, n, start), guarded[float32](t, n, start)
				const stride = 18
				packed := guarded[byte](t, stride*(n-1)+16, start)
				require.NotPanics(t, func() {
					kernel.FitIQ4(scales, x, nil, nil)
					kernel.FitIQ4(scales, x, importance, variances)
					kernel.PackIQ4(packed, stride, x, scales)
				}, "%d blocks", n)
			}
		}
	})
}
