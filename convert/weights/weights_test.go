package weights_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// ramp returns a tensor of the numbers from first on.
func ramp(dtype weights.Dtype, first float32, shape ...int64) weights.Rows {
	rows, length := weights.Count(shape)
	values := make([]float32, rows*length)
	for i := range values {
		values[i] = first + float32(i)
	}
	return weights.Values(dtype, values, shape...)
}

// read returns n rows, as they are and by way of ReadRaw.
func read(t require.TestingT, r weights.Rows, first, n int64) []float32 {
	_, length := weights.Count(r.Shape())
	values, raw := make([]float32, n*length), make([]byte, n*length*int64(r.Dtype().Size()))
	require.NoError(t, r.ReadRows(values, first, n))
	require.NoError(t, r.ReadRaw(raw, first, n))
	decoded := make([]float32, n*length)
	r.Dtype().Float32(decoded, raw)
	require.Equal(t, values, decoded)
	return values
}

func all(t require.TestingT, r weights.Rows) []float32 {
	rows, _ := weights.Count(r.Shape())
	return read(t, r, 0, rows)
}

func TestCount(t *testing.T) {
	for _, tt := range []struct {
		shape        []int64
		rows, length int64
	}{{nil, 1, 1}, {[]int64{7}, 1, 7}, {[]int64{3, 7}, 3, 7}, {[]int64{2, 3, 7}, 6, 7}, {[]int64{0, 7}, 0, 7}} {
		rows, length := weights.Count(tt.shape)
		require.Equal(t, []int64{tt.rows, tt.length}, []int64{rows, length}, tt.shape)
	}
	require.EqualValues(t, 24, weights.Bytes(ramp(weights.BF16, 0, 3, 4)))
}

func TestStackAndSlice(t *testing.T) {
	a, b := ramp(weights.F16, 0, 4, 2), ramp(weights.F16, 100, 4, 2)
	stack := weights.Stack(a, b)
	require.Equal(t, []int64{2, 4, 2}, stack.Shape())
	require.Equal(t, weights.F16, stack.Dtype())
	require.Equal(t, slices.Concat(all(t, a), all(t, b)), all(t, stack))
	require.Equal(t, []weights.Rows{a, b}, stack.(weights.Expression).Operands())

	part := weights.Slice(stack, 1, 2) // rows of each matrix
	require.Equal(t, []int64{2, 2, 2}, part.Shape())
	require.Equal(t, []float32{2, 3, 4, 5, 102, 103, 104, 105}, all(t, part))
	require.Equal(t, []float32{4, 5, 6, 7}, all(t, weights.Slice(a, 2, 2)))

	mixed := weights.Stack(a, ramp(weights.F32, 0.1, 4, 2))
	require.Equal(t, weights.F32, mixed.Dtype())
	require.Equal(t, []float32{7, 0.1}, []float32{all(t, mixed)[7], all(t, mixed)[8]})

	require.Panics(t, func() { weights.Stack(a, ramp(weights.F16, 0, 4, 3)) })
	require.Panics(t, func() { weights.Slice(a, 3, 2) })
}

// TestTranspose: columns become rows, of each matrix. Twice is as it was.
func TestTranspose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		matrices, height, width := rapid.Int64Range(1, 3).Draw(t, "matrices"), rapid.Int64Range(1, 40).Draw(t, "height"), rapid.Int64Range(1, 9).Draw(t, "width")
		r := ramp(weights.F32, 0, matrices, height, width)
		back := weights.Transpose(r)
		require.Equal(t, []int64{matrices, width, height}, back.Shape())
		require.Same(t, r, weights.Transpose(back))
		require.Equal(t, []weights.Rows{r}, back.(weights.Expression).Operands())
		first := rapid.Int64Range(0, matrices*width-1).Draw(t, "first")
		n := rapid.Int64Range(1, matrices*width-first).Draw(t, "n")
		for i, v := range read(t, back, first, n) {
			row, y := first+int64(i)/height, int64(i)%height
			require.EqualValues(t, row/width*height*width+y*width+row%width, v)
		}
	})
	require.Equal(t, []float32{0, 2, 1, 3}, all(t, weights.Transpose(ramp(weights.BF16, 0, 2, 2))))
}

// counted is a tensor of which elements can be read, and are counted.
type counted struct {
	weights.Rows
	elements int64
}

func (c *counted) ReadElements(dst []byte, first int64) error {
	c.elements += int64(len(dst) / c.Dtype().Size())
	return weights.ReadElements(c.Rows, dst, first)
}

// TestTransposeReads: what is transposed is not read more often than needed: once, or twice where it is
// then looked at for every second row.
func TestTransposeReads(t *testing.T) {
	const matrices, height, width = 2, 50, 40
	stored := &counted{Rows: ramp(weights.F32, 0, matrices, height, width)}
	want := all(t, weights.Transpose(stored.Rows))
	turned := weights.Transpose(named{stored})
	require.Equal(t, want, all(t, turned))
	require.EqualValues(t, 2*matrices*height*width, stored.elements) // as numbers, and as they are stored

	stored.elements = 0
	want = all(t, weights.Slice(weights.Deinterleave(weights.Transpose(stored.Rows), matrices), 0, width/2))
	require.Equal(t, want, all(t, weights.Slice(weights.Deinterleave(turned, matrices), 0, width/2)))
	require.EqualValues(t, 2*matrices*height*(width-1), stored.elements)
	for i, v := range want[:height] { // row 0 is column 0, row 1 column 2
		require.EqualValues(t, i*width, v)
		require.EqualValues(t, i*width+2, want[height+i])
	}
}

// TestInterleave: the halves of each head are side by side, and heads stay where they are.
func TestInterleave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		heads := rapid.Int64Range(1, 4).Draw(t, "heads")
		half := rapid.Int64Range(1, 9).Draw(t, "half")
		d := 2 * half
		rows := all(t, weights.Interleave(ramp(weights.F32, 0, heads*d, 3), heads))
		vector := all(t, weights.Interleave(ramp(weights.F32, 0, heads*d), heads))
		for r := range heads * d {
			from := r/d*d + r%d/2
			if r%2 == 1 {
				from += half
			}
			require.Equal(t, float32(from), vector[r])
			require.Equal(t, []float32{float32(3 * from), float32(3*from + 1), float32(3*from + 2)}, rows[3*r:][:3])
		}
	})
}

// TestReorder: blocks of rows, or of the elements of a vector, are where they are said to be.
func TestReorder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks, size := rapid.Int64Range(1, 9).Draw(t, "blocks"), rapid.Int64Range(1, 5).Draw(t, "size")
		from := rapid.Permutation(numbers(blocks)).Draw(t, "from")
		rows := all(t, weights.Reorder(ramp(weights.F32, 0, blocks*size, 2), from))
		vector := all(t, weights.Reorder(ramp(weights.F32, 0, blocks*size), from))
		for r := range blocks * size {
			want := float32(from[r/size]*size + r%size)
			require.Equal(t, want, vector[r])
			require.Equal(t, []float32{2 * want, 2*want + 1}, rows[2*r:][:2])
		}
	})
}

// TestReorderColumns: those of each row are reordered as a vector is.
func TestReorderColumns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks, size := rapid.Int64Range(1, 9).Draw(t, "blocks"), rapid.Int64Range(1, 5).Draw(t, "size")
		from := rapid.Permutation(numbers(blocks)).Draw(t, "from")
		rows := all(t, weights.ReorderColumns(ramp(weights.F32, 0, 2, blocks*size), from))
		require.Equal(t, all(t, weights.Reorder(ramp(weights.F32, 0, blocks*size), from)), rows[:blocks*size])
		require.Equal(t, all(t, weights.Reorder(ramp(weights.F32, float32(blocks*size), blocks*size), from)), rows[blocks*size:])
	})
}

// numbers returns those below n.
func numbers(n int64) (all []int64) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// TestAnyRows: some rows of an expression are those of the whole.
func TestAnyRows(t *testing.T) {
	stack := weights.Stack(ramp(weights.BF16, 0, 24, 2), ramp(weights.BF16, 64, 24, 2), ramp(weights.BF16, 128, 24, 2))
	for name, r := range map[string]weights.Rows{
		"stack":      stack,
		"slice":      weights.Slice(stack, 5, 7),
		"interleave": weights.Interleave(weights.Slice(stack, 4, 16), 6),
		"extend":     weights.Extend(weights.Slice(ramp(weights.BF16, 0, 9, 2), 0, 5), 8),
		"reorder":    weights.Reorder(weights.Slice(stack, 4, 16), []int64{3, 0, 2, 1}),
		"columns":    weights.ReorderColumns(weights.Slice(stack, 4, 16), []int64{1, 0}),
		"reshape":    weights.Reshape(weights.Slice(stack, 5, 7), 14, 3, 1),
		"wider":      weights.Reshape(stack, 12, 12),
		"the same":   weights.Reshape(stack, 24, 3, 2),
		"map":        weights.Map(stack, func(values []float32) { negate(values) }, nil),
	} {
		whole := all(t, r)
		rows, length := weights.Count(r.Shape())
		for first := range rows {
			for n := range rows - first + 1 {
				require.Equal(t, whole[first*length:][:n*length], read(t, r, first, n), "%s: %d rows from %d on", name, n, first)
			}
		}
	}
}

// TestExtend: rows that are not there are zeros.
func TestExtend(t *testing.T) {
	require.Equal(t, []float32{3, 4, 5, 6, 0, 0, 0, 0}, all(t, weights.Extend(ramp(weights.BF16, 3, 2, 2), 4)))
}

func negate(values []float32) {
	for i := range values {
		values[i] = -values[i]
	}
}

// TestMap: what is computed is float16 for float16, and float32 for others.
func TestMap(t *testing.T) {
	third := func(values []float32) {
		for i := range values {
			values[i] += 1. / 3
		}
	}
	for dtype, want := range map[weights.Dtype]float32{weights.F16: 1.3330078, weights.BF16: 1 + 1./3, weights.F32: 1 + 1./3} {
		r := weights.Map(ramp(dtype, 1, 1), third, nil)
		require.Equal(t, []float32{want}, all(t, r), dtype)
	}
}

// TestReadColumns: columns of a tensor that is computed are those of its rows.
func TestReadColumns(t *testing.T) {
	r := ramp(weights.F32, 0, 3, 4)
	raw, columns := make([]byte, 4*6), make([]float32, 6)
	require.NoError(t, weights.ReadColumns(r, raw, 1, 2))
	weights.F32.Float32(columns, raw)
	require.Equal(t, []float32{1, 2, 5, 6, 9, 10}, columns)
	require.True(t, weights.IsSpare(weights.Spare(r)))
	require.False(t, weights.IsSpare(r))
}

// TestReadElements: elements of a tensor that is computed are those of its rows.
func TestReadElements(t *testing.T) {
	r := ramp(weights.F32, 0, 3, 4)
	for first := range int64(12) {
		for n := range 13 - first {
			raw, elements := make([]byte, 4*n), make([]float32, n)
			require.NoError(t, weights.ReadElements(r, raw, first))
			weights.F32.Float32(elements, raw)
			require.Equal(t, all(t, r)[first:][:n], elements)
		}
	}
}

// TestUnpad: what is too much is left out where it is padding, and only there.
func TestUnpad(t *testing.T) {
	r := weights.Padded(ramp(weights.F16, 0, 4, 4), 4, 2)
	require.Equal(t, []float32{0, 1, 2, 4, 5, 6, 8, 9, 10}, all(t, weights.Unpad(r, []int64{3, 3})))
	require.Equal(t, []float32{0, 1, 2, 3, 4, 5, 6, 7}, all(t, weights.Unpad(r, []int64{2, 4})))
	require.Equal(t, []float32{4, 5, 6}, read(t, weights.Unpad(r, []int64{4, 3}), 1, 1))
	require.Equal(t, []float32{0, 1}, all(t, weights.Unpad(weights.Padded(ramp(weights.F32, 0, 4), 1, 4), []int64{2})))
	require.Equal(t, weights.F16, weights.Unpad(r, []int64{3, 3}).Dtype())
	for _, shape := range [][]int64{{4, 4}, {5, 4}, {4, 5}, {4, 2}, {0, 4}, {4}, {1, 4, 4}} {
		require.Same(t, r, weights.Unpad(r, shape), shape)
	}
	plain := ramp(weights.F16, 0, 4, 4)
	require.Same(t, plain, weights.Unpad(plain, []int64{3, 4}))
}

func TestList(t *testing.T) {
	var list weights.List
	require.Nil(t, list.Get("a"))
	a := ramp(weights.F32, 0, 1)
	require.NoError(t, list.Add("b", a))
	require.NoError(t, list.Add("a", a))
	require.ErrorIs(t, list.Add("b", a), gguf.ErrCorrupt)
	require.Equal(t, []string{"b", "a"}, list.Names())
	require.Same(t, a, list.Get("a"))
}
