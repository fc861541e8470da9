package gguf_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

// Numbers in blocks do not overlap, and those of a header leave no gap.
func TestFieldsLieInBlocks(t *testing.T) {
	for typ := range gguf.Types() {
		check := func(fields []gguf.Field, bytes int) (end int) {
			for _, f := range fields {
				require.GreaterOrEqual(t, f.Offset, end, typ)
				require.Zero(t, f.Offset%f.Type.BlockBytes(), typ)
				require.Equal(t, 1, f.Type.BlockSize(), typ)
				end = f.Offset + f.Count*f.Type.BlockBytes()
			}
			require.LessOrEqual(t, end, bytes, typ)
			return end
		}
		check(typ.Fields(), typ.BlockBytes())
		require.Equal(t, typ.HeaderBytes(), check(typ.Header(), typ.HeaderBytes()), typ)
	}
}

// What replaces a type has smaller blocks, and in the end any row can be stored.
func TestNarrower(t *testing.T) {
	for typ := range gguf.Types() {
		for narrower, ok := typ.Narrower(); ok; narrower, ok = narrower.Narrower() {
			require.Less(t, narrower.BlockSize(), typ.BlockSize())
			typ = narrower
		}
		if typ.BlockSize() > 1 {
			require.Contains(t, []gguf.Type{gguf.Q1_0, gguf.NVFP4, gguf.Q8_1, gguf.Q8_K, gguf.IQ4_KS}, typ)
		}
	}
}

func TestUnknownTypes(t *testing.T) {
	for _, typ := range []gguf.Type{4, 5, 31, 143, 145, 1000, math.MaxUint32} {
		require.False(t, typ.Valid())
		require.Zero(t, typ.BlockSize())
		require.Empty(t, typ.Fields())
		require.Panics(t, func() { typ.RowBytes(256) })
		require.ErrorIs(t, gguf.TensorInfo{Name: "a", Type: typ, Shape: []int64{256}}.Check(), gguf.ErrUnsupported)
	}
}

// Rows with a header are as long as that and their blocks, wherever they are read.
func TestRowsWithHeaders(t *testing.T) {
	require.Equal(t, int64(4+2*136), gguf.IQ4_KS.RowBytes(512))
	src := &memory{meta: gguf.NewMetadata()}
	src.add("before", gguf.F32, 3)
	src.add("rows", gguf.IQ4_KS, 512, 5, 2)
	src.add("after", gguf.F32, 3)
	require.Equal(t, int64(10*(4+2*136)), src.tensors[1].Bytes())
	path := filepath.Join(t.TempDir(), "headers.gguf")
	_, err := gguf.Write(t.Context(), path, src, gguf.WriteOptions{})
	require.NoError(t, err)
	file, err := gguf.Open(path)
	require.NoError(t, err)
	defer file.Close()
	requireSame(t, src, file)
	require.NoError(t, gguf.Map(file))
	for first := range int64(8) {
		want := src.data[1][first*276:][:3*276]
		got := make([]byte, len(want))
		require.NoError(t, file.ReadRows(got, 1, first, 3))
		require.Equal(t, want, got)
		if rows, _ := gguf.MappedRows(file, 1, first, 3); rows != nil {
			require.Equal(t, want, rows)
		}
	}

	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		data := build(order, 3, 1, 0, func(h *header) {
			h.tensor("rows", []uint64{512, 2}, uint32(gguf.IQ4_KS), 0)
			h.Write(make([]byte, -h.Len()&31))
			for _, scale := range []float32{1, -2} {
				h.num(scale)
				h.Write(bytes.Repeat([]byte{9, 8}, 136))
			}
		})
		f, err := gguf.New(bytes.NewReader(data), int64(len(data)), "memory")
		require.NoError(t, err)
		rows := make([]byte, 2*276)
		require.NoError(t, f.ReadRows(rows, 0, 0, 2))
		want := append([]byte{0, 0, 0x80, 0x3f}, bytes.Repeat([]byte{9, 8}, 136)...)
		want = append(want, 0, 0, 0, 0xc0)
		require.Equal(t, append(want, bytes.Repeat([]byte{9, 8}, 136)...), rows, order)
	}
}
