package quant_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// registerPerRow gives IQ4_KS a codec that is not ik_llama.cpp's, but as simple as one of
// rows with a header can be: that is the largest magnitude, in blocks the nibble of byte
// 8+i counts in a seventh of it. calls has the lengths of what is quantized at a time.
func registerPerRow(t *testing.T) (calls *[][2]int) {
	t.Helper()
	calls = new([][2]int)
	var one sync.Mutex // a view is read by several threads
	quantize := func(dst []byte, src, importance []float32) {
		one.Lock()
		*calls = append(*calls, [2]int{len(src), len(importance)})
		one.Unlock()
		var largest float32
		for _, v := range src {
			largest = max(largest, float32(math.Abs(float64(v))))
		}
		binary.LittleEndian.PutUint32(dst, math.Float32bits(largest))
		clear(dst[4:])
		for i, v := range src {
			q := byte(math.Round(float64(v/largest*7)) + 8)
			dst[4+i/256*136+8+i%256/2] |= q << (i % 2 * 4)
		}
	}
	dequantize := func(dst []float32, src []byte) {
		largest := math.Float32frombits(binary.LittleEndian.Uint32(src))
		for i := range dst {
			q := src[4+i/256*136+8+i%256/2] >> (i % 2 * 4) & 15
			dst[i] = largest / 7 * (float32(q) - 8)
		}
	}
	quant.RegisterForTest(t, gguf.IQ4_KS, quantize, dequantize)
	return calls
}

// Each row has a scale of its own: what is small in one is not lost beside what is large in another.
func TestRowsWithHeaders(t *testing.T) {
	calls := registerPerRow(t)
	rng := rand.New(rand.NewPCG(1, 2))
	const rows, rowLen = 3, 512
	scales := []float32{1, 1e-6, 1e6}
	x := make([]float32, rows*rowLen)
	for i := range x {
		x[i] = float32(rng.Float64()*2-1) * scales[i/rowLen]
	}
	blocks, got := make([]byte, rows*gguf.IQ4_KS.RowBytes(rowLen)), make([]float32, len(x))
	importance := make([]float32, rowLen)
	for _, importance := range [][]float32{nil, importance} {
		*calls = nil
		require.NoError(t, quant.Quantize(gguf.IQ4_KS, blocks, x, rowLen, importance))
		require.Equal(t, [][2]int{{rowLen, len(importance)}, {rowLen, len(importance)}, {rowLen, len(importance)}}, *calls)
		require.NoError(t, quant.Dequantize(gguf.IQ4_KS, got, blocks, rowLen))
		for i := range x {
			require.InDelta(t, x[i], got[i], float64(scales[i/rowLen])/13)
		}
	}
	require.Panics(t, func() { _ = quant.Quantize(gguf.IQ4_KS, blocks, x, 2*rowLen, nil) }, "two rows are not one")
	require.Panics(t, func() { _ = quant.Dequantize(gguf.IQ4_KS, got, blocks, len(got)) })
	require.Panics(t, func() { _ = quant.Validate(gguf.IQ4_KS, blocks, len(got)) })

	require.NoError(t, quant.Validate(gguf.IQ4_KS, blocks, rowLen))
	binary.LittleEndian.PutUint32(blocks[2*276:], math.Float32bits(float32(math.Inf(-1))))
	require.EqualError(t, quant.Validate(gguf.IQ4_KS, blocks, rowLen), "row 2 of IQ4_KS has -Inf at byte 0")
}

// From a view through a file to a view of it, rows keep their headers.
func TestViewOfRowsWithHeaders(t *testing.T) {
	registerPerRow(t)
	src := newSynthetic()
	src.special = map[string]map[int64]float32{"blk.2.attn_q.weight": {256*256 - 1: 50}}
	override, err := recipe.ParseOverride(`blk\.2\.=iq4_ks`)
	require.NoError(t, err)
	view, err := quant.NewView(src, recipe.Q8_0, quant.ViewOptions{Recipe: recipe.Options{Overrides: []recipe.Override{override}}})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "view.gguf")
	_, err = gguf.Write(t.Context(), path, view, gguf.WriteOptions{})
	require.NoError(t, err)
	file, err := gguf.Open(path)
	require.NoError(t, err)
	defer file.Close()

	const name = "blk.2.attn_q.weight"
	i := find(t, file, name)
	info := file.Tensors()[i]
	require.Equal(t, gguf.IQ4_KS, info.Type)
	values := dequantize(t, gguf.F16, readTensor(t, src, name))
	want := make([]byte, info.Bytes())
	require.NoError(t, quant.Quantize(gguf.IQ4_KS, want, values, 256, nil))
	require.Equal(t, want, readTensor(t, file, name))

	again, err := quant.NewView(file, recipe.Q8_0, quant.ViewOptions{AllowRequantize: true})
	require.NoError(t, err)
	require.NoError(t, quant.Dequantize(gguf.IQ4_KS, values, want, 256))
	part := make([]byte, 3*gguf.Q8_0.RowBytes(256))
	require.NoError(t, again.ReadRows(part, find(t, again, name), 253, 3))
	require.Equal(t, quantize(t, gguf.Q8_0, values[253*256:]), part)

	differences, err := quant.Compare(t.Context(), file, src, nil)
	require.NoError(t, err)
	for _, d := range differences {
		require.Less(t, d.NMSE, 0.1, d.Name)
	}

	src.special[name] = map[int64]float32{300: float32(math.Inf(1))}
	require.ErrorContains(t, view.ReadRows(part[:info.RowBytes()], find(t, view, name), 1, 1), `tensor "blk.2.attn_q.weight", row 1`)
}
