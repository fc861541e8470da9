package arch

// SeedOSS is Seed-OSS: Llama with biases for queries, keys and values, and llama.cpp's name
// for the norm after the attention.
var SeedOSS = Architecture{
	Class:  "SeedOssForCausalLM",
	Name:   "seed_oss",
	Family: "Seed-OSS",
	types: []modelType{{
		name: "seed_oss", theta: 10000,
		fields: append(denseFields(155136, 4096, 27648, 64, 80, 524288, 1e-6),
			field{"num_key_value_heads", whole | null, int64(8)}, field{"pad_token_id", whole | null, int64(1)},
			field{"bos_token_id", whole | null, int64(0)}, field{"eos_token_id", whole | wholes | null, int64(2)},
			field{"pretraining_tp", whole, int64(1)}, field{"attention_bias", flag, true}, field{"attention_out_bias", flag, false},
			field{"attention_dropout", whole | decimal, 0.1}, field{"residual_dropout", whole | decimal, 0.1}, field{"mlp_bias", flag, false},
			field{"head_dim", whole | null, int64(128)},
		),
	}},
	read: func(r *reader) family { return &seedOSS{readQwen(r)} },
	restore: func(r *restorer) {
		r.set("attention_bias", r.has("blk.0.attn_q.bias"))
		r.set("attention_out_bias", r.has("blk.0.attn_output.bias"))
	},
}

type seedOSS struct{ Config }

func (s *seedOSS) keys(k *keys) { s.commonKeys(k) }

func (s *seedOSS) tensors(m mapper) {
	s.outside(m)
	for _, layer := range m.layers(s.Layers) {
		layer.take("input_layernorm.weight", "attn_norm.weight", s.HiddenSize)
		s.attention(layer, halves)
		s.attentionBiases(layer, halves)
		layer.take("post_attention_layernorm.weight", "post_attention_norm.weight", s.HiddenSize)
		s.mlp(layer)
	}
}
