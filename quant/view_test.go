package quant_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// synthetic is a source whose weights come from a formula of the tensor's name
// and the element's index.
type synthetic struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	// special overrides elements, by tensor and index.
	special map[string]map[int64]float32
	fail    error // returned by reads
}

func (s *synthetic) Metadata() *gguf.Metadata   { return s.meta }
func (s *synthetic) Tensors() []gguf.TensorInfo { return s.tensors }

func (s *synthetic) ReadRows(dst []byte, tensor int, first, n int64) error {
	t := s.tensors[tensor]
	if err := t.CheckRows(dst, first, n); err != nil {
		return err
	}
	if s.fail != nil {
		return s.fail
	}
	x := make([]float32, n*t.RowLen())
	crc := crc32.ChecksumIEEE([]byte(t.Name))
	for i := range x {
		element := first*t.RowLen() + int64(i)
		u := uint32(element)*2654435761 + crc
		v := (float64(u)/(1<<32) - 0.5) * 0.1
		if u%251 == 0 {
			v *= 5
		}
		x[i] = float32(v)
		if v, ok := s.special[t.Name][element]; ok {
			x[i] = v
		}
	}
	return quant.Quantize(t.Type, dst, x, int(t.RowLen()), nil)
}

func (s *synthetic) add(name string, typ gguf.Type, shape ...int64) {
	s.tensors = append(s.tensors, gguf.TensorInfo{Name: name, Type: typ, Shape: shape})
}

// newSynthetic returns a mixture of four experts, its tensors neither in the
// order of the layers nor of the names.
func newSynthetic() *synthetic {
	s := &synthetic{meta: gguf.NewMetadata(
		gguf.KV{Key: "general.architecture", Value: "llama"},
		gguf.KV{Key: "general.file_type", Value: uint32(1)},
		gguf.KV{Key: "split.no", Value: uint16(0)},
		gguf.KV{Key: "llama.block_count", Value: uint32(8)},
		gguf.KV{Key: "split.count", Value: uint16(1)},
		gguf.KV{Key: "split.tensors.count", Value: int32(83)},
		gguf.KV{Key: "llama.attention.head_count", Value: uint32(8)},
		gguf.KV{Key: "llama.attention.head_count_kv", Value: uint32(2)},
		gguf.KV{Key: "llama.expert_count", Value: uint32(4)},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: []string{"a", "b"}},
	)}
	s.add("token_embd.weight", gguf.F16, 256, 512)
	s.add("output_norm.weight", gguf.F32, 256)
	s.add("output.weight", gguf.F16, 256, 512)
	for layer := range 8 {
		p := fmt.Sprintf("blk.%d.", layer)
		s.add(p+"attn_norm.weight", gguf.F32, 256)
		s.add(p+"ffn_norm.weight", gguf.F32, 256)
		s.add(p+"attn_q.weight", gguf.F16, 256, 256)
		s.add(p+"attn_k.weight", gguf.F16, 256, 64)
		s.add(p+"attn_v.weight", gguf.F16, 256, 64)
		s.add(p+"attn_output.weight", gguf.F16, 256, 256)
		s.add(p+"ffn_gate_inp.weight", gguf.F32, 256, 4)
		s.add(p+"ffn_gate_exps.weight", gguf.F16, 256, 256, 4)
		s.add(p+"ffn_up_exps.weight", gguf.F16, 256, 256, 4)
		s.add(p+"ffn_down_exps.weight", gguf.F16, 256, 256, 4)
	}
	return s
}

func find(t *testing.T, src gguf.Source, name string) int {
	t.Helper()
	i := slices.IndexFunc(src.Tensors(), func(info gguf.TensorInfo) bool { return info.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return i
}

func readTensor(t *testing.T, src gguf.Source, name string) []byte {
	t.Helper()
	i := find(t, src, name)
	info := src.Tensors()[i]
	data := make([]byte, info.Bytes())
	require.NoError(t, src.ReadRows(data, i, 0, info.Rows()))
	return data
}

func newView(t *testing.T, src gguf.Source, ft recipe.FileType) *quant.View {
	t.Helper()
	view, err := quant.NewView(src, ft, quant.ViewOptions{})
	require.NoError(t, err)
	return view
}

func TestViewIsWhatLlamaQuantizeWrites(t *testing.T) {
	skipLong(t)
	raw, err := os.ReadFile("testdata/synthetic.json")
	require.NoError(t, err)
	var golden map[string]map[string]string
	require.NoError(t, json.Unmarshal(raw, &golden))
	require.NotEmpty(t, golden)
	src := newSynthetic()
	for name, byFileType := range golden {
		for fileType, want := range byFileType {
			t.Run(name+"/"+fileType, func(t *testing.T) {
				ft, err := recipe.ParseFileType(fileType)
				require.NoError(t, err)
				view := newView(t, src, ft)
				typ := view.Tensors()[find(t, view, name)].Type
				got := typ.String() + " " + hash(readTensor(t, view, name))[:12]
				require.Equal(t, want, got)
			})
		}
	}
}

func TestViewHasMetadataOfLlamaQuantize(t *testing.T) {
	src := newSynthetic()
	before := slices.Clone(src.meta.All())
	view := newView(t, src, recipe.Q4_K_M)
	require.Equal(t, []gguf.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "llama.block_count", Value: uint32(8)},
		{Key: "llama.attention.head_count", Value: uint32(8)},
		{Key: "llama.attention.head_count_kv", Value: uint32(2)},
		{Key: "llama.expert_count", Value: uint32(4)},
		{Key: "tokenizer.ggml.tokens", Value: []string{"a", "b"}},
		{Key: "general.quantization_version", Value: uint32(2)},
		{Key: "general.file_type", Value: uint32(15)},
	}, view.Metadata().All())
	require.Equal(t, before, src.meta.All(), "the source's metadata stay as they are")
}

func TestViewHasTensorsInOrder(t *testing.T) {
	src := newSynthetic()
	view := newView(t, src, recipe.Q8_0)
	require.Len(t, view.Tensors(), len(src.tensors))
	names := make([]string, 0, len(src.tensors))
	for _, info := range view.Tensors() {
		names = append(names, info.Name)
		original := src.tensors[find(t, src, info.Name)]
		require.Equal(t, original.Shape, info.Shape)
	}
	require.Equal(t, []string{"output.weight", "output_norm.weight", "token_embd.weight"}, names[:3])
	require.Equal(t, "blk.0.attn_k.weight", names[3])
	require.Equal(t, "blk.7.ffn_up_exps.weight", names[len(names)-1])
}

func TestViewReadsAnyRowsConcurrently(t *testing.T) {
	view := newView(t, newSynthetic(), recipe.Q4_K_M)
	const name = "blk.1.ffn_down_exps.weight"
	want := readTensor(t, view, name)
	i := find(t, view, name)
	info := view.Tensors()[i]
	got := make([]byte, len(want))
	var group errgroup.Group
	for first, n := int64(0), int64(1); first < info.Rows(); first, n = first+n, n%97*3+1 {
		rows := min(n, info.Rows()-first)
		group.Go(func() error {
			return view.ReadRows(got[first*info.RowBytes():][:rows*info.RowBytes()], i, first, rows)
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, want, got)

	require.NoError(t, view.ReadRows(nil, i, info.Rows(), 0))
	require.Error(t, view.ReadRows(got[:info.RowBytes()], i, info.Rows(), 1))
	require.Error(t, view.ReadRows(got[:1], i, 0, 1))
}

func TestViewCopiesWhatHasItsType(t *testing.T) {
	src := newSynthetic()
	view := newView(t, src, recipe.F16)
	for _, name := range []string{"blk.3.attn_norm.weight", "blk.3.ffn_gate_inp.weight", "blk.3.attn_k.weight"} {
		require.Equal(t, readTensor(t, src, name), readTensor(t, view, name))
	}

	// Quantizing again to the same file type changes nothing, and needs leave
	// only where types differ.
	once := newView(t, newSynthetic(), recipe.Q5_0)
	_, err := quant.NewView(once, recipe.Q5_1, quant.ViewOptions{})
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.ErrorContains(t, err, `tensor "token_embd.weight" is Q5_0 already`)
	twice := newView(t, once, recipe.Q5_0)
	require.Equal(t, once.Tensors(), twice.Tensors())
	require.Equal(t, readTensor(t, once, "blk.0.attn_k.weight"), readTensor(t, twice, "blk.0.attn_k.weight"))
}

func TestViewRequantizesWhenAllowed(t *testing.T) {
	const name = "blk.0.attn_k.weight"
	once := newView(t, newSynthetic(), recipe.Q8_0)
	view, err := quant.NewView(once, recipe.Q4_0, quant.ViewOptions{AllowRequantize: true})
	require.NoError(t, err)
	want := quantize(t, gguf.Q4_0, dequantize(t, gguf.Q8_0, readTensor(t, once, name)))
	require.Equal(t, want, readTensor(t, view, name))
}

func TestViewRefusesWhatItCannotDo(t *testing.T) {
	refused := func(src gguf.Source, ft recipe.FileType, message string) {
		t.Helper()
		_, err := quant.NewView(src, ft, quant.ViewOptions{AllowRequantize: true})
		require.ErrorIs(t, err, gguf.ErrUnsupported)
		require.ErrorContains(t, err, message)
	}
	refused(newSynthetic(), 6, "file type 6")

	src := newSynthetic()
	src.tensors[0].Type = gguf.Q8_K
	refused(src, recipe.Q8_0, `tensor "token_embd.weight" is Q8_K, which cannot be read`)
}

func TestViewReportsNumbersThatAreNotFinite(t *testing.T) {
	src := newSynthetic()
	src.special = map[string]map[int64]float32{
		"blk.0.attn_k.weight":    {256*63 + 5: float32(math.NaN())},
		"blk.0.attn_norm.weight": {7: float32(math.Inf(-1))},
		"blk.1.attn_k.weight":    {256 * 9: 3e9},
	}
	src.tensors[find(t, src, "blk.1.attn_k.weight")].Type = gguf.F32
	view := newView(t, src, recipe.Q8_0)
	read := func(name string, first, n int64) error {
		i := find(t, view, name)
		return view.ReadRows(make([]byte, n*view.Tensors()[i].RowBytes()), i, first, n)
	}

	require.NoError(t, read("blk.0.attn_k.weight", 0, 63))
	err := read("blk.0.attn_k.weight", 1, 63)
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, `tensor "blk.0.attn_k.weight", row 63: block 5 of F16 has NaN`)

	err = read("blk.0.attn_norm.weight", 0, 1)
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, `tensor "blk.0.attn_norm.weight", row 0: block 7 of F32 has -Inf`)

	err = read("blk.1.attn_k.weight", 8, 4)
	require.NotErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, `tensor "blk.1.attn_k.weight", row 9, does not fit into Q8_0: block 0 of Q8_0 has +Inf`)
}

func TestViewPassesErrorsOn(t *testing.T) {
	src := newSynthetic()
	view := newView(t, src, recipe.Q8_0)
	src.fail = errors.New("disk on fire")
	for i, info := range view.Tensors()[:3] {
		require.ErrorIs(t, view.ReadRows(make([]byte, info.RowBytes()), i, 0, 1), src.fail)
	}
}

// A row longer than what is converted at a time is still read whole.
func TestViewReadsLongRows(t *testing.T) {
	src := newSynthetic()
	src.add("long.weight", gguf.F32, 1<<18, 2)
	view := newView(t, src, recipe.Q8_0)
	values := dequantize(t, gguf.F32, readTensor(t, src, "long.weight"))
	require.Equal(t, quantize(t, gguf.Q8_0, values), readTensor(t, view, "long.weight"))
}

// TestViewRowsID checks that equal ids mean equal rows, and other rows other ids.
func TestViewRowsID(t *testing.T) {
	src := newSynthetic()
	type rows struct {
		view   string
		tensor string
		data   []byte
	}
	byID := make(map[any][]rows)
	for _, ft := range []recipe.FileType{recipe.Q4_K_M, recipe.Q5_K_M, recipe.Q6_K} {
		v, err := quant.NewView(src, ft, quant.ViewOptions{})
		require.NoError(t, err)
		for i, info := range v.Tensors() {
			id := gguf.RowsID(v, i)
			if info.Type == src.tensors[v.Origin(i)].Type {
				require.Nil(t, id, "%s is not quantized", info.Name)
				continue
			}
			data := make([]byte, 4*info.RowBytes())
			require.NoError(t, v.ReadRows(data, i, 3, 4))
			byID[id] = append(byID[id], rows{ft.String(), info.Name, data})
		}
	}
	shared := 0
	for _, all := range byID {
		for _, other := range all[1:] {
			shared++
			require.Equal(t, all[0].tensor, other.tensor)
			require.Equal(t, all[0].data, other.data, "%s of %s and %s", other.tensor, all[0].view, other.view)
		}
	}
	require.Greater(t, shared, 10, "Q4_K_M has tensors of Q6_K")

	other, err := quant.NewView(newSynthetic(), recipe.Q6_K, quant.ViewOptions{})
	require.NoError(t, err)
	for i := range other.Tensors() {
		_, ok := byID[gguf.RowsID(other, i)]
		require.False(t, ok, "another source")
	}
}

// TestViewDropsDimensions: of the gate of a shared expert, which is a matrix of one
// row, llama-quantize writes one dimension, and it stays as it is.
func TestViewDropsDimensions(t *testing.T) {
	src := newSynthetic()
	src.add("blk.0.ffn_gate_inp_shexp.weight", gguf.F32, 256, 1)
	src.add("blk.0.narrow.weight", gguf.F32, 256, 1, 2)
	view, err := quant.NewView(src, recipe.Q8_0, quant.ViewOptions{})
	require.NoError(t, err)
	shapes := make(map[string][]int64)
	for i, info := range view.Tensors() {
		shapes[info.Name] = info.Shape
		if info.Name == "blk.0.ffn_gate_inp_shexp.weight" {
			require.Equal(t, gguf.F32, info.Type)
			require.NoError(t, view.ReadRows(make([]byte, info.Bytes()), i, 0, 1))
		}
	}
	require.Equal(t, []int64{256}, shapes["blk.0.ffn_gate_inp_shexp.weight"])
	require.Equal(t, []int64{256, 1, 2}, shapes["blk.0.narrow.weight"])
}

// able is a source that notes which rows it is told of, and whose rows are in memory.
type able struct {
	*synthetic
	prefetched []string
}

func (a *able) Prefetch(tensor int, first, n int64) {
	a.prefetched = append(a.prefetched, fmt.Sprintf("%s from %d, %d", a.tensors[tensor].Name, first, n))
}

func (a *able) Map() error                   { return nil }
func (a *able) Guard(use func() error) error { return use() }

func (a *able) Rows(tensor int, first, n int64) []byte {
	rows := make([]byte, n*a.tensors[tensor].RowBytes())
	if err := a.ReadRows(rows, tensor, first, n); err != nil {
		panic(err)
	}
	return rows
}

// What a source can do beside reading rows is not lost in its views.
func TestViewHasWhatItsSourceCan(t *testing.T) {
	src := &able{synthetic: newSynthetic()}
	view := newView(t, src, recipe.Q8_0)
	for what, v := range map[string]gguf.Source{"view": view, "original": view.Original(), "copy": newView(t, src, recipe.Copy)} {
		t.Run(what, func(t *testing.T) {
			src.prefetched = nil
			gguf.Prefetch(v, find(t, v, "blk.3.ffn_up_exps.weight"), 256, 512)
			require.Equal(t, []string{"blk.3.ffn_up_exps.weight from 256, 512"}, src.prefetched)
			for i, info := range v.Tensors() {
				rows, _ := gguf.MappedRows(v, i, 0, 1)
				if info.Type != src.tensors[find(t, src, info.Name)].Type {
					require.Nil(t, rows, info.Name)
					continue
				}
				want := make([]byte, info.RowBytes())
				require.NoError(t, v.ReadRows(want, i, 0, 1))
				require.Equal(t, want, rows, info.Name)
			}
		})
	}
}

// Views of wrappers of one source know that they make the same rows.
func TestViewRowsIDThroughWrappers(t *testing.T) {
	src := newSynthetic()
	direct := newView(t, src, recipe.Q4_K_M)
	wrapped := newView(t, newView(t, src, recipe.Copy), recipe.Q4_K_M)
	twice := newView(t, newView(t, newView(t, src, recipe.Copy).Original(), recipe.Copy), recipe.Q4_K_M)
	copied := newView(t, direct, recipe.Copy)
	made := 0
	for _, info := range direct.Tensors() {
		id := gguf.RowsID(direct, find(t, direct, info.Name))
		for _, v := range []gguf.Source{wrapped, twice, copied} {
			require.Equal(t, id, gguf.RowsID(v, find(t, v, info.Name)), info.Name)
		}
		if id != nil {
			made++
		}
	}
	require.Greater(t, made, 50)

	again, err := quant.NewView(direct, recipe.Q8_0, quant.ViewOptions{AllowRequantize: true})
	require.NoError(t, err)
	i := find(t, again, "blk.0.attn_q.weight")
	require.NotNil(t, gguf.RowsID(again, i))
	require.NotEqual(t, gguf.RowsID(newView(t, src, recipe.Q8_0), find(t, again, "blk.0.attn_q.weight")), gguf.RowsID(again, i), "made of Q4_K")
	require.Equal(t, gguf.RowsID(again, i), func() any {
		other, err := quant.NewView(copied, recipe.Q8_0, quant.ViewOptions{AllowRequantize: true})
		require.NoError(t, err)
		return gguf.RowsID(other, find(t, other, "blk.0.attn_q.weight"))
	}())
}
