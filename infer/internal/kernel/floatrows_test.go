package kernel_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

var floatTypes = []gguf.Type{gguf.F32, gguf.F16, gguf.BF16}

// The products are those of Dot and the row in float32, whatever the bits of the
// weights, subnormal and infinite ones among them.
func TestDotFloatRows(t *testing.T) {
	isatest.ForEachVariant(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 9))
		for _, typ := range floatTypes {
			t.Run(typ.String(), func(t *testing.T) {
				if !kernel.CanDotFloatRows(typ, 64) {
					t.Skipf("this instruction set has no kernel for rows of %s", typ)
				}
				const rows = 3
				for round := range 100 {
					n := 64 * (1 + round%9)
					x, w, products := random(rng, n), make([]float32, rows*n), make([]float32, rows)
					for i := range w {
						w[i] = float32(rng.NormFloat64() * 0x1p-14)
					}
					blocks := make([]byte, typ.RowBytes(rows*int64(n)))
					require.NoError(t, quant.Quantize(typ, blocks, w, n, nil))
					if round%5 == 0 {
						for i := 0; i < len(blocks); i += 2 {
							binary.LittleEndian.PutUint16(blocks[i:], uint16(rng.Uint32()))
						}
					}
					require.NoError(t, quant.Dequantize(typ, w, blocks, n))
					kernel.DotFloatRows(typ, products, blocks, x)
					for r, got := range products {
						want := kernel.Dot(x, w[r*n:][:n])
						if math.IsNaN(float64(want)) {
							require.True(t, math.IsNaN(float64(got)))
							continue
						}
						require.Equal(t, math.Float32bits(want), math.Float32bits(got), "%d elements", n)
					}
				}
			})
		}
	})
}

func TestCanDotFloatRows(t *testing.T) {
	for _, typ := range floatTypes {
		require.False(t, kernel.CanDotFloatRows(typ, 0))
		require.False(t, kernel.CanDotFloatRows(typ, 96))
	}
	require.False(t, kernel.CanDotFloatRows(gguf.Q8_0, 64))
	require.Panics(t, func() { kernel.DotFloatRows(gguf.BF16, make([]float32, 1), make([]byte, 192), make([]float32, 96)) })
}
