package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

func random(rng *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64())
	}
	return out
}

// checkMul multiplies m x k by (n x k) transposed, adding to a random C with
// rows ldc apart, and demands the documented bound against float64, and that
// nothing around the m x n elements changed.
func checkMul(t require.TestingT, rng *rand.Rand, m, n, k, ldc int) {
	x, w := random(rng, m*k), random(rng, n*k)
	a, b := make([]float32, kernel.PackedLenA(m, k)), make([]float32, kernel.PackedLenB(n, k))
	kernel.PackA(a, x, k, m, k)
	kernel.PackB(b, w, k, n, k)
	before := random(rng, m*ldc+17)
	c := append([]float32(nil), before...)
	kernel.Mul(c, ldc, a, b, m, n, k)
	for i, got := range c {
		if i/ldc >= m || i%ldc >= n {
			require.Equal(t, before[i], got, "%d of %d x %d with rows %d apart is outside and changed", i, m, n, ldc)
			continue
		}
		want, size := float64(before[i]), math.Abs(float64(before[i]))
		for l := range k {
			p := float64(x[i/ldc*k+l]) * float64(w[i%ldc*k+l])
			want += p
			size += math.Abs(p)
		}
		bound := float64(min(k, 256)+k/256+2) * 0x1p-24 * size
		require.InDelta(t, want, got, bound, "element %d, %d of %d x %d, depth %d", i/ldc, i%ldc, m, n, k)
	}
}

func TestMulOfEveryTileRemainder(t *testing.T) {
	isatest.ForEach(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for m := range 2*kernel.TileRows + 2 {
			for _, n := range []int{0, 1, 2, 7, 31, 32, 33, 64, 65} {
				checkMul(t, rng, m, n, (m*7+n)%12, 1+n+m%3)
			}
		}
		for n := range kernel.TileCols + 2 {
			checkMul(t, rng, 13, n, 5, n+1)
		}
	})
}

func TestMulOfEveryBlockRemainder(t *testing.T) {
	isatest.ForEach(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		checkMul(t, rng, 3, 5, 256, 9)
		checkMul(t, rng, 14, 34, 257, 34)
		checkMul(t, rng, 2, 3, 1031, 3)
		checkMul(t, rng, 193, 33, 3, 40)
		checkMul(t, rng, 2*192+1, 2, 2, 2)
	})
}

func TestMulOfAnySize(t *testing.T) {
	isatest.ForEach(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			m, n, k := rapid.IntRange(0, 30).Draw(t, "m"), rapid.IntRange(0, 70).Draw(t, "n"), rapid.IntRange(0, 40).Draw(t, "k")
			rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			checkMul(t, rng, m, n, k, n+rapid.IntRange(1, 5).Draw(t, "gap"))
		})
	})
}

// TestMulCutAnyhow demands that the cut into blocks changes no bit.
func TestMulCutAnyhow(t *testing.T) {
	const m, n, k = 40, 70, 300
	isatest.ForEach(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		a, b := make([]float32, kernel.PackedLenA(m, k)), make([]float32, kernel.PackedLenB(n, k))
		kernel.PackA(a, random(rng, m*k), k, m, k)
		kernel.PackB(b, random(rng, n*k), k, n, k)
		whole, parts := make([]float32, m*n), make([]float32, m*n)
		kernel.Mul(whole, n, a, b, m, n, k)
		for i := 0; i < m; i += kernel.TileRows {
			for j := 0; j < n; j += kernel.TileCols {
				kernel.Mul(parts[i*n+j:], n, a[i*k:], b[j*k:], min(kernel.TileRows, m-i), min(kernel.TileCols, n-j), k)
			}
		}
		require.Equal(t, whole, parts)
	})
}

func TestPackRightTransposed(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for n := range 70 {
		const k, ld = 5, 80
		src := random(rng, k*ld)
		rows := make([]float32, n*k)
		for i := range k {
			for j := range n {
				rows[j*k+i] = src[i*ld+j]
			}
		}
		want, got := make([]float32, kernel.PackedLenB(n, k)), random(rng, kernel.PackedLenB(n, k))
		kernel.PackB(want, rows, k, n, k)
		kernel.PackBTransposed(got, src, ld, n, k)
		require.Equal(t, want, got, "%d columns", n)
	}
}

// BenchmarkMul reports floating-point operations as GFLOP/s of one core.
func BenchmarkMul(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{{512, 2048, 2048}, {512, 256, 256}, {512, 512, 32}} {
		b.Run(fmt.Sprintf("%dx%dx%d", s.m, s.n, s.k), func(b *testing.B) {
			isatest.ForEach(b, func(b *testing.B) {
				left, right := make([]float32, kernel.PackedLenA(s.m, s.k)), make([]float32, kernel.PackedLenB(s.n, s.k))
				c := make([]float32, s.m*s.n)
				for b.Loop() {
					kernel.Mul(c, s.n, left, right, s.m, s.n, s.k)
				}
				b.ReportMetric(2*float64(s.m*s.n*s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		})
	}
}

func BenchmarkPackRight(b *testing.B) {
	const n, k = 64, 4096
	dst, src := make([]float32, kernel.PackedLenB(n, k)), make([]float32, n*k)
	b.SetBytes(4 * n * k)
	for b.Loop() {
		kernel.PackB(dst, src, k, n, k)
	}
}
