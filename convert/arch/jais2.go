package arch

import "github.com/ggufkit/ggufkit/gguf"

// Jais2 is Jais 2: norms of which the mean is subtracted, biases everywhere, no gates, and a
// squared ReLU.
var Jais2 = Architecture{
	Class:   "Jais2ForCausalLM",
	Name:    "jais2",
	Family:  "Jais 2",
	Special: "squared ReLU, no gates",
	types: []modelType{{
		name: "jais2", theta: 10000, headDim: true,
		fields: append(modelFields(150272, 3328, 26624, 32, 26, 8192, 0),
			field{"num_key_value_heads", whole | null, nil}, field{"hidden_act", text, "relu2"}, field{"bos_token_id", whole | null, int64(0)},
			field{"eos_token_id", whole | wholes | null, int64(150024)}, field{"attention_bias", flag, true}, field{"mlp_bias", flag, true},
			field{"attention_dropout", whole | decimal | null, 0.0}, field{"head_dim", whole | null, nil}, field{"layer_norm_eps", decimal, 1e-5},
		),
		check: func(h hparams) bool { return h["hidden_size"].(int64)%h["num_attention_heads"].(int64) == 0 },
	}},
	read: func(r *reader) family {
		r.can = layerNorms
		j := &jais2{r.dense("relu2")}
		if j.layerNormEps == nil {
			r.fail(gguf.ErrCorrupt, "layer_norm_eps is missing")
		}
		return j
	},
	restore: func(r *restorer) {
		r.set("hidden_act", "relu2")
		r.set("attention_bias", r.has("blk.0.attn_q.bias"))
		r.set("mlp_bias", r.has("blk.0.ffn_up.bias"))
	},
}

type jais2 struct{ Config }

// keys has what Jais2Model.set_gguf_parameters adds.
func (j *jais2) keys(k *keys) {
	j.commonKeys(k)
	k.set("rope.dimension_count", uint32(j.HeadLength()))
}

func (j *jais2) tensors(m mapper) {
	j.embeddings(m)
	j.layerNorm(m, "model.norm", "output_norm")
	for _, layer := range m.layers(j.Layers) {
		j.layerNorm(layer, "input_layernorm", "attn_norm")
		j.attention(layer, halves)
		j.attentionBiases(layer, halves)
		j.layerNorm(layer, "post_attention_layernorm", "ffn_norm")
		j.upDown(layer, "mlp.up_proj", "mlp.down_proj")
	}
}
