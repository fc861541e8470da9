package quant_test

import (
	"math"
	"slices"
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
	require.Equal(t, []quant.Difference{{Name: "t", Type: gguf.F32, Original: 4 * rowLen * rows}}, same)

	var last int64
	other := newFloats(rowLen, rows, func(i int) float32 { return 2 + float32(i%2) })
	differences, err := quant.Compare(t.Context(), other, original, func(done, total int64) {
		last = max(last, done)
		require.EqualValues(t, rowLen*rows, total)
	})
	require.NoError(t, err)
	require.EqualValues(t, rowLen*rows, last)
	require.Equal(t, []quant.Difference{{Name: "t", Type: gguf.F32, RMSE: math.Sqrt(0.5), NMSE: 0.125, Max: 1,
		Squares: rowLen * rows / 2, Original: 4 * rowLen * rows}}, differences)
	require.Equal(t, 0.0625, quant.TotalNMSE(append(differences, same...)), "half of all is the same")

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

// rawTensors are tensors of any type, in memory.
type rawTensors struct {
	tensors []gguf.TensorInfo
	data    [][]byte
}

func (s *rawTensors) Metadata() *gguf.Metadata   { return &gguf.Metadata{} }
func (s *rawTensors) Tensors() []gguf.TensorInfo { return s.tensors }
func (s *rawTensors) ReadRows(dst []byte, tensor int, first, _ int64) error {
	copy(dst, s.data[tensor][first*s.tensors[tensor].RowBytes():])
	return nil
}

// What has no codec is compared byte by byte.
func TestCompareCopies(t *testing.T) {
	for _, kind := range []gguf.Type{gguf.I8, gguf.I16, gguf.I32, gguf.I64, gguf.F64, gguf.Q8_1, gguf.Q8_K} {
		t.Run(kind.String(), func(t *testing.T) {
			info := gguf.TensorInfo{Name: "t", Type: kind, Shape: []int64{512, 700}}
			data := make([]byte, info.Bytes())
			for i := range data {
				data[i] = byte(i * 7)
			}
			original := &rawTensors{[]gguf.TensorInfo{info}, [][]byte{data}}
			differences, err := quant.Compare(t.Context(), original, original, nil)
			require.NoError(t, err)
			require.Equal(t, []quant.Difference{{Name: "t", Type: kind}}, differences)

			changed := &rawTensors{original.tensors, [][]byte{slices.Clone(data)}}
			changed.data[0][len(data)-1]++
			_, err = quant.Compare(t.Context(), changed, original, nil)
			require.ErrorIs(t, err, gguf.ErrCorrupt)
			require.ErrorContains(t, err, `tensor "t"`)
		})
	}
}
