package kernel_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestColumnsStayWithinTheirSlices puts every operand against pages that fault.
func TestColumnsStayWithinTheirSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		for _, start := range []bool{false, true} {
			for _, n := range []int{0, 7, 8, 9, 16, 24} {
				const stride = 36
				dst := guarded[byte](t, max(0, (n-1)*stride+18), start)
				d, words := guarded[uint16](t, n, start), guarded[byte](t, 16*n, start)
				require.NotPanics(t, func() { kernel.ColumnsQ40(dst, stride, d, words, n) }, n)
			}
		}
	})
}
