package imatrix_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

const moe = "testdata/moe.imatrix"

func TestValuesAreThoseOfLlamaImatrix(t *testing.T) {
	raw, err := os.ReadFile("testdata/moe.json")
	require.NoError(t, err)
	var want map[string]struct {
		Values int64
		SHA256 string
	}
	require.NoError(t, json.Unmarshal(raw, &want))
	m, err := imatrix.Open(moe)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()

	require.Equal(t, moe, m.Name())
	require.Equal(t, []string{"/texts/calibration.txt"}, m.Datasets())
	require.Equal(t, int64(214), m.Chunks())
	require.Empty(t, m.Unseen())
	require.Len(t, m.Tensors(), len(want))
	for tensor, w := range want {
		require.Equal(t, w.Values, m.Values(tensor), tensor)
		values := make([]float32, w.Values)
		require.NoError(t, m.Read(values, tensor, 0))
		raw, err := binary.Append(nil, binary.LittleEndian, values)
		require.NoError(t, err)
		sum := sha256.Sum256(raw)
		require.Equal(t, w.SHA256, hex.EncodeToString(sum[:8]), tensor)
		part := make([]float32, 7)
		require.NoError(t, m.Read(part, tensor, w.Values-9))
		require.Equal(t, values[w.Values-9:w.Values-2], part)
		require.Error(t, m.Read(part, tensor, w.Values-6))
		require.Error(t, m.Read(part, tensor, -1))
	}
	require.Zero(t, m.Values("output.weight"))
	require.ErrorContains(t, m.Read(nil, "output.weight", 0), "output.weight")
}

// source is a GGUF file in memory.
type source struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	data    [][]float32
}

func (s *source) Metadata() *gguf.Metadata   { return s.meta }
func (s *source) Tensors() []gguf.TensorInfo { return s.tensors }
func (s *source) ReadRows(dst []byte, tensor int, first, n int64) error {
	width := s.tensors[tensor].RowLen()
	_, err := binary.Encode(dst, binary.LittleEndian, s.data[tensor][first*width:][:n*width])
	return err
}

func (s *source) add(name string, data []float32, shape ...int64) {
	s.tensors = append(s.tensors, gguf.TensorInfo{Name: name, Shape: shape})
	s.data = append(s.data, data)
}

func newSource() *source {
	return &source{meta: gguf.NewMetadata(
		gguf.KV{Key: "general.type", Value: "imatrix"},
		gguf.KV{Key: "imatrix.datasets", Value: []string{"a.txt", "b.txt"}},
		gguf.KV{Key: "imatrix.chunk_count", Value: uint32(3)},
		gguf.KV{Key: "imatrix.chunk_size", Value: uint32(512)},
	)}
}

func (s *source) bytes(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "imatrix.gguf")
	_, err := gguf.Write(context.Background(), path, s, gguf.WriteOptions{})
	require.NoError(t, err)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func read(data []byte) (*imatrix.Matrix, error) {
	return imatrix.New(bytes.NewReader(data), int64(len(data)), "test")
}

func experts() *source {
	s := newSource()
	s.add("blk.0.ffn_up_exps.weight.in_sum2", []float32{2, 4, 0, 0, 9, 0}, 2, 3)
	s.add("blk.0.ffn_up_exps.weight.counts", []float32{2, 0, 3}, 1, 3)
	s.add("blk.0.attn_q.weight.in_sum2", []float32{1, 2}, 2)
	s.add("blk.0.attn_q.weight.counts", []float32{4}, 1)
	return s
}

func values(t *testing.T, m *imatrix.Matrix, tensor string) []float32 {
	t.Helper()
	v := make([]float32, m.Values(tensor))
	require.NoError(t, m.Read(v, tensor, 0))
	return v
}

func TestExpertsWithoutDataCountTheSame(t *testing.T) {
	m, err := read(experts().bytes(t))
	require.NoError(t, err)
	require.Equal(t, []float32{1, 2, 1, 1, 3, 0}, values(t, m, "blk.0.ffn_up_exps.weight"))
	require.Equal(t, []float32{0.25, 0.5}, values(t, m, "blk.0.attn_q.weight"))
	require.Equal(t, []imatrix.Unseen{{Tensor: "blk.0.ffn_up_exps.weight", Matrices: []int{1}, Of: 3}}, m.Unseen())
	third := make([]float32, 2)
	require.NoError(t, m.Read(third, "blk.0.ffn_up_exps.weight", 4))
	require.Equal(t, []float32{3, 0}, third)
}

func TestFilter(t *testing.T) {
	m, err := read(experts().bytes(t))
	require.NoError(t, err)
	f := m.Filter(func(tensor string) bool { return strings.Contains(tensor, "attn") })
	require.Equal(t, []string{"blk.0.attn_q.weight"}, f.Tensors())
	require.Empty(t, f.Unseen())
	require.Zero(t, f.Values("blk.0.ffn_up_exps.weight"))
	require.Len(t, m.Tensors(), 2)
}

// legacyEntry is a tensor of a .dat file.
type legacyEntry struct {
	name   string
	calls  int32
	values []float32
}

func legacy(t testing.TB, trailer []byte, entries ...legacyEntry) []byte {
	t.Helper()
	put := func(b []byte, v any) []byte {
		b, err := binary.Append(b, binary.LittleEndian, v)
		require.NoError(t, err)
		return b
	}
	b := put(nil, int32(len(entries)))
	for _, e := range entries {
		b = put(b, int32(len(e.name)))
		b = append(b, e.name...)
		b = put(b, e.calls)
		b = put(b, int32(len(e.values)))
		b = put(b, e.values)
	}
	return append(b, trailer...)
}

func TestLegacyFormat(t *testing.T) {
	entries := []legacyEntry{{"blk.0.attn_q.weight", 4, []float32{1, 2, 6}}, {"blk.0.ffn_up_exps.weight", 0, []float32{5, 7}}}
	m, err := read(legacy(t, []byte("\x09\x00\x00\x00\x05\x00\x00\x00a.txt"), entries...))
	require.NoError(t, err)
	require.Equal(t, []string{"blk.0.attn_q.weight", "blk.0.ffn_up_exps.weight"}, m.Tensors())
	require.Equal(t, []float32{0.25, 0.5, 1.5}, values(t, m, "blk.0.attn_q.weight"))
	require.Equal(t, []float32{5, 7}, values(t, m, "blk.0.ffn_up_exps.weight"))
	require.Equal(t, int64(9), m.Chunks())
	require.Equal(t, []string{"a.txt"}, m.Datasets())
	require.Empty(t, m.Unseen())

	m, err = read(legacy(t, nil, entries...))
	require.NoError(t, err)
	require.Zero(t, m.Chunks())
	require.Empty(t, m.Datasets())
}

func TestBothFormatsSayTheSame(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		sums := rapid.SliceOfN(rapid.Float32Range(0, math.MaxFloat32), 1, 40).Draw(r, "sums")
		count := rapid.Int32Range(1, 1<<20).Draw(r, "count")
		s := newSource()
		s.add("w.in_sum2", sums, int64(len(sums)), 1)
		s.add("w.counts", []float32{float32(count)}, 1, 1)
		a, err := read(s.bytes(t))
		require.NoError(r, err)
		b, err := read(legacy(t, nil, legacyEntry{"w", count, sums}))
		require.NoError(r, err)
		require.Equal(r, values(t, a, "w"), values(t, b, "w"))
	})
}

func TestBrokenFiles(t *testing.T) {
	nan := float32(math.NaN())
	build := func(change func(s *source)) []byte {
		s := experts()
		change(s)
		return s.bytes(t)
	}
	q := legacyEntry{"w", 1, []float32{1, 2}}
	for name, c := range map[string]struct {
		data    []byte
		want    error
		message string
	}{
		"nothing":       {nil, gguf.ErrCorrupt, "test"},
		"text":          {[]byte("not a matrix at all"), gguf.ErrCorrupt, ".dat format"},
		"another GGUF":  {build(func(s *source) { s.meta = gguf.NewMetadata(gguf.KV{Key: "general.type", Value: "model"}) }), gguf.ErrNoKey, "not an importance matrix"},
		"no chunk size": {build(func(s *source) { s.meta.Delete("imatrix.chunk_size") }), gguf.ErrNoKey, "imatrix.chunk_size"},
		"many chunks":   {build(func(s *source) { s.meta.Set("imatrix.chunk_count", uint64(1)<<40) }), gguf.ErrCorrupt, "imatrix.chunk_count"},
		"no counts":     {build(func(s *source) { s.tensors[3].Name = "other" }), gguf.ErrCorrupt, `"blk.0.attn_q.weight.counts"`},
		"no sums":       {build(func(s *source) { s.tensors[2].Name = "other" }), gguf.ErrCorrupt, `"blk.0.attn_q.weight.in_sum2"`},
		"no tensors":    {build(func(s *source) { s.tensors = nil }), gguf.ErrCorrupt, "no tensor"},
		"uneven":        {build(func(s *source) { s.tensors[0].Shape = []int64{5} }), gguf.ErrCorrupt, "5 values for 3 matrices"},
		"integers":      {build(func(s *source) { s.tensors[2].Type = gguf.I32 }), gguf.ErrUnsupported, "I32"},
		"NaN":           {build(func(s *source) { s.data[0][4] = nan }), gguf.ErrCorrupt, "number 4"},
		"negative":      {build(func(s *source) { s.data[2][1] = -1 }), gguf.ErrCorrupt, "is -1"},
		"bad count":     {build(func(s *source) { s.data[1][2] = nan }), gguf.ErrCorrupt, "matrix 2 is NaN"},

		"legacy without tensors": {legacy(t, nil), gguf.ErrCorrupt, "0 tensors"},
		"legacy infinite":        {legacy(t, nil, legacyEntry{"w", 1, []float32{float32(math.Inf(1))}}), gguf.ErrCorrupt, "+Inf"},
		"legacy without values":  {legacy(t, nil, legacyEntry{"w", 1, nil}), gguf.ErrCorrupt, "0 values"},
		"legacy twice":           {legacy(t, nil, q, q), gguf.ErrCorrupt, "twice"},
		"legacy huge name":       {[]byte("\x01\x00\x00\x00\xff\xff\xff\x7fabc"), gguf.ErrCorrupt, "a name of 2147483647 bytes"},
		"legacy huge tensor":     {[]byte("\x01\x00\x00\x00\x01\x00\x00\x00w\x01\x00\x00\x00\xff\xff\xff\x7fabc"), gguf.ErrCorrupt, "2147483647 values"},
		"legacy many tensors":    {[]byte("\xff\xff\xff\x7f\x01\x00\x00\x00w"), gguf.ErrCorrupt, "ends at 9"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(c.data)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.message)
			require.ErrorContains(t, err, "test")
		})
	}
	// What is cut short is refused, but for the padding at the end of a GGUF
	// file and the trailer of a .dat file.
	const padding = 32 - 4
	whole := experts().bytes(t)
	for n := range len(whole) - padding {
		_, err := read(whole[:n])
		require.Error(t, err, n)
	}
	noTrailer := legacy(t, nil, q)
	whole = append(noTrailer, "\x09\x00\x00\x00\x05\x00\x00\x00a.txt"...)
	for n := range whole {
		_, err := read(whole[:n])
		require.Equal(t, n == len(noTrailer), err == nil, n)
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	_, err := imatrix.Open("testdata/absent.gguf")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = imatrix.Open("testdata")
	require.ErrorContains(t, err, "not a regular file")
	_, err = imatrix.Open("testdata/README.md")
	require.ErrorContains(t, err, "testdata/README.md")
}

func FuzzNew(f *testing.F) {
	whole, err := os.ReadFile(moe)
	require.NoError(f, err)
	f.Add(whole[:512])
	f.Add(experts().bytes(f))
	f.Add(legacy(f, []byte("\x09\x00\x00\x00\x05\x00\x00\x00a.txt"), legacyEntry{"w", 3, []float32{1, 2, 3}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := read(data)
		if err != nil {
			return
		}
		for _, tensor := range m.Tensors() {
			for _, v := range values(t, m, tensor) {
				require.True(t, v >= 0 && v <= math.MaxFloat32, "%v", v)
			}
		}
		sums := &imatrix.Sums{ChunkSize: 512}
		require.NoError(t, sums.AddMatrix(m))
		sums.Statistics()
		var dat bytes.Buffer
		if sums.WriteLegacy(&dat) != nil {
			return
		}
		if again, err := read(dat.Bytes()); err == nil {
			require.Subset(t, m.Tensors(), again.Tensors())
		}
	})
}
