package quant_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// newFloats returns a source of one F32 tensor.
func newFloats(rowLen, rows int64, value func(i int) float32) *floats {
	values := make([]float32, rowLen*rows)
	for i := range values {
		values[i] = value(i)
	}
	return &floats{
		meta:    &gguf.Metadata{},
		tensors: []gguf.TensorInfo{{Name: "t", Type: gguf.F32, Shape: []int64{rowLen, rows}}},
		data:    [][]float32{values},
	}
}

func TestCompare(t *testing.T) {
	const rowLen, rows = 1000, 700 // several chunks
	original := newFloats(rowLen, rows, func(int) float32 { return 2 })
	same, err := quant.Compare(t.Context(), original, original, nil)
	require.NoError(t, err)
	require.Equal(t, []quant.Difference{{Name: "t", Type: gguf.F32}}, same)

	var last int64
	other := newFloats(rowLen, rows, func(i int) float32 { return 2 + float32(i%2) })
	differences, err := quant.Compare(t.Context(), other, original, func(done, total int64) {
		last = max(last, done)
		require.EqualValues(t, rowLen*rows, total)
	})
	require.NoError(t, err)
	require.EqualValues(t, rowLen*rows, last)
	require.Equal(t, []quant.Difference{{Name: "t", Type: gguf.F32, RMSE: math.Sqrt(0.5), NMSE: 0.125, Max: 1}}, differences)

	other.data[0][rowLen*600+7] = float32(math.NaN())
	_, err = quant.Compare(t.Context(), other, original, nil)
	require.ErrorContains(t, err, `tensor "t", row 600`)

	_, err = quant.Compare(t.Context(), newFloats(rowLen, rows+1, func(int) float32 { return 0 }), original, nil)
	require.ErrorContains(t, err, "shape")
	renamed := newFloats(rowLen, rows, func(int) float32 { return 0 })
	renamed.tensors[0].Name = "u"
	_, err = quant.Compare(t.Context(), renamed, original, nil)
	require.ErrorContains(t, err, `"u" has no original`)
}
