package quant_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// scaled writes tensors, opens the file, and applies its scales.
func scaled(t *testing.T, src *rawTensors) (*quant.ScaledFile, error) {
	path := filepath.Join(t.TempDir(), "scaled.gguf")
	_, err := gguf.Write(t.Context(), path, src, gguf.WriteOptions{})
	require.NoError(t, err)
	file, err := gguf.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return quant.ApplyScales(file)
}

// TestApplyScales: scales multiply their matrices, and are gone.
func TestApplyScales(t *testing.T) {
	const length, rows, experts = 64, 3, 2
	values := make([]float32, length*rows*experts)
	for i := range values {
		values[i] = float32(i%13) - 6
	}
	blocks := make([]byte, gguf.NVFP4.RowBytes(length)*rows*experts)
	require.NoError(t, quant.Quantize(gguf.NVFP4, blocks, values, length, nil))
	src := new(rawTensors)
	add := func(name string, typ gguf.Type, data []byte, shape ...int64) {
		src.tensors = append(src.tensors, gguf.TensorInfo{Name: name, Type: typ, Shape: shape})
		src.data = append(src.data, data)
	}
	floats := func(values ...float32) []byte {
		data := make([]byte, 4*len(values))
		require.NoError(t, quant.Quantize(gguf.F32, data, values, len(values), nil))
		return data
	}
	add("blk.0.ffn_up_exps.weight", gguf.NVFP4, blocks, length, rows, experts)
	add("blk.0.ffn_up_exps.scale", gguf.F32, floats(0.5, 3), experts)
	add("blk.0.ffn_up_exps.input_scale", gguf.F32, floats(7, 7), experts)
	add("blk.0.attn_q.weight", gguf.NVFP4, blocks[:len(blocks)/2], length, rows)
	add("blk.0.attn_q.scale", gguf.F32, floats(2), 1)
	add("blk.0.attn_k.weight", gguf.NVFP4, blocks[:len(blocks)/2], length, rows)
	add("other.scale", gguf.F32, floats(9), 1)

	got, err := scaled(t, src)
	require.NoError(t, err)
	require.Equal(t, []gguf.TensorInfo{
		{Name: "blk.0.ffn_up_exps.weight", Type: gguf.F32, Shape: []int64{length, rows, experts}},
		{Name: "blk.0.attn_q.weight", Type: gguf.F32, Shape: []int64{length, rows}},
		{Name: "blk.0.attn_k.weight", Type: gguf.NVFP4, Shape: []int64{length, rows}},
		{Name: "other.scale", Type: gguf.F32, Shape: []int64{1}},
	}, got.Tensors())
	require.NoError(t, quant.Dequantize(gguf.NVFP4, values, blocks, length))
	for i, v := range values {
		values[i] = v * []float32{0.5, 3}[i/(length*rows)]
	}
	require.Equal(t, floats(values...), readTensor(t, got, "blk.0.ffn_up_exps.weight"))
	part := make([]byte, 4*length*2)
	require.NoError(t, got.ReadRows(part, 0, 2, 2))
	require.Equal(t, floats(values[2*length:4*length]...), part, "rows of two experts")
	require.Len(t, got.Notes(), 1)

	stored, err := gguf.StorageOf(got)
	require.NoError(t, err)
	require.Equal(t, got.Inputs()[0].Size(), stored.Bytes)
	require.Equal(t, []gguf.Packing{{Format: "GGUF", Layout: "NVFP4", Elements: 3 * length * rows, Bytes: int64(len(blocks)*3/2 + 4*3)}}, stored.Packings)
	require.Equal(t, 4.5+8*4.*3/(4*length*rows), stored.QuantizedBitsPerWeight, "with the matrix that has no scale")

	src.data[1], src.tensors[1].Shape = floats(1, 2, 3), []int64{3}
	_, err = scaled(t, src)
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	src.tensors, src.data = src.tensors[5:], src.data[5:]
	none, err := scaled(t, src)
	require.NoError(t, err)
	require.Nil(t, none)
}
