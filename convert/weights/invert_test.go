package weights_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// TestInvert: what an expression makes of tensors is taken apart into these.
func TestInvert(t *testing.T) {
	back := func(t require.TestingT, r weights.Rows) map[weights.Rows][]float32 {
		found := make(map[weights.Rows][]float32)
		require.NoError(t, weights.Invert(r, r, func(operand, is weights.Rows) bool {
			require.Equal(t, operand.Shape(), is.Shape())
			_, ok := operand.(leaf)
			if ok {
				found[operand] = all(t, is)
			}
			return ok
		}))
		return found
	}
	rapid.Check(t, func(t *rapid.T) {
		heads, half := rapid.Int64Range(1, 4).Draw(t, "heads"), rapid.Int64Range(1, 9).Draw(t, "half")
		matrix, vector := leaf{ramp(weights.F32, 0, heads*half*2, 3)}, leaf{ramp(weights.F32, 5, heads*half*2)}
		more := func(x float32) func([]float32) {
			return func(values []float32) {
				for i := range values {
					values[i] += x
				}
			}
		}
		require.Equal(t, map[weights.Rows][]float32{matrix: all(t, matrix)}, back(t, weights.Map(weights.Interleave(matrix, heads), more(1), more(-1))))
		require.Equal(t, map[weights.Rows][]float32{vector: all(t, vector)}, back(t, weights.Interleave(vector, heads)))
		other := leaf{ramp(weights.F32, 500, heads*half*2, 3)}
		require.Equal(t, map[weights.Rows][]float32{matrix: all(t, matrix), other: all(t, other)}, back(t, weights.Stack(matrix, weights.Interleave(other, heads))))
	})
	a := leaf{ramp(weights.F32, 0, 4, 2)}
	require.Empty(t, back(t, ramp(weights.F32, 0, 4, 2)), "made of nothing")
	for _, r := range []weights.Rows{weights.Slice(a, 0, 2), weights.Map(a, negate, nil), weights.Compute(a.Shape(), weights.F32, 1, a.ReadRows, a)} {
		require.ErrorIs(t, weights.Invert(r, r, func(weights.Rows, weights.Rows) bool { return false }), gguf.ErrUnsupported)
	}
}

// leaf is a tensor that is not made of others.
type leaf struct{ weights.Rows }
