package arch

import "github.com/ggufkit/ggufkit/gguf"

// StarCoder2 has norms of which the mean is subtracted, biases everywhere and no gates. Its
// sliding window has no place in the metadata.
var StarCoder2 = Architecture{
	Class:   "Starcoder2ForCausalLM",
	Name:    "starcoder2",
	Family:  "StarCoder 2",
	Special: "the sliding window is not in the file",
	types: []modelType{{
		name: "starcoder2", theta: 10000,
		fields: append(denseFields(49152, 3072, 12288, 30, 24, 4096, 0),
			field{"num_key_value_heads", whole, int64(2)}, field{"hidden_act", text, "gelu_pytorch_tanh"}, field{"initializer_range", decimal, 0.018042},
			field{"norm_epsilon", decimal, 1e-5}, field{"bos_token_id", whole | null, int64(50256)},
			field{"eos_token_id", whole | wholes | null, int64(50256)}, field{"sliding_window", whole | null, nil},
			field{"attention_dropout", whole | decimal, 0.0}, field{"residual_dropout", whole | decimal, 0.0},
			field{"embedding_dropout", whole | decimal, 0.0}, field{"use_bias", flag, true}, field{"tie_word_embeddings", flag, true},
		),
	}},
	read: readStarCoder2,
	restore: func(r *restorer) {
		r.set("hidden_act", "gelu_pytorch_tanh")
		r.rename("layer_norm_eps", "norm_epsilon")
		r.set("use_bias", r.has("blk.0.attn_q.bias"))
		r.set("sliding_window", nil)
	},
}

type starCoder2 struct{ Config }

func readStarCoder2(r *reader) family {
	r.can = layerNorms
	s := &starCoder2{r.dense("gelu_pytorch_tanh")}
	if s.layerNormEps == nil {
		r.fail(gguf.ErrCorrupt, "norm_epsilon is missing")
	}
	s.refuseScaling(r, "llama3")
	return s
}

func (s *starCoder2) keys(k *keys) { s.commonKeys(k) }

func (s *starCoder2) tensors(m mapper) {
	s.embeddings(m)
	s.layerNorm(m, "model.norm", "output_norm")
	for _, layer := range m.layers(s.Layers) {
		s.layerNorm(layer, "input_layernorm", "attn_norm")
		s.attention(layer, halves)
		s.attentionBiases(layer, halves)
		s.layerNorm(layer, "post_attention_layernorm", "ffn_norm")
		s.upDown(layer, "mlp.c_fc", "mlp.c_proj")
	}
}
