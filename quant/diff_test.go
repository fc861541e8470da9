package quant_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// one returns the difference of two models of one tensor each.
func oneDiff(t *testing.T, a, b gguf.Source) quant.TensorDiff {
	t.Helper()
	diffs, err := quant.Diff(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Len(t, diffs, 1)
	return diffs[0]
}

func TestDiffValues(t *testing.T) {
	const rowLen, rows = 1000, 700 // several chunks
	rng := rand.New(rand.NewPCG(1, 2))
	a := newFloats(rowLen, rows, func(int) float32 { return float32(rng.NormFloat64()) })
	b := newFloats(rowLen, rows, func(i int) float32 {
		if i < rowLen*rows/2 { // half of the chunks are the same bytes
			return a.data[0][i]
		}
		return a.data[0][i] + float32(rng.NormFloat64())/10
	})
	var squares, aa, bb, dot, largest float64
	for i, x := range a.data[0] {
		x, y := float64(x), float64(b.data[0][i])
		squares += (x - y) * (x - y)
		aa += x * x
		bb += y * y
		dot += x * y
		largest = max(largest, math.Abs(x-y))
	}
	d := oneDiff(t, a, b)
	require.Equal(t, quant.DiffBytes, d.Status)
	require.InEpsilon(t, squares/aa, d.Values.NMSE, 1e-12)
	require.InEpsilon(t, dot/math.Sqrt(aa*bb), d.Values.Cosine, 1e-12)
	require.InEpsilon(t, math.Sqrt(squares/rowLen/rows), d.Values.RMSE, 1e-12)
	require.InDelta(t, largest, d.Values.Max, 0)
	require.EqualValues(t, rowLen*rows, d.Values.Compared)

	d = oneDiff(t, a, a)
	require.Equal(t, quant.DiffSame, d.Status)
	require.Nil(t, d.Values)
}

// What is not a number, or zero, is counted and left out, and nothing is made of it.
func TestDiffOfWhatIsNoNumber(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	row := func(values ...float32) gguf.Source {
		return newFloats(int64(len(values)), 1, func(i int) float32 { return values[i] })
	}
	for name, c := range map[string]struct {
		a, b gguf.Source
		want quant.ValueDiff
	}{
		"NaN in one":      {row(3, 4, 5), row(3, nan, 4), quant.ValueDiff{NMSE: 1. / 34, Cosine: 29 / math.Sqrt(34*25), RMSE: math.Sqrt(0.5), Max: 1, NonFiniteB: 1, Compared: 2}},
		"infinite in two": {row(inf, 4, -inf), row(inf, 4, inf), quant.ValueDiff{Cosine: 1, NonFiniteA: 2, NonFiniteB: 2, Compared: 1}},
		"only NaN":        {row(nan, nan), row(1, 2), quant.ValueDiff{Cosine: math.NaN(), NonFiniteA: 2}},
		"A is zeros":      {row(0, 0), row(0, 2), quant.ValueDiff{NMSE: math.Inf(1), Cosine: math.NaN(), RMSE: math.Sqrt(2), Max: 2, Compared: 2}},
		"B is zeros":      {row(1, 2), row(0, 0), quant.ValueDiff{NMSE: 1, Cosine: math.NaN(), RMSE: math.Sqrt(2.5), Max: 2, Compared: 2}},
		"zeros with signs": {row(0, float32(math.Copysign(0, -1))), row(0, 0),
			quant.ValueDiff{Cosine: math.NaN(), Compared: 2}},
		"the largest": {row(math.MaxFloat32, 0), row(-math.MaxFloat32, 0), quant.ValueDiff{NMSE: 4, Cosine: -1, RMSE: math.Sqrt2 * math.MaxFloat32, Max: 2 * math.MaxFloat32, Compared: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			d := oneDiff(t, c.a, c.b)
			require.Equal(t, quant.DiffBytes, d.Status)
			got := *d.Values
			for _, pair := range [][2]*float64{{&c.want.NMSE, &got.NMSE}, {&c.want.Cosine, &got.Cosine}, {&c.want.RMSE, &got.RMSE}, {&c.want.Max, &got.Max}} {
				want := *pair[0]
				if math.IsNaN(want) || math.IsInf(want, 0) || want == 0 {
					require.Equal(t, math.IsNaN(want), math.IsNaN(*pair[1]))
					if math.IsNaN(want) {
						*pair[0], *pair[1] = 0, 0
					}
					continue
				}
				require.InEpsilon(t, want, *pair[1], 1e-12)
				*pair[1] = want
			}
			require.Equal(t, c.want, got)
		})
	}
}

// The worst comes first, and what cannot be compared is said.
func TestDiffOrder(t *testing.T) {
	f32 := func(name string, shape ...int64) gguf.TensorInfo {
		return gguf.TensorInfo{Name: name, Type: gguf.F32, Shape: shape}
	}
	a := &floats{meta: &gguf.Metadata{}}
	b := &floats{meta: &gguf.Metadata{}}
	add := func(to *floats, info gguf.TensorInfo, values ...float32) {
		to.tensors, to.data = append(to.tensors, info), append(to.data, values)
	}
	add(a, f32("same", 2, 1), 1, 2)
	add(b, f32("same", 2), 1, 2) // the 1 does not count
	add(a, f32("near", 2), 1, 2)
	add(b, f32("near", 2), 1, 2.5)
	add(a, f32("far", 2), 1, 2)
	add(b, f32("far", 2), 5, 5)
	add(a, f32("shape", 2, 2), 1, 2, 3, 4)
	add(b, f32("shape", 4), 1, 2, 3, 4)
	add(a, f32("a", 1), 1)
	add(b, f32("b", 1), 1)
	add(a, f32("NaN", 1), 1)
	add(b, f32("NaN", 1), float32(math.NaN()))
	diffs, err := quant.Diff(t.Context(), a, b, nil)
	require.NoError(t, err)
	var names []string
	for _, d := range diffs {
		names = append(names, d.Name+": "+string(d.Status))
	}
	require.Equal(t, []string{"a: only in A", "b: only in B", "shape: shape", "NaN: bytes", "far: bytes", "near: bytes", "same: same"}, names)
}

// Blocks are compared by what they stand for, types without codec by their bytes.
func TestDiffTypes(t *testing.T) {
	const rowLen, rows = 256, 3
	a := newFloats(rowLen, rows, func(i int) float32 { return float32(i % 7) })
	packed := &rawTensors{[]gguf.TensorInfo{{Name: "t", Type: gguf.Q8_0, Shape: []int64{rowLen, rows}}}, [][]byte{make([]byte, gguf.Q8_0.RowBytes(rowLen)*rows)}}
	require.NoError(t, quant.Quantize(gguf.Q8_0, packed.data[0], a.data[0], rowLen, nil))
	d := oneDiff(t, a, packed)
	require.Equal(t, quant.DiffType, d.Status)
	require.Positive(t, d.Values.NMSE)
	require.Less(t, d.Values.NMSE, 1e-4)
	require.InDelta(t, 1, d.Values.Cosine, 1e-4)

	ids := func(last byte) *rawTensors {
		data := make([]byte, 40)
		data[39] = last
		return &rawTensors{[]gguf.TensorInfo{{Name: "t", Type: gguf.I32, Shape: []int64{10}}}, [][]byte{data}}
	}
	require.Equal(t, quant.DiffSame, oneDiff(t, ids(1), ids(1)).Status)
	d = oneDiff(t, ids(1), ids(2))
	require.Equal(t, quant.DiffBytes, d.Status)
	require.Nil(t, d.Values)
}
