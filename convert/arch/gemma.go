package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Gemma is Gemma 1. Its norms multiply by 1 + weight, which GGUF has as the weight.
var Gemma = Architecture{
	Class:      "GemmaForCausalLM",
	Name:       "gemma",
	Family:     "Gemma 1",
	Special:    "norms become 1 + weight",
	Vocabulary: vocab.Rules{NoSpacePrefix: true, IDs: []vocab.RoleID{{Role: "eot", ID: 107}}}, // GemmaModel.set_vocab
	types: []modelType{{
		name: "gemma", theta: 10000,
		fields: append(denseFields(256000, 3072, 24576, 28, 16, 8192, 1e-6),
			field{"num_key_value_heads", whole, int64(16)}, field{"head_dim", whole, int64(256)}, field{"hidden_act", text, "gelu_pytorch_tanh"},
			field{"pad_token_id", whole | null, int64(0)}, field{"eos_token_id", whole | wholes | null, int64(1)},
			field{"bos_token_id", whole | null, int64(2)}, field{"tie_word_embeddings", flag, true}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal, 0.0}, field{"use_bidirectional_attention", flag | null, nil},
		),
	}},
	read: readGemma,
	restore: func(r *restorer) {
		r.set("hidden_act", "gelu_pytorch_tanh")
	},
}

type gemma struct{ Config }

func readGemma(r *reader) family {
	g := &gemma{r.dense("gelu_pytorch_tanh", "gelu")} // gelu was said by mistake where it was meant to be computed so
	if g.MaxPositions == 0 || g.HeadDim == nil {
		r.fail(gguf.ErrCorrupt, "max_position_embeddings or head_dim is missing")
	}
	g.needTied(r)
	g.refuseScaling(r)
	if isTrue(r.hparams["use_bidirectional_attention"]) {
		r.fail(gguf.ErrUnsupported, "%s with use_bidirectional_attention", r.class)
	}
	return g
}

// needTied refuses models with an output matrix of their own, for which the architecture has
// no place.
func (c *Config) needTied(r *reader) {
	if !c.TieEmbeddings {
		r.fail(gguf.ErrUnsupported, "%s with an output matrix of its own (tie_word_embeddings)", r.class)
	}
}

func (g *gemma) keys(k *keys) { g.gemmaKeys(k) }

// gemmaKeys are those of GemmaModel.set_gguf_parameters.
func (c *Config) gemmaKeys(k *keys) {
	k.set("context_length", uint32(c.MaxPositions))
	k.set("embedding_length", uint32(c.HiddenSize))
	k.set("block_count", uint32(c.Layers))
	k.set("feed_forward_length", uint32(c.IntermediateSize))
	k.set("attention.head_count", uint32(c.Heads))
	k.set("attention.head_count_kv", uint32(c.KVHeads))
	k.set("attention.layer_norm_rms_epsilon", float32(c.RMSNormEps))
	k.count("attention.key_length", c.HeadDim)
	k.count("attention.value_length", c.HeadDim)
	k.setFileType()
}

func (g *gemma) tensors(m mapper) {
	g.gemmaOutside(m)
	for _, layer := range m.layers(g.Layers) {
		g.normPlusOne(layer, "input_layernorm.weight", "attn_norm.weight")
		g.attention(layer, halves)
		g.normPlusOne(layer, "post_attention_layernorm.weight", "ffn_norm.weight")
		g.mlp(layer)
	}
}

// gemmaOutside maps what is in no layer. An output matrix is a copy of the embeddings.
func (c *Config) gemmaOutside(m mapper) {
	m.take("model.embed_tokens.weight", "token_embd.weight", c.VocabSize, c.HiddenSize)
	c.normPlusOne(m, "model.norm.weight", "output_norm.weight")
	if m.has("lm_head.weight") {
		m.get("lm_head.weight", c.VocabSize, c.HiddenSize)
	}
}
