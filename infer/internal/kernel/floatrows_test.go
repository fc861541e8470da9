package kernel_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
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
					n := 16 * (1 + round%20)
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

func TestDotEach(t *testing.T) {
	isatest.ForEachVariant(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 9))
		for _, n := range []int{0, 1, 16, 33, 64, 80, 256} {
			for rows := range 4 {
				x, w, got := random(rng, n), random(rng, rows*n), make([]float32, rows)
				kernel.DotEach(got, w, x)
				for r := range got {
					require.Equal(t, kernel.Dot(x, w[r*n:][:n]), got[r], "%d rows of %d elements", rows, n)
				}
			}
		}
	})
}

// The sums are those of AddScaled and each row in float32, also of the first elements of longer rows.
func TestAddFloatRows(t *testing.T) {
	isatest.ForEachVariant(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 9))
		for _, typ := range floatTypes {
			t.Run(typ.String(), func(t *testing.T) {
				if !kernel.CanDotFloatRows(typ, 64) {
					t.Skipf("this instruction set has no kernel for rows of %s", typ)
				}
				for round := range 60 {
					n := 16 * (1 + round%20)
					rows, rowLen := round%5, n+round%3*8
					w, factors := random(rng, rows*rowLen), random(rng, rows)
					blocks := make([]byte, typ.RowBytes(int64(len(w))))
					require.NoError(t, quant.Quantize(typ, blocks, w, max(1, rowLen), nil))
					require.NoError(t, quant.Dequantize(typ, w, blocks, max(1, rowLen)))
					got := random(rng, n)
					want := slices.Clone(got)
					kernel.AddFloatRows(typ, got, blocks, rowLen, factors)
					for r, factor := range factors {
						kernel.AddScaled(want, w[r*rowLen:][:n], factor)
					}
					require.Equal(t, want, got, "%d of %d elements, %d rows", n, rowLen, rows)
				}
			})
		}
	})
}

func TestCanDotFloatRows(t *testing.T) {
	for _, typ := range floatTypes {
		require.False(t, kernel.CanDotFloatRows(typ, 0))
		require.False(t, kernel.CanDotFloatRows(typ, 100))
	}
	require.False(t, kernel.CanDotFloatRows(gguf.Q8_0, 64))
	require.Panics(t, func() { kernel.DotFloatRows(gguf.BF16, make([]float32, 1), make([]byte, 200), make([]float32, 100)) })
	require.Panics(t, func() { kernel.AddFloatRows(gguf.BF16, make([]float32, 8), make([]byte, 16), 8, make([]float32, 1)) })
	require.Panics(t, func() { kernel.AddFloatRows(gguf.F32, make([]float32, 64), make([]byte, 64), 16, make([]float32, 1)) })
}
