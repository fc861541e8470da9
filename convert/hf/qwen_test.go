package hf_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// writeQwen2: tied embeddings, F16, YaRN, a sliding window that is not used, as
// transformers 4 saved it.
func writeQwen2(t testing.TB, dir string) {
	tensors := testmodel.WithAttention(testmodel.Tensors(weights.F16, 288, 96, 0), testmodel.Qwen2Biases)
	tensors = slices.DeleteFunc(tensors, func(t testmodel.Tensor) bool { return strings.HasPrefix(t.Name, "lm_head") })
	testmodel.WriteShards(t, dir, tensors)
	testmodel.WriteTokenizer(t, dir)
	writeFiles(t, dir, map[string]any{
		"config.json": testmodel.Config("Qwen2ForCausalLM", "qwen2", object{
			"tie_word_embeddings": true, "rope_theta": 1000000.0, "sliding_window": 128, "use_sliding_window": false, "max_window_layers": 1,
			"rms_norm_eps": nil, "max_position_embeddings": nil,
			"rope_scaling": object{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192},
		}),
		"generation_config.json": object{"repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20},
	})
}

// writeQwen3: heads wider than hidden / heads, biases, as transformers 5 saves it.
func writeQwen3(t testing.TB, dir string) {
	tensors := testmodel.WithAttention(testmodel.Tensors(weights.BF16, 288, 96, 0), testmodel.Qwen3Norms)
	tensors = testmodel.WithAttention(tensors, map[string]int64{"q_proj.bias": 128, "k_proj.bias": 64, "v_proj.bias": 64, "o_proj.bias": 64})
	testmodel.WriteShards(t, dir, testmodel.WithHeads(tensors, 32))
	testmodel.WriteTokenizer(t, dir)
	writeFiles(t, dir, map[string]any{
		"config.json": testmodel.Config("Qwen3ForCausalLM", "qwen3", object{
			"head_dim": 32, "attention_bias": true, "rope_theta": nil, "rope_parameters": object{"rope_theta": 1000000.0, "rope_type": "default"},
			"layer_types": []string{"full_attention", "full_attention"},
		}),
	})
}

// writeQwen2MoE: 12 experts (so that their names are not in the order of their
// numbers), rows of experts that no Q8_0 block fits.
func writeQwen2MoE(t testing.TB, dir string) {
	tensors := testmodel.WithAttention(testmodel.Tensors(weights.BF16, 288, 96, 0), testmodel.Qwen2Biases)
	testmodel.WriteShards(t, dir, testmodel.WithExperts(tensors, 0, 12, 24, "shared_expert", 40))
	testmodel.WriteTokenizer(t, dir)
	writeFiles(t, dir, map[string]any{
		"config.json": testmodel.Config("Qwen2MoeForCausalLM", "qwen2_moe", object{
			"num_experts": 12, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40, "decoder_sparse_step": 1, "norm_topk_prob": false,
			"sliding_window": 32768, "use_sliding_window": false, "max_window_layers": 21, "num_experts_per_tok": nil,
		}),
	})
}

func qwen3MoETensors() []testmodel.Tensor {
	tensors := testmodel.WithAttention(testmodel.Tensors(weights.BF16, 288, 96, 0), testmodel.Qwen3Norms)
	return testmodel.WithExperts(testmodel.WithHeads(tensors, 32), 0, 4, 32, "", 0)
}

var qwen3MoEConfig = object{
	"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 32, "decoder_sparse_step": 1, "mlp_only_layers": []int{}, "norm_topk_prob": true,
}

// writeQwen3MoE: three shards in which layers and experts mix.
func writeQwen3MoE(t testing.TB, dir string) {
	var shards [3][]testmodel.Tensor
	for i, tensor := range qwen3MoETensors() {
		shards[i*7%3] = append(shards[i*7%3], tensor)
	}
	testmodel.WriteShards(t, dir, shards[:]...)
	testmodel.WriteTokenizer(t, dir)
	writeFiles(t, dir, map[string]any{"config.json": testmodel.Config("Qwen3MoeForCausalLM", "qwen3_moe", qwen3MoEConfig)})
}

// writeQwen3Fused: all experts in one tensor; the key that transformers 5 has for
// their number.
func writeQwen3Fused(t testing.TB, dir string) {
	testmodel.WriteShards(t, dir, testmodel.Fuse(qwen3MoETensors(), 32, 4))
	testmodel.WriteTokenizer(t, dir)
	config := testmodel.Config("Qwen3MoeForCausalLM", "qwen3_moe", qwen3MoEConfig)
	delete(config, "num_experts")
	config["num_local_experts"] = 4
	writeFiles(t, dir, map[string]any{"config.json": config})
}

// writeDeepSeek: a layer without experts, two shared ones.
func writeDeepSeek(t testing.TB, dir string) {
	tensors := testmodel.Tensors(weights.BF16, 288, 96, 0)
	testmodel.WriteShards(t, dir, testmodel.WithExperts(tensors, 1, 6, 32, "shared_experts", 64))
	testmodel.WriteTokenizer(t, dir)
	writeFiles(t, dir, map[string]any{
		"config.json": testmodel.Config("DeepseekForCausalLM", "deepseek", object{
			"auto_map":         object{"AutoConfig": "configuration_deepseek.DeepseekConfig", "AutoModelForCausalLM": "modeling_deepseek.DeepseekForCausalLM"},
			"n_routed_experts": 6, "n_shared_experts": 2, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "first_k_dense_replace": 1, "moe_layer_freq": 1,
			"norm_topk_prob": false, "scoring_func": "softmax", "rope_scaling": nil, "attention_bias": false,
		}),
	})
}
