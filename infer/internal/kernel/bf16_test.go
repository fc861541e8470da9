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

// mulBF16 adds the product of x, m x k, rounded, and w, n x k, in the bytes of
// bfloat16, to c.
func mulBF16(c []float32, ldc int, x []float32, w []byte, m, n, k int) {
	pairs := kernel.Pairs(k)
	rows := make([]kernel.Pair, max(m, n)*pairs)
	a, b := make([]kernel.Pair, kernel.PackedLenA(m, pairs)), make([]kernel.Pair, kernel.PackedLenB(n, pairs))
	for i := range m {
		kernel.RoundPairs(rows[i*pairs:], x[i*k:][:k])
	}
	kernel.PackA(a, rows, pairs, m, pairs)
	for j := range n {
		kernel.ReadPairs(rows[j*pairs:], w[2*j*k:][:2*k])
	}
	kernel.PackB(b, rows, pairs, n, pairs)
	kernel.Mul(c, ldc, a, b, m, n, pairs)
}

// bfloat returns random bfloat16, as values and as bytes.
func bfloat(rng *rand.Rand, n int) (values []float32, data []byte) {
	values = random(rng, n)
	for i, v := range values {
		bits := math.Float32bits(v) >> 16
		values[i] = math.Float32frombits(bits << 16)
		data = binary.LittleEndian.AppendUint16(data, uint16(bits))
	}
	return values, data
}

func TestMulBF16OfEveryRemainder(t *testing.T) {
	isatest.ForEachVariant(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		check := func(m, n, k int) {
			// Activations that are bfloat16 already are not rounded.
			x, _ := bfloat(rng, m*k)
			w, data := bfloat(rng, n*k)
			ldc := n + rng.IntN(3)
			before := random(rng, m*ldc+17)
			c := append([]float32(nil), before...)
			mulBF16(c, ldc, x, data, m, n, k)
			for i, got := range c {
				if i/max(ldc, 1) >= m || i%ldc >= n {
					require.Equal(t, before[i], got, "%d is outside of %d x %d", i, m, n)
					continue
				}
				want, size := float64(before[i]), math.Abs(float64(before[i]))
				for l := range k {
					p := float64(x[i/ldc*k+l]) * float64(w[i%ldc*k+l])
					want += p
					size += math.Abs(p)
				}
				require.InDelta(t, want, got, float64(min(k, 512)+k/512+2)*0x1p-24*size, "element %d, %d of %d x %d, depth %d", i/ldc, i%ldc, m, n, k)
			}
		}
		for m := range 2*kernel.TileRows + 2 {
			check(m, 33, 1+m%12)
		}
		for n := range 2*kernel.TileCols + 2 {
			check(13, n, 1+n%12)
		}
		for _, k := range []int{1, 2, 3, 8, 9, 511, 512, 513, 1030} {
			check(25, 33, k)
		}
	})
}

func TestRoundPairs(t *testing.T) {
	inf := float32(math.Inf(1))
	values := []float32{
		0, 1, -1, 1 + 0x1p-8, 1 + 0x1p-8 + 0x1p-23, 1 + 3*0x1p-8, -1 - 0x1p-8, inf, -inf,
		float32(math.NaN()), math.Float32frombits(0x7f800001), math.Float32frombits(0xff800001), math.MaxFloat32, 0x1p-149, 0x1p-130,
	}
	want := []uint32{
		0, 0x3f80, 0xbf80, 0x3f80, 0x3f81, 0x3f82, 0xbf80, 0x7f80, 0xff80,
		0x7fc0, 0x7fc0, 0xffc0, 0x7f80, 0, 0x0008,
	}
	isatest.ForEachVariant(t, func(t *testing.T) {
		for n := range 50 {
			src := make([]float32, n)
			for i := range src {
				src[i] = values[i%len(values)]
			}
			dst := make([]kernel.Pair, kernel.Pairs(n)+1)
			dst[len(dst)-1] = 77
			kernel.RoundPairs(dst, src)
			for i := range src {
				require.Equal(t, want[i%len(want)], uint32(dst[i/2])>>(16*(i%2))&0xffff, "%v", src[i])
			}
			if n%2 == 1 {
				require.Zero(t, dst[n/2]>>16)
			}
			require.Equal(t, kernel.Pair(77), dst[len(dst)-1])
		}
	})
}

// FuzzMulBF16 compares with float64 for any bits in the rows.
func FuzzMulBF16(f *testing.F) {
	f.Add([]byte{128, 63, 0, 64}, uint8(3), uint16(300))
	f.Add([]byte{192, 127, 1, 0, 127, 127, 128, 255, 128, 0}, uint8(14), uint16(9))
	f.Fuzz(func(t *testing.T, data []byte, rows uint8, depth uint16) {
		m, n, k := 1+int(rows)%14, 1+int(rows)%35, 1+int(depth)%600
		fill := func(rows, from int) (values []float32, raw []byte) {
			for i := range rows * k {
				var b [2]byte
				if len(data) >= 2 {
					copy(b[:], data[(from+2*i)%(len(data)-1):])
				}
				raw = append(raw, b[:]...)
				values = append(values, math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[:]))<<16))
			}
			return values, raw
		}
		x, _ := fill(m, 0)
		w, raw := fill(n, 1)
		isatest.ForEachVariant(t, func(t *testing.T) {
			c := make([]float32, m*n)
			mulBF16(c, n, x, raw, m, n, k)
			for i, got := range c {
				want, size := 0.0, 0.0
				for l := range k {
					p := float64(x[i/n*k+l]) * float64(w[i%n*k+l])
					want += p
					size += math.Abs(p)
				}
				switch {
				case math.IsNaN(size) || math.IsInf(size, 0):
					require.True(t, math.IsNaN(float64(got)) || math.IsInf(float64(got), 0), "%v, not a number", got)
				case size < math.MaxFloat32: // otherwise a sum may overflow
					// An element that is not normal counts as 0, and so does such a sum.
					const lost = 0x1p-126
					var other float64
					for l := range k {
						other += math.Abs(float64(x[i/n*k+l])) + math.Abs(float64(w[i%n*k+l])) + 1
					}
					require.InDelta(t, want, got, float64(k+2)*0x1p-24*size+lost*other)
				}
			}
		})
	})
}

// FuzzRoundPairs compares the instruction sets with each other.
func FuzzRoundPairs(f *testing.F) {
	f.Add([]byte{0, 0, 128, 63, 1, 0, 128, 127})
	f.Fuzz(func(t *testing.T, data []byte) {
		src := make([]float32, len(data))
		for i := range src {
			var bits [4]byte
			copy(bits[:], data[i:])
			src[i] = math.Float32frombits(binary.LittleEndian.Uint32(bits[:]))
		}
		var want []kernel.Pair
		isatest.ForEachVariant(t, func(t *testing.T) {
			got := make([]kernel.Pair, kernel.Pairs(len(src)))
			kernel.RoundPairs(got, src)
			if want == nil {
				want = got
			}
			require.Equal(t, want, got)
		})
	})
}

// BenchmarkMulBF16 reports floating-point operations as GFLOP/s of one core.
func BenchmarkMulBF16(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{{512, 2048, 2048}, {96, 256, 2048}} {
		b.Run(fmt.Sprintf("%dx%dx%d", s.m, s.n, s.k), func(b *testing.B) {
			isatest.ForEachVariant(b, func(b *testing.B) {
				pairs := kernel.Pairs(s.k)
				left, right := make([]kernel.Pair, kernel.PackedLenA(s.m, pairs)), make([]kernel.Pair, kernel.PackedLenB(s.n, pairs))
				c := make([]float32, s.m*s.n)
				for b.Loop() {
					kernel.Mul(c, s.n, left, right, s.m, s.n, pairs)
				}
				b.ReportMetric(2*float64(s.m*s.n*s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		})
	}
}
