package main

import "fmt"

var (
	gemma3Shape = family{"Gemma 3", map[string]any{
		"architectures": []string{"Gemma3ForCausalLM"}, "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 10,
		"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 1024, "rope_theta": 1e6,
		"rope_local_base_freq": 10000.0, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
	}, gemma3, nil}
	gptOSSShape = family{"gpt-oss", map[string]any{
		"architectures": []string{"GptOssForCausalLM"}, "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 4,
		"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "num_local_experts": 8, "num_experts_per_tok": 4, "sliding_window": 128,
		"rope_theta": 150000.0, "rms_norm_eps": 1e-5, "attention_bias": true, "swiglu_limit": 7.0,
		"layer_types": []string{"sliding_attention", "full_attention", "sliding_attention", "full_attention"},
	}, gptOSS, nil}
	deepSeekShape = family{"DeepSeek V3", map[string]any{ // of half the width, with half the heads
		"architectures": []string{"DeepseekV3ForCausalLM"}, "model_type": "deepseek_v3", "hidden_size": 3584, "intermediate_size": 9216, "num_hidden_layers": 3,
		"num_attention_heads": 64, "num_key_value_heads": 64, "q_lora_rank": 768, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
		"v_head_dim": 128, "n_routed_experts": 32, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "n_shared_experts": 1, "moe_intermediate_size": 1024,
		"first_k_dense_replace": 1, "moe_layer_freq": 1, "norm_topk_prob": true, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
		"rope_theta": 10000.0, "rms_norm_eps": 1e-6,
	}, deepSeekV3, []string{"--repack", "0"}} // with weights in tiles of AMX, llama-bench 0.7.0 aborts
)

func gemma3(c *checkpoint) {
	const width, hidden, head = 2560, 10240, 256
	c.matrix("model.embed_tokens.weight", vocabulary, width)
	for layer := range 10 {
		p := fmt.Sprintf("model.layers.%d.", layer)
		for _, name := range []string{"input", "post_attention", "pre_feedforward", "post_feedforward"} {
			c.values(p+name+"_layernorm.weight", 0, width) // 1 is added
		}
		c.matrix(p+"self_attn.q_proj.weight", 8*head, width)
		c.matrix(p+"self_attn.k_proj.weight", 4*head, width)
		c.matrix(p+"self_attn.v_proj.weight", 4*head, width)
		c.matrix(p+"self_attn.o_proj.weight", width, 8*head)
		c.values(p+"self_attn.q_norm.weight", 0, head)
		c.values(p+"self_attn.k_norm.weight", 0, head)
		c.network(p+"mlp.", hidden, width)
	}
	c.values("model.norm.weight", 0, width)
}

func gptOSS(c *checkpoint) {
	const width, experts, heads, kvHeads, head = 2880, 8, 64, 8, 64
	c.matrix("model.embed_tokens.weight", vocabulary, width)
	for layer := range 4 {
		p := fmt.Sprintf("model.layers.%d.", layer)
		c.values(p+"input_layernorm.weight", 1, width)
		c.values(p+"post_attention_layernorm.weight", 1, width)
		for i, name := range []string{"q", "k", "v"} {
			n := []int{heads, kvHeads, kvHeads}[i] * head
			c.matrix(p+"self_attn."+name+"_proj.weight", n, width)
			c.values(p+"self_attn."+name+"_proj.bias", 0.1, n)
		}
		c.matrix(p+"self_attn.o_proj.weight", width, heads*head)
		c.values(p+"self_attn.o_proj.bias", 0.1, width)
		c.values(p+"self_attn.sinks", 0.5, heads)
		c.matrix(p+"mlp.router.weight", experts, width)
		c.values(p+"mlp.router.bias", 0, experts)
		c.matrices(p+"mlp.experts.gate_up_proj", width, 2*width, experts)
		c.values(p+"mlp.experts.gate_up_proj_bias", 0.1, experts, 2*width)
		c.matrices(p+"mlp.experts.down_proj", width, width, experts)
		c.values(p+"mlp.experts.down_proj_bias", 0.1, experts, width)
	}
	c.values("model.norm.weight", 1, width)
	c.matrix("lm_head.weight", vocabulary, width)
}

func deepSeekV3(c *checkpoint) {
	const width, dense, experts, hidden, heads, queryRank, rank, plain, rotated, value = 3584, 9216, 32, 1024, 64, 768, 512, 128, 64, 128
	c.matrix("model.embed_tokens.weight", vocabulary, width)
	for layer := range 3 {
		p := fmt.Sprintf("model.layers.%d.", layer)
		c.values(p+"input_layernorm.weight", 1, width)
		c.values(p+"post_attention_layernorm.weight", 1, width)
		c.matrix(p+"self_attn.q_a_proj.weight", queryRank, width)
		c.values(p+"self_attn.q_a_layernorm.weight", 1, queryRank)
		c.matrix(p+"self_attn.q_b_proj.weight", heads*(plain+rotated), queryRank)
		c.matrix(p+"self_attn.kv_a_proj_with_mqa.weight", rank+rotated, width)
		c.values(p+"self_attn.kv_a_layernorm.weight", 1, rank)
		c.matrix(p+"self_attn.kv_b_proj.weight", heads*(plain+value), rank)
		c.matrix(p+"self_attn.o_proj.weight", width, heads*value)
		if layer == 0 {
			c.network(p+"mlp.", dense, width)
			continue
		}
		c.matrix(p+"mlp.gate.weight", experts, width)
		c.values(p+"mlp.gate.e_score_correction_bias", 0, experts)
		for e := range experts {
			c.network(fmt.Sprintf("%smlp.experts.%d.", p, e), hidden, width)
		}
		c.network(p+"mlp.shared_experts.", hidden, width)
	}
	c.values("model.norm.weight", 1, width)
	c.matrix("lm_head.weight", vocabulary, width)
}

// network adds the matrices of a gated one.
func (c *checkpoint) network(prefix string, hidden, width int) {
	c.matrix(prefix+"gate_proj.weight", hidden, width)
	c.matrix(prefix+"up_proj.weight", hidden, width)
	c.matrix(prefix+"down_proj.weight", width, hidden)
}
