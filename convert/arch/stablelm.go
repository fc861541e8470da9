package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// StableLM is StableLM 3B and 2 1.6B: norms of which the mean is subtracted, and heads of
// which a part is rotated.
var StableLM = Architecture{
	Class:      "StableLmForCausalLM",
	Others:     []string{"StableLMEpochForCausalLM"},
	Name:       "stablelm",
	Family:     "StableLM 3B, 2 1.6B",
	Special:    "without `qk_layernorm`",
	Vocabulary: vocab.Rules{Pre: map[string]string{"qwen2": "stablelm2"}},
	types: []modelType{{
		name: "stablelm", theta: 10000, partial: 0.25,
		fields: append(denseFields(50304, 2560, 6912, 32, 32, 4096, 0),
			field{"num_key_value_heads", whole, int64(32)}, field{"layer_norm_eps", decimal, 1e-5}, field{"use_qkv_bias", flag, false},
			field{"qk_layernorm", flag, false}, field{"use_parallel_residual", flag, false}, field{"hidden_dropout", whole | decimal, 0.0},
			field{"attention_dropout", whole | decimal, 0.0}, field{"bos_token_id", whole | null, int64(0)},
			field{"eos_token_id", whole | wholes | null, int64(0)},
		),
	}},
	read: readStableLM,
	restore: func(r *restorer) {
		r.take("use_parallel_residual", "use_parallel_residual")
		r.set("use_qkv_bias", r.has("blk.0.attn_q.bias"))
		r.partial("partial_rotary_factor", r.whole("embedding_length")/max(1, r.whole("attention.head_count")), 1)
	},
}

type stableLM struct {
	Config
	parallel bool
}

func readStableLM(r *reader) family {
	r.can = layerNorms | partialRotary
	s := &stableLM{Config: r.dense("silu", "swish"), parallel: r.hparams["use_parallel_residual"] != false}
	if s.layerNormEps == nil {
		s.layerNormEps = r.positive("norm_eps")
	}
	if s.layerNormEps == nil || s.Rope.partial == nil || s.MaxPositions == 0 {
		r.fail(gguf.ErrCorrupt, "layer_norm_eps, partial_rotary_factor or max_position_embeddings is missing")
	}
	s.refuseScaling(r)
	if isTrue(r.hparams["qk_layernorm"]) {
		r.fail(gguf.ErrUnsupported, "%s with qk_layernorm", r.class) // convert_hf_to_gguf.py fails
	}
	return s
}

// keys are those of StableLMModel.set_gguf_parameters.
func (s *stableLM) keys(k *keys) {
	k.set("context_length", uint32(s.MaxPositions))
	k.set("embedding_length", uint32(s.HiddenSize))
	k.set("block_count", uint32(s.Layers))
	k.set("feed_forward_length", uint32(s.IntermediateSize))
	k.set("rope.dimension_count", uint32(s.Rotated()))
	k.set("attention.head_count", uint32(s.Heads))
	k.set("attention.head_count_kv", uint32(s.KVHeads))
	k.set("use_parallel_residual", s.parallel)
	k.number("attention.layer_norm_epsilon", s.layerNormEps)
	k.setFileType()
}

func (s *stableLM) tensors(m mapper) {
	s.embeddings(m)
	s.layerNorm(m, "model.norm", "output_norm")
	for _, layer := range m.layers(s.Layers) {
		s.layerNorm(layer, "input_layernorm", "attn_norm")
		s.attention(layer, halves)
		s.attentionBiases(layer, halves)
		if layer.has("post_attention_layernorm.weight") || !s.parallel {
			s.layerNorm(layer, "post_attention_layernorm", "ffn_norm")
		}
		s.mlp(layer)
	}
}
