package kernel_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// TestSimpleBlocksStayWithinTheirSlices puts every operand against pages that
// fault.
func TestSimpleBlocksStayWithinTheirSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	types := map[string]struct {
		quantize           func(dst []byte, x []float32) int
		blockBytes, values int
	}{
		"Q8_0":  {kernel.QuantizeQ80, 34, 32},
		"Q4_0":  {kernel.QuantizeQ40, 18, 32},
		"Q4_1":  {kernel.QuantizeQ41, 20, 32},
		"Q5_0":  {kernel.QuantizeQ50, 22, 32},
		"Q5_1":  {kernel.QuantizeQ51, 24, 32},
		"MXFP4": {kernel.QuantizeMXFP4, 17, 32},
		"NVFP4": {kernel.QuantizeNVFP4, 36, 64},
		"F16":   {kernel.QuantizeF16, 32, 16},
		"BF16":  {kernel.QuantizeBF16, 32, 16},
		"Q1_0":  {kernel.SignsQ10, 18, 128},
		"Q2_0":  {kernel.QuantizeQ20, 18, 64},
		"TQ1_0": {kernel.QuantizeTQ10, 54, 256},
		"TQ2_0": {kernel.QuantizeTQ20, 66, 256},
	}
	isatest.ForEach(t, func(t *testing.T) {
		for name, typ := range types {
			for _, start := range []bool{false, true} {
				for _, n := range []int{0, 1, 3} {
					x, blocks := random(t, n*typ.values, start), guarded[byte](t, n*typ.blockBytes, start)
					require.NotPanics(t, func() { typ.quantize(blocks, x) }, "%d blocks of %s", n, name)
					clear(x) // of several extremes, a kernel may look for the first
					require.NotPanics(t, func() { typ.quantize(blocks, x) }, "%d blocks of zeros of %s", n, name)
				}
			}
		}
	})
}
