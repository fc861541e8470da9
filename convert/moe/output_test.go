package moe_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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

// writeDonor writes a dense model of one of Qwen's classes whose networks differ by
// its name.
func writeDonor(t *testing.T, dir, modelType string, config object) {
	tensors := testmodel.Tensors(weights.BF16, 288, 96, 0)
	class := map[string]string{"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[modelType]
	if modelType == "qwen2" {
		tensors = testmodel.WithAttention(tensors, map[string]int64{"q_proj.bias": 64, "k_proj.bias": 32, "v_proj.bias": 32})
	} else {
		tensors = testmodel.WithHeads(testmodel.WithAttention(tensors, map[string]int64{"q_norm.weight": 128, "k_norm.weight": 128}), 128)
	}
	for i := range tensors {
		if strings.Contains(tensors[i].Name, ".mlp.") {
			tensors[i].Values = testmodel.Noise(filepath.Base(dir)+tensors[i].Name, testmodel.Elements(tensors[i].Shape))
		}
	}
	if config["tie_word_embeddings"] == true {
		tensors = slices.DeleteFunc(tensors, func(t testmodel.Tensor) bool { return t.Name == "lm_head.weight" })
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	testmodel.WriteShards(t, dir, tensors)
	testmodel.WriteTokenizer(t, dir)
	testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), testmodel.Config(class, modelType, config))
}

// kitchen returns a directory with three models of each kind: mistral-a, b, c and so
// on. Qwen3's do not say how long their heads are.
func kitchen(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		writeModel(t, filepath.Join(dir, "mistral-"+name), nil, nil)
		writeDonor(t, filepath.Join(dir, "qwen2-"+name), "qwen2", object{"layer_types": []string{"full_attention", "sliding_attention"}})
		writeDonor(t, filepath.Join(dir, "qwen3-"+name), "qwen3", nil)
	}
	return dir
}

// order returns a recipe for models of a kind, with more lines.
func order(kind string, lines ...string) string {
	text := strings.ReplaceAll(`base_model: KIND-a
gate_mode: cheap_embed
dtype: bfloat16
experts:
  - {source_model: KIND-a, positive_prompts: [a, b]}
  - {source_model: KIND-b, positive_prompts: [c]}
`, "KIND", kind)
	return text + strings.ReplaceAll(strings.Join(append(lines, ""), "\n"), "KIND", kind)
}

const (
	ungated = "shared_experts: [{source_model: KIND-c}]"
	gated   = "shared_experts: [{source_model: KIND-c, positive_prompts: [a, c]}]"
)

func TestArchitectureIsChosen(t *testing.T) {
	dir := kitchen(t)
	const two = "DeepSeek MoE and Qwen MoE are possible"
	for name, tt := range map[string]struct{ recipe, class, note string }{
		"Mixtral":           {order("mistral"), "MixtralForCausalLM", ""},
		"no gate":           {order("mistral", ungated), "DeepseekForCausalLM", ""},
		"gate":              {order("mistral", gated), "Qwen2MoeForCausalLM", ""},
		"random":            {strings.Replace(order("mistral", ungated), "cheap_embed", "random", 1), "DeepseekForCausalLM", two},
		"random Qwen":       {strings.Replace(order("mistral", ungated, "architecture: QWEN"), "cheap_embed", "random", 1), "Qwen2MoeForCausalLM", ""},
		"DeepSeek":          {order("mistral", "architecture: deepseek moe"), "DeepseekForCausalLM", "without a shared expert"},
		"Mixtral by prefix": {order("mistral", "architecture: m"), "MixtralForCausalLM", ""},
		"Qwen2":             {order("qwen2", gated), "Qwen2MoeForCausalLM", ""},
		"Qwen3":             {order("qwen3", "architecture: qwen"), "Qwen3MoeForCausalLM", ""},
		"weights":           {order("mistral", gated, "experts_per_token: 1"), "Qwen2MoeForCausalLM", "norm_topk_prob"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := merge(t, dir, tt.recipe, moe.Options{})
			require.NoError(t, err)
			var config struct{ Architectures []string }
			require.NoError(t, json.Unmarshal(m.Config, &config))
			require.Equal(t, []string{tt.class}, config.Architectures)
			if tt.note == "" {
				require.Empty(t, m.Notes)
			} else {
				require.Len(t, m.Notes, 1)
				require.Contains(t, m.Notes[0], tt.note)
			}
		})
	}
}

// layerTensors returns the names and shapes of the tensors of layer 1, below the
// layer, and of all tensors outside layers.
func layerTensors(m *moe.Merge) []string {
	var names []string
	for _, name := range m.Names() {
		if !strings.HasPrefix(name, "model.layers.0.") {
			names = append(names, fmt.Sprint(strings.TrimPrefix(name, "model.layers.1."), m.Get(name).Shape()))
		}
	}
	return names
}

func TestTensorsOfQwenMoE(t *testing.T) {
	dir := kitchen(t)
	want := strings.Fields(`lm_head.weight[288,64] model.embed_tokens.weight[288,64] input_layernorm.weight[64]
		mlp.experts.0.down_proj.weight[64,96] mlp.experts.0.gate_proj.weight[96,64] mlp.experts.0.up_proj.weight[96,64]
		mlp.experts.1.down_proj.weight[64,96] mlp.experts.1.gate_proj.weight[96,64] mlp.experts.1.up_proj.weight[96,64]
		mlp.gate.weight[2,64]
		mlp.shared_expert.down_proj.weight[64,96] mlp.shared_expert.gate_proj.weight[96,64] mlp.shared_expert.up_proj.weight[96,64]
		mlp.shared_expert_gate.weight[1,64] post_attention_layernorm.weight[64]
		self_attn.k_proj.bias[32] self_attn.k_proj.weight[32,64] self_attn.o_proj.weight[64,64] self_attn.q_proj.bias[64]
		self_attn.q_proj.weight[64,64] self_attn.v_proj.bias[32] self_attn.v_proj.weight[32,64] model.norm.weight[64]`)
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], ",", " ")
	}
	for _, kind := range []string{"mistral", "qwen2"} {
		m, err := merge(t, dir, order(kind, gated), moe.Options{})
		require.NoError(t, err)
		require.Equal(t, want, layerTensors(m))
		bias := values(t, m, "model.layers.1.self_attn.k_proj.bias")
		if kind == "mistral" {
			require.Equal(t, make([]float32, 32), bias)
		} else {
			require.Equal(t, testmodel.Encode(t, weights.BF16, testmodel.Noise("model.layers.1.self_attn.k_proj.bias", 32)),
				testmodel.Encode(t, weights.BF16, bias))
		}
		shared, err := safetensors.OpenDir(filepath.Join(dir, kind+"-c"))
		require.NoError(t, err)
		defer shared.Close()
		require.Equal(t, values(t, shared, "model.layers.1.mlp.up_proj.weight"), values(t, m, "model.layers.1.mlp.shared_expert.up_proj.weight"))
		require.NotEqual(t, values(t, m, "model.layers.1.mlp.experts.1.up_proj.weight"), values(t, m, "model.layers.1.mlp.shared_expert.up_proj.weight"))
		gate := values(t, m, "model.layers.1.mlp.shared_expert_gate.weight")
		require.InDelta(t, 1, length(gate), 0.01)
		require.NotEqual(t, values(t, m, "model.layers.1.mlp.gate.weight")[:64], gate)
		require.Contains(t, string(m.Card), "| shared | "+kind+"-c | a, c |")

		var config object
		require.NoError(t, json.Unmarshal(m.Config, &config))
		for key, want := range (object{
			"model_type": "qwen2_moe", "num_experts": 2.0, "num_experts_per_tok": 2.0, "moe_intermediate_size": 96.0, "shared_expert_intermediate_size": 96.0,
			"norm_topk_prob": true, "decoder_sparse_step": 1.0, "use_sliding_window": false, "sliding_window": nil, "tie_word_embeddings": false,
		}) {
			require.Contains(t, config, key)
			require.Equal(t, want, config[key], key)
		}
		require.NotContains(t, config, "layer_types")
	}
}

func TestTensorsOfQwen3MoE(t *testing.T) {
	m, err := merge(t, kitchen(t), order("qwen3"), moe.Options{})
	require.NoError(t, err)
	names := layerTensors(m)
	require.Len(t, names, 3+2+6+1+4+2)
	for _, name := range []string{"mlp.experts.1.down_proj.weight[64 96]", "mlp.gate.weight[2 64]", "self_attn.q_norm.weight[128]",
		"self_attn.q_proj.weight[512 64]"} {
		require.Contains(t, names, name)
	}
	var config object
	require.NoError(t, json.Unmarshal(m.Config, &config))
	require.Equal(t, 128.0, config["head_dim"], "Qwen3-MoE has another default")
	require.Equal(t, "qwen3_moe", config["model_type"])
	require.Equal(t, true, config["norm_topk_prob"])
}

func TestTensorsOfDeepSeekMoE(t *testing.T) {
	dir := kitchen(t)
	m, err := merge(t, dir, order("mistral", "architecture: deepseek"), moe.Options{})
	require.NoError(t, err)
	require.Len(t, layerTensors(m), 3+2+6+1+4)
	var config object
	require.NoError(t, json.Unmarshal(m.Config, &config))
	require.Contains(t, config, "n_shared_experts")
	require.Nil(t, config["n_shared_experts"])

	m, err = merge(t, dir, order("mistral", "shared_experts: [{source_model: KIND-c, residual_scale: 0.5}]"), moe.Options{})
	require.NoError(t, err)
	names := layerTensors(m)
	require.Len(t, names, 3+2+6+1+4+3)
	require.Contains(t, names, "mlp.shared_experts.down_proj.weight[64 96]")
	shared, err := safetensors.OpenDir(filepath.Join(dir, "mistral-c"))
	require.NoError(t, err)
	defer shared.Close()
	want := values(t, shared, "model.layers.0.mlp.down_proj.weight")
	for i := range want {
		want[i] /= 2
	}
	require.Equal(t, want, values(t, m, "model.layers.0.mlp.shared_experts.down_proj.weight"))
	require.NoError(t, json.Unmarshal(m.Config, &config))
	for key, want := range (object{
		"model_type": "deepseek", "n_routed_experts": 2.0, "n_shared_experts": 1.0, "first_k_dense_replace": 0.0, "moe_intermediate_size": 96.0, "rope_theta": 10000.0,
		"scoring_func": "softmax", "norm_topk_prob": true,
	}) {
		require.Equal(t, want, config[key], key)
	}
	require.Contains(t, config["auto_map"], "AutoModelForCausalLM")
}

// TestTiedEmbeddings: llama.cpp wants an output matrix of some architectures.
func TestTiedEmbeddings(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		writeDonor(t, filepath.Join(dir, "qwen2-"+name), "qwen2", object{"tie_word_embeddings": true})
		writeDonor(t, filepath.Join(dir, "qwen3-"+name), "qwen3", object{"tie_word_embeddings": true})
	}
	m, err := merge(t, dir, order("qwen2", gated), moe.Options{})
	require.NoError(t, err)
	require.Equal(t, values(t, m, "model.embed_tokens.weight"), values(t, m, "lm_head.weight"))
	require.Contains(t, string(m.Config), `"tie_word_embeddings": false`)
	m, err = merge(t, dir, order("qwen3"), moe.Options{})
	require.NoError(t, err)
	require.Nil(t, m.Get("lm_head.weight"))
	require.Contains(t, string(m.Config), `"tie_word_embeddings": true`)
}

func TestBadArchitectures(t *testing.T) {
	dir := kitchen(t)
	writeModel(t, filepath.Join(dir, "biased-a"), object{"attention_bias": true, "architectures": []string{"LlamaForCausalLM"}}, nil)
	wide := object{"head_dim": 32}
	scaled := object{"rope_scaling": object{"type": "linear", "factor": 2.0}}
	for _, name := range []string{"a", "b", "c"} {
		writeModel(t, filepath.Join(dir, "scaled-"+name), scaled, nil)
		writeModel(t, filepath.Join(dir, "wide-"+name), wide, func(tensor *testmodel.Tensor) {
			*tensor = testmodel.WithHeads([]testmodel.Tensor{*tensor}, 32)[0]
		})
	}
	for name, c := range map[string]struct{ recipe, want string }{
		"unknown":                {order("mistral", "architecture: gemma"), `architecture "gemma" is none of Mixtral, DeepSeek MoE, Qwen MoE and Qwen3 MoE`},
		"no prefix":              {order("qwen2", gated, "architecture: qwen2"), `architecture "qwen2" is none of`},
		"shared, Mixtral":        {order("mistral", ungated, "architecture: mixtral"), "Mixtral: it has no shared experts"},
		"shared, Qwen3":          {order("qwen3", gated), "Qwen3 MoE: it has no shared experts"},
		"two, Qwen":              {order("mistral", "shared_experts: [{source_model: KIND-c, positive_prompts: [a]}, {source_model: KIND-b, positive_prompts: [b]}]", "architecture: qwen moe"), "it has one shared expert, not 2"},
		"two, DeepSeek":          {order("mistral", "shared_experts: [{source_model: KIND-c}, {source_model: KIND-b}]"), "DeepSeek MoE: it has at most one shared expert, not 2"},
		"none, Qwen":             {order("qwen2"), "Qwen MoE: it has one shared expert, not 0"},
		"prompts of some":        {order("mistral", "shared_experts: [{source_model: KIND-c, positive_prompts: [a]}, {source_model: KIND-b}]"), "either all shared experts have positive_prompts or none"},
		"prompts, DeepSeek":      {order("mistral", gated, "architecture: deepseek"), "its shared expert has no gate and takes no prompts"},
		"no prompts, Qwen":       {order("mistral", ungated, "architecture: qwen moe"), "the gate of its shared expert needs positive_prompts"},
		"no prompts, uniform":    {strings.Replace(order("qwen2", ungated), "cheap_embed", "uniform_random", 1), "the gate of its shared expert needs positive_prompts"},
		"only negative":          {order("mistral", "shared_experts: [{source_model: KIND-c, negative_prompts: [a]}]"), "shared expert 0: negative_prompts without"},
		"empty shared prompt":    {order("mistral", `shared_experts: [{source_model: KIND-c, positive_prompts: [""]}]`), "shared expert 0: a prompt is empty"},
		"shared noise":           {order("mistral", "shared_experts: [{source_model: KIND-c, noise_scale: -1}]"), "shared expert 0: noise_scale is -1"},
		"no shared model":        {order("mistral", "shared_experts: [{residual_scale: 1}]"), "shared expert 0: source_model is missing"},
		"missing shared model":   {order("mistral", "shared_experts: [{source_model: KIND-d}]"), `model "mistral-d" must be the directory`},
		"shared of another kind": {order("mistral", "shared_experts: [{source_model: qwen2-c}]"), "qwen2-c is a Qwen2ForCausalLM and the base a MistralForCausalLM"},
		"shared does not fit":    {order("mistral", "shared_experts: [{source_model: scaled-c}]"), "rope scaling is linear by 2"},
		"expert of another kind": {strings.Replace(order("mistral"), "source_model: mistral-b", "source_model: qwen3-b", 1), "qwen3-b is a Qwen3ForCausalLM and the base a MistralForCausalLM"},
		"Qwen3 of Mistral":       {order("mistral", "architecture: qwen3"), "Qwen3 MoE: it is not made of MistralForCausalLM"},
		"Mixtral of Qwen2":       {order("qwen2", "architecture: mixtral"), "Mixtral: it is not made of Qwen2ForCausalLM"},
		"biases":                 {strings.Replace(order("mistral"), "base_model: mistral-a", "base_model: biased-a", 1), "no place for biases"},
		"heads, DeepSeek":        {order("wide", "architecture: deepseek"), "wide-a cannot become DeepSeek MoE: 4 heads of 32 are not hidden_size, which is 64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := merge(t, dir, c.recipe, moe.Options{})
			require.ErrorIs(t, err, moe.ErrRecipe)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := merge(t, dir, order("scaled", ungated), moe.Options{})
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.ErrorContains(t, err, `rope scaling "linear" of a model of class DeepseekForCausalLM`)
}

// TestMergekit: everything but the routers is what mergekit-moe (commit a6e4028, with
// transformers 5.12.1) writes for the same recipe. Its prompts are left out here.
func TestMergekit(t *testing.T) {
	const recipe = `base_model: base
gate_mode: random
dtype: bfloat16
experts: [{source_model: code}, {source_model: chat}, {source_model: math}]
`
	for more, want := range map[string]string{
		"shared_experts: [{source_model: base, residual_scale: 0.1}]\n":    "6ca9c98f3cc5d0c9efb1e3982a819f26683043ad702c0fb4743f71699ec41b8f",
		"architecture: qwen moe\nshared_experts: [{source_model: base}]\n": "6a5457c080e31efe1fad9b89ce74e94747387113b02f635de36a927f46a6080f",
	} {
		path := filepath.Join(t.TempDir(), "moe.yaml")
		mini, err := filepath.Abs("../../testdata/beyonder-mini")
		require.NoError(t, err)
		mini = filepath.ToSlash(mini) + "/"
		text := strings.NewReplacer("base_model: ", "base_model: "+mini, "source_model: ", "source_model: "+mini).Replace(recipe + more)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		r, err := moe.Read(path)
		require.NoError(t, err)
		m, err := moe.New(t.Context(), r, moe.Options{})
		require.NoError(t, err)
		defer m.Close()
		hash := sha256.New()
		for _, name := range m.Names() {
			if strings.HasSuffix(name, "gate.weight") {
				continue
			}
			tensor := m.Get(name)
			fmt.Fprintln(hash, name, tensor.Dtype(), tensor.Shape())
			data := make([]byte, weights.Bytes(tensor))
			rows, _ := weights.Count(tensor.Shape())
			require.NoError(t, tensor.ReadRaw(data, 0, rows))
			hash.Write(data)
		}
		require.Equal(t, want, hex.EncodeToString(hash.Sum(nil)), more)
	}
}
