package quant_test

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Check finds a scale that is infinite wherever it is, and says where.
func TestCheck(t *testing.T) {
	const rowLen, rows = 512, 1500 // several chunks
	x := make([]float32, rowLen)
	for i := range x {
		x[i] = float32(i%13) - 6
	}
	row := make([]byte, gguf.Q8_0.RowBytes(rowLen))
	require.NoError(t, quant.Quantize(gguf.Q8_0, row, x, rowLen, nil))
	src := &rawTensors{tensors: []gguf.TensorInfo{
		{Name: "a", Type: gguf.Q8_0, Shape: []int64{rowLen, rows}}, {Name: "ids", Type: gguf.I32, Shape: []int64{4}}, {Name: "b", Type: gguf.Q8_0, Shape: []int64{rowLen, rows}},
	}}
	for _, info := range src.tensors {
		data := make([]byte, info.Bytes())
		for at := 0; info.Type == gguf.Q8_0 && at < len(data); at += len(row) {
			copy(data[at:], row)
		}
		src.data = append(src.data, data)
	}
	var mu sync.Mutex
	var last, all int64
	found, err := quant.Check(t.Context(), src, func(done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		last, all = max(last, done), total
	})
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, 2*src.tensors[0].Bytes(), all)
	require.Equal(t, all, last)

	const block = 34
	for _, r := range []int{7, 7, 700, 1499} { // the second block of each of three rows
		copy(src.data[2][r*len(row)+block:], []byte{0, 0x7c})
	}
	found, err = quant.Check(t.Context(), src, nil)
	require.NoError(t, err)
	require.Equal(t, []quant.Invalid{{Tensor: 2, Rows: 3, First: 7, Offset: 7*int64(len(row)) + block, What: "block 1 of Q8_0 has +Inf at byte 0"}}, found)
}

// A tensor may be what quantizing the original gives, or as near to it as its type is.
func TestAgainst(t *testing.T) {
	const rowLen, rows = 256, 2100 // several chunks
	original := newFloats(rowLen, rows, func(i int) float32 { return float32(math.Sin(float64(i) * 1.7)) })
	info := gguf.TensorInfo{Name: "t", Type: gguf.Q4_K, Shape: []int64{rowLen, rows, 1}}
	quantize := func(importance []float32) *rawTensors {
		data := make([]byte, info.Bytes())
		require.NoError(t, quant.Quantize(info.Type, data, original.data[0], rowLen, importance))
		return &rawTensors{[]gguf.TensorInfo{info}, [][]byte{data}}
	}
	look := func(src gguf.Source) quant.Match {
		matches, err := quant.Against(t.Context(), src, original, nil)
		require.NoError(t, err)
		require.Len(t, matches, 1)
		return matches[0]
	}
	m := look(quantize(nil))
	require.True(t, m.Same)
	require.True(t, m.Within())
	require.InDelta(t, m.NMSE, m.Values.NMSE, 0)

	importance := make([]float32, rowLen)
	for i := range importance {
		importance[i] = float32(1 + i%5)
	}
	weighted := quantize(importance)
	m = look(weighted)
	require.False(t, m.Same)
	require.Greater(t, m.Values.NMSE, m.NMSE)
	require.True(t, m.Within())

	swapped := quantize(nil)
	half := len(swapped.data[0]) / 2
	swapped.data[0] = append(swapped.data[0][half:], swapped.data[0][:half]...)
	m = look(swapped)
	require.Greater(t, m.Values.NMSE, 0.5)
	require.False(t, m.Within())

	nan := quantize(nil)
	copy(nan.data[0], []byte{0, 0x7e})
	require.False(t, look(nan).Within())

	other := quantize(nil)
	other.tensors[0].Name = "u"
	matches, err := quant.Against(t.Context(), other, original, nil)
	require.NoError(t, err)
	require.Len(t, matches, 2)
	require.Nil(t, matches[0].Original)
	require.Nil(t, matches[1].Tensor)
	info.Name = "t"
	other.tensors[0] = gguf.TensorInfo{Name: "t", Type: gguf.Q4_K, Shape: []int64{rowLen, rows / 2, 2}}
	require.True(t, look(other).Shape)
	require.False(t, look(other).Within())
	require.True(t, look(original).Same, "of one type, bytes are compared")
}
