package quant_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

func readGzip(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(unzipped).Decode(v))
}

// recordedModels returns models that llama-quantize was given, without data.
func recordedModels(t *testing.T) map[string]*synthetic {
	t.Helper()
	var records struct {
		Cases map[string]struct {
			Metadata map[string]any
			Tensors  [][3]any
		}
	}
	readGzip(t, "recipe/testdata/llama-quantize.json.gz", &records)
	models := make(map[string]*synthetic)
	for name, c := range records.Cases {
		s := &synthetic{meta: gguf.NewMetadata()}
		for key, v := range c.Metadata {
			switch v := v.(type) {
			case string:
				s.meta.Set(key, v)
			case float64:
				s.meta.Set(key, uint32(v))
			}
		}
		for _, v := range c.Tensors {
			var shape []int64
			for _, d := range v[2].([]any) {
				shape = append(shape, int64(d.(float64)))
			}
			s.add(v[0].(string), parseType(t, v[1].(string)), shape...)
		}
		models[name] = s
	}
	return models
}

func parseType(t *testing.T, name string) gguf.Type {
	t.Helper()
	typ, err := gguf.ParseType(name)
	require.NoError(t, err)
	return typ
}

// viewOptions reads llama-quantize's arguments.
func viewOptions(t *testing.T, args []string) quant.ViewOptions {
	t.Helper()
	opts := quant.ViewOptions{DryRun: true}
	for len(args) > 0 {
		name := args[0]
		args = args[1:]
		switch name {
		case "--pure":
			opts.Recipe.Pure = true
			continue
		case "--leave-output-tensor":
			opts.Recipe.LeaveOutput = true
			continue
		case "--keep-split":
			opts.Recipe.KeepOrder = true
			continue
		}
		value := args[0]
		args = args[1:]
		switch name {
		case "--imatrix":
			opts.Recipe.Imatrix = true
		case "--output-tensor-type":
			typ := parseType(t, value)
			opts.Recipe.OutputType = &typ
		case "--token-embedding-type":
			typ := parseType(t, value)
			opts.Recipe.TokenEmbeddingType = &typ
		case "--tensor-type":
			o, err := recipe.ParseOverride(value)
			require.NoError(t, err)
			opts.Recipe.Overrides = append(opts.Recipe.Overrides, o)
		case "--override-kv":
			kv, err := quant.ParseOverrideKV(value)
			require.NoError(t, err)
			opts.Metadata = append(opts.Metadata, kv)
		case "--prune-layers":
			for _, s := range strings.Split(value, ",") {
				n, err := strconv.Atoi(s)
				require.NoError(t, err)
				opts.PruneLayers = append(opts.PruneLayers, n)
			}
		default:
			t.Fatal(name)
		}
	}
	return opts
}

func TestViewTakesOptionsAsLlamaQuantize(t *testing.T) {
	models := recordedModels(t)
	var records struct {
		Types []string
		Runs  []struct {
			Model      string
			Args       []string
			Type       string
			Order      []string
			Types      string
			InputOrder []string `json:"input_order"`
		}
	}
	readGzip(t, "testdata/options.json.gz", &records)
	require.NotEmpty(t, records.Runs)
	for _, run := range records.Runs {
		t.Run(run.Model+"/"+run.Type+" "+strings.Join(run.Args, " "), func(t *testing.T) {
			src := *models[run.Model]
			if run.InputOrder != nil {
				src.tensors = slices.Clone(src.tensors)
				slices.SortFunc(src.tensors, func(a, b gguf.TensorInfo) int {
					return slices.Index(run.InputOrder, a.Name) - slices.Index(run.InputOrder, b.Name)
				})
			}
			ft, err := recipe.ParseFileType(run.Type)
			require.NoError(t, err)
			view, err := quant.NewView(&src, ft, viewOptions(t, run.Args))
			require.NoError(t, err)
			var got, want []string
			for _, info := range view.Tensors() {
				got = append(got, info.Name+" "+info.Type.String())
			}
			for i, name := range run.Order {
				want = append(want, name+" "+records.Types[run.Types[i]-'A'])
			}
			require.Equal(t, want, got)
		})
	}
}

func TestParseOverrideKV(t *testing.T) {
	for text, want := range map[string]gguf.KV{
		"a.b=int:5":             {Key: "a.b", Value: uint32(5)},
		"a.b=int:-3":            {Key: "a.b", Value: uint32(3)},
		"a.b=int:4294967295":    {Key: "a.b", Value: uint32(math.MaxUint32)},
		"a.b=float:0.1":         {Key: "a.b", Value: float32(0.1)},
		"a.b=bool:true":         {Key: "a.b", Value: true},
		"a.b=bool:false":        {Key: "a.b", Value: false},
		"a.b=str:x=y:z":         {Key: "a.b", Value: "x=y:z"},
		"a.b=str:":              {Key: "a.b", Value: ""},
		"general.name=str:a, b": {Key: "general.name", Value: "a, b"},
	} {
		got, err := quant.ParseOverrideKV(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for text, message := range map[string]string{
		"a.b":                          "KEY=TYPE:VALUE",
		"a.b=int":                      "KEY=TYPE:VALUE",
		"=int:5":                       "KEY=TYPE:VALUE",
		"a.b=uint:5":                   `"uint" is not one of the types`,
		"a.b=int:five":                 `"five"`,
		"a.b=int:4294967296":           "32 bits",
		"a.b=int:-9223372036854775808": "32 bits",
		"a.b=float:x":                  `"x"`,
		"a.b=bool:yes":                 `"yes"`,
		"a.b=str:" + longName:          "127 bytes",
		longName + "=int:1":            "127 bytes",
	} {
		_, err := quant.ParseOverrideKV(text)
		require.ErrorContains(t, err, message)
	}
}

var longName = strings.Repeat("x", 128)

// importance writes an importance matrix in the .dat format for the given
// tensors: value i of a tensor is 1 + i mod 7, over two calls.
func importance(t *testing.T, name string, values map[string]int64) *imatrix.Matrix {
	t.Helper()
	raw := binary.LittleEndian.AppendUint32(nil, uint32(len(values)))
	for tensor, n := range values {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(len(tensor)))
		raw = append(raw, tensor...)
		raw = binary.LittleEndian.AppendUint32(raw, 2)
		raw = binary.LittleEndian.AppendUint32(raw, uint32(n))
		for i := range n {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(2*(1+i%7))))
		}
	}
	raw = append(raw, "\x05\x00\x00\x00\x05\x00\x00\x00a.txt"...)
	m, err := imatrix.New(bytes.NewReader(raw), int64(len(raw)), name)
	require.NoError(t, err)
	return m
}

func TestViewGivesEachExpertItsImportance(t *testing.T) {
	const name = "blk.1.ffn_gate_exps.weight"
	src := newSynthetic()
	m := importance(t, "some.imatrix", map[string]int64{name: 4 * 256, "blk.1.attn_q.weight": 256})
	view, err := quant.NewView(src, recipe.Q4_K_S, quant.ViewOptions{Importance: m})
	require.NoError(t, err)

	// Values 256·e and on belong to expert e, so experts differ by 256 mod 7.
	var want []byte
	values := dequantize(t, gguf.F16, readTensor(t, src, name))
	all := make([]float32, 4*256)
	require.NoError(t, m.Read(all, name, 0))
	for e := range 4 {
		block := make([]byte, gguf.Q4_K.RowBytes(256*256))
		require.NoError(t, quant.Quantize(gguf.Q4_K, block, values[e*256*256:][:256*256], 256, all[e*256:][:256]))
		want = append(want, block...)
	}
	require.Equal(t, want, readTensor(t, view, name))
	require.NotEqual(t, readTensor(t, newView(t, src, recipe.Q4_K_S), name), want)

	// Rows across experts, in any portion.
	i := find(t, view, name)
	info := view.Tensors()[i]
	part := make([]byte, 300*info.RowBytes())
	require.NoError(t, view.ReadRows(part, i, 200, 300))
	require.Equal(t, want[200*info.RowBytes():500*info.RowBytes()], part)

	// Without importance, as without a matrix.
	const other = "blk.2.attn_q.weight"
	require.Equal(t, readTensor(t, newView(t, src, recipe.Q4_K_S), other), readTensor(t, view, other))
	require.Len(t, view.Notes(), 1)
	require.Contains(t, view.Notes()[0], "the importance matrix has nothing for blk.0.attn_k.weight, ")
	require.Contains(t, view.Notes()[0], " and 46 more")
}

func TestViewTellsOfTheImportanceMatrix(t *testing.T) {
	src := newSynthetic()
	m := importance(t, longName, map[string]int64{"blk.1.attn_q.weight": 256})
	view, err := quant.NewView(src, recipe.Q8_0, quant.ViewOptions{
		Importance:  m,
		Metadata:    []gguf.KV{{Key: "llama.expert_count", Value: uint32(8)}, {Key: "general.name", Value: "x"}},
		PruneLayers: []int{0, 5, 99},
	})
	require.NoError(t, err)
	require.Equal(t, []gguf.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "llama.attention.head_count", Value: uint32(8)},
		{Key: "llama.attention.head_count_kv", Value: uint32(2)},
		{Key: "tokenizer.ggml.tokens", Value: []string{"a", "b"}},
		{Key: "general.quantization_version", Value: uint32(2)},
		{Key: "general.file_type", Value: uint32(7)},
		{Key: "llama.expert_count", Value: uint32(8)},
		{Key: "general.name", Value: "x"},
		{Key: "quantize.imatrix.file", Value: longName[:127]},
		{Key: "quantize.imatrix.dataset", Value: "a.txt"},
		{Key: "quantize.imatrix.entries_count", Value: uint32(1)},
		{Key: "quantize.imatrix.chunks_count", Value: uint32(5)},
		{Key: "llama.block_count", Value: uint32(6)},
	}, view.Metadata().All())
	require.Equal(t, "there is no layer 99 to prune", view.Notes()[0])
	// Layer 1 is layer 0 now, and keeps its weights.
	require.Equal(t, readTensor(t, newView(t, src, recipe.Q8_0), "blk.1.attn_k.weight"), readTensor(t, view, "blk.0.attn_k.weight"))
	require.Equal(t, readTensor(t, newView(t, src, recipe.Q8_0), "blk.6.attn_k.weight"), readTensor(t, view, "blk.4.attn_k.weight"))

	none := m.Filter(func(string) bool { return false })
	view, err = quant.NewView(src, recipe.Q8_0, quant.ViewOptions{Importance: none})
	require.NoError(t, err)
	require.Equal(t, newView(t, src, recipe.Q8_0).Metadata(), view.Metadata())
}

func TestViewImportanceOfAnotherModel(t *testing.T) {
	src := newSynthetic()
	_, err := quant.NewView(src, recipe.Q4_K_M, quant.ViewOptions{Importance: importance(t, "m.dat", map[string]int64{"blk.0.ffn_up_exps.weight": 256})})
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, `m.dat has 256 values for tensor "blk.0.ffn_up_exps.weight", which needs 1024`)

	view, err := quant.NewView(src, recipe.F16, quant.ViewOptions{Importance: importance(t, "m.dat", map[string]int64{"blk.0.ffn_up_exps.weight": 256})})
	require.NoError(t, err, "nothing is quantized")
	require.Empty(t, view.Notes())

	view, err = quant.NewView(src, recipe.Q4_K_M, quant.ViewOptions{Importance: importance(t, "m.dat",
		map[string]int64{"token_embd.weight": 16, "blk.9.attn_q.weight": 256})})
	require.NoError(t, err)
	require.Equal(t, "the importance matrix has 16 values for tensor \"token_embd.weight\", which needs 256: they are not used", view.Notes()[0])
	require.Equal(t, "the importance matrix is for tensors that the model does not have: blk.9.attn_q.weight", view.Notes()[2])
}

func TestViewNeedsImportanceForEachTensor(t *testing.T) {
	src := newSynthetic()
	_, err := quant.NewView(src, recipe.Q2_K_S, quant.ViewOptions{})
	require.ErrorIs(t, err, recipe.ErrNeedsImatrix)

	m := importance(t, "m.dat", map[string]int64{"blk.0.attn_k.weight": 256})
	_, err = quant.NewView(src, recipe.Q2_K_S, quant.ViewOptions{Importance: m})
	require.ErrorIs(t, err, recipe.ErrNeedsImatrix)
	require.NotContains(t, err.Error(), "blk.0.attn_k.weight")

	view, err := quant.NewView(src, recipe.Q2_K_S, quant.ViewOptions{DryRun: true})
	require.NoError(t, err)
	require.Len(t, view.Notes(), 1)
	require.Contains(t, view.Notes()[0], "needs an importance matrix")
	i := find(t, view, "blk.0.attn_k.weight")
	require.ErrorContains(t, view.ReadRows(make([]byte, view.Tensors()[i].RowBytes()), i, 0, 1), "dry run")
}

func TestViewOfExpertsWithoutData(t *testing.T) {
	src := newSynthetic()
	const name = "blk.0.ffn_up_exps.weight"
	file := &floats{
		meta: gguf.NewMetadata(
			gguf.KV{Key: "imatrix.datasets", Value: []string{}},
			gguf.KV{Key: "imatrix.chunk_count", Value: uint32(0)},
			gguf.KV{Key: "imatrix.chunk_size", Value: uint32(512)},
		),
		tensors: []gguf.TensorInfo{{Name: name + ".in_sum2", Shape: []int64{256, 4}}, {Name: name + ".counts", Shape: []int64{1, 4}}},
		data:    [][]float32{make([]float32, 4*256), {1, 0, 2, 0}},
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	_, err := gguf.Write(context.Background(), path, file, gguf.WriteOptions{})
	require.NoError(t, err)
	m, err := imatrix.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	view, err := quant.NewView(src, recipe.Q8_0, quant.ViewOptions{Importance: m})
	require.NoError(t, err)
	require.Contains(t, view.Notes(), "experts that the calibration text did not reach are quantized without importance: "+name+" 1 3 of 4")
	_, ok := view.Metadata().Get("quantize.imatrix.dataset")
	require.False(t, ok)
	_, ok = view.Metadata().Get("quantize.imatrix.chunks_count")
	require.False(t, ok)
}

// floats is a source of F32 tensors.
type floats struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	data    [][]float32
}

func (f *floats) Metadata() *gguf.Metadata   { return f.meta }
func (f *floats) Tensors() []gguf.TensorInfo { return f.tensors }
func (f *floats) ReadRows(dst []byte, tensor int, first, n int64) error {
	width := f.tensors[tensor].RowLen()
	_, err := binary.Encode(dst, binary.LittleEndian, f.data[tensor][first*width:][:n*width])
	return err
}
