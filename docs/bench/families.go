package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// vocabulary is that of the tokenizer that all models have.
const vocabulary = 32000

// family is a model of about a billion parameters with the mixers of a published one, as wide as there.
type family struct {
	name     string
	config   map[string]any
	fill     func(*checkpoint)
	peerArgs []string // what llama-bench needs besides
}

var families = []family{
	{"Qwen3-Next", map[string]any{
		"architectures": []string{"Qwen3NextForCausalLM"}, "model_type": "qwen3_next", "hidden_size": 2048, "num_hidden_layers": 8,
		"intermediate_size": 5120, "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256, "partial_rotary_factor": 0.25,
		"linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_value_head_dim": 128,
		"num_experts": 32, "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512, "norm_topk_prob": true,
		"decoder_sparse_step": 1, "full_attention_interval": 4, "rope_theta": 1e7, "rms_norm_eps": 1e-6,
	}, qwen3Next, nil},
	{"Granite 4 H", map[string]any{
		"architectures": []string{"GraniteMoeHybridForCausalLM"}, "model_type": "granitemoehybrid", "hidden_size": 1536, "num_hidden_layers": 20,
		"layer_types":       append(slices.Repeat([]string{"mamba"}, 9), append([]string{"attention"}, append(slices.Repeat([]string{"mamba"}, 9), "attention")...)...),
		"intermediate_size": 4096, "shared_intermediate_size": 4096, "num_attention_heads": 12, "num_key_value_heads": 4, "num_local_experts": 0,
		"num_experts_per_tok": 0, "mamba_d_conv": 4, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_n_heads": 48,
		"position_embedding_type": "nope", "attention_multiplier": 0.0078125, "embedding_multiplier": 12.0, "logits_scaling": 6.0,
		"residual_multiplier": 0.22, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
	}, granite4, nil},
}

func qwen3Next(c *checkpoint) {
	const width, experts, hidden = 2048, 32, 512
	network := func(prefix string) {
		c.matrix(prefix+"gate_proj.weight", hidden, width)
		c.matrix(prefix+"up_proj.weight", hidden, width)
		c.matrix(prefix+"down_proj.weight", width, hidden)
	}
	c.matrix("model.embed_tokens.weight", vocabulary, width)
	for layer := range 8 {
		p := fmt.Sprintf("model.layers.%d.", layer)
		c.values(p+"input_layernorm.weight", 0, width) // 1 is added
		if (layer+1)%4 == 0 {
			c.matrix(p+"self_attn.q_proj.weight", 2*16*256, width)
			c.matrix(p+"self_attn.k_proj.weight", 2*256, width)
			c.matrix(p+"self_attn.v_proj.weight", 2*256, width)
			c.matrix(p+"self_attn.o_proj.weight", width, 16*256)
			c.values(p+"self_attn.q_norm.weight", 0, 256)
			c.values(p+"self_attn.k_norm.weight", 0, 256)
		} else {
			c.values(p+"linear_attn.A_log", 0, 32)
			c.values(p+"linear_attn.dt_bias", -3, 32)
			c.values(p+"linear_attn.conv1d.weight", 0.25, 8192, 1, 4)
			c.matrix(p+"linear_attn.in_proj_qkvz.weight", 12288, width)
			c.matrix(p+"linear_attn.in_proj_ba.weight", 64, width)
			c.values(p+"linear_attn.norm.weight", 1, 128)
			c.matrix(p+"linear_attn.out_proj.weight", width, 4096)
		}
		c.values(p+"post_attention_layernorm.weight", 0, width)
		c.matrix(p+"mlp.gate.weight", experts, width)
		for e := range experts {
			network(fmt.Sprintf("%smlp.experts.%d.", p, e))
		}
		network(p + "mlp.shared_expert.")
		c.matrix(p+"mlp.shared_expert_gate.weight", 1, width)
	}
	c.values("model.norm.weight", 0, width)
	c.matrix("lm_head.weight", vocabulary, width)
}

func granite4(c *checkpoint) {
	const width, hidden = 1536, 4096
	c.matrix("model.embed_tokens.weight", vocabulary, width)
	for layer := range 20 {
		p := fmt.Sprintf("model.layers.%d.", layer)
		c.values(p+"input_layernorm.weight", 1, width)
		if layer%10 == 9 {
			c.matrix(p+"self_attn.q_proj.weight", width, width)
			c.matrix(p+"self_attn.k_proj.weight", 4*128, width)
			c.matrix(p+"self_attn.v_proj.weight", 4*128, width)
			c.matrix(p+"self_attn.o_proj.weight", width, width)
		} else {
			c.values(p+"mamba.A_log", 1, 48)
			c.values(p+"mamba.D", 1, 48)
			c.values(p+"mamba.dt_bias", -3, 48)
			c.values(p+"mamba.conv1d.weight", 0.25, 2*width+256, 1, 4)
			c.values(p+"mamba.conv1d.bias", 0.1, 2*width+256)
			c.matrix(p+"mamba.in_proj.weight", 4*width+256+48, width)
			c.values(p+"mamba.norm.weight", 1, 2*width)
			c.matrix(p+"mamba.out_proj.weight", width, 2*width)
		}
		c.values(p+"post_attention_layernorm.weight", 1, width)
		c.matrix(p+"shared_mlp.input_linear.weight", 2*hidden, width)
		c.matrix(p+"shared_mlp.output_linear.weight", width, hidden)
	}
	c.values("model.norm.weight", 1, width)
}

// scoreFamilies is score for models of other families, in one type.
func scoreFamilies(b *bench) (table, error) {
	t := table{{"model", "parameters", "ggufkit, int8"}}
	for _, f := range append(families, gemma3Shape, gptOSSShape, deepSeekShape) {
		if b.types != "" && !strings.Contains(b.types, strings.ReplaceAll(f.name, " ", "")) {
			continue
		}
		c := newCheckpoint()
		f.fill(c)
		config := map[string]any{"torch_dtype": "bfloat16", "vocab_size": vocabulary, "max_position_embeddings": 8192, "hidden_act": "silu"}
		for key, v := range f.config {
			config[key] = v
		}
		name := strings.ReplaceAll(f.name, " ", "-")
		dir, err := b.directory(name, c.set, config)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(b.dir, name+".gguf")
		if _, err := os.Stat(path); err != nil {
			if _, _, err := b.run(b.ours("convert", dir, path, "--type", "Q4_K_M")...); err != nil {
				return nil, err
			}
		}
		cells, err := b.besidePeer(path, append([]string{"-p", "512", "-n", "0"}, f.peerArgs...), b.scored(path, "int8"))
		if err != nil {
			return nil, err
		}
		if len(cells) > 1 {
			t[0] = []string{"model", "parameters", "llama.cpp", "ggufkit, int8", "ratio"}
		}
		t.add(append([]string{f.name, fmt.Sprintf("%.2f B", math.Round(c.parameters/1e7)/100)}, cells...)...)
	}
	return t, nil
}
