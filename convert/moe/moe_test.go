package moe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

type object = map[string]any

// writeModel writes a dense model whose networks differ by its name. change may
// change its tensors.
func writeModel(t *testing.T, dir string, config object, change func(*testmodel.Tensor)) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	tensors := testmodel.Tensors(weights.BF16, 288, 96, 0)
	for i := range tensors {
		if strings.Contains(tensors[i].Name, ".mlp.") {
			tensors[i].Values = testmodel.Noise(filepath.Base(dir)+tensors[i].Name, testmodel.Elements(tensors[i].Shape))
		}
		if change != nil {
			change(&tensors[i])
		}
	}
	testmodel.WriteShards(t, dir, tensors)
	testmodel.WriteTokenizer(t, dir)
	testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), testmodel.Config("MistralForCausalLM", "mistral", config))
}

const recipe = `base_model: base
gate_mode: cheap_embed
dtype: bfloat16
experts:
  - source_model: one
    positive_prompts: [a, b]
  - source_model: two
    positive_prompts: [c]
    negative_prompts: [a]
`

// workshop returns a directory with the models base, one and two.
func workshop(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"base", "one", "two"} {
		writeModel(t, filepath.Join(dir, name), nil, nil)
	}
	return dir
}

// encoder takes the bytes of a prompt for its tokens, and makes states of them.
type encoder struct{}

func (encoder) Tokens(_ moe.BaseModel, prompts []string) ([][]int32, error) {
	var ids [][]int32
	for _, p := range prompts {
		text := []int32{1}
		for _, b := range []byte(p) {
			text = append(text, int32(b))
		}
		ids = append(ids, text)
	}
	return ids, nil
}

func (encoder) States(_ context.Context, _ moe.BaseModel, texts [][]int32, mean bool) ([][][]float32, error) {
	states := make([][][]float32, len(texts))
	for i, text := range texts {
		for layer := range 2 {
			state := make([]float32, 64)
			state[layer] = 1
			state[2+text[len(text)-1]%32] = 3
			if mean {
				state[40] = 1
			}
			states[i] = append(states[i], state)
		}
	}
	return states, nil
}

func merge(t *testing.T, dir, text string, opts moe.Options) (*moe.Merge, error) {
	t.Helper()
	path := filepath.Join(dir, "moe.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	r, err := moe.Read(path)
	if err != nil {
		return nil, err
	}
	if opts.Encoder == nil {
		opts.Encoder = encoder{}
	}
	m, err := moe.New(context.Background(), r, opts)
	if err == nil {
		t.Cleanup(func() { require.NoError(t, m.Close()) })
	}
	return m, err
}

// values returns the elements of a tensor.
func values(t *testing.T, set weights.Set, name string) []float32 {
	return testmodel.Values(t, set.Get(name))
}

func TestTensorsComeFromTheirModels(t *testing.T) {
	dir := workshop(t)
	m, err := merge(t, dir, recipe, moe.Options{})
	require.NoError(t, err)
	require.Empty(t, m.Notes)
	require.Len(t, m.Names(), 3+2*(6+2*3+1))
	open := func(name string) *safetensors.Checkpoint {
		c, err := safetensors.OpenDir(filepath.Join(dir, name))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		return c
	}
	base := open("base")
	for _, name := range []string{"lm_head.weight", "model.layers.1.self_attn.k_proj.weight", "model.layers.0.input_layernorm.weight"} {
		require.Equal(t, values(t, base, name), values(t, m, name))
	}
	for e, name := range []string{"one", "two"} {
		for from, to := range map[string]string{"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"} {
			require.Equal(t, values(t, open(name), "model.layers.1.mlp."+from+".weight"),
				values(t, m, fmt.Sprintf("model.layers.1.block_sparse_moe.experts.%d.%s.weight", e, to)))
		}
	}

	var config object
	require.NoError(t, json.Unmarshal(m.Config, &config))
	wanted := object{
		"architectures": []any{"MixtralForCausalLM"}, "model_type": "mixtral", "num_local_experts": 2.0, "num_experts_per_tok": 2.0,
		"hidden_size": 64.0, "sliding_window": nil, "torch_dtype": "bfloat16", "rope_theta": 10000.0,
	}
	for key, want := range wanted {
		require.Contains(t, config, key)
		require.Equal(t, want, config[key], key)
	}
	require.Contains(t, string(m.Card), "| 1 | two | c; not: a |")
}

// row returns a row of a router.
func row(t *testing.T, m *moe.Merge, layer, expert int) []float32 {
	return values(t, m, fmt.Sprintf("model.layers.%d.block_sparse_moe.gate.weight", layer))[64*expert:][:64]
}

func length(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

func TestRouters(t *testing.T) {
	dir := workshop(t)
	mode := func(name string) string { return strings.Replace(recipe, "cheap_embed", name, 1) }
	m, err := merge(t, dir, recipe, moe.Options{})
	require.NoError(t, err)
	embeddings := values(t, m, "model.embed_tokens.weight")
	want := make([]float32, 64)
	for _, id := range []int{1, 'a', 1, 'b'} {
		for i := range want {
			want[i] += embeddings[64*id+i]
		}
	}
	size := length(want)
	for i := range want {
		want[i] /= float32(size)
	}
	require.InDeltaSlice(t, want, row(t, m, 0, 0), 1.0/256) // bfloat16
	require.Equal(t, row(t, m, 0, 0), row(t, m, 1, 0))
	require.InDelta(t, 1, length(row(t, m, 0, 1)), 0.01)

	for _, name := range []string{"hidden", "hidden_last"} {
		m, err = merge(t, dir, mode(name), moe.Options{})
		require.NoError(t, err)
		// Two prompts share 1 in place of the layer and have 3/2 where they differ.
		size := math.Sqrt(1 + 2*1.5*1.5)
		require.InDelta(t, 1/size, row(t, m, 1, 0)[1], 0.01)
		require.InDelta(t, 1.5/size, row(t, m, 1, 0)[2+'a'%32], 0.01)
		// What the negative prompt has is taken off: places cancel, letters do not.
		require.InDelta(t, 0, row(t, m, 1, 1)[1], 0.01)
		require.InDelta(t, math.Sqrt(.5), row(t, m, 1, 1)[2+'c'%32], 0.01)
		require.InDelta(t, -math.Sqrt(.5), row(t, m, 1, 1)[2+'a'%32], 0.01)
	}
	m, err = merge(t, dir, mode("hidden_avg"), moe.Options{})
	require.NoError(t, err)
	require.Greater(t, row(t, m, 1, 0)[40], float32(0.1))

	for name, limit := range map[string]float64{"random": 6, "uniform_random": 1.0 / 8} {
		text := mode(name)
		if name == "random" {
			text = strings.NewReplacer("    positive_prompts: [a, b]\n", "", "    positive_prompts: [c]\n    negative_prompts: [a]\n", "").Replace(text)
		}
		a, err := merge(t, dir, text, moe.Options{Seed: 1})
		require.NoError(t, err)
		b, err := merge(t, dir, text, moe.Options{Seed: 1})
		require.NoError(t, err)
		c, err := merge(t, dir, text, moe.Options{Seed: 2})
		require.NoError(t, err)
		require.Equal(t, row(t, a, 0, 0), row(t, b, 0, 0))
		require.NotEqual(t, row(t, a, 0, 0), row(t, c, 0, 0))
		require.NotEqual(t, row(t, a, 0, 0), row(t, a, 1, 0))
		for _, v := range row(t, a, 0, 0) {
			require.LessOrEqual(t, math.Abs(float64(v)), limit*1.01)
		}
	}
}

func TestScalesNoiseAndTypes(t *testing.T) {
	dir := workshop(t)
	const down, up = "model.layers.0.block_sparse_moe.experts.0.w2.weight", "model.layers.0.block_sparse_moe.experts.0.w3.weight"
	plain, err := merge(t, dir, recipe, moe.Options{})
	require.NoError(t, err)

	scaled, err := merge(t, dir, strings.Replace(recipe, "source_model: one", "source_model: one\n    residual_scale: 0.5", 1), moe.Options{})
	require.NoError(t, err)
	want := values(t, plain, down)
	for i := range want {
		want[i] /= 2
	}
	require.Equal(t, want, values(t, scaled, down))
	require.Equal(t, values(t, plain, up), values(t, scaled, up))

	noisy := strings.Replace(recipe, "source_model: one", "source_model: one\n    noise_scale: 0.25", 1)
	a, err := merge(t, dir, noisy, moe.Options{Seed: 3})
	require.NoError(t, err)
	x := values(t, a, up)
	var squares float64
	for i, v := range values(t, plain, up) {
		squares += math.Pow(float64(x[i]-v), 2)
	}
	require.InDelta(t, 0.25, math.Sqrt(squares/float64(len(x))), 0.01)
	// An element's noise does not depend on where reading starts.
	got := make([]float32, 25*64)
	require.NoError(t, a.Get(up).ReadRows(got, 11, 25))
	require.Equal(t, x[11*64:][:25*64], got)

	wide, err := merge(t, dir, strings.Replace(recipe, "bfloat16", "float32", 1), moe.Options{})
	require.NoError(t, err)
	require.Equal(t, weights.F32, wide.Get(up).Dtype())
	require.Equal(t, weights.F32, wide.Get("model.layers.0.block_sparse_moe.gate.weight").Dtype())
	require.Equal(t, values(t, plain, up), values(t, wide, up))
	kept, err := merge(t, dir, strings.Replace(recipe, "dtype: bfloat16\n", "", 1), moe.Options{})
	require.NoError(t, err)
	require.Equal(t, weights.BF16, kept.Get(up).Dtype())
}

func TestWrite(t *testing.T) {
	dir := workshop(t)
	m, err := merge(t, dir, recipe, moe.Options{})
	require.NoError(t, err)
	out := filepath.Join(dir, "out")
	var done, total int64
	require.NoError(t, m.Write(context.Background(), out, moe.WriteOptions{ShardBytes: 100_000, Progress: func(d, n int64) { done, total = d, n }}))
	require.Equal(t, total, done)
	written, err := safetensors.OpenDir(out)
	require.NoError(t, err)
	defer written.Close()
	require.Equal(t, m.Names(), written.Names(), "the order is that of files")
	for _, name := range m.Names() {
		require.Equal(t, m.Get(name).Shape(), written.Get(name).Shape())
		require.Equal(t, m.Get(name).Dtype(), written.Get(name).Dtype())
		require.Equal(t, values(t, m, name), values(t, written, name))
	}
	for _, name := range []string{"config.json", "README.md", "mergekit_moe_config.yml", "tokenizer.model", "model.safetensors.index.json",
		"model-00001-of-00003.safetensors"} {
		require.FileExists(t, filepath.Join(out, name))
	}
	copied, err := os.ReadFile(filepath.Join(out, "mergekit_moe_config.yml"))
	require.NoError(t, err)
	require.Equal(t, recipe, string(copied))

	require.ErrorIs(t, m.Write(context.Background(), out, moe.WriteOptions{}), fs.ErrExist)
	require.NoError(t, m.Write(context.Background(), out, moe.WriteOptions{Overwrite: true}))
	require.FileExists(t, filepath.Join(out, "model.safetensors"))
	require.NoFileExists(t, filepath.Join(out, "model.safetensors.index.json"))

	// What the mixture is made of is not replaced by it.
	for _, path := range []string{filepath.Join(dir, "two"), dir} {
		require.ErrorContains(t, m.Write(context.Background(), path, moe.WriteOptions{Overwrite: true}), "cannot be replaced")
	}
	require.FileExists(t, filepath.Join(dir, "two", "config.json"))

	// Nothing is left of what was not finished.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, m.Write(ctx, filepath.Join(dir, "never"), moe.WriteOptions{}), context.Canceled)
	left, err := filepath.Glob(filepath.Join(dir, "*never*"))
	require.NoError(t, err)
	require.Empty(t, left)
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, hidden)
}

func TestVocabulariesThatOnlyDifferInSize(t *testing.T) {
	dir := workshop(t)
	writeModel(t, filepath.Join(dir, "two"), object{"vocab_size": 290}, func(tensor *testmodel.Tensor) {
		if tensor.Shape[0] == 288 {
			tensor.Shape = []int64{290, 64}
		}
	})
	m, err := merge(t, dir, recipe, moe.Options{})
	require.NoError(t, err)
	require.Len(t, m.Notes, 1)
	require.Contains(t, m.Notes[0], "two has 290 tokens and the base 288")
}

func TestBadRecipes(t *testing.T) {
	dir := workshop(t)
	for name, config := range map[string]object{
		"wide": {"hidden_size": 128}, "deep": {"num_hidden_layers": 3}, "fat": {"intermediate_size": 128}, "eps": {"rms_norm_eps": 1e-6},
		"rope": {"rope_theta": 1e6}, "scaled": {"rope_scaling": object{"type": "linear", "factor": 2.0}}, "heads": {"num_attention_heads": 8},
		"mixtral": {"architectures": []string{"MixtralForCausalLM"}}, "gpt": {"architectures": []string{"GPT2LMHeadModel"}}, "eight-bit": {"quantization_config": object{"quant_method": "aqlm"}},
	} {
		writeModel(t, filepath.Join(dir, name), config, nil)
	}
	writeModel(t, filepath.Join(dir, "incomplete"), nil, func(tensor *testmodel.Tensor) {
		tensor.Name = strings.Replace(tensor.Name, "layers.1.mlp.up_proj", "layers.1.mlp.other", 1)
	})
	writeModel(t, filepath.Join(dir, "tokens"), nil, nil)
	testmodel.WriteJSON(t, filepath.Join(dir, "tokens", "added_tokens.json"), object{"other": 280})
	writeModel(t, filepath.Join(dir, "untyped"), object{"torch_dtype": "int8"}, nil)
	writeModel(t, filepath.Join(dir, "damaged"), nil, func(tensor *testmodel.Tensor) {
		if tensor.Name == "model.embed_tokens.weight" {
			tensor.Values = slices.Repeat([]float32{float32(math.NaN())}, int(testmodel.Elements(tensor.Shape)))
		}
	})
	writeModel(t, filepath.Join(dir, "misshapen"), nil, func(tensor *testmodel.Tensor) {
		if tensor.Name == "model.layers.0.mlp.up_proj.weight" {
			tensor.Shape = []int64{tensor.Shape[1], tensor.Shape[0]}
		}
	})
	var tensors []testmodel.Tensor
	writeModel(t, t.TempDir(), nil, func(tensor *testmodel.Tensor) { tensors = append(tensors, *tensor) })
	for _, name := range []string{"truncated", "one-shard", "overlapping"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(dir, "base"))))
		require.NoError(t, os.Remove(filepath.Join(dir, name, "model.safetensors")))
		testmodel.WriteShards(t, filepath.Join(dir, name), tensors[:5], tensors[5:])
	}
	const lastShard = "model-00002-of-00002.safetensors"
	require.NoError(t, os.Truncate(filepath.Join(dir, "truncated", lastShard), 5000))
	require.NoError(t, os.Remove(filepath.Join(dir, "one-shard", lastShard)))
	testmodel.WriteFile(t, filepath.Join(dir, "overlapping", lastShard), tensors[4:])
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))

	second := func(with string) string {
		return strings.Replace(recipe, "source_model: two", "source_model: "+with, 1)
	}
	for name, c := range map[string]struct{ recipe, want string }{
		"empty":              {"", "base_model is missing"},
		"not YAML":           {"experts: [", "moe.yaml"},
		"a list":             {"- a\n- b\n", "moe.yaml"},
		"unknown key":        {recipe + "gatemode: hidden\n", "gatemode"},
		"unknown expert key": {strings.Replace(recipe, "negative_prompts", "negativ_prompts", 1), "negativ_prompts"},
		"too many experts":   {"base_model: base\nexperts:\n" + strings.Repeat("  - {source_model: one, positive_prompts: [a]}\n", 6000), "6000 experts: llama.cpp runs no more than 512"},
		"too many prompts":   {strings.Replace(recipe, "[c]", "["+strings.Repeat("c, ", 5000)+"]", 1), "no more than 4096 can be followed"},
		"wrong kind":         {strings.Replace(recipe, "[a, b]", "{a: b}", 1), "moe.yaml"},
		"mode":               {strings.Replace(recipe, "cheap_embed", "magic", 1), `gate_mode "magic" is none of`},
		"dtype":              {strings.Replace(recipe, "bfloat16", "int4", 1), `dtype "int4" is none of`},
		"no experts":         {"base_model: base\n", "there are 0 experts"},
		"one expert":         {"base_model: base\nexperts_per_token: 1\nexperts:\n  - {source_model: one, positive_prompts: [a]}\n", "a mixture of 1 expert"},
		"too many per token": {recipe + "experts_per_token: 3\n", "experts_per_token is 3, there are 2"},
		"none per token":     {recipe + "experts_per_token: 0\n", "experts_per_token is 0"},
		"negative per token": {recipe + "experts_per_token: -1\n", "experts_per_token is -1"},
		"no model":           {second(`""`), "expert 1: source_model is missing"},
		"noise":              {strings.Replace(recipe, "source_model: one", "source_model: one\n    noise_scale: -1", 1), "noise_scale is -1"},
		"scale":              {strings.Replace(recipe, "source_model: one", "source_model: one\n    residual_scale: .nan", 1), "residual_scale"},
		"no prompts":         {strings.Replace(recipe, "    positive_prompts: [c]\n", "", 1), "expert 1: positive_prompts are missing"},
		"empty prompt":       {strings.Replace(recipe, "[c]", `[" "]`, 1), "a prompt is empty"},
		"same prompts":       {strings.Replace(recipe, "[c]\n    negative_prompts: [a]", "[b, a]", 1), "experts 0 and 1 have the same prompts"},
		"same models":        {second("one"), "all experts are the same model"},
		"missing model":      {second("three"), `model "three" must be the directory`},
		"a file":             {second("file"), "not a directory"},
		"itself":             {second("moe.yaml"), `model "moe.yaml" must be the directory of a checkpoint, or of the hub: org/name: it is not a directory`},
		"a loop":             {second("loop"), `model "loop" must be`},
		"the base's shape":   {strings.Replace(recipe, "base_model: base", "base_model: misshapen", 1), "model.layers.0.mlp.up_proj.weight"},
		"a shape":            {second("misshapen"), "model.layers.0.mlp.up_proj.weight"},
		"truncated":          {second("truncated"), lastShard},
		"missing shard":      {second("one-shard"), lastShard + " is missing"},
		"tensor twice":       {second("overlapping"), tensors[4].Name},
		"not numbers":        {strings.Replace(recipe, "base_model: base", "base_model: damaged", 1), "the router of layer 0: it is not finite"},
		"bomb":               {"x: &x [a, a]\ny: [" + strings.Repeat("*x, ", 50_000) + "]\n" + recipe, "too many values"},
		"no checkpoint":      {second("empty"), "config.json"},
		"escaping":           {second("../../nowhere"), `model "../../nowhere"`},
		"hub name":           {second("mlabonne/Beyonder"), "hf://mlabonne/Beyonder is not a directory"},
		"missing base":       {strings.Replace(recipe, "base_model: base", "base_model: bass", 1), `model "bass"`},
		"class":              {second("gpt"), "cannot become part of a mixture"},
		"a mixture":          {second("mixtral"), "cannot become part of a mixture"},
		"width":              {second("wide"), "wide"},
		"layers":             {second("deep"), "deep"},
		"networks":           {second("fat"), "fat"},
		"norms":              {second("eps"), "rms_norm_eps is 1e-06, that of the base is 1e-05"},
		"rope":               {second("rope"), "rope_theta is 1e+06, that of the base is 10000"},
		"rope scaling":       {second("scaled"), "rope scaling is linear by 2, that of the base is none"},
		"heads":              {second("heads"), "heads"},
		"quantized":          {second("eight-bit"), "quantized"},
		"incomplete":         {second("incomplete"), "model.layers.1.mlp.up_proj.weight"},
		"tokens":             {second("tokens"), "token 280 is"},
		"base dtype":         {strings.NewReplacer("base_model: base", "base_model: untyped", "dtype: bfloat16\n", "").Replace(recipe), `type "int8"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := merge(t, dir, c.recipe, moe.Options{})
			require.ErrorContains(t, err, c.want)
		})
	}
}

// Prompts that take too long are refused before a model is run.
func TestLongPrompts(t *testing.T) {
	dir := workshop(t)
	long := strings.Replace(recipe, "[c]", "["+strings.Repeat("c ", 9000)+"]", 1)
	for mode, want := range map[moe.GateMode]string{
		moe.Hidden:     `the prompt "c c c c`,
		moe.HiddenAvg:  "tokens, and no more than 512 can be followed",
		moe.CheapEmbed: "",
	} {
		runs := 0
		_, err := merge(t, dir, strings.Replace(long, "cheap_embed", string(mode), 1), moe.Options{Encoder: countingEncoder{encoder{}, &runs}})
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, moe.ErrRecipe)
		require.ErrorContains(t, err, want)
		require.Zero(t, runs)
	}
}

// countingEncoder counts how often a model is run.
type countingEncoder struct {
	moe.Encoder
	runs *int
}

func (e countingEncoder) States(ctx context.Context, model moe.BaseModel, texts [][]int32, mean bool) ([][][]float32, error) {
	*e.runs++
	return e.Encoder.States(ctx, model, texts, mean)
}

// A typing error is shown where it is.
func TestYAMLErrorsPoint(t *testing.T) {
	_, err := merge(t, workshop(t), recipe+"gatemode: hidden\n", moe.Options{})
	require.ErrorIs(t, err, moe.ErrRecipe)
	require.ErrorContains(t, err, "[10:1] unknown field \"gatemode\"")
	require.ErrorContains(t, err, "> 10 | gatemode: hidden\n")
	require.ErrorContains(t, err, "^")
}

func TestRoutersThatAreEqual(t *testing.T) {
	// In this mode only the last token counts, which is the same.
	text := strings.NewReplacer("cheap_embed", "hidden", "[a, b]", "[xa]", "[c]\n    negative_prompts: [a]", "[ya]").Replace(recipe)
	_, err := merge(t, workshop(t), text, moe.Options{})
	require.ErrorIs(t, err, moe.ErrRecipe)
	require.ErrorContains(t, err, "experts 0 and 1 have the same router row in layer 0")
}

func TestModelErrorsKeepTheirKind(t *testing.T) {
	dir := workshop(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "two", "config.json"), []byte("{"), 0o644))
	_, err := merge(t, dir, recipe, moe.Options{})
	require.ErrorIs(t, err, gguf.ErrCorrupt)
}
