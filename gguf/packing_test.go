package gguf_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// packed is a Source of packed weights.
type packed struct {
	*able
	packings [][]gguf.Packing
	inputs   []*files.File
}

func (p *packed) Packings(tensor int) []gguf.Packing { return p.packings[tensor] }
func (p *packed) Inputs() []*files.File              { return p.inputs }

func TestStorageOf(t *testing.T) {
	plain := newAble()
	s, err := gguf.StorageOf(plain)
	require.NoError(t, err)
	_, size, err := gguf.Layout(plain)
	require.NoError(t, err)
	require.Equal(t, gguf.Storage{Bytes: size, BitsPerWeight: 8}, s)
	require.Equal(t, gguf.Packing{}, s.Packed())

	plain.tensors[0] = gguf.TensorInfo{Name: "a", Type: gguf.Q8_0, Shape: []int64{32}}
	s, err = gguf.StorageOf(plain)
	require.NoError(t, err)
	require.Equal(t, 8.5, s.QuantizedBitsPerWeight)

	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, os.WriteFile(path, make([]byte, 18), 0o644))
	file, err := files.Open(path)
	require.NoError(t, err)
	defer file.Close()
	gptq := func(layout string, bytes int64) gguf.Packing {
		return gguf.Packing{Format: "GPTQ", Layout: layout, Elements: 6, Bytes: bytes}
	}
	src := &packed{able: newAble(), inputs: []*files.File{file}}
	src.packings = [][]gguf.Packing{{gptq("4-bit g128", 3)}, nil, {gptq("4-bit g128", 4)}}
	require.Equal(t, src.packings[2], gguf.Packings(src, 2))
	s, err = gguf.StorageOf(src)
	require.NoError(t, err)
	both := gguf.Packing{Format: "GPTQ", Layout: "4-bit g128", Elements: 12, Bytes: 7}
	require.Equal(t, gguf.Storage{Bytes: 18, BitsPerWeight: 4, QuantizedBitsPerWeight: 7. * 8 / 12, Packings: []gguf.Packing{both}}, s)
	require.Equal(t, "GPTQ 4-bit g128", s.Packed().String())

	src.packings[1] = []gguf.Packing{gptq("8-bit g32", 7)}
	s, err = gguf.StorageOf(src)
	require.NoError(t, err)
	require.Equal(t, []gguf.Packing{both, gptq("8-bit g32", 7)}, s.Packings, "what most elements are in comes first")
	require.Equal(t, gguf.Packing{Format: "GPTQ", Layout: "6.22 bpw", Elements: 18, Bytes: 14}, s.Packed())

	src.packings[1][0] = gguf.Packing{Format: "FP8", Elements: 20, Bytes: 20}
	s, err = gguf.StorageOf(src)
	require.NoError(t, err)
	require.Equal(t, "FP8", s.Packings[0].String())
	require.Equal(t, "FP8 + GPTQ 6.75 bpw", s.Packed().String())
}
