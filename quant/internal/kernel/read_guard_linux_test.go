package kernel_test

import (
	"bytes"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// pointsOf is the sizes of the grids.
var pointsOf = map[gguf.Type]int{
	gguf.IQ1_S: 2048 * 8, gguf.IQ1_M: 2048 * 8,
	gguf.IQ2_XXS: 256 * 8, gguf.IQ2_XS: 512 * 8, gguf.IQ2_S: 1024 * 8,
	gguf.IQ3_XXS: 256 * 4, gguf.IQ3_S: 512 * 4,
}

// TestDequantizeStaysWithinItsSlices puts every operand against pages that
// fault, with indices of the first and of the last points. It requires that a
// kernel reads all blocks where there is one.
func TestDequantizeStaysWithinItsSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEach(t, func(t *testing.T) {
		for typ := range gguf.Types() {
			if !quant.CanDequantize(typ) {
				continue
			}
			for _, start := range []bool{false, true} {
				points := guarded[uint8](t, pointsOf[typ], start)
				for n := range 40 {
					blocks, x := guarded[byte](t, n*typ.BlockBytes(), start), guarded[float32](t, n*typ.BlockSize(), start)
					for _, value := range []byte{0, 0xff} {
						copy(blocks, bytes.Repeat([]byte{value}, len(blocks)))
						for block := blocks; len(block) > 0; block = block[typ.BlockBytes():] {
							copy(block[:typ.BlockBytes()], []byte{0, 0x3c, 0, 0x3c}) // scales are not NaN
						}
						want := 0
						switch isa.Current() {
						case isa.AVX2, isa.AVX512:
							want = len(x)
							if typ.BlockSize() == 1 {
								want = len(x) / 16 * 16
							}
						case isa.NEON:
							switch typ {
							case gguf.F32, gguf.Q1_0, gguf.Q2_0, gguf.TQ1_0, gguf.TQ2_0, gguf.NVFP4:
							case gguf.F16, gguf.BF16:
								want = len(x) / 16 * 16
							default:
								want = len(x)
							}
						}
						require.NotPanics(t, func() {
							require.Equal(t, want, kernel.Dequantize(typ, x, blocks, points), "%d blocks of %s", n, typ)
						}, "%d blocks of %s", n, typ)
					}
				}
			}
		}
	})
}

func TestDequantizeNeedsRoom(t *testing.T) {
	isatest.ForEach(t, func(t *testing.T) {
		if isa.Current() == isa.Generic {
			t.Skip("no kernels")
		}
		blocks, x := make([]byte, gguf.IQ2_S.BlockBytes()), make([]float32, gguf.IQ2_S.BlockSize())
		points := make([]uint8, pointsOf[gguf.IQ2_S])
		require.Panics(t, func() { kernel.Dequantize(gguf.IQ2_S, x[:0:len(x)-1], blocks, points) })
		require.Panics(t, func() { kernel.Dequantize(gguf.IQ2_S, x, blocks, points[1:]) })
		require.Equal(t, len(x), kernel.Dequantize(gguf.IQ2_S, x, blocks, points))
	})
}
