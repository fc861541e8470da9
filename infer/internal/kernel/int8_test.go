package kernel_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// quantized returns what the documentation says that a row is quantized to.
func quantized(row []float32) (q []int, scales []float32) {
	for first := 0; first < len(row); first += kernel.Int8Block {
		block := row[first:min(len(row), first+kernel.Int8Block)]
		top := float32(0)
		for _, v := range block {
			if v != v {
				top = v
				break
			}
			top = max(top, float32(math.Abs(float64(v))))
		}
		scale, factor := top/127, 127/top
		if top < 0x1p-100 {
			scale, factor = 0, 0
		}
		scales = append(scales, scale)
		for _, v := range block {
			r := math.RoundToEven(float64(float32(v * factor)))
			if r != r {
				r = -128
			}
			q = append(q, int(r))
		}
	}
	return q, scales
}

// wantInt8 adds the product of x, m x k, and w, n x k, to c as MulInt8 is
// documented to.
func wantInt8(c []float32, ldc int, x, w []float32, m, n, k int) {
	for i := range m {
		a, aScales := quantized(x[i*k:][:k])
		for j := range n {
			b, bScales := quantized(w[j*k:][:k])
			for block, scale := range aScales {
				sum := 0
				for l := block * kernel.Int8Block; l < min(k, (block+1)*kernel.Int8Block); l++ {
					sum += a[l] * b[l]
				}
				c[i*ldc+j] += float32(float32(float32(sum)*bScales[block]) * scale)
			}
		}
	}
}

// mulInt8 adds the product to c, all of it or, if cut is set, in pieces of one
// tile.
func mulInt8(c []float32, ldc int, x, w []float32, m, n, k int, cut bool) {
	var a kernel.PackedInt8A
	var b kernel.PackedInt8B
	a.Reset(m, k)
	b.Reset(n, k)
	for i := range m {
		a.Put(i, x[i*k:][:k])
	}
	for j := range n {
		b.Put(j, w[j*k:][:k])
	}
	if !cut {
		kernel.MulInt8(c, ldc, &a, 0, m, &b, 0, n)
		return
	}
	for i := 0; i < m; i += kernel.TileRows {
		for j := 0; j < n; j += kernel.TileCols {
			kernel.MulInt8(c[i*ldc+j:], ldc, &a, i, min(kernel.TileRows, m-i), &b, j, min(kernel.TileCols, n-j))
		}
	}
}

// sameBits demands equal bits, or NaN in both.
func sameBits(t require.TestingT, want, got []float32, format string, args ...any) {
	require.Equal(t, len(want), len(got))
	for i, v := range want {
		if math.Float32bits(v) != math.Float32bits(got[i]) && (v == v || got[i] == got[i]) {
			require.Equal(t, v, got[i], fmt.Sprintf("element %d: ", i)+fmt.Sprintf(format, args...))
		}
	}
}

func TestMulInt8OfEveryRemainder(t *testing.T) {
	isatest.ForEachVariant(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		check := func(m, n, k int) {
			x, w := random(rng, m*k), random(rng, n*k)
			ldc := n + rng.IntN(3)
			before := random(rng, m*ldc+17)
			want, whole, parts := append([]float32(nil), before...), append([]float32(nil), before...), append([]float32(nil), before...)
			wantInt8(want, ldc, x, w, m, n, k)
			mulInt8(whole, ldc, x, w, m, n, k, false)
			mulInt8(parts, ldc, x, w, m, n, k, true)
			sameBits(t, want, whole, "%d x %d, depth %d", m, n, k)
			sameBits(t, want, parts, "%d x %d, depth %d, cut", m, n, k)
		}
		for m := range 2*kernel.TileRows + 2 {
			check(m, 33, 1+m%12)
			check(m, 64, 31)
		}
		for n := range 2*kernel.TileCols + 2 {
			check(13, n, 1+n%12)
		}
		for _, k := range []int{1, 2, 3, 4, 5, 255, 256, 257, 260, 511, 512, 513, 770} {
			check(25, 33, k)
		}
	})
}

// TestMulInt8OfExtremes has the largest sums there are, and values that are
// not numbers.
func TestMulInt8OfExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	isatest.ForEachVariant(t, func(t *testing.T) {
		const m, n, k = kernel.TileRows, kernel.TileCols, 2 * kernel.Int8Block
		fill := func(rows int, v float32) []float32 {
			out := make([]float32, rows*k)
			for i := range out {
				out[i] = v
			}
			return out
		}
		for _, values := range [][2]float32{{1, 1}, {1, -1}, {-1, -1}, {inf, 1}, {1, nan}, {nan, nan}, {0, 1}, {0, inf}, {0x1p-101, 1}, {0x1p-149, 1},
			{3e38, 3e-38}} {
			x, w := fill(m, values[0]), fill(n, values[1])
			x[5], w[7] = 0, 0
			want, got := make([]float32, m*n), make([]float32, m*n)
			wantInt8(want, n, x, w, m, n, k)
			mulInt8(got, n, x, w, m, n, k, false)
			sameBits(t, want, got, "%v times %v", values[0], values[1])
		}
	})
}

// FuzzMulInt8 compares with the definition for any bits in the rows.
func FuzzMulInt8(f *testing.F) {
	f.Add([]byte{0, 0, 128, 63}, uint8(3), uint16(300))
	f.Add([]byte{0, 0, 192, 127, 1, 0, 0, 0, 255, 255, 127, 127, 0, 0, 128, 255}, uint8(14), uint16(9))
	f.Fuzz(func(t *testing.T, data []byte, rows uint8, depth uint16) {
		m, n, k := 1+int(rows)%30, 1+int(rows)%70, 1+int(depth)%600
		fill := func(rows, from int) []float32 {
			out := make([]float32, rows*k)
			for i := range out {
				if len(data) >= 4 {
					at := (from + 4*i) % (len(data) - 3)
					out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[at:]))
				}
			}
			return out
		}
		x, w := fill(m, 0), fill(n, 2)
		want := make([]float32, m*n)
		wantInt8(want, n, x, w, m, n, k)
		isatest.ForEachVariant(t, func(t *testing.T) {
			got := make([]float32, m*n)
			mulInt8(got, n, x, w, m, n, k, false)
			sameBits(t, want, got, "%d x %d, depth %d", m, n, k)
		})
	})
}

// BenchmarkMulInt8 reports multiplications and additions as Gop/s of one core.
func BenchmarkMulInt8(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{{96, 5632, 2048}, {512, 2048, 2048}, {96, 2048, 5632}} {
		b.Run(fmt.Sprintf("%dx%dx%d", s.m, s.n, s.k), func(b *testing.B) {
			isatest.ForEachVariant(b, func(b *testing.B) {
				var left kernel.PackedInt8A
				var right kernel.PackedInt8B
				left.Reset(s.m, s.k)
				right.Reset(s.n, s.k)
				rng := rand.New(rand.NewPCG(1, 1))
				for i := range s.m {
					left.Put(i, random(rng, s.k))
				}
				for i := range s.n {
					right.Put(i, random(rng, s.k))
				}
				c := make([]float32, s.m*s.n)
				for b.Loop() {
					kernel.MulInt8(c, s.n, &left, 0, s.m, &right, 0, s.n)
				}
				b.ReportMetric(2*float64(s.m*s.n*s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gop/s")
			})
		})
	}
}

func BenchmarkPutInt8(b *testing.B) {
	const k = 2048
	src := random(rand.New(rand.NewPCG(1, 1)), k)
	isatest.ForEachVariant(b, func(b *testing.B) {
		var right kernel.PackedInt8B
		right.Reset(kernel.TileCols, k)
		b.SetBytes(4 * k)
		row := 0
		for b.Loop() {
			right.Put(row%kernel.TileCols, src)
			row++
		}
	})
}
