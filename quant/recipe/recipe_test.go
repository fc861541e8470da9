package recipe_test

import (
	"compress/gzip"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// record is what llama-quantize did with one model.
type record struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	order   []string
	// outputs has the types of the tensors in order, by file type, with
	// "+imatrix" behind it where there was one; nil where it failed.
	outputs map[string][]gguf.Type
}

func readRecords(t *testing.T) map[string]record {
	t.Helper()
	file, err := os.Open("testdata/llama-quantize.json.gz")
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	var raw struct {
		Types []string
		Cases map[string]struct {
			Metadata map[string]any
			Tensors  [][3]any
			Order    []string
			Outputs  map[string]*string
		}
	}
	require.NoError(t, json.NewDecoder(unzipped).Decode(&raw))
	records := make(map[string]record)
	for name, c := range raw.Cases {
		r := record{meta: gguf.NewMetadata(), order: c.Order, outputs: make(map[string][]gguf.Type)}
		for key, v := range c.Metadata {
			switch v := v.(type) {
			case string:
				r.meta.Set(key, v)
			case float64:
				r.meta.Set(key, uint32(v))
			case []any:
				var numbers []uint32
				for _, number := range v {
					numbers = append(numbers, uint32(number.(float64)))
				}
				r.meta.Set(key, numbers)
			}
		}
		for _, v := range c.Tensors {
			info := gguf.TensorInfo{Name: v[0].(string), Type: parseType(t, v[1].(string))}
			for _, d := range v[2].([]any) {
				info.Shape = append(info.Shape, int64(d.(float64)))
			}
			r.tensors = append(r.tensors, info)
		}
		for output, letters := range c.Outputs {
			if letters == nil {
				r.outputs[output] = nil
				continue
			}
			for _, letter := range *letters {
				r.outputs[output] = append(r.outputs[output], parseType(t, raw.Types[letter-'A']))
			}
		}
		records[name] = r
	}
	return records
}

func parseType(t *testing.T, name string) gguf.Type {
	t.Helper()
	typ, err := gguf.ParseType(name)
	require.NoError(t, err)
	return typ
}

func TestPlanIsThatOfLlamaQuantize(t *testing.T) {
	records := readRecords(t)
	require.NotEmpty(t, records)
	for name, r := range records {
		for output, want := range r.outputs {
			t.Run(name+"/"+output, func(t *testing.T) {
				typeName, imatrix := strings.CutSuffix(output, "+imatrix")
				ft, err := recipe.ParseFileType(typeName)
				require.NoError(t, err)
				types, err := recipe.Plan(r.meta, r.tensors, ft, recipe.Options{Imatrix: imatrix})
				if err == nil {
					err = recipe.CheckImatrix(r.tensors, types, ft, func(string) bool { return imatrix })
				}
				if want == nil {
					require.Error(t, err)
					return
				}
				require.NoError(t, err)
				got := make(map[string]string)
				expected := make(map[string]string)
				for i, info := range r.tensors {
					got[info.Name] = types[i].String()
				}
				for i, name := range r.order {
					expected[name] = want[i].String()
				}
				require.Equal(t, expected, got)
			})
		}
	}
}

func TestPlanDoesNotDependOnOrder(t *testing.T) {
	r := readRecords(t)["dense-gqa4"]
	want, err := recipe.Plan(r.meta, r.tensors, recipe.Q4_K_M, recipe.Options{})
	require.NoError(t, err)
	shuffled := rand.New(rand.NewPCG(1, 2)).Perm(len(r.tensors))
	tensors := make([]gguf.TensorInfo, len(shuffled))
	for to, from := range shuffled {
		tensors[to] = r.tensors[from]
	}
	got, err := recipe.Plan(r.meta, tensors, recipe.Q4_K_M, recipe.Options{})
	require.NoError(t, err)
	for to, from := range shuffled {
		require.Equal(t, want[from], got[to], tensors[to].Name)
	}
}

func TestOrderIsThatOfLlamaQuantize(t *testing.T) {
	for name, r := range readRecords(t) {
		var got []string
		for _, i := range recipe.Order(r.tensors) {
			got = append(got, r.tensors[i].Name)
		}
		require.Equal(t, r.order, got, name)
	}
}

func TestOrderSortsLayersByNumberAndNamesByByte(t *testing.T) {
	want := []string{"Z", "blk.", "blk.x.w", "blk.99999999999.w", "token_embd.weight", "blk.2.a", "blk.2.b", "blk.10.a"}
	slices.Sort(want[:5])
	var tensors []gguf.TensorInfo
	for _, name := range slices.Backward(want) {
		tensors = append(tensors, gguf.TensorInfo{Name: name})
	}
	var got []string
	for _, i := range recipe.Order(tensors) {
		got = append(got, tensors[i].Name)
	}
	require.Equal(t, want, got)
}

// tiny is a model of one layer with the given extra tensors.
func tiny(extra ...gguf.TensorInfo) (*gguf.Metadata, []gguf.TensorInfo) {
	meta := gguf.NewMetadata(
		gguf.KV{Key: "general.architecture", Value: "llama"},
		gguf.KV{Key: "llama.block_count", Value: uint32(1)},
	)
	return meta, append([]gguf.TensorInfo{
		{Name: "token_embd.weight", Type: gguf.F16, Shape: []int64{256, 8}},
		{Name: "output.weight", Type: gguf.F16, Shape: []int64{256, 8}},
	}, extra...)
}

func TestPlanLeavesAlone(t *testing.T) {
	for _, info := range []gguf.TensorInfo{
		{Name: "blk.0.attn_norm.weight", Type: gguf.F32, Shape: []int64{256}},
		{Name: "blk.0.attn_q.bias", Type: gguf.F32, Shape: []int64{256, 2}},
		{Name: "blk.0.attn_q.weight", Type: gguf.F16, Shape: []int64{256, 1, 1}},
		{Name: "blk.0.attn_q_norm.weight", Type: gguf.F32, Shape: []int64{256, 4}},
		{Name: "blk.0.ffn_gate_inp.weight", Type: gguf.BF16, Shape: []int64{256, 8}},
		{Name: "position_embd.weight", Type: gguf.F16, Shape: []int64{256, 8}},
		{Name: "blk.0.ssm_conv1d.weight", Type: gguf.F32, Shape: []int64{4, 256}},
	} {
		meta, tensors := tiny(info)
		for _, ft := range []recipe.FileType{recipe.Q4_K_M, recipe.F16, recipe.F32} {
			types, err := recipe.Plan(meta, tensors, ft, recipe.Options{})
			require.NoError(t, err)
			require.Equal(t, info.Type, types[2], info.Name)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	down := gguf.TensorInfo{Name: "blk.0.ffn_down_exps.weight", Type: gguf.F16, Shape: []int64{256, 8, 4}}
	for name, c := range map[string]struct {
		change  func(meta *gguf.Metadata)
		info    gguf.TensorInfo
		ft      recipe.FileType
		want    error
		message string
	}{
		"a file type that does not exist": {ft: 5, info: down, want: gguf.ErrUnsupported, message: "file type 5"},
		"no architecture": {
			change: func(m *gguf.Metadata) { m.Delete("general.architecture") },
			ft:     recipe.Q4_K_M, info: down, want: gguf.ErrNoKey, message: "general.architecture",
		},
		"no layer count": {
			change: func(m *gguf.Metadata) { m.Delete("llama.block_count") },
			ft:     recipe.Q4_K_M, info: down, want: gguf.ErrNoKey, message: "llama.block_count",
		},
		"absurd layer count": {
			change: func(m *gguf.Metadata) { m.Set("llama.block_count", uint64(1)<<63) },
			ft:     recipe.Q4_K_M, info: down, want: gguf.ErrCorrupt, message: "llama.block_count",
		},
		"heads that are text": {
			change: func(m *gguf.Metadata) { m.Set("llama.attention.head_count", "eight") },
			ft:     recipe.Q4_K_M, info: down, want: gguf.ErrCorrupt, message: "llama.attention.head_count",
		},
		"negative heads": {
			change: func(m *gguf.Metadata) { m.Set("llama.attention.head_count_kv", []int32{-1, 8}) },
			ft:     recipe.Q4_K_M, info: down, want: gguf.ErrCorrupt, message: "llama.attention.head_count_kv",
		},
		"an expert outside the layers": {
			change: func(m *gguf.Metadata) { m.Set("llama.expert_count", uint32(4)) },
			ft:     recipe.Q4_K_M, want: gguf.ErrCorrupt, message: "blk.7.ffn_down_exps.weight",
			info: gguf.TensorInfo{Name: "blk.7.ffn_down_exps.weight", Type: gguf.F16, Shape: []int64{256, 8, 4}},
		},
		"rows that suit nothing": {
			ft: recipe.Q1_0, want: gguf.ErrUnsupported, message: "blk.0.attn_q.weight",
			info: gguf.TensorInfo{Name: "blk.0.attn_q.weight", Type: gguf.F16, Shape: []int64{100, 8}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			meta, tensors := tiny(c.info)
			if c.change != nil {
				c.change(meta)
			}
			_, err := recipe.Plan(meta, tensors, c.ft, recipe.Options{})
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.message)
		})
	}
}

func TestCheckImatrix(t *testing.T) {
	meta, tensors := tiny(gguf.TensorInfo{Name: "blk.0.attn_q.weight", Type: gguf.F16, Shape: []int64{256, 8}})
	plan := func(ft recipe.FileType) []gguf.Type {
		types, err := recipe.Plan(meta, tensors, ft, recipe.Options{})
		require.NoError(t, err)
		return types
	}
	none := func(string) bool { return false }
	for ft, needs := range map[recipe.FileType]bool{recipe.IQ2_XS: true, recipe.Q2_K_S: true, recipe.Q2_K: false, recipe.IQ3_S: false} {
		err := recipe.CheckImatrix(tensors, plan(ft), ft, none)
		require.Equal(t, needs, err != nil, ft)
	}
	err := recipe.CheckImatrix(tensors, plan(recipe.IQ2_XS), recipe.IQ2_XS, none)
	require.ErrorIs(t, err, recipe.ErrNeedsImatrix)
	require.ErrorContains(t, err, "blk.0.attn_q.weight")
	has := func(name string) bool { return name == "blk.0.attn_q.weight" }
	require.NoError(t, recipe.CheckImatrix(tensors, plan(recipe.IQ2_XS), recipe.IQ2_XS, has))
}

func TestHeadsMayDifferByLayer(t *testing.T) {
	meta, tensors := tiny(gguf.TensorInfo{Name: "blk.0.attn_v.weight", Type: gguf.F16, Shape: []int64{256, 8}})
	for kv, want := range map[int32]gguf.Type{8: gguf.Q4_K, 16: gguf.Q3_K} {
		meta.Set("llama.attention.head_count", []int32{32, 8})
		meta.Set("llama.attention.head_count_kv", []int32{kv, 8})
		types, err := recipe.Plan(meta, tensors, recipe.Q2_K, recipe.Options{})
		require.NoError(t, err)
		require.Equal(t, want, types[2])
	}
}

func TestParseFileType(t *testing.T) {
	for _, ft := range recipe.FileTypes() {
		for _, s := range []string{ft.String(), strings.ToLower(ft.String())} {
			got, err := recipe.ParseFileType(s)
			require.NoError(t, err)
			require.Equal(t, ft, got)
		}
		got, err := recipe.ParseFileType(strconv.Itoa(int(ft.Of())))
		require.NoError(t, err)
		require.Equal(t, ft.Of(), got)
	}
	for s, want := range map[string]recipe.FileType{"copy": recipe.Copy, "q4_k": recipe.Q4_K_M, "Q3_K": recipe.Q3_K_M, "Q5_K": recipe.Q5_K_M,
		"15": recipe.Q4_K_M, "MOSTLY_Q4_K_M": recipe.Q4_K_M, "mostly_f16": recipe.F16} {
		got, err := recipe.ParseFileType(s)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, s := range []string{"", "Q9", "4", "-1", "Q4_K_M ", "99999999999", strconv.Itoa(int(recipe.Q4_K_L))} {
		_, err := recipe.ParseFileType(s)
		require.ErrorContains(t, err, strconv.Quote(s))
	}
}

func TestFileTypesAreThoseOfTheRecords(t *testing.T) {
	recorded := make(map[string]bool)
	for _, r := range readRecords(t) {
		for output := range r.outputs {
			recorded[strings.TrimSuffix(output, "+imatrix")] = true
		}
	}
	// NVFP4 has a number but llama-quantize does not offer it.
	recorded["NVFP4"] = true
	var names []string
	for _, ft := range recipe.FileTypes() {
		if ft == ft.Of() {
			names = append(names, ft.String())
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(recorded)), names)
}

// Variants are what llama-quantize makes of a file type with --token-embedding-type q8_0 --output-tensor-type q8_0, which
// options still change.
func TestVariants(t *testing.T) {
	meta := gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"}, gguf.KV{Key: "llama.block_count", Value: uint32(1)},
		gguf.KV{Key: "llama.attention.head_count", Value: uint32(4)})
	tensors := []gguf.TensorInfo{
		{Name: "token_embd.weight", Type: gguf.BF16, Shape: []int64{256, 64}},
		{Name: "output.weight", Type: gguf.BF16, Shape: []int64{256, 64}},
		{Name: "blk.0.ffn_down.weight", Type: gguf.BF16, Shape: []int64{256, 64}},
	}
	q8, q5 := gguf.Q8_0, gguf.Q5_0
	for variant, of := range map[recipe.FileType]recipe.FileType{recipe.Q6_K_L: recipe.Q6_K, recipe.Q5_K_L: recipe.Q5_K_M, recipe.Q4_K_L: recipe.Q4_K_M,
		recipe.Q3_K_XL: recipe.Q3_K_L, recipe.Q2_K_L: recipe.Q2_K} {
		require.Equal(t, of, variant.Of())
		want, err := recipe.Plan(meta, tensors, of, recipe.Options{TokenEmbeddingType: &q8, OutputType: &q8})
		require.NoError(t, err)
		got, err := recipe.Plan(meta, tensors, variant, recipe.Options{})
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, []gguf.Type{gguf.Q8_0, gguf.Q8_0}, got[:2])
		got, err = recipe.Plan(meta, tensors, variant, recipe.Options{OutputType: &q5})
		require.NoError(t, err)
		require.Equal(t, []gguf.Type{gguf.Q8_0, gguf.Q5_0, want[2]}, got)
	}
	require.Equal(t, "file type 65551", recipe.NameOf(gguf.NewMetadata(gguf.KV{Key: "general.file_type", Value: uint32(recipe.Q4_K_L)})))
	q6 := []gguf.TensorInfo{{Name: "output.weight", Type: gguf.Q6_K, Shape: []int64{256, 1}}}
	mostly, ok := recipe.Mostly(q6, q6)
	require.True(t, ok)
	require.Equal(t, recipe.Q6_K, mostly)
}

// A vision projector has no layers, whatever its tensors are called. The types are those
// of llama-quantize 0.7.0.
func TestProjector(t *testing.T) {
	meta := gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "clip"}, gguf.KV{Key: "clip.vision.block_count", Value: uint32(3)})
	var tensors []gguf.TensorInfo
	want := map[recipe.FileType][]gguf.Type{}
	for _, row := range []struct {
		name           string
		shape          []int64
		q4_K_M, q3_K_M gguf.Type
	}{
		{"mm.0.weight", []int64{256, 64}, gguf.Q4_K, gguf.Q3_K},
		{"mm.2.weight", []int64{64, 64}, gguf.Q5_0, gguf.Q4_0},
		{"output.weight", []int64{256, 32}, gguf.Q6_K, gguf.Q6_K},
		{"v.blk.0.attn_q.weight", []int64{256, 256}, gguf.Q4_K, gguf.Q3_K},
		{"v.blk.0.attn_qkv.weight", []int64{256, 768}, gguf.Q4_K, gguf.Q5_K},
		{"v.blk.0.attn_v.weight", []int64{256, 256}, gguf.Q4_K, gguf.Q5_K},
		{"v.blk.0.ffn_down.weight", []int64{512, 256}, gguf.Q6_K, gguf.Q4_K},
		{"v.blk.0.ln1.weight", []int64{64}, gguf.F32, gguf.F32},
		{"v.blk.1.attn_qkv.weight", []int64{256, 768}, gguf.Q6_K, gguf.Q4_K},
		{"v.blk.1.attn_v.weight", []int64{256, 256}, gguf.Q4_K, gguf.Q4_K},
		{"v.blk.2.attn_qkv.weight", []int64{256, 768}, gguf.Q4_K, gguf.Q4_K},
		{"v.blk.2.attn_v.weight", []int64{256, 256}, gguf.Q6_K, gguf.Q4_K},
		{"v.patch_embd.weight", []int64{14, 14, 3, 32}, gguf.F32, gguf.F32},
		{"v.position_embd.weight", []int64{64, 16}, gguf.F32, gguf.F32},
	} {
		tensors = append(tensors, gguf.TensorInfo{Name: row.name, Type: gguf.F32, Shape: row.shape})
		want[recipe.Q4_K_M] = append(want[recipe.Q4_K_M], row.q4_K_M)
		want[recipe.Q3_K_M] = append(want[recipe.Q3_K_M], row.q3_K_M)
	}
	for ft, want := range want {
		got, err := recipe.Plan(meta, tensors, ft, recipe.Options{})
		require.NoError(t, err)
		require.Equal(t, want, got, ft)
	}
}
