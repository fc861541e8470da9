package arch

import (
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Gemma4 is Gemma 4, dense or with experts beside the network, or its text part. Layers with
// a window have shorter heads, the others may use keys as values; the last layers may share
// keys and values, and each layer may add something of its own for a token (E2B, E4B).
var Gemma4 = Architecture{
	Class:      "Gemma4ForCausalLM",
	Others:     []string{"Gemma4ForConditionalGeneration"},
	Name:       "gemma4",
	Family:     "Gemma 4: dense, with experts, E2B, E4B",
	Special:    "the text part; long heads in layers without a window",
	Vocabulary: vocab.Rules{Gemma4: true},
	types: []modelType{{
		name: "gemma4_text", parts: []string{"gemma4"}, everyFull: gemma4Period,
		fields: append(modelFields(262144, 2304, 9216, 30, 8, 131072, 1e-6),
			field{"num_key_value_heads", whole, int64(4)}, field{"head_dim", whole, int64(256)}, field{"hidden_activation", text, "gelu_pytorch_tanh"},
			field{"pad_token_id", whole | null, int64(0)}, field{"eos_token_id", whole | wholes | null, int64(1)},
			field{"bos_token_id", whole | null, int64(2)}, field{"tie_word_embeddings", flag, true}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal | null, 0.0}, field{"sliding_window", whole, int64(512)},
			field{"layer_types", texts | null, nil}, field{"final_logit_softcapping", decimal | null, nil},
			field{"use_bidirectional_attention", text | null, nil}, field{"vocab_size_per_layer_input", whole, int64(262144)},
			field{"hidden_size_per_layer_input", whole, int64(256)}, field{"num_global_key_value_heads", whole | null, nil},
			field{"global_head_dim", whole, int64(512)}, field{"attention_k_eq_v", flag, false}, field{"num_kv_shared_layers", whole, int64(0)},
			field{"enable_moe_block", flag, false}, field{"use_double_wide_mlp", flag, false}, field{"num_experts", whole | null, nil},
			field{"top_k_experts", whole | null, nil}, field{"moe_intermediate_size", whole | null, nil},
		),
		derive: func(h hparams) {
			if list, ok := h["layer_types"].([]any); ok && len(list) > 0 {
				list = slices.Clone(list)
				list[len(list)-1] = "full_attention" // whatever the file says
				h["layer_types"] = list
			}
			if h["rope_parameters"] == nil {
				h["rope_parameters"] = map[string]any{
					"sliding_attention": map[string]any{"rope_type": "default", "rope_theta": 10000.0},
					"full_attention":    map[string]any{"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
				}
			}
		},
	}},
	read:    readGemma4,
	experts: "num_experts",
	restore: restoreGemma4,
}

// gemma4Period is how many layers there are for each that sees the whole context, where
// nothing is said.
const gemma4Period = 6

type gemma4 struct {
	Config
	logitCap                 *float64
	window                   int64
	localLayers              []bool
	globalLength             int64  // of heads of layers without a window
	globalHeads              *int64 // of keys of these, nil if they are as many as in others
	keysAsValues, doubleWide bool
	shared                   int64  // layers at the end without keys and values of their own
	perLayer, perLayerVocab  int64  // what each layer adds for a token, of so many
	expertWidth              *int64 // nil without experts
}

func readGemma4(r *reader) family {
	r.gemma3Defaults()
	r.setDefaults(hparams{"global_head_dim": int64(512), "tie_word_embeddings": true, "num_kv_shared_layers": int64(0), "hidden_size_per_layer_input": int64(0)})
	r.can = proportionalRope | partialRotary
	g := &gemma4{Config: r.config("gelu_pytorch_tanh"), logitCap: r.number("final_logit_softcapping"), window: r.needed(1, 1<<31, "sliding_window")}
	g.localLayers = g.readLocalLayers(r)
	g.globalLength, g.globalHeads = r.needed(2, 1<<16, "global_head_dim"), r.whole(1, max(1, g.Heads), "num_global_key_value_heads")
	g.keysAsValues, g.doubleWide = isTrue(r.hparams["attention_k_eq_v"]), isTrue(r.hparams["use_double_wide_mlp"])
	g.shared = r.needed(0, g.Layers, "num_kv_shared_layers")
	if g.perLayer = r.needed(0, 1<<16, "hidden_size_per_layer_input"); g.perLayer > 0 {
		g.perLayerVocab = r.needed(1, 1<<22, "vocab_size_per_layer_input")
	}
	if g.expertWidth = r.whole(1, 1<<24, "expert_intermediate_size", "moe_intermediate_size"); isTrue(r.hparams["enable_moe_block"]) {
		if g.expertWidth == nil || orZero(g.expertCount) == 0 || orZero(g.expertsPerToken) == 0 {
			r.fail(gguf.ErrCorrupt, "enable_moe_block without num_experts, top_k_experts or moe_intermediate_size")
		}
	} else if orZero(g.expertCount) > 0 {
		r.fail(gguf.ErrUnsupported, "num_experts without enable_moe_block")
	}
	g.needTied(r)
	if r.hparams["use_bidirectional_attention"] == "all" || g.Rope.Type != "proportional" {
		r.fail(gguf.ErrUnsupported, "%s that is bidirectional, or whose layers of full_attention do not have positions of rope_type proportional", r.class)
	}
	if p := g.Rope.partial; p == nil || g.globalLength%2 != 0 {
		r.fail(gguf.ErrCorrupt, "partial_rotary_factor is missing, or global_head_dim is odd")
	}
	return g
}

// keys has what Gemma4Model.set_gguf_parameters adds.
func (g *gemma4) keys(k *keys) {
	g.gemma3Keys(k, g.logitCap, g.window)
	k.set("attention.shared_kv_layers", uint32(g.shared))
	k.set("embedding_length_per_layer_input", uint32(g.perLayer))
	k.set("attention.sliding_window_pattern", g.localLayers)
	k.set("attention.key_length", uint32(g.globalLength))
	k.set("attention.value_length", uint32(g.globalLength))
	k.set("attention.key_length_swa", uint32(g.HeadLength()))
	k.set("attention.value_length_swa", uint32(g.HeadLength()))
	k.count("expert_feed_forward_length", g.expertWidth)
	if g.doubleWide {
		var widths []int32
		for i := range g.Layers {
			widths = append(widths, int32(g.layer(i).IntermediateSize))
		}
		k.set("feed_forward_length", widths)
	}
	if g.globalHeads != nil {
		var counts []int32
		for i := range g.Layers {
			counts = append(counts, int32(g.layer(i).KVHeads))
		}
		k.set("attention.head_count_kv", counts)
	}
	k.set("rope.dimension_count", uint32(g.globalLength))
	k.set("rope.dimension_count_swa", uint32(g.HeadLength()))
}

// layer returns what a layer has.
func (g *gemma4) layer(i int64) *Config {
	c := g.Config
	if !g.localLayers[i] {
		c.HeadDim = &g.globalLength
		if g.globalHeads != nil {
			c.KVHeads = *g.globalHeads
		}
	}
	if g.doubleWide && i >= g.Layers-g.shared {
		c.IntermediateSize *= 2
	}
	return &c
}

// unrotated is what frequencies are divided by for elements that are not rotated.
const unrotated = 1e30

func (g *gemma4) tensors(m mapper) {
	factors := make([]float32, g.globalLength/2)
	for i := range factors {
		if factors[i] = unrotated; int64(i) < int64(float64(g.globalLength)**g.Rope.partial/2) {
			factors[i] = 1
		}
	}
	m.put("rope_freqs.weight", weights.Values(weights.F32, factors, int64(len(factors))))
	g.gemma3nOutside(m, g.perLayer, g.perLayerVocab, g.perLayerVocab)
	for i, layer := range m.layers(g.Layers) {
		g.layer(i).gemma3nLayer(layer, i >= g.Layers-g.shared, g.keysAsValues && !g.localLayers[i])
		g.perLayerInputs(layer, g.perLayer)
		layer.takeAny("layer_scalar", "layer_output_scale.weight", 1)
		if experts := orZero(g.expertCount); experts > 0 {
			g.gemma4Experts(layer, experts)
		}
	}
}

// gemma4Experts maps the experts of a layer, and the norms around them and the network.
func (g *gemma4) gemma4Experts(layer mapper, experts int64) {
	layer.take("post_feedforward_layernorm_1.weight", "post_ffw_norm_1.weight", g.HiddenSize)
	layer.take("pre_feedforward_layernorm_2.weight", "pre_ffw_norm_2.weight", g.HiddenSize)
	layer.take("post_feedforward_layernorm_2.weight", "post_ffw_norm_2.weight", g.HiddenSize)
	layer.take("router.proj.weight", "ffn_gate_inp.weight", experts, g.HiddenSize)
	layer.take("router.scale", "ffn_gate_inp.scale", g.HiddenSize)
	layer.take("experts.gate_up_proj", "ffn_gate_up_exps.weight", experts, 2**g.expertWidth, g.HiddenSize)
	layer.take("experts.down_proj", "ffn_down_exps.weight", experts, g.HiddenSize, *g.expertWidth)
	layer.take("router.per_expert_scale", "ffn_down_exps.scale", experts)
}

// restoreGemma4 finds the heads of the two kinds of layers in the lists of them.
func restoreGemma4(r *restorer) {
	local := r.gemmaLayers()
	r.set("rope_parameters", map[string]any{
		"full_attention":    map[string]any{"rope_type": "proportional", "rope_theta": r.params["rope_theta"], "partial_rotary_factor": r.proportion()},
		"sliding_attention": map[string]any{"rope_type": "default", "rope_theta": r.params["rope_local_base_freq"]},
	})
	delete(r.params, "rope_theta")
	delete(r.params, "rope_local_base_freq")
	r.take("attention.key_length", "global_head_dim")
	r.take("attention.key_length_swa", "head_dim")
	r.take("expert_feed_forward_length", "moe_intermediate_size")
	r.rename("num_experts_per_tok", "top_k_experts")
	r.set("enable_moe_block", r.whole("expert_count") > 0)
	if _, ok := r.lists["attention.head_count_kv"]; ok {
		for i, n := range r.list("attention.head_count_kv") {
			name := "num_global_key_value_heads"
			if i < len(local) && local[i] {
				name = "num_key_value_heads"
			}
			r.set(name, n)
		}
	}
	if _, ok := r.lists["feed_forward_length"]; ok {
		if widths := r.list("feed_forward_length"); len(widths) > 0 {
			r.set("intermediate_size", slices.Min(widths))
			r.set("use_double_wide_mlp", true)
		}
	}
	for i := range local {
		if layer := fmt.Sprintf("blk.%d.", i); r.has(layer+"attn_k.weight") && !r.has(layer+"attn_v.weight") {
			r.set("attention_k_eq_v", true)
		}
	}
}

// proportion returns which part of the elements of rope_freqs is rotated.
func (r *restorer) proportion() any {
	values := r.values("rope_freqs.weight")
	rotated := 0
	for _, v := range values {
		if v != unrotated {
			rotated++
		}
	}
	return jsonNumber(float64(rotated)/math.Max(1, float64(len(values))), 64)
}
