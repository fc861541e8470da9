package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Gemma2 is Gemma 2: norms before and after both parts of a layer, attention and
// output with capped logits, a sliding window in every second layer from the first
// on. Its norms multiply by 1 + weight, which GGUF has as the weight.
var Gemma2 = Architecture{
	Class:      "Gemma2ForCausalLM",
	Name:       "gemma2",
	Family:     "Gemma 2",
	Special:    "capped logits; a window in every second layer; norms become 1 + weight",
	Vocabulary: vocab.Rules{NoSpacePrefix: true},
	types: []modelType{{
		name: "gemma2", theta: 10000,
		fields: append(modelFields(256000, 2304, 9216, 26, 8, 8192, 1e-6),
			field{"hidden_activation", text, "gelu_pytorch_tanh"}, field{"tie_word_embeddings", flag, true},
			field{"pad_token_id", whole | null, int64(0)}, field{"eos_token_id", whole | wholes | null, int64(1)},
			field{"bos_token_id", whole | null, int64(2)},
			field{"num_key_value_heads", whole, int64(4)}, field{"head_dim", whole, int64(256)}, field{"query_pre_attn_scalar", whole, int64(256)},
			field{"attention_bias", flag, false}, field{"attention_dropout", whole | decimal | null, 0.0}, field{"sliding_window", whole | null, int64(4096)},
			field{"final_logit_softcapping", decimal | null, 30.0}, field{"attn_logit_softcapping", decimal | null, 50.0},
			field{"layer_types", texts | null, nil}, field{"use_bidirectional_attention", flag | null, nil},
		),
		check: func(h hparams) bool { return h["hidden_size"].(int64)%h["num_attention_heads"].(int64) == 0 },
	}},
	read: readGemma2,
	restore: func(r *restorer) {
		r.gemma(gemma2Layers27B)
		r.take("attn_logit_softcapping", "attn_logit_softcapping")
	},
}

// gemma2Layers27B are the layers of the model that scales queries in another way.
const gemma2Layers27B = 46

// queryScalar returns by what llama.cpp scales queries: the length of heads, but for the model
// that has layers27B layers.
func queryScalar(layers27B, layers, width, heads, headLength int64) int64 {
	if layers == layers27B {
		return width / max(1, heads)
	}
	return headLength
}

// gemma restores what Gemma 2 and 3 have in common.
func (r *restorer) gemma(layers27B int64) {
	r.take("final_logit_softcapping", "final_logit_softcapping")
	r.take("attention.sliding_window", "sliding_window")
	r.set("hidden_activation", "gelu_pytorch_tanh")
	r.set("query_pre_attn_scalar", queryScalar(layers27B, r.whole("block_count"), r.whole("embedding_length"), r.whole("attention.head_count"),
		r.whole("attention.key_length")))
}

type gemma2 struct {
	Config
	attentionCap, logitCap *float64
	window                 int64
}

func readGemma2(r *reader) family {
	g := &gemma2{Config: r.dense("gelu_pytorch_tanh")}
	g.attentionCap, g.logitCap = r.positive("attn_logit_softcapping"), r.positive("final_logit_softcapping")
	if g.attentionCap == nil || g.logitCap == nil { // llama.cpp caps them in any case
		r.fail(gguf.ErrUnsupported, "%s without attn_logit_softcapping or final_logit_softcapping", r.class)
	}
	g.window = r.needed(1, 1<<31, "sliding_window")
	if g.MaxPositions == 0 || g.HeadDim == nil {
		r.fail(gguf.ErrCorrupt, "max_position_embeddings or head_dim is missing")
	}
	g.needTied(r)
	g.refuseScaling(r)
	g.checkAttention(r)
	return g
}

// checkAttention refuses what GGUF has no keys for and llama.cpp takes for granted: which
// layers have a window, and by what queries are scaled.
func (g *gemma2) checkAttention(r *reader) {
	list, _ := r.hparams["layer_types"].([]any)
	for i, t := range list {
		if want := [...]string{"sliding_attention", "full_attention"}[i%2]; t != want {
			r.fail(gguf.ErrUnsupported, "layer_types has %s for layer %d, the architecture's is %s", show(t), i, want)
		}
	}
	want := queryScalar(gemma2Layers27B, g.Layers, g.HiddenSize, g.Heads, g.HeadLength())
	if scalar := r.whole(1, 1<<24, "query_pre_attn_scalar"); scalar != nil && *scalar != want {
		r.fail(gguf.ErrUnsupported, "query_pre_attn_scalar is %d, the architecture's is %d", *scalar, want)
	}
}

// keys are those of Gemma2Model.set_gguf_parameters.
func (g *gemma2) keys(k *keys) {
	g.gemmaKeys(k)
	k.number("attn_logit_softcapping", g.attentionCap)
	k.number("final_logit_softcapping", g.logitCap)
	k.set("attention.sliding_window", uint32(g.window))
}

func (g *gemma2) tensors(m mapper) {
	g.gemmaOutside(m)
	for _, layer := range m.layers(g.Layers) {
		g.gemma2Layer(layer)
	}
}

// gemma2Layer maps a layer with norms before and after both of its parts.
func (c *Config) gemma2Layer(layer mapper) {
	c.normPlusOne(layer, "input_layernorm.weight", "attn_norm.weight")
	c.attention(layer, halves)
	c.normPlusOne(layer, "post_attention_layernorm.weight", "post_attention_norm.weight")
	c.normPlusOne(layer, "pre_feedforward_layernorm.weight", "ffn_norm.weight")
	c.mlp(layer)
	c.normPlusOne(layer, "post_feedforward_layernorm.weight", "post_ffw_norm.weight")
}

// normPlusOne maps a norm's weight to one more.
func (c *Config) normPlusOne(m mapper, source, name string) {
	m.put(name, oneMore(m.get(source, c.HiddenSize)))
}

// oneMore returns a tensor with 1 added to its values.
func oneMore(r weights.Rows) weights.Rows {
	add := func(x float32) func([]float32) {
		return func(values []float32) {
			for i := range values {
				values[i] += x
			}
		}
	}
	return weights.Map(r, add(1), add(-1))
}
