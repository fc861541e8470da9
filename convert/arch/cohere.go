package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Cohere is Command R: attention and feed-forward part work on the same norm, without biases,
// and logits are scaled. The larger model has a norm for each head of queries and keys.
var Cohere = Architecture{
	Class:      "CohereForCausalLM",
	Name:       "command-r",
	Family:     "Command R, R+",
	Special:    "attention and network see the same",
	Vocabulary: vocab.Rules{Pre: map[string]string{"starcoder": "command-r"}},
	types: []modelType{{
		name: "cohere", theta: 500000,
		fields: append(denseFields(256000, 8192, 22528, 40, 64, 8192, 0),
			append(cohereFields(null), field{"use_qk_norm", flag | null, false})...),
	}},
	read: readCohere,
	restore: func(r *restorer) {
		r.take("logit_scale", "logit_scale")
		r.set("use_qk_norm", r.has("blk.0.attn_q_norm.weight"))
	},
}

// cohereFields has what both classes have, some of which may also be of another kind.
func cohereFields(or kind) []field {
	return []field{
		{"logit_scale", decimal | or, 0.0625}, {"num_key_value_heads", whole | null, nil}, {"layer_norm_eps", decimal | or, 1e-5},
		{"pad_token_id", whole | null, int64(0)}, {"bos_token_id", whole | null, int64(5)}, {"eos_token_id", whole | wholes | null, int64(255001)},
		{"tie_word_embeddings", flag, true}, {"attention_bias", flag, false}, {"attention_dropout", whole | decimal | or, 0.0},
	}
}

type cohere struct {
	Config
	logitScale *float64
	headNorms  bool
}

func readCohere(r *reader) family {
	r.can = layerNorms
	if v := r.hparams["model_max_length"]; v != nil { // for so much text it was made
		r.hparams["max_position_embeddings"] = v
	}
	c := &cohere{Config: r.dense("silu", "swish"), logitScale: r.number("logit_scale"), headNorms: isTrue(r.hparams["use_qk_norm"])}
	c.checkCohere(r, c.logitScale)
	return c
}

// checkCohere refuses what neither Cohere nor Cohere2 has.
func (c *Config) checkCohere(r *reader, logitScale *float64) {
	if logitScale == nil || c.layerNormEps == nil {
		r.fail(gguf.ErrCorrupt, "logit_scale or layer_norm_eps is missing")
	}
	c.needTied(r)
	c.refuseScaling(r)
	if c.AttentionBias {
		r.fail(gguf.ErrUnsupported, "%s with attention_bias", r.class)
	}
}

// keys has what CommandR2Model.set_gguf_parameters adds.
func (c *cohere) keys(k *keys) {
	c.commonKeys(k)
	k.number("logit_scale", c.logitScale)
	k.set("rope.scaling.type", "none")
}

func (c *cohere) tensors(m mapper) {
	c.outside(m)
	for _, layer := range m.layers(c.Layers) {
		c.cohereLayer(layer)
		if c.headNorms {
			layer.take("self_attn.q_norm.weight", "attn_q_norm.weight", c.Heads, c.HeadLength())
			layer.take("self_attn.k_norm.weight", "attn_k_norm.weight", c.KVHeads, c.HeadLength())
		}
	}
}

// cohereLayer maps a layer with one norm. Neighbours in a head are rotated together in
// checkpoints too.
func (c *Config) cohereLayer(layer mapper) {
	layer.take("input_layernorm.weight", "attn_norm.weight", c.HiddenSize)
	c.attention(layer, halves)
	c.mlp(layer)
}
