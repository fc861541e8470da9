package arch_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// plan maps a checkpoint of the given tensors.
func plan(t *testing.T, a *arch.Architecture, config map[string]any, shards ...[]testmodel.Tensor) ([]arch.Tensor, error) {
	data, err := json.Marshal(config)
	require.NoError(t, err)
	m, err := a.Read(data)
	require.NoError(t, err)
	dir := t.TempDir()
	testmodel.WriteShards(t, dir, shards...)
	ckpt, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	t.Cleanup(func() { ckpt.Close() })
	return m.Plan(ckpt)
}

// TestPadded: of matrices that packers made larger, the model's part is taken, and nothing
// that says nothing.
func TestPadded(t *testing.T) {
	data, err := json.Marshal(testmodel.Config("LlamaForCausalLM", "llama", nil))
	require.NoError(t, err)
	m, err := arch.Llama.Read(data)
	require.NoError(t, err)
	padded := map[string][]int64{"lm_head.weight": {384, 64}, "model.layers.0.mlp.up_proj.weight": {128, 64}, "model.layers.1.mlp.down_proj.weight": {64, 128}}
	const bias = "model.layers.0.self_attn.o_proj.bias"
	var list weights.List
	require.NoError(t, list.Add(bias, weights.Spare(weights.Values(weights.F16, make([]float32, 64), 64))))
	plain := testmodel.Tensors(weights.BF16, 288, 96, 0)
	for _, tensor := range plain {
		r := weights.Values(weights.BF16, testmodel.Noise(tensor.Name, testmodel.Elements(tensor.Shape)), tensor.Shape...)
		if shape, ok := padded[tensor.Name]; ok {
			r = weights.Padded(weights.Values(weights.F16, testmodel.Noise(tensor.Name, testmodel.Elements(shape)), shape...), 128, 128)
		}
		require.NoError(t, list.Add(tensor.Name, r))
	}
	tensors, err := m.Plan(&list)
	require.NoError(t, err)
	head := testmodel.Values(t, list.Get("lm_head.weight"))[:288*64]
	i := slices.IndexFunc(tensors, func(t arch.Tensor) bool { return t.Name == "output.weight" })
	require.Equal(t, []int64{288, 64}, tensors[i].Shape())
	require.Equal(t, head, testmodel.Values(t, tensors[i]))

	used, err := m.Used(&list)
	require.NoError(t, err)
	require.Len(t, used.Names(), len(plain))
	for _, tensor := range plain {
		require.Equal(t, tensor.Shape, used.Get(tensor.Name).Shape(), tensor.Name)
	}
	require.Equal(t, head, testmodel.Values(t, used.Get("lm_head.weight")))
}

func mixtralConfig(changes map[string]any) map[string]any {
	config := map[string]any{"intermediate_size": 96, "num_local_experts": 3}
	for k, v := range changes {
		config[k] = v
	}
	return testmodel.Config("MixtralForCausalLM", "mixtral", config)
}

func TestExpertsGoWhereTheyBelong(t *testing.T) {
	legacy := testmodel.Tensors(weights.F32, 288, 96, 3)
	want := map[string]string{ // source by GGUF name
		"blk.1.ffn_gate_exps.weight": "w1", "blk.1.ffn_down_exps.weight": "w2", "blk.1.ffn_up_exps.weight": "w3",
	}
	for _, tensors := range [][]testmodel.Tensor{legacy, testmodel.Fuse(legacy, 96, 3)} {
		planned, err := plan(t, &arch.Mixtral, mixtralConfig(nil), tensors)
		require.NoError(t, err)
		require.Len(t, planned, 3+2*10)
		for name, source := range want {
			at := slices.IndexFunc(planned, func(t arch.Tensor) bool { return t.Name == name })
			require.GreaterOrEqual(t, at, 0, name)
			require.EqualValues(t, 3, planned[at].Shape()[0])
			var values []float32
			for expert := range 3 {
				values = append(values, testmodel.Noise(fmt.Sprintf("model.layers.1.block_sparse_moe.experts.%d.%s.weight", expert, source), 96*64)...)
			}
			require.Equal(t, values, testmodel.Values(t, planned[at]))
		}
	}
}

func TestRefused(t *testing.T) {
	tensors := func() []testmodel.Tensor { return testmodel.Tensors(weights.F32, 288, 96, 3) }
	without := func(end string) []testmodel.Tensor {
		return slices.DeleteFunc(tensors(), func(t testmodel.Tensor) bool { return strings.HasSuffix(t.Name, end) })
	}
	extra := func(name string, shape ...int64) []testmodel.Tensor {
		return append(tensors(), testmodel.Tensor{Name: name, Dtype: weights.F32, Shape: shape})
	}
	for name, tt := range map[string]struct {
		tensors []testmodel.Tensor
		config  map[string]any
		want    string
		err     error
	}{
		"missing expert":        {without("layers.1.block_sparse_moe.experts.2.w3.weight"), nil, "experts.2.w3", gguf.ErrCorrupt},
		"missing norm":          {without("model.norm.weight"), nil, "model.norm.weight", gguf.ErrCorrupt},
		"missing output":        {without("lm_head.weight"), nil, "lm_head.weight", gguf.ErrCorrupt},
		"missing layer":         {tensors(), map[string]any{"num_hidden_layers": 60000}, "model.layers.2.", gguf.ErrCorrupt},
		"surplus layer":         {tensors(), map[string]any{"num_hidden_layers": 1}, "model.layers.1.", gguf.ErrUnsupported},
		"surplus expert":        {extra("model.layers.0.block_sparse_moe.experts.3.w1.weight", 96, 64), nil, "experts.3.", gguf.ErrUnsupported},
		"fewer experts":         {tensors(), map[string]any{"num_local_experts": 2}, "[3 64]", gguf.ErrCorrupt},
		"width":                 {tensors(), map[string]any{"intermediate_size": 97}, "[97 64]", gguf.ErrCorrupt},
		"vocabulary":            {tensors(), map[string]any{"vocab_size": 289}, "[289 64]", gguf.ErrCorrupt},
		"heads":                 {tensors(), map[string]any{"num_key_value_heads": 4}, "k_proj", gguf.ErrCorrupt},
		"unknown tensor":        {extra("model.layers.0.self_attn.q_norm.weight", 16), nil, "q_norm", gguf.ErrUnsupported},
		"both layouts":          {extra("model.layers.0.mlp.experts.down_proj", 3, 64, 96), nil, "two layouts", gguf.ErrCorrupt},
		"both layouts, routers": {extra("model.layers.0.mlp.gate.weight", 3, 64), nil, "two layouts", gguf.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := plan(t, &arch.Mixtral, mixtralConfig(tt.config), tt.tensors)
			require.ErrorIs(t, err, tt.err)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestIntegersAreNotWeights(t *testing.T) {
	dir := t.TempDir()
	testmodel.WriteShards(t, dir, testmodel.Tensors(weights.F32, 288, 96, 0))
	path := dir + "/model.safetensors"
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(data), `"F32"`, `"I32"`)), 0o644))
	ckpt, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	defer ckpt.Close()
	text, err := json.Marshal(testmodel.Config("LlamaForCausalLM", "llama", nil))
	require.NoError(t, err)
	m, err := arch.Llama.Read(text)
	require.NoError(t, err)
	_, err = m.Plan(ckpt)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.ErrorContains(t, err, "I32")
}

func TestConfigRefused(t *testing.T) {
	for _, tt := range []struct {
		changes map[string]any
		want    string
		err     error
	}{
		{map[string]any{"vocab_size": "many"}, "vocab_size", gguf.ErrCorrupt},
		{map[string]any{"vocab_size": 1 << 40}, "vocab_size", gguf.ErrCorrupt},
		{map[string]any{"hidden_size": 0}, "hidden_size", gguf.ErrCorrupt},
		{map[string]any{"hidden_size": -64}, "hidden_size", gguf.ErrCorrupt},
		{map[string]any{"num_hidden_layers": 1 << 30}, "num_hidden_layers", gguf.ErrCorrupt},
		{map[string]any{"num_attention_heads": 0}, "num_attention_heads", gguf.ErrCorrupt},
		{map[string]any{"num_key_value_heads": 0}, "num_key_value_heads", gguf.ErrCorrupt},
		{map[string]any{"num_key_value_heads": 3}, "num_key_value_heads", gguf.ErrCorrupt},
		{map[string]any{"head_dim": 15}, "15", gguf.ErrCorrupt},
		{map[string]any{"num_local_experts": 0, "num_experts_per_tok": 0}, "num_experts_per_tok", gguf.ErrCorrupt},
		{map[string]any{"num_local_experts": -1}, "num_local_experts", gguf.ErrCorrupt},
		{map[string]any{"num_experts_per_tok": 9, "num_local_experts": 8}, "num_experts_per_tok", gguf.ErrCorrupt},
		{map[string]any{"num_local_experts": nil, "num_experts": -1}, "num_local_experts", gguf.ErrCorrupt},
		{map[string]any{"mlp_only_layers": []int{0}}, "mlp_only_layers", gguf.ErrUnsupported},
		{map[string]any{"decoder_sparse_step": 2}, "decoder_sparse_step", gguf.ErrUnsupported},
		{map[string]any{"moe_layer_freq": 2}, "moe_layer_freq", gguf.ErrUnsupported},
		{map[string]any{"scoring_func": "sigmoid"}, "sigmoid", gguf.ErrUnsupported},
		{map[string]any{"rope_scaling": map[string]any{"type": "yarn"}}, "yarn", gguf.ErrCorrupt},
		{map[string]any{"rope_scaling": map[string]any{"type": "longrope", "factor": 2}}, "longrope", gguf.ErrUnsupported},
		{map[string]any{"rope_scaling": map[string]any{"rope_type": "llama3", "original_max_position_embeddings": 0}}, "original_max", gguf.ErrCorrupt},
		{map[string]any{"partial_rotary_factor": 0.5}, "partial_rotary_factor", gguf.ErrUnsupported},
		{map[string]any{"rope_parameters": map[string]any{"partial_rotary_factor": 0.5}}, "partial_rotary_factor", gguf.ErrUnsupported},
		{map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{"partial_rotary_factor": 0.5}}}, "partial_rotary_factor", gguf.ErrUnsupported},
		{map[string]any{"rope_parameters": "linear"}, `rope_parameters is "linear"`, gguf.ErrCorrupt},
		{map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 0}}, "rope_parameters: corrupt file: factor is 0", gguf.ErrCorrupt},
		{map[string]any{"rope_theta": 0}, "rope_theta is 0", gguf.ErrCorrupt},
		{map[string]any{"rope_theta": -1e4}, "rope_theta is -10000", gguf.ErrCorrupt},
		{map[string]any{"rope_theta": "10000"}, "rope_theta is \"10000\"", gguf.ErrCorrupt},
		{map[string]any{"rms_norm_eps": 0}, "rms_norm_eps is 0", gguf.ErrCorrupt},
		{map[string]any{"rms_norm_eps": -1e-5}, "rms_norm_eps is -1e-05", gguf.ErrCorrupt},
		{map[string]any{"rms_norm_eps": map[string]any{"__float__": "Infinity"}}, "rms_norm_eps is +Inf", gguf.ErrCorrupt},
		{map[string]any{"rms_norm_eps": 1e-60}, "rms_norm_eps is 1e-60", gguf.ErrCorrupt},
		{map[string]any{"rms_norm_eps": 1e60}, "rms_norm_eps is 1e+60", gguf.ErrCorrupt},
		{map[string]any{"hidden_act": "gelu"}, `hidden_act is "gelu"`, gguf.ErrUnsupported},
		{map[string]any{"hidden_act": 1}, "hidden_act is 1", gguf.ErrCorrupt},
		{map[string]any{"hidden_size": 64.5}, "hidden_size is 64.5", gguf.ErrCorrupt},
		{map[string]any{"max_position_embeddings": strings.Repeat("x", 1000)}, `max_position_embeddings is "xxx`, gguf.ErrCorrupt},
	} {
		data, err := json.Marshal(testmodel.Config("MixtralForCausalLM", "mixtral", tt.changes))
		require.NoError(t, err)
		_, err = arch.Mixtral.Read(data)
		require.ErrorIs(t, err, tt.err, tt.changes)
		require.ErrorContains(t, err, tt.want)
		require.Less(t, len(err.Error()), 200)
	}
	gemma := func(changes map[string]any) map[string]any {
		config := map[string]any{"model_type": "gemma2", "head_dim": 16, "query_pre_attn_scalar": 16, "tie_word_embeddings": true, "n_routed_experts": nil}
		maps.Copy(config, changes)
		return config
	}
	for _, tt := range []struct {
		a       *arch.Architecture
		changes map[string]any
		want    string
		err     error
	}{
		{&arch.Qwen3MoE, map[string]any{"moe_intermediate_size": -1}, "moe_intermediate_size", gguf.ErrCorrupt},
		{&arch.Qwen2MoE, map[string]any{"shared_expert_intermediate_size": 1 << 30}, "shared_expert_intermediate_size", gguf.ErrCorrupt},
		{&arch.Qwen2MoE, map[string]any{"rope_scaling": map[string]any{"rope_type": "llama3"}}, "llama3", gguf.ErrUnsupported},
		{&arch.DeepSeek, map[string]any{"n_shared_experts": 1 << 20}, "n_shared_experts", gguf.ErrCorrupt},
		{&arch.DeepSeek, map[string]any{"first_k_dense_replace": 3}, "first_k_dense_replace", gguf.ErrCorrupt},
		{&arch.DeepSeek, map[string]any{"moe_intermediate_size": nil}, "moe_intermediate_size is missing", gguf.ErrCorrupt},
		{&arch.DeepSeek, map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2.0}}, "linear", gguf.ErrUnsupported},
		{&arch.DeepSeek, map[string]any{"n_routed_experts": nil}, "2 of 0 experts", gguf.ErrCorrupt},
		{&arch.Gemma2, gemma(map[string]any{"attn_logit_softcapping": nil}), "attn_logit_softcapping", gguf.ErrUnsupported},
		{&arch.Gemma2, gemma(map[string]any{"sliding_window": nil}), "sliding_window is missing", gguf.ErrCorrupt},
		{&arch.Gemma2, gemma(map[string]any{"tie_word_embeddings": false}), "tie_word_embeddings", gguf.ErrUnsupported},
		{&arch.Gemma2, gemma(map[string]any{"hidden_activation": "silu"}), "the architecture's is gelu_pytorch_tanh", gguf.ErrUnsupported},
		{&arch.Gemma2, gemma(map[string]any{"query_pre_attn_scalar": 32}), "query_pre_attn_scalar is 32, the architecture's is 16", gguf.ErrUnsupported},
		{&arch.Gemma2, gemma(map[string]any{"layer_types": []string{"full_attention", "full_attention"}}), "layer 0", gguf.ErrUnsupported},
		{&arch.Gemma2, gemma(map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2.0}}), "linear", gguf.ErrUnsupported},
		{&arch.Qwen2, nil, "n_routed_experts is 4, a model of class Qwen2ForCausalLM has no experts", gguf.ErrCorrupt},
	} {
		config := testmodel.Config("", "", map[string]any{"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32})
		maps.Copy(config, tt.changes)
		data, err := json.Marshal(config)
		require.NoError(t, err)
		_, err = tt.a.Read(data)
		require.ErrorIs(t, err, tt.err, tt.changes)
		require.ErrorContains(t, err, tt.want)
	}
	_, err := arch.Find("RwkvForCausalLM")
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.NotContains(t, err.Error(), "nearest")
	require.ErrorContains(t, err, "ggufkit models")
	_, err = arch.Find("Qwen3NextForSequenceClassification")
	require.ErrorContains(t, err, "the nearest that is known is Qwen3NextForCausalLM")
	_, err = arch.Read([]byte(`{"architectures": ["ChatModel"], "model_type": "gemma2"}`))
	require.ErrorContains(t, err, "the nearest that is known is Gemma2ForCausalLM")
}

func TestDefaultsStay(t *testing.T) {
	for range 2 {
		c, err := arch.Mistral.Read([]byte(`{"model_type": "mistral", "num_key_value_heads": 4}`))
		require.NoError(t, err)
		require.EqualValues(t, 4, c.KVHeads)
		c, err = arch.Mistral.Read([]byte(`{"model_type": "mistral"}`))
		require.NoError(t, err)
		require.EqualValues(t, 8, c.KVHeads)
		c, err = arch.Qwen3.Read([]byte(`{"model_type": "qwen3", "head_dim": 64}`))
		require.NoError(t, err)
		require.EqualValues(t, 64, c.HeadLength())
		c, err = arch.Qwen3.Read([]byte(`{"model_type": "qwen3"}`))
		require.NoError(t, err)
		require.EqualValues(t, 128, c.HeadLength())
		c, err = arch.Llama.Read([]byte(`{"model_type": "llama", "num_attention_heads": 16}`))
		require.NoError(t, err)
		require.EqualValues(t, 16, c.KVHeads)
	}
}

// TestRopeFreqs has the values that convert_hf_to_gguf.py gives Llama 3.1 8B.
func TestRopeFreqs(t *testing.T) {
	c, err := arch.Llama.Read([]byte(`{"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "rope_theta": 500000.0,
		"rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}}`))
	require.NoError(t, err)
	want := slices.Repeat([]float32{1}, 29)
	want = append(want, 1.2074838876724243, 1.5534145832061768, 2.026313066482544, 2.6945300102233887, 3.684253215789795, 5.257327079772949)
	want = append(want, slices.Repeat([]float32{8}, 29)...)
	require.Equal(t, want, c.RopeFactors())
}

// FuzzConfig: whatever config.json says, no architecture fails but by an error.
func FuzzConfig(f *testing.F) {
	for _, changes := range []map[string]any{
		nil,
		{"num_local_experts": 3, "num_experts_per_tok": 2},
		{"n_routed_experts": 4, "n_shared_experts": 2, "num_experts_per_tok": 2, "first_k_dense_replace": 1, "scoring_func": "softmax"},
		{"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64, "mlp_only_layers": []int{}},
		{"head_dim": 32, "rope_parameters": map[string]any{"rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 64}},
		{"rope_scaling": map[string]any{"type": "yarn", "factor": 4, "attn_factor": 1.5}},
	} {
		data, err := json.Marshal(testmodel.Config("", "", changes))
		require.NoError(f, err)
		for i := range arch.Architectures {
			f.Add(uint8(i), data)
		}
	}
	f.Add(uint8(0), []byte(`{"hidden_size": 1, "intermediate_size": 1, "n_layer": 1, "vocab_size": 1}`)) // no heads
	f.Fuzz(func(t *testing.T, number uint8, data []byte) {
		m, err := arch.Architectures[int(number)%len(arch.Architectures)].Read(data)
		if err != nil {
			require.Nil(t, m)
			return
		}
		require.NotEmpty(t, m.Metadata(1))
		_, err = m.Plan(new(weights.List))
		require.ErrorIs(t, err, gguf.ErrCorrupt, "there are no tensors")
	})
}

// TestPublishedNames: what architectures call pre-tokenizers is known, and cuts alike, but where llama.cpp takes
// Mistral's for Llama 3's.
func TestPublishedNames(t *testing.T) {
	for _, a := range arch.Architectures {
		for first, published := range a.Vocabulary.Pre {
			known, ok := pretoken.Find(first)
			require.True(t, ok, first)
			require.Equal(t, known.Names[0], first)
			other, ok := pretoken.Find(published)
			require.True(t, ok, published)
			if published != "pixtral" {
				require.Equal(t, known.Expressions, other.Expressions, published)
			}
		}
	}
}
