package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Gemma3 is Gemma 3, or its text part: Gemma2 with norms of queries and keys instead of
// capped attention, a window in five of six layers, and another base of the angles for those.
var Gemma3 = Architecture{
	Class:      "Gemma3ForCausalLM",
	Others:     []string{"Gemma3ForConditionalGeneration"},
	Name:       "gemma3",
	Family:     "Gemma 3",
	Special:    "the text part; a window in five of six layers; norms become 1 + weight",
	Vocabulary: vocab.Rules{NoSpacePrefix: true},
	types: []modelType{{
		name: "gemma3_text", parts: []string{"gemma3"}, theta: 1e6, localTheta: 10000, everyFull: gemma3Period,
		fields: append(modelFields(262208, 2304, 9216, 26, 8, 131072, 1e-6),
			field{"num_key_value_heads", whole, int64(4)}, field{"head_dim", whole, int64(256)}, field{"hidden_activation", text, "gelu_pytorch_tanh"},
			field{"pad_token_id", whole | null, int64(0)}, field{"eos_token_id", whole | wholes | null, int64(1)},
			field{"bos_token_id", whole | null, int64(2)}, field{"tie_word_embeddings", flag, true}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal | null, 0.0}, field{"query_pre_attn_scalar", whole, int64(256)},
			field{"sliding_window", whole | null, int64(4096)}, field{"layer_types", texts | null, nil},
			field{"final_logit_softcapping", decimal | null, nil}, field{"attn_logit_softcapping", decimal | null, nil},
			field{"use_bidirectional_attention", flag | null, false},
		),
		check: func(h hparams) bool { return h["hidden_size"].(int64)%h["num_attention_heads"].(int64) == 0 },
	}},
	read: func(r *reader) family {
		if isTrue(r.hparams["use_bidirectional_attention"]) {
			r.fail(gguf.ErrUnsupported, "%s with use_bidirectional_attention", r.class)
		}
		return readGemma3(r)
	},
	restore: func(r *restorer) { r.gemma(gemma3Layers27B) },
}

// EmbeddingGemma is Gemma3 that sees texts in both directions, for embeddings.
var EmbeddingGemma = Architecture{
	Class:      "Gemma3TextModel",
	Name:       "gemma-embedding",
	Family:     "EmbeddingGemma",
	Special:    "sees texts in both directions",
	Embeddings: true,
	Vocabulary: vocab.Rules{NoSpacePrefix: true},
	read: func(r *reader) family {
		if r.hparams["use_bidirectional_attention"] == false {
			r.fail(gguf.ErrUnsupported, "%s without use_bidirectional_attention", r.class)
		}
		return readGemma3(r)
	},
	restore: func(r *restorer) {
		r.gemma(gemma3Layers27B)
		r.set("model_type", "gemma3_text")
		r.set("use_bidirectional_attention", true)
	},
}

type gemma3 struct {
	Config
	logitCap *float64
	window   int64
}

// gemma3Period is how many layers there are for each that sees the whole context, and
// gemma3Layers27B are those of the model that scales queries in another way.
const gemma3Period, gemma3Layers27B = 6, 62

// gemma3Defaults sets what Gemma3Model.set_gguf_parameters has where config.json says nothing.
func (r *reader) gemma3Defaults() {
	r.setDefaults(hparams{"max_position_embeddings": int64(131072), "num_attention_heads": int64(8), "num_key_value_heads": int64(4), "head_dim": int64(256),
		"rms_norm_eps": 1e-6})
}

func readGemma3(r *reader) *gemma3 {
	r.gemma3Defaults()
	g := &gemma3{Config: r.dense("gelu_pytorch_tanh")}
	if r.positive("attn_logit_softcapping") != nil {
		r.fail(gguf.ErrUnsupported, "%s with attn_logit_softcapping", r.class)
	}
	g.logitCap = r.number("final_logit_softcapping")
	g.window = r.needed(1, 1<<31, "sliding_window")
	g.needTied(r)
	g.refuseScaling(r, "llama3", "yarn")
	for i, t := range r.texts("layer_types") {
		if (t == "full_attention") != ((i+1)%gemma3Period == 0) {
			r.fail(gguf.ErrUnsupported, "layer_types has %s for layer %d, in the architecture every sixth is full_attention", show(t), i)
		}
	}
	want := queryScalar(gemma3Layers27B, g.Layers, g.HiddenSize, g.Heads, g.HeadLength())
	if scalar := r.whole(1, 1<<24, "query_pre_attn_scalar"); scalar != nil && *scalar != want {
		r.fail(gguf.ErrUnsupported, "query_pre_attn_scalar is %d, the architecture's is %d", *scalar, want)
	}
	return g
}

func (g *gemma3) keys(k *keys) { g.gemma3Keys(k, g.logitCap, g.window) }

// gemma3Keys has what Gemma3Model.set_gguf_parameters adds.
func (c *Config) gemma3Keys(k *keys, logitCap *float64, window int64) {
	c.commonKeys(k)
	k.set("rope.freq_base", float32(c.baseOr(1e6)))
	if logitCap != nil && *logitCap != 0 {
		k.number("final_logit_softcapping", logitCap)
	}
	k.set("attention.sliding_window", uint32(window))
}

func (c *Config) baseOr(base float64) float64 {
	if c.Rope.Theta == nil {
		return base
	}
	return *c.Rope.Theta
}

func (g *gemma3) tensors(m mapper) {
	g.gemmaOutside(m)
	for _, layer := range m.layers(g.Layers) {
		g.gemma2Layer(layer)
		layer.put("attn_q_norm.weight", oneMore(layer.get("self_attn.q_norm.weight", g.HeadLength())))
		layer.put("attn_k_norm.weight", oneMore(layer.get("self_attn.k_norm.weight", g.HeadLength())))
	}
}
