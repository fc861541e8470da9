package arch

import (
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Gemma3n is Gemma 3n, or its text part: Gemma3 with several streams between layers (AltUp),
// a second branch beside attention (LAuReL), what each layer adds for a token, sparse
// activations, and keys and values that the last layers share. Norms are as they are.
var Gemma3n = Architecture{
	Class:      "Gemma3nForCausalLM",
	Others:     []string{"Gemma3nForConditionalGeneration"},
	Name:       "gemma3n",
	Family:     "Gemma 3n",
	Special:    "the text part; several streams between layers",
	Vocabulary: vocab.Rules{NoSpacePrefix: true},
	types: []modelType{{
		name: "gemma3n_text", parts: []string{"gemma3n"}, theta: 1e6, localTheta: 10000, everyFull: gemma3nPeriod,
		fields: append(modelFields(262400, 2048, 16384, 35, 8, 32768, 1e-6),
			field{"intermediate_size", whole | wholes, int64(16384)}, field{"num_key_value_heads", whole, int64(2)}, field{"head_dim", whole, int64(256)},
			field{"hidden_activation", text, "gelu_pytorch_tanh"},
			field{"pad_token_id", whole | null, int64(0)}, field{"eos_token_id", whole | wholes | null, int64(1)},
			field{"bos_token_id", whole | null, int64(2)}, field{"tie_word_embeddings", flag, true}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal | null, 0.0}, field{"sliding_window", whole, int64(512)},
			field{"layer_types", texts | null, nil}, field{"final_logit_softcapping", decimal, 30.0},
			field{"vocab_size_per_layer_input", whole, int64(262144)}, field{"hidden_size_per_layer_input", whole, int64(256)},
			field{"altup_active_idx", whole, int64(0)}, field{"altup_coef_clip", decimal, 120.0}, field{"altup_correct_scale", flag, true},
			field{"altup_num_inputs", whole, int64(4)}, field{"num_kv_shared_layers", whole, int64(15)}, field{"laurel_rank", whole, int64(64)},
		),
		derive: func(h hparams) {
			layers := h["num_hidden_layers"].(int64)
			if layers < 0 || layers >= 1<<16 {
				return
			}
			if width, ok := h["intermediate_size"].(int64); ok {
				h["intermediate_size"] = slices.Repeat([]any{width}, int(layers))
			}
			if h["activation_sparsity_pattern"] == nil {
				pattern := slices.Repeat([]any{0.0}, int(layers))
				for i := range 10 {
					if layers > 10 {
						pattern[i] = 0.95
					}
				}
				h["activation_sparsity_pattern"] = pattern
			}
		},
		check: func(h hparams) bool { return h["hidden_size"].(int64)%h["num_attention_heads"].(int64) == 0 },
	}},
	read:    readGemma3n,
	restore: restoreGemma3n,
}

// gemma3nPeriod is how many layers there are for each that sees the whole context, where
// nothing is said.
const gemma3nPeriod = 5

type gemma3n struct {
	gemma3
	localLayers             []bool
	widths                  []int32
	sparsity                []float32 // how many standard deviations above the mean activations count
	streams, active, shared int64
	perLayer, perLayerVocab int64
	laurelRank              int64
}

func readGemma3n(r *reader) family {
	r.gemma3Defaults()
	g := new(gemma3n)
	list, _ := r.hparams["intermediate_size"].([]any)
	for _, v := range list {
		width := reader{hparams: hparams{"intermediate_size": v}}
		g.widths = append(g.widths, int32(width.needed(1, 1<<24, "intermediate_size")))
		if r.hparams["intermediate_size"] = v; width.err != nil {
			r.err = width.err
		}
	}
	g.Config, g.logitCap, g.window = r.dense("gelu_pytorch_tanh"), r.number("final_logit_softcapping"), r.needed(1, 1<<31, "sliding_window")
	g.needTied(r)
	g.refuseScaling(r)
	g.localLayers = g.readLocalLayers(r)
	for _, p := range r.numbers("activation_sparsity_pattern") {
		g.sparsity = append(g.sparsity, normalQuantile(float32(p)))
	}
	if len(list) > 0 && int64(len(list)) != g.Layers || int64(len(g.sparsity)) != g.Layers {
		r.fail(gguf.ErrCorrupt, "intermediate_size or activation_sparsity_pattern are not of %d layers", g.Layers)
	}
	g.streams = r.needed(2, 1<<8, "altup_num_inputs")
	g.active, g.shared = r.needed(0, g.streams-1, "altup_active_idx"), r.needed(0, g.Layers, "num_kv_shared_layers")
	g.perLayer, g.perLayerVocab = r.needed(1, 1<<16, "hidden_size_per_layer_input"), r.needed(1, 1<<22, "vocab_size_per_layer_input")
	g.laurelRank = r.needed(1, 1<<16, "laurel_rank")
	return g
}

// readLocalLayers reads which layers have a window.
func (c *Config) readLocalLayers(r *reader) (local []bool) {
	for i, t := range r.texts("layer_types") {
		if t != "sliding_attention" && t != "full_attention" {
			r.fail(gguf.ErrUnsupported, "layer_types has %s for layer %d", show(t), i)
		}
		local = append(local, t == "sliding_attention")
	}
	if int64(len(local)) != c.Layers {
		r.fail(gguf.ErrCorrupt, "layer_types are of %d layers, there are %d", len(local), c.Layers)
	}
	return local
}

// normalQuantile returns below which number of standard deviations a part p of what is
// normally distributed is, in the steps of PyTorch's Normal.icdf.
func normalQuantile(p float32) float32 { return erfinv(2*p-1) * float32(math.Sqrt2) }

// erfinv is the inverse of the error function in the steps of PyTorch's calc_erfinv: a
// rational function for the middle and one for the ends, and Newton's method twice, in
// float32, with polynomials that are fused.
func erfinv(y float32) float32 {
	polynomial := func(x float32, coefficients ...float32) (sum float32) {
		for _, c := range coefficients {
			sum = float32(math.FMA(float64(sum), float64(x), float64(c)))
		}
		return sum
	}
	abs, x := float32(math.Abs(float64(y))), float32(0)
	switch {
	case abs == 1:
		return y * float32(math.Inf(1))
	case abs <= 0.7:
		z := y * y
		x = y * polynomial(z, -0.140543331, 0.914624893, -1.645349621, 0.886226899)
		x /= polynomial(z, 0.012229801, -0.329097515, 1.442710462, -2.118377725, 1)
	default:
		z := float32(math.Sqrt(-float64(float32(math.Log(float64((1 - abs) / 2))))))
		x = float32(math.Copysign(float64(polynomial(z, 1.641345311, 3.429567803, -1.624906493, -1.970840454)), float64(y)))
		x /= polynomial(z, 1.637067800, 3.543889200, 1)
	}
	slope := 2 / float32(math.Sqrt(math.Pi))
	for range 2 {
		x -= (float32(math.Erf(float64(x))) - y) / (slope * float32(math.Exp(float64(-x*x))))
	}
	return x
}

// keys has what Gemma3NModel.set_gguf_parameters adds.
func (g *gemma3n) keys(k *keys) {
	g.gemma3.keys(k)
	if g.widths != nil {
		k.set("feed_forward_length", g.widths)
	}
	k.set("altup.active_idx", uint32(g.active))
	k.set("altup.num_inputs", uint32(g.streams))
	k.set("embedding_length_per_layer_input", uint32(g.perLayer))
	k.set("attention.shared_kv_layers", uint32(g.shared))
	k.set("activation_sparsity_scale", g.sparsity)
	k.set("attention.sliding_window_pattern", g.localLayers)
}

func (g *gemma3n) tensors(m mapper) {
	m.put("altup_proj.weight", m.stack("model.altup_projections.%d.weight", g.streams-1, g.HiddenSize, g.HiddenSize))
	m.put("altup_unembd_proj.weight", m.stack("model.altup_unembed_projections.%d.weight", g.streams-1, g.HiddenSize, g.HiddenSize))
	g.gemma3nOutside(m, g.perLayer, g.perLayerVocab, g.VocabSize)
	for i, layer := range m.layers(g.Layers) {
		c := g.Config
		if g.widths != nil {
			c.IntermediateSize = int64(g.widths[i])
		}
		c.gemma3nLayer(layer, i >= g.Layers-g.shared, false)
		c.perLayerInputs(layer, g.perLayer)
		layer.take("altup.correct_output_scale", "altup_correct_scale.weight", g.HiddenSize)
		layer.take("altup.correction_coefs.weight", "altup_correct_coef.weight", g.streams, g.streams)
		layer.take("altup.modality_router.weight", "altup_router.weight", g.streams, g.HiddenSize)
		layer.take("altup.prediction_coefs.weight", "altup_predict_coef.weight", g.streams*g.streams, g.streams)
		layer.take("altup.router_norm.weight", "altup_router_norm.weight", g.HiddenSize)
		layer.take("laurel.linear_left.weight", "laurel_l.weight", g.laurelRank, g.HiddenSize)
		layer.take("laurel.linear_right.weight", "laurel_r.weight", g.HiddenSize, g.laurelRank)
		layer.take("laurel.post_laurel_norm.weight", "laurel_post_norm.weight", g.HiddenSize)
	}
}

// gemma3nOutside maps what is in no layer of Gemma3n and Gemma4: if layers add something for
// a token, of so many elements each, also the embeddings that it is made of, extended to so
// many tokens: those that are not of texts have none.
func (c *Config) gemma3nOutside(m mapper, perLayer, perLayerVocab, vocab int64) {
	m.take("model.embed_tokens.weight", "token_embd.weight", c.VocabSize, c.HiddenSize)
	m.take("model.norm.weight", "output_norm.weight", c.HiddenSize)
	if m.has("lm_head.weight") { // a copy of the embeddings
		m.get("lm_head.weight", c.VocabSize, c.HiddenSize)
	}
	if perLayer == 0 {
		return
	}
	all := c.Layers * perLayer
	embeddings := m.get("model.embed_tokens_per_layer.weight", perLayerVocab, all)
	if perLayerVocab < vocab {
		embeddings = weights.Extend(embeddings, vocab)
	}
	m.put("per_layer_token_embd.weight", embeddings)
	m.take("model.per_layer_model_projection.weight", "per_layer_model_proj.weight", all, c.HiddenSize)
	m.take("model.per_layer_projection_norm.weight", "per_layer_proj_norm.weight", perLayer)
}

// gemma3nLayer maps the attention and the network of a layer, which has no keys and values
// of its own if it shares those of another, and no values if keys are used for them.
func (c *Config) gemma3nLayer(layer mapper, shared, keysAsValues bool) {
	layer.take("input_layernorm.weight", "attn_norm.weight", c.HiddenSize)
	layer.take("self_attn.q_proj.weight", "attn_q.weight", c.queries(), c.HiddenSize)
	layer.take("self_attn.q_norm.weight", "attn_q_norm.weight", c.HeadLength())
	layer.take("self_attn.o_proj.weight", "attn_output.weight", c.HiddenSize, c.queries())
	if !shared || layer.has("self_attn.k_proj.weight") { // published models have them, too
		layer.take("self_attn.k_proj.weight", "attn_k.weight", c.keysOrValues(), c.HiddenSize)
		layer.take("self_attn.k_norm.weight", "attn_k_norm.weight", c.HeadLength())
		if !keysAsValues {
			layer.take("self_attn.v_proj.weight", "attn_v.weight", c.keysOrValues(), c.HiddenSize)
		}
	}
	c.attentionBiases(layer, halves)
	layer.take("post_attention_layernorm.weight", "post_attention_norm.weight", c.HiddenSize)
	layer.take("pre_feedforward_layernorm.weight", "ffn_norm.weight", c.HiddenSize)
	c.mlp(layer)
	layer.take("post_feedforward_layernorm.weight", "post_ffw_norm.weight", c.HiddenSize)
}

// perLayerInputs maps what a layer adds for a token.
func (c *Config) perLayerInputs(layer mapper, perLayer int64) {
	if perLayer == 0 {
		return
	}
	layer.take("per_layer_input_gate.weight", "inp_gate.weight", perLayer, c.HiddenSize)
	layer.take("per_layer_projection.weight", "proj.weight", c.HiddenSize, perLayer)
	layer.take("post_per_layer_input_norm.weight", "post_norm.weight", c.HiddenSize)
}

// gemmaLayers restores what Gemma3n and Gemma4 have in common, and returns which layers have a window.
func (r *restorer) gemmaLayers() (local []bool) {
	r.take("final_logit_softcapping", "final_logit_softcapping")
	r.take("attention.sliding_window", "sliding_window")
	r.take("attention.shared_kv_layers", "num_kv_shared_layers")
	r.take("embedding_length_per_layer_input", "hidden_size_per_layer_input")
	r.set("hidden_activation", "gelu_pytorch_tanh")
	delete(r.params, "hidden_act")
	if i, ok := r.index["per_layer_token_embd.weight"]; ok {
		r.set("vocab_size_per_layer_input", r.src.Tensors()[i].Rows())
	}
	local, err := gguf.Value[[]bool](r.src.Metadata(), r.prefix+"attention.sliding_window_pattern")
	if err != nil {
		r.fail(err)
	}
	types := make([]string, len(local))
	for i := range local {
		if types[i] = "full_attention"; local[i] {
			types[i] = "sliding_attention"
		}
	}
	r.set("layer_types", types)
	return local
}

func restoreGemma3n(r *restorer) {
	r.gemmaLayers()
	r.take("altup.active_idx", "altup_active_idx")
	r.take("altup.num_inputs", "altup_num_inputs")
	if _, ok := r.lists["feed_forward_length"]; ok {
		r.set("intermediate_size", r.list("feed_forward_length"))
	}
	scales, err := gguf.Value[[]float32](r.src.Metadata(), r.prefix+"activation_sparsity_scale")
	if err != nil {
		r.fail(err)
	}
	pattern := make([]any, len(scales))
	for i, scale := range scales {
		part := math.Erfc(-float64(scale)/math.Sqrt2) / 2
		pattern[i] = rounded(part, func(v float64) bool { return normalQuantile(float32(v)) == scale })
	}
	r.set("activation_sparsity_pattern", pattern)
	if i, ok := r.index["blk.0.laurel_l.weight"]; ok {
		r.set("laurel_rank", r.src.Tensors()[i].Rows())
	} else {
		r.fail(fmt.Errorf("%w: tensor %q is missing", gguf.ErrCorrupt, "blk.0.laurel_l.weight"))
	}
}
