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

// arbitraryRow returns blocks of any bytes but with scales that are finite.
func arbitraryRow(rng *rand.Rand, typ gguf.Type, elements int) []byte {
	row := make([]byte, typ.RowBytes(int64(elements)))
	for i := range row {
		row[i] = byte(rng.Uint32())
	}
	for b := 0; b < len(row); b += typ.BlockBytes() {
		block := row[b:][:typ.BlockBytes()]
		half := uint16(0x1000 + rng.IntN(0x2000) | rng.IntN(2)<<15)
		switch typ {
		case gguf.IQ1_M: // four bits each at the top of four words
			for i := range 4 {
				top := &block[49+2*i]
				*top = *top&15 | byte(half>>(4*i)&15)<<4
			}
		case gguf.MXFP4:
			block[0] = byte(rng.IntN(150))
		default:
			for _, f := range typ.Fields() {
				for i := 0; f.Type == gguf.F16 && i < f.Count; i++ {
					binary.LittleEndian.PutUint16(block[f.Offset+2*i:], half^uint16(rng.IntN(2))<<15)
				}
			}
		}
	}
	return row
}

// rowTypes are those of DotRows.
var rowTypes = []gguf.Type{
	gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0, gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K,
	gguf.IQ1_S, gguf.IQ1_M, gguf.IQ2_XXS, gguf.IQ2_XS, gguf.IQ2_S, gguf.IQ3_XXS, gguf.IQ3_S, gguf.IQ4_NL, gguf.IQ4_XS,
	gguf.TQ1_0, gguf.TQ2_0, gguf.MXFP4,
}

// extremes says where blocks have their integers, and which bytes make the least
// and the greatest of them.
var extremes = map[gguf.Type]struct {
	from, to int
	values   [2]byte
}{
	gguf.Q4_0:   {2, 18, [2]byte{0, 0xff}},
	gguf.IQ4_NL: {2, 18, [2]byte{0, 0xff}},
	gguf.IQ4_XS: {8, 136, [2]byte{0, 0xff}},
	gguf.Q8_0:   {2, 34, [2]byte{0x80, 0x7f}},
	gguf.Q4_K:   {16, 144, [2]byte{0, 0xff}},
	gguf.Q6_K:   {0, 192, [2]byte{0, 0xff}},
	gguf.Q5_K:   {16, 176, [2]byte{0, 0xff}},
	gguf.Q3_K:   {0, 96, [2]byte{0, 0xff}},
	gguf.Q2_K:   {16, 80, [2]byte{0, 0xff}},
	gguf.Q4_1:   {4, 20, [2]byte{0, 0xff}},
	gguf.Q5_0:   {2, 22, [2]byte{0, 0xff}},
	gguf.Q5_1:   {4, 24, [2]byte{0, 0xff}},
	gguf.MXFP4:  {1, 17, [2]byte{0x77, 0xff}},
	gguf.TQ1_0:  {0, 52, [2]byte{0, 0xff}},
	gguf.TQ2_0:  {0, 64, [2]byte{0, 0xff}},
}

func TestDotRows(t *testing.T) {
	isatest.ForEachVariant(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 7))
		for _, typ := range rowTypes {
			t.Run(typ.String(), func(t *testing.T) {
				if !kernel.CanDotRows(typ) {
					t.Skipf("this instruction set has no kernel for rows of %s", typ)
				}
				for round := range 200 {
					n := 256 * (1 + round%9)
					x, w := make([]float32, n), make([]float32, n)
					for i := range x {
						x[i] = float32(rng.NormFloat64())
					}
					const rows = 3
					blocks, products := arbitraryRow(rng, typ, rows*n), make([]float32, rows)
					if round%5 == 0 { // the greatest sums
						for i := range x {
							x[i] = float32(1 - 2*(round%2))
						}
						greatest := extremes[typ] // of types with a grid, points are what the bytes say
						for i := range blocks {
							if at := i % typ.BlockBytes(); greatest.from <= at && at < greatest.to {
								blocks[i] = greatest.values[round/10%2]
							}
						}
					}
					vectors := make([]kernel.Vector8, n/256)
					kernel.QuantizeVector(vectors, x)
					kernel.DotRows(typ, products, blocks, vectors)
					row := round % rows
					require.NoError(t, quant.Dequantize(typ, w, blocks[len(blocks)/rows*row:][:len(blocks)/rows], len(w)))
					var want, size, most float64
					for i, v := range w {
						q := float64(vectors[i/256].Scale) * float64(vectors[i/256].Q[i%256])
						want += float64(v) * q
						most = math.Max(most, math.Abs(float64(v)))
						size += math.Abs(q)
					}
					// A part of a weight is at most twice the largest weight.
					bound := float64(n/32+16) * 0x1p-24 * size * 2 * most
					require.InDelta(t, want, products[row], bound, "%d elements", n)
				}
			})
		}
	})
}

func TestQuantizeVector(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 8))
	for _, scale := range []float64{1, 1e-30, 1e30, 1e-44, 0} {
		x, vectors := make([]float32, 512), make([]kernel.Vector8, 2)
		for i := range x {
			x[i] = float32(scale * rng.NormFloat64())
		}
		kernel.QuantizeVector(vectors, x)
		for i, v := range x {
			b := &vectors[i/256]
			require.LessOrEqual(t, math.Abs(float64(v)-float64(b.Scale)*float64(b.Q[i%256])), 0.501*float64(b.Scale)+1e-42)
		}
		for _, b := range vectors {
			for s, sum := range b.Sums {
				for _, q := range b.Q[16*s:][:16] {
					sum -= int16(q)
				}
				require.Zero(t, sum)
			}
		}
	}
}
