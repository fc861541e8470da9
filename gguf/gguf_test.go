package gguf_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
)

// memory is a Source held in memory.
type memory struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	data    [][]byte
	fail    error // returned by reads of the last tensor
}

func (m *memory) Metadata() *gguf.Metadata   { return m.meta }
func (m *memory) Tensors() []gguf.TensorInfo { return m.tensors }
func (m *memory) ReadRows(dst []byte, tensor int, first, n int64) error {
	if m.fail != nil && tensor == len(m.tensors)-1 {
		return m.fail
	}
	t := m.tensors[tensor]
	if err := t.CheckRows(dst, first, n); err != nil {
		return err
	}
	copy(dst, m.data[tensor][first*t.RowBytes():])
	return nil
}

func (m *memory) add(name string, typ gguf.Type, shape ...int64) {
	t := gguf.TensorInfo{Name: name, Type: typ, Shape: shape}
	data := make([]byte, t.Bytes())
	for i := range data {
		data[i] = byte(i*7 + len(name))
	}
	m.tensors = append(m.tensors, t)
	m.data = append(m.data, data)
}

// sample is a small model with every type of value.
func sample() *memory {
	m := &memory{meta: gguf.NewMetadata(
		gguf.KV{Key: "general.architecture", Value: "llama"},
		gguf.KV{Key: "u8", Value: uint8(200)},
		gguf.KV{Key: "i8", Value: int8(-100)},
		gguf.KV{Key: "u16", Value: uint16(60000)},
		gguf.KV{Key: "i16", Value: int16(-30000)},
		gguf.KV{Key: "u32", Value: uint32(4e9)},
		gguf.KV{Key: "i32", Value: int32(-2e9)},
		gguf.KV{Key: "f32", Value: float32(1.5)},
		gguf.KV{Key: "bool", Value: true},
		gguf.KV{Key: "u64", Value: uint64(math.MaxUint64)},
		gguf.KV{Key: "i64", Value: int64(math.MinInt64)},
		gguf.KV{Key: "f64", Value: math.Pi},
		gguf.KV{Key: "strings", Value: []string{"a", "", "ü\x00z"}},
		gguf.KV{Key: "bools", Value: []bool{true, false}},
		gguf.KV{Key: "u8s", Value: []uint8{1, 255}},
		gguf.KV{Key: "i8s", Value: []int8{-1, 5}},
		gguf.KV{Key: "u16s", Value: []uint16{1, 65535}},
		gguf.KV{Key: "i16s", Value: []int16{-1, 5}},
		gguf.KV{Key: "u32s", Value: []uint32{7}},
		gguf.KV{Key: "i32s", Value: []int32{-7, 8, 9}},
		gguf.KV{Key: "f32s", Value: make([]float32, 5000)},
		gguf.KV{Key: "u64s", Value: []uint64{1 << 63}},
		gguf.KV{Key: "i64s", Value: []int64{}},
		gguf.KV{Key: "f64s", Value: []float64{math.Inf(-1)}},
	)}
	m.add("token_embd.weight", gguf.F16, 64, 33)
	m.add("output_norm.weight", gguf.F32, 7)
	m.add("blk.0.ffn_down_exps.weight", gguf.Q4_K, 256, 3, 4)
	m.add("blk.0.scalar", gguf.F32)
	m.add("blk.0.four", gguf.I8, 3, 1, 2, 5)
	return m
}

// write writes src into a temporary file and returns its path.
func write(t *testing.T, src gguf.Source, opts gguf.WriteOptions) []string {
	t.Helper()
	paths, err := gguf.Write(context.Background(), filepath.Join(t.TempDir(), "model.gguf"), src, opts)
	require.NoError(t, err)
	return paths
}

func requireSame(t *testing.T, want *memory, got gguf.Source) {
	t.Helper()
	require.Equal(t, want.meta.All(), got.Metadata().All())
	require.Equal(t, len(want.tensors), len(got.Tensors()))
	for i, info := range want.tensors {
		require.Equal(t, info, got.Tensors()[i])
		data := make([]byte, info.Bytes())
		require.NoError(t, got.ReadRows(data, i, 0, info.Rows()))
		require.Equal(t, want.data[i], data, info.Name)
	}
}

func TestWriteThenOpenGivesTheSame(t *testing.T) {
	for _, alignment := range []uint32{0, 8, 32, 64, 4096} {
		t.Run(fmt.Sprint("alignment ", alignment), func(t *testing.T) {
			src := sample()
			if alignment != 0 {
				src.meta.Set("general.alignment", alignment)
			}
			paths := write(t, src, gguf.WriteOptions{})
			f, err := gguf.Open(paths[0])
			require.NoError(t, err)
			defer f.Close()
			require.Equal(t, 3, f.Version())
			requireSame(t, src, f)
			offsets, size, err := gguf.Layout(src)
			require.NoError(t, err)
			require.Equal(t, f.Size(), size)
			for i := range src.tensors {
				require.Equal(t, f.Offset(i), offsets[i])
				require.Zero(t, f.Offset(i)%int64(max(alignment, 8)))
			}
		})
	}
}

func TestRowsCanBeReadAlone(t *testing.T) {
	src := sample()
	f, err := gguf.Open(write(t, src, gguf.WriteOptions{})[0])
	require.NoError(t, err)
	defer f.Close()
	for i, info := range src.tensors {
		for row := range info.Rows() {
			got := make([]byte, info.RowBytes())
			require.NoError(t, f.ReadRows(got, i, row, 1))
			require.Equal(t, src.data[i][row*info.RowBytes():][:info.RowBytes()], got)
		}
		require.Error(t, f.ReadRows(make([]byte, info.RowBytes()), i, info.Rows(), 1))
		require.Error(t, f.ReadRows(make([]byte, info.RowBytes()), i, -1, 1))
		require.Error(t, f.ReadRows(make([]byte, info.RowBytes()+1), i, 0, 1))
	}
}

func TestThreadsDoNotChangeBytes(t *testing.T) {
	src := sample()
	src.add("big", gguf.F32, 1000, 1001)
	one, err := os.ReadFile(write(t, src, gguf.WriteOptions{Threads: 1})[0])
	require.NoError(t, err)
	many, err := os.ReadFile(write(t, src, gguf.WriteOptions{Threads: 7})[0])
	require.NoError(t, err)
	require.True(t, bytes.Equal(one, many))
}

func TestSplitFilesAreReadAsOne(t *testing.T) {
	src := sample()
	paths := write(t, src, gguf.WriteOptions{MaxBytes: 2000})
	require.Greater(t, len(paths), 1)
	require.Equal(t, fmt.Sprintf("model-00001-of-%05d.gguf", len(paths)), filepath.Base(paths[0]))
	f, err := gguf.Open(paths[0])
	require.NoError(t, err)
	defer f.Close()
	requireSame(t, src, f)
	require.Equal(t, paths, f.Paths())

	// The same files again, from how many tensors each has.
	shards := make([]int, len(paths))
	for i := range f.Tensors() {
		shards[f.Shard(i)]++
	}
	again := write(t, src, gguf.WriteOptions{Shards: shards})
	require.Equal(t, len(paths), len(again))
	for i := range paths {
		want, err := os.ReadFile(paths[i])
		require.NoError(t, err)
		got, err := os.ReadFile(again[i])
		require.NoError(t, err)
		require.Equal(t, want, got)
	}

	_, err = gguf.Open(paths[1])
	require.ErrorContains(t, err, paths[0], "the error says which file to open")

	renamed := filepath.Join(filepath.Dir(paths[0]), "other.gguf")
	require.NoError(t, os.Rename(paths[0], renamed))
	_, err = gguf.Open(renamed)
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.NoError(t, os.Rename(renamed, paths[0]))

	swapped, err := os.ReadFile(paths[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(paths[1], swapped, 0o600))
	_, err = gguf.Open(paths[0])
	require.ErrorIs(t, err, gguf.ErrCorrupt)

	require.NoError(t, os.Remove(paths[1]))
	_, err = gguf.Open(paths[0])
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestWriteIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.gguf")
	files := func() []string {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}

	broken := sample()
	broken.fail = errors.New("cannot read")
	_, err := gguf.Write(context.Background(), path, broken, gguf.WriteOptions{})
	require.ErrorIs(t, err, broken.fail)
	require.Empty(t, files())

	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = gguf.Write(canceled, path, sample(), gguf.WriteOptions{})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, files())

	_, err = gguf.Write(context.Background(), path, sample(), gguf.WriteOptions{})
	require.NoError(t, err)
	before, err := os.ReadFile(path)
	require.NoError(t, err)

	other := sample()
	other.meta.Set("u8", uint8(1))
	_, err = gguf.Write(context.Background(), path, other, gguf.WriteOptions{})
	require.ErrorIs(t, err, os.ErrExist)
	_, err = gguf.Write(context.Background(), path, broken, gguf.WriteOptions{Overwrite: true})
	require.ErrorIs(t, err, broken.fail)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after), "a failed write leaves the old file")
	_, err = gguf.Write(context.Background(), path, other, gguf.WriteOptions{Overwrite: true})
	require.NoError(t, err)
	require.Equal(t, []string{"model.gguf"}, files())

	twice := sample()
	twice.add("output_norm.weight", gguf.F32, 7)
	_, err = gguf.Write(context.Background(), filepath.Join(dir, "twice.gguf"), twice, gguf.WriteOptions{})
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.Equal(t, []string{"model.gguf"}, files())
}

// interrupted ends its context after some reads.
type interrupted struct {
	*memory
	left   atomic.Int32
	cancel func()
}

func (s *interrupted) ReadRows(dst []byte, tensor int, first, n int64) error {
	if s.left.Add(-1) == 0 {
		s.cancel()
	}
	return s.memory.ReadRows(dst, tensor, first, n)
}

func job(option string) []gguf.Fact { return []gguf.Fact{{What: "option", Is: option}} }

func TestInterruptedWorkIsResumed(t *testing.T) {
	src := sample()
	src.add("big", gguf.F32, 1000, 1001) // several chunks
	whole, err := os.ReadFile(write(t, src, gguf.WriteOptions{})[0])
	require.NoError(t, err)

	dir := t.TempDir()
	path := filepath.Join(dir, "model.gguf")
	run := func(reads int32, opts gguf.WriteOptions) (made int32, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &interrupted{memory: src, cancel: cancel}
		s.left.Store(reads)
		opts.Threads = 1
		_, err = gguf.Write(ctx, path, s, opts)
		return reads - s.left.Load(), err
	}
	all, err := run(1000, gguf.WriteOptions{Job: job("a")})
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))

	_, err = run(8, gguf.WriteOptions{Job: job("a")})
	require.ErrorIs(t, err, context.Canceled)
	require.NoFileExists(t, path)
	made, err := run(2, gguf.WriteOptions{Job: job("a"), Resume: true})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, int32(2), made)

	// A chunk that was damaged is made again, and so is one whose line was cut.
	partial, err := os.OpenFile(path+".partial", os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = partial.WriteAt([]byte{1, 2, 3}, int64(len(whole))-4000000)
	require.NoError(t, errors.Join(err, partial.Close()))
	journal, err := os.Stat(path + ".partial.journal")
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path+".partial.journal", journal.Size()-3))
	made, err = run(1000, gguf.WriteOptions{Job: job("a"), Resume: true})
	require.NoError(t, err)
	require.Equal(t, all-10+2, made, "what is left and the two damaged chunks")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(whole, got))
	require.NoFileExists(t, path+".partial")
	require.NoFileExists(t, path+".partial.journal")
	require.NoError(t, os.Remove(path))

	// Other work, or work that is not to be resumed, starts anew.
	for _, opts := range []gguf.WriteOptions{{Job: job("b"), Resume: true}, {Job: job("a")}} {
		_, err = run(3, gguf.WriteOptions{Job: job("a")})
		require.ErrorIs(t, err, context.Canceled)
		made, err = run(1000, opts)
		require.NoError(t, err)
		require.Equal(t, all, made)
		got, err = os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(whole, got))
		require.NoError(t, os.Remove(path))
	}

	// A failure leaves nothing, resumable or not.
	src.fail = errors.New("cannot read")
	_, err = run(1000, gguf.WriteOptions{Job: job("a")})
	require.ErrorIs(t, err, src.fail)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestWriteReportsProgress(t *testing.T) {
	src := sample()
	var mu sync.Mutex
	var last, total int64
	write(t, src, gguf.WriteOptions{Threads: 1, Progress: func(d, n int64) {
		mu.Lock()
		defer mu.Unlock()
		last, total = max(last, d), n
	}})
	want := int64(0)
	for _, info := range src.tensors {
		want += info.Bytes()
	}
	require.Equal(t, want, last)
	require.Equal(t, want, total)
}

func TestHashesAreOfTensorBytes(t *testing.T) {
	src := sample()
	a, err := gguf.Hash(context.Background(), src, nil)
	require.NoError(t, err)
	f, err := gguf.Open(write(t, src, gguf.WriteOptions{})[0])
	require.NoError(t, err)
	defer f.Close()
	b, err := gguf.Hash(context.Background(), f, nil)
	require.NoError(t, err)
	require.Equal(t, a, b)

	src.data[2][1]++
	c, err := gguf.Hash(context.Background(), src, nil)
	require.NoError(t, err)
	require.NotEqual(t, a.Data, c.Data)
	for i := range a.Tensors {
		require.Equal(t, i != 2, a.Tensors[i] == c.Tensors[i])
	}
}

// header builds headers by hand, for what Write would never write.
type header struct {
	bytes.Buffer
	order binary.ByteOrder
}

func (h *header) num(values ...any) {
	for _, v := range values {
		if err := binary.Write(h, h.order, v); err != nil {
			panic(err)
		}
	}
}

func (h *header) str(s string) {
	h.num(uint64(len(s)))
	h.WriteString(s)
}

func (h *header) tensor(name string, dims []uint64, typ uint32, offset uint64) {
	h.str(name)
	h.num(uint32(len(dims)), dims, typ, offset)
}

// build starts a header and fills it.
func build(order binary.ByteOrder, version uint32, tensors, kvs uint64, fill func(*header)) []byte {
	h := &header{order: order}
	h.WriteString("GGUF")
	h.num(version, tensors, kvs)
	if fill != nil {
		fill(h)
	}
	return h.Bytes()
}

func TestVersionsAndByteOrders(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, version := range []uint32{2, 3} {
			t.Run(fmt.Sprint(order, " ", version), func(t *testing.T) {
				data := build(order, version, 2, 1, func(h *header) {
					h.str("key")
					h.num(uint32(5), int32(-5))
					h.tensor("f", []uint64{2}, uint32(gguf.F32), 0)
					h.tensor("q", []uint64{256}, uint32(gguf.Q3_K), 32)
					h.Write(make([]byte, -h.Len()&31))
					h.num(float32(1), float32(-2))
					h.Write(make([]byte, 24))
					block := bytes.Repeat([]byte{9}, 108)
					h.Write(block)
					h.num(uint16(0x1234))
				})
				f, err := gguf.New(bytes.NewReader(data), int64(len(data)), "memory")
				require.NoError(t, err)
				require.Equal(t, int(version), f.Version())
				v, err := gguf.Value[int32](f.Metadata(), "key")
				require.NoError(t, err)
				require.Equal(t, int32(-5), v)
				row := make([]byte, 8)
				require.NoError(t, f.ReadRows(row, 0, 0, 1))
				require.Equal(t, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, row)
				row = make([]byte, 110)
				require.NoError(t, f.ReadRows(row, 1, 0, 1))
				require.Equal(t, []byte{9, 0x34, 0x12}, row[107:])
			})
		}
	}
}

func TestHostileFilesAreErrors(t *testing.T) {
	le := binary.LittleEndian
	pad := func(h *header, n int) { h.Write(make([]byte, n)) }
	for _, c := range []struct {
		name string
		data []byte
		want error
		says string
	}{
		{"empty", nil, gguf.ErrCorrupt, "magic"},
		{"wrong magic", []byte("GGML\x03\x00\x00\x00"), gguf.ErrNotGGUF, "GGML"},
		{"version 1", build(le, 1, 0, 0, nil), gguf.ErrUnsupported, "version 1"},
		{"version 4", build(le, 4, 0, 0, nil), gguf.ErrUnsupported, "version 4"},
		{"huge tensor count", build(le, 3, 1<<60, 0, nil), gguf.ErrCorrupt, "tensor count at offset 16"},
		{"huge metadata count", build(le, 3, 0, math.MaxUint64, nil), gguf.ErrCorrupt, "metadata count"},
		{"huge key", build(le, 3, 0, 1, func(h *header) { h.num(uint64(1 << 62)); pad(h, 100) }), gguf.ErrCorrupt, "key 0"},
		{"empty key", build(le, 3, 0, 1, func(h *header) { h.str(""); pad(h, 100) }), gguf.ErrCorrupt, "empty"},
		{"huge string", build(le, 3, 0, 1, func(h *header) { h.str("k"); h.num(uint32(8), uint64(math.MaxUint64)); pad(h, 100) }), gguf.ErrCorrupt, `value of "k"`},
		{"huge array", build(le, 3, 0, 1, func(h *header) { h.str("k"); h.num(uint32(9), uint32(10), uint64(1<<61)); pad(h, 100) }), gguf.ErrCorrupt, `value of "k"`},
		{"huge array of strings", build(le, 3, 0, 1, func(h *header) { h.str("k"); h.num(uint32(9), uint32(8), uint64(1<<40)); pad(h, 100) }), gguf.ErrCorrupt, `value of "k"`},
		{"array of arrays", build(le, 3, 0, 1, func(h *header) { h.str("k"); h.num(uint32(9), uint32(9), uint64(1)); pad(h, 100) }), gguf.ErrUnsupported, "array of arrays"},
		{"unknown value type", build(le, 3, 0, 1, func(h *header) { h.str("k"); h.num(uint32(13)); pad(h, 100) }), gguf.ErrCorrupt, "type 13"},
		{"unknown array type", build(le, 3, 0, 1, func(h *header) { h.str("k"); h.num(uint32(9), uint32(99), uint64(1)); pad(h, 100) }), gguf.ErrCorrupt, "type 99"},
		{"duplicate key", build(le, 3, 0, 2, func(h *header) {
			h.str("k")
			h.num(uint32(0), uint8(1))
			h.str("k")
			h.num(uint32(0), uint8(1))
			pad(h, 100)
		}), gguf.ErrCorrupt, `"k" is there twice`},
		{"alignment 0", build(le, 3, 0, 1, func(h *header) { h.str("general.alignment"); h.num(uint32(4), uint32(0)) }), gguf.ErrCorrupt, "alignment"},
		{"alignment 48", build(le, 3, 0, 1, func(h *header) { h.str("general.alignment"); h.num(uint32(4), uint32(48)) }), gguf.ErrCorrupt, "alignment"},
		{"alignment as string", build(le, 3, 0, 1, func(h *header) { h.str("general.alignment"); h.num(uint32(8)); h.str("32") }), gguf.ErrCorrupt, "alignment"},
		{"five dimensions", build(le, 3, 1, 0, func(h *header) { h.tensor("t", make([]uint64, 5), 0, 0); pad(h, 100) }), gguf.ErrCorrupt, "5 dimensions"},
		{"billions of dimensions", build(le, 3, 1, 0, func(h *header) { h.str("t"); h.num(uint32(math.MaxUint32)); pad(h, 100) }), gguf.ErrCorrupt, "dimensions"},
		{"negative dimension", build(le, 3, 1, 0, func(h *header) { h.tensor("t", []uint64{1 << 63}, 0, 0); pad(h, 100) }), gguf.ErrCorrupt, "dimension"},
		{"zero dimension", build(le, 3, 1, 0, func(h *header) { h.tensor("t", []uint64{0, 1 << 62}, 0, 0); pad(h, 100) }), gguf.ErrCorrupt, "shape"},
		{"overflowing shape", build(le, 3, 1, 0, func(h *header) { h.tensor("t", []uint64{1 << 32, 1 << 32}, 0, 0); pad(h, 100) }), gguf.ErrCorrupt, "shape"},
		{"unnamed tensor", build(le, 3, 1, 0, func(h *header) { h.tensor("", []uint64{1}, 0, 0); pad(h, 100) }), gguf.ErrCorrupt, "without a name"},
		{"unknown type", build(le, 3, 1, 0, func(h *header) { h.tensor("t", []uint64{32}, 4, 0); pad(h, 100) }), gguf.ErrUnsupported, "type 4"},
		{"part of a block", build(le, 3, 1, 0, func(h *header) { h.tensor("t", []uint64{40}, uint32(gguf.Q4_0), 0); pad(h, 100) }), gguf.ErrCorrupt, "multiple"},
		{"duplicate tensor", build(le, 3, 2, 0, func(h *header) {
			h.tensor("t", []uint64{1}, 0, 0)
			h.tensor("t", []uint64{1}, 0, 32)
			pad(h, 200)
		}), gguf.ErrCorrupt, `tensor "t"`},
		{"overlapping tensors", build(le, 3, 2, 0, func(h *header) {
			h.tensor("a", []uint64{16}, 0, 0)
			h.tensor("b", []uint64{16}, 0, 32)
			pad(h, 200)
		}), gguf.ErrCorrupt, `"b" has data offset 32, 64 is expected`},
		{"gap", build(le, 3, 1, 0, func(h *header) { h.tensor("a", []uint64{16}, 0, 32); pad(h, 200) }), gguf.ErrCorrupt, "offset 32"},
		{"misaligned", build(le, 3, 2, 0, func(h *header) {
			h.tensor("a", []uint64{1}, 0, 0)
			h.tensor("b", []uint64{1}, 0, 4)
			pad(h, 200)
		}), gguf.ErrCorrupt, "offset 4"},
		{"huge offset", build(le, 3, 1, 0, func(h *header) { h.tensor("a", []uint64{1}, 0, math.MaxUint64); pad(h, 200) }), gguf.ErrCorrupt, "offset"},
		{"data beyond the end", build(le, 3, 1, 0, func(h *header) { h.tensor("a", []uint64{1 << 40}, 0, 0); pad(h, 200) }), gguf.ErrCorrupt, "the file ends"},
		{"split file alone", build(le, 3, 0, 2, func(h *header) {
			h.str("split.count")
			h.num(uint32(2), uint16(2))
			h.str("split.no")
			h.num(uint32(2), uint16(0))
		}), gguf.ErrUnsupported, "split"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := gguf.New(bytes.NewReader(c.data), int64(len(c.data)), "hostile.gguf")
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, "hostile.gguf")
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestTruncatedAnywhereIsAnError(t *testing.T) {
	src := sample()
	src.meta.Delete("f32s")
	data, err := os.ReadFile(write(t, src, gguf.WriteOptions{})[0])
	require.NoError(t, err)
	last := src.tensors[len(src.tensors)-1]
	end := len(data) - int(32-last.Bytes()%32) // the last padding may be missing, as ggml allows
	for n := range end {
		_, err := gguf.New(bytes.NewReader(data[:n]), int64(n), "cut")
		require.ErrorIs(t, err, gguf.ErrCorrupt, "cut at %d of %d", n, len(data))
	}
	_, err = gguf.New(bytes.NewReader(data[:end]), int64(end), "cut")
	require.NoError(t, err)
}

func TestFileThatShrinksAfterOpening(t *testing.T) {
	path := write(t, sample(), gguf.WriteOptions{})[0]
	f, err := gguf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.Truncate(path, f.Offset(2)+5))
	info := f.Tensors()[2]
	err = f.ReadRows(make([]byte, info.Bytes()), 2, 0, info.Rows())
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, info.Name)
}

func TestOpenOfWhatIsNoFile(t *testing.T) {
	_, err := gguf.Open(t.TempDir())
	require.Error(t, err)
	_, err = gguf.Open(filepath.Join(t.TempDir(), "absent.gguf"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestMetadataOrder(t *testing.T) {
	keys := func(m *gguf.Metadata) string {
		var keys []string
		for _, kv := range m.All() {
			keys = append(keys, kv.Key)
		}
		return strings.Join(keys, " ")
	}
	m := gguf.NewMetadata(gguf.KV{Key: "a", Value: "1"}, gguf.KV{Key: "b", Value: "2"}, gguf.KV{Key: "c", Value: "3"})
	c := m.Clone()
	m.Set("a", "4")
	require.Equal(t, "b c a", keys(m))
	m.Delete("c")
	m.Delete("absent")
	require.Equal(t, "b a", keys(m))
	v, ok := m.Get("a")
	require.True(t, ok)
	require.Equal(t, "4", v)
	require.Equal(t, "a b c", keys(c))
	require.Panics(t, func() { m.Set("x", 5) }, "an int has no GGUF type")
}

func TestMetadataGetters(t *testing.T) {
	m := sample().meta
	for key, want := range map[string]uint64{"u8": 200, "u16": 60000, "u32": 4e9, "u64": math.MaxUint64} {
		got, err := m.Uint(key)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, key := range []string{"i8", "i64", "f32", "strings"} {
		_, err := m.Uint(key)
		require.ErrorIs(t, err, gguf.ErrCorrupt, key)
	}
	_, err := m.Uint("absent")
	require.ErrorIs(t, err, gguf.ErrNoKey)
	f, err := m.Float("f64")
	require.NoError(t, err)
	require.Equal(t, math.Pi, f)
	_, err = m.Float("u8")
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	_, err = gguf.Value[string](m, "u8")
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.Equal(t, "[STRING]", gguf.TypeName([]string{}))
}

func TestTypeNames(t *testing.T) {
	known := 0
	for n := range gguf.Types() {
		known++
		for _, s := range []string{n.String(), strings.ToLower(n.String()), fmt.Sprint(uint32(n))} {
			got, err := gguf.ParseType(s)
			require.NoError(t, err)
			require.Equal(t, n, got)
		}
	}
	require.Equal(t, 36, known)
	_, err := gguf.ParseType("Q9_X")
	require.Error(t, err)
	_, err = gguf.ParseType("4")
	require.Error(t, err, "Q4_2 was removed from ggml")
}

func TestAnyModelSurvivesTheFile(t *testing.T) {
	types := []gguf.Type{gguf.F32, gguf.F16, gguf.Q8_0, gguf.Q6_K, gguf.IQ1_S, gguf.NVFP4, gguf.Q1_0}
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		src := &memory{meta: &gguf.Metadata{}}
		for _, key := range rapid.SliceOfDistinct(rapid.StringN(1, 20, -1), func(s string) string { return s }).Draw(t, "keys") {
			src.meta.Set("x."+key, rapid.SliceOf(rapid.String()).Draw(t, "strings"))
		}
		for i := range rapid.IntRange(0, 5).Draw(t, "tensors") {
			typ := rapid.SampledFrom(types).Draw(t, "type")
			shape := []int64{int64(typ.BlockSize() * rapid.IntRange(1, 3).Draw(t, "blocks"))}
			for range rapid.IntRange(0, 3).Draw(t, "dims") {
				shape = append(shape, int64(rapid.IntRange(1, 4).Draw(t, "dim")))
			}
			src.add(fmt.Sprint("tensor ", i), typ, shape...)
		}
		path := filepath.Join(dir, "any.gguf")
		opts := gguf.WriteOptions{Overwrite: true, MaxBytes: rapid.Int64Range(0, 2000).Draw(t, "max")}
		paths, err := gguf.Write(context.Background(), path, src, opts)
		if err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Open(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, want := len(f.Tensors()), len(src.tensors); got != want || f.Metadata().Len() != src.meta.Len() {
			t.Fatalf("%d tensors, %d pairs", got, f.Metadata().Len())
		}
		for i, info := range src.tensors {
			data := make([]byte, info.Bytes())
			if err := f.ReadRows(data, i, 0, info.Rows()); err != nil || !bytes.Equal(data, src.data[i]) {
				t.Fatalf("%v: %v", info, err)
			}
		}
	})
}

// FuzzNew demands that whatever New accepts is consistent and can be read.
func FuzzNew(f *testing.F) {
	src := sample()
	src.meta.Delete("f32s") // small seeds are mutated faster
	paths, err := gguf.Write(context.Background(), filepath.Join(f.TempDir(), "seed.gguf"), src, gguf.WriteOptions{})
	require.NoError(f, err)
	data, err := os.ReadFile(paths[0])
	require.NoError(f, err)
	f.Add(data)
	f.Add(build(binary.BigEndian, 3, 1, 1, func(h *header) {
		h.str("k")
		h.num(uint32(9), uint32(8), uint64(1))
		h.str("v")
		h.tensor("t", []uint64{32, 2}, uint32(gguf.Q5_1), 0)
		h.Write(make([]byte, 100))
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.New(bytes.NewReader(data), int64(len(data)), "fuzz")
		if err != nil {
			return
		}
		for i, info := range file.Tensors() {
			require.NoError(t, info.Check())
			require.NoError(t, file.ReadRows(make([]byte, info.Bytes()), i, 0, info.Rows()))
		}
	})
}

// An alignment of up to 1 MiB is kept, a larger one refused before anything is built.
func TestAlignmentIsBounded(t *testing.T) {
	for alignment, ok := range map[uint32]bool{1: true, 8: true, 1 << 16: true, 1 << 20: true, 1 << 21: false, 1 << 31: false, 3: false, 0: false} {
		src := sample()
		src.meta.Set("general.alignment", alignment)
		path := filepath.Join(t.TempDir(), "model.gguf")
		_, err := gguf.Write(t.Context(), path, src, gguf.WriteOptions{})
		if !ok {
			require.Error(t, err, "%d", alignment)
			require.NoFileExists(t, path)
			continue
		}
		require.NoError(t, err, "%d", alignment)
		f, err := gguf.Open(path)
		require.NoError(t, err)
		require.Zero(t, f.Offset(1)%int64(alignment))
		require.NoError(t, f.Close())
	}
	head := []byte("GGUF\x03\x00\x00\x00" + strings.Repeat("\x00", 8) + "\x01" + strings.Repeat("\x00", 7) +
		"\x11" + strings.Repeat("\x00", 7) + "general.alignment" + "\x04\x00\x00\x00" + "\x00\x00\x00\x80")
	_, err := gguf.New(bytes.NewReader(head), int64(len(head)), "large")
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.ErrorContains(t, err, "general.alignment")
}

// Headers with more pairs or tensors than any model has are refused before they are read.
func TestCountsAreBounded(t *testing.T) {
	for _, counts := range []string{
		"\x01\x00\x04\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 8),
		strings.Repeat("\x00", 8) + "\x01\x00\x04\x00\x00\x00\x00\x00",
	} {
		head := "GGUF\x03\x00\x00\x00" + counts
		_, err := gguf.New(strings.NewReader(head), 1<<30, "many")
		require.ErrorIs(t, err, gguf.ErrUnsupported)
		require.ErrorContains(t, err, "262145, more than 262144")
	}
}
