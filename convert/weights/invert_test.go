package weights_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// TestInverse: what an expression makes of tensors is taken apart into these.
func TestInverse(t *testing.T) {
	back := func(t require.TestingT, rs ...weights.Rows) map[weights.Rows][]float32 {
		found := make(map[weights.Rows][]float32)
		inverse := weights.NewInverse(func(operand, is weights.Rows) bool {
			require.Equal(t, operand.Shape(), is.Shape())
			_, ok := operand.(leaf)
			if ok {
				found[operand] = all(t, is)
			}
			return ok
		})
		for _, r := range rs {
			require.NoError(t, inverse.Add(r, r))
		}
		return found
	}
	rapid.Check(t, func(t *rapid.T) {
		heads, half := rapid.Int64Range(1, 4).Draw(t, "heads"), rapid.Int64Range(1, 9).Draw(t, "half")
		matrix, vector := leaf{ramp(weights.F32, 0, heads*half*2, 3)}, leaf{ramp(weights.F32, 5, heads*half*2)}
		cut := rapid.Int64Range(1, 2*half-1).Draw(t, "cut")
		more := func(x float32) func([]float32) {
			return func(values []float32) {
				for i := range values {
					values[i] += x
				}
			}
		}
		require.Equal(t, map[weights.Rows][]float32{matrix: all(t, matrix)}, back(t, weights.Map(weights.Interleave(matrix, heads), more(1), more(-1))))
		require.Equal(t, map[weights.Rows][]float32{vector: all(t, vector)}, back(t, weights.Interleave(vector, heads)))
		require.Equal(t, map[weights.Rows][]float32{matrix: all(t, matrix)}, back(t, weights.Extend(matrix, heads*half*2+cut)))
		from := rapid.Permutation(numbers(heads)).Draw(t, "from")
		require.Equal(t, map[weights.Rows][]float32{matrix: all(t, matrix)}, back(t, weights.Reorder(matrix, from)))
		require.Equal(t, map[weights.Rows][]float32{vector: all(t, vector)}, back(t, weights.Reorder(vector, from)))
		columns := rapid.Permutation(numbers(3)).Draw(t, "columns")
		require.Equal(t, map[weights.Rows][]float32{matrix: all(t, matrix)}, back(t, weights.ReorderColumns(matrix, columns)))
		require.Equal(t, map[weights.Rows][]float32{matrix: all(t, matrix)}, back(t, weights.Reshape(matrix, 3, 2*half, heads)))
		require.Equal(t, map[weights.Rows][]float32{vector: all(t, vector)}, back(t, weights.Reshape(vector, heads, 1, 2*half)))
		other := leaf{ramp(weights.F32, 500, heads*half*2, 3)}
		require.Equal(t, map[weights.Rows][]float32{matrix: all(t, matrix), other: all(t, other)}, back(t, weights.Stack(matrix, weights.Interleave(other, heads))))
		require.Equal(t, map[weights.Rows][]float32{matrix: all(t, matrix)}, back(t, weights.Transpose(matrix)))

		experts := leaf{ramp(weights.F32, 9, heads, 3, 2*half)}
		gateUp := weights.Transpose(experts)
		gate, up := weights.Slice(gateUp, 0, cut), weights.Slice(gateUp, cut, 2*half-cut)
		require.Equal(t, map[weights.Rows][]float32{experts: all(t, experts)}, back(t, up, gate))
		require.Empty(t, back(t, gate), "only a part")
	})
	a := leaf{ramp(weights.F32, 0, 4, 2)}
	require.Empty(t, back(t, ramp(weights.F32, 0, 4, 2)), "made of nothing")
	for _, r := range []weights.Rows{weights.Map(a, negate, nil), weights.Compute(a.Shape(), weights.F32, 1, a.ReadRows, a)} {
		inverse := weights.NewInverse(func(weights.Rows, weights.Rows) bool { return false })
		require.ErrorIs(t, inverse.Add(r, r), gguf.ErrUnsupported)
	}
}

// leaf is a tensor that is not made of others.
type leaf struct{ weights.Rows }
