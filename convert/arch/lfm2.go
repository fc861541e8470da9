package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// LFM2 is LFM 2 and 2.5: short convolutions between two gates in most layers, attention in
// the others. The embeddings' norm is that of the output.
var LFM2 = Architecture{
	Class:      "Lfm2ForCausalLM",
	Others:     []string{"LFM2ForCausalLM"},
	Name:       "lfm2",
	Family:     "LFM 2",
	Special:    "short convolutions in most layers",
	Vocabulary: vocab.Rules{Pre: map[string]string{"llama-bpe": "lfm2"}},
	types: []modelType{{
		name: "lfm2", parts: []string{"lfm2_vl"}, theta: 1e6,
		derive: func(h hparams) {
			lfm2Tied(h)
			if v, ok := h["block_ff_dim"]; ok {
				h["intermediate_size"] = v
			}
			lfm2Types(h)
		},
		fields: append(lfm2Fields(2560, 12288),
			field{"block_multiple_of", whole, int64(256)}, field{"block_ffn_dim_multiplier", whole | decimal, 1.0},
			field{"block_auto_adjust_ff_dim", flag, true}, field{"full_attn_idxs", wholes | null, nil},
		),
	}},
	read: readLFM2,
	restore: func(r *restorer) {
		r.lfm2()
		r.set("block_auto_adjust_ff_dim", false)
		r.set("block_multiple_of", 256)
		r.set("block_ffn_dim_multiplier", 1)
	},
}

func lfm2Fields(width, hidden int64) []field {
	return append(modelFields(65536, width, hidden, 32, 32, 128000, 0),
		field{"num_key_value_heads", whole, int64(8)}, field{"norm_eps", decimal, 0.00001}, field{"pad_token_id", whole | null, int64(0)},
		field{"bos_token_id", whole | null, int64(1)}, field{"eos_token_id", whole | wholes | null, int64(2)},
		field{"tie_word_embeddings", flag, true}, field{"conv_bias", flag, false}, field{"conv_L_cache", whole, int64(3)},
		field{"layer_types", texts | null, nil})
}

func lfm2Tied(h hparams) {
	if v, ok := h["tie_embedding"]; ok {
		h["tie_word_embeddings"] = v
	}
}

// lfm2Types sets layer_types where they are not said: full_attn_idxs has the layers of
// attention, or all are.
func lfm2Types(h hparams) {
	layers := h["num_hidden_layers"].(int64)
	if h["layer_types"] != nil || layers >= 1<<16 {
		return
	}
	attention, some := h["full_attn_idxs"].([]any)
	var types []any
	for i := range layers {
		name := "conv"
		if !some || slices.Contains(attention, any(i)) {
			name = "full_attention"
		}
		types = append(types, name)
	}
	h["layer_types"] = types
}

// shortConvolution is what models with short convolutions in some layers have.
type shortConvolution struct {
	mixture
	kernel  int64
	attends []bool // which layers do
}

func (r *reader) shortConvolution(x mixture, attends func(string) bool) shortConvolution {
	s := shortConvolution{mixture: x, kernel: r.needed(1, 1<<16, "conv_L_cache")}
	for _, t := range r.texts("layer_types") {
		s.attends = append(s.attends, attends(t))
	}
	if r.err == nil && int64(len(s.attends)) != s.Layers {
		r.fail(gguf.ErrCorrupt, "layer_types has %d of num_hidden_layers %d", len(s.attends), s.Layers)
	}
	return s
}

// keys adds to those of all models, up to those behind the norms'.
func (s *shortConvolution) keys(k *keys) {
	s.commonKeys(k)
	k.set("attention.head_count_kv", onlyWhere(s.attends, s.KVHeads))
}

func (s *shortConvolution) lastKeys(k *keys) {
	k.set("vocab_size", uint32(s.VocabSize))
	k.set("shortconv.l_cache", uint32(s.kernel))
}

// lfm2 is the reverse of shortConvolution.keys.
func (r *restorer) lfm2() {
	r.rename("rms_norm_eps", "norm_eps")
	r.take("shortconv.l_cache", "conv_L_cache")
	types := []string{}
	for _, n := range r.keysAndValues() {
		if n > 0 {
			types = append(types, "full_attention")
		} else {
			types = append(types, "conv")
		}
	}
	r.set("layer_types", types)
}

// layers maps all, by a function that maps the network of each.
func (s *shortConvolution) layers(m mapper, network func(i int64, layer mapper)) {
	s.embeddings(m)
	m.take("model.embedding_norm.weight", "token_embd_norm.weight", s.HiddenSize)
	for i, layer := range m.layers(s.Layers) {
		layer.take("operator_norm.weight", "attn_norm.weight", s.HiddenSize)
		if s.attends[i] {
			s.attentionNamed(layer, "self_attn.out_proj", halves)
			layer.take("self_attn.q_layernorm.weight", "attn_q_norm.weight", s.HeadLength())
			layer.take("self_attn.k_layernorm.weight", "attn_k_norm.weight", s.HeadLength())
		} else {
			kernel := layer.get("conv.conv.weight", s.HiddenSize, 1, s.kernel)
			layer.put("shortconv.conv.weight", weights.Reshape(kernel, s.HiddenSize, s.kernel))
			layer.take("conv.in_proj.weight", "shortconv.in_proj.weight", 3*s.HiddenSize, s.HiddenSize)
			layer.take("conv.out_proj.weight", "shortconv.out_proj.weight", s.HiddenSize, s.HiddenSize)
		}
		layer.take("ffn_norm.weight", "ffn_norm.weight", s.HiddenSize)
		network(i, layer)
	}
}

// dense maps a network of a width.
func (s *shortConvolution) dense(layer mapper, width int64) {
	layer.take("feed_forward.w1.weight", "ffn_gate.weight", width, s.HiddenSize)
	layer.take("feed_forward.w2.weight", "ffn_down.weight", s.HiddenSize, width)
	layer.take("feed_forward.w3.weight", "ffn_up.weight", width, s.HiddenSize)
}

type lfm2 struct {
	shortConvolution
	width int64 // of networks
}

func readLFM2(r *reader) family {
	x := &lfm2{shortConvolution: r.shortConvolution(mixture{Config: r.dense("silu", "swish")}, func(t string) bool { return t != "conv" })}
	x.width = r.needed(1, 1<<24, "block_ff_dim", "intermediate_size")
	if adjust := r.flag("block_auto_adjust_ff_dim"); adjust != nil && *adjust {
		x.width = 2 * x.width / 3
		if by := r.positive("block_ffn_dim_multiplier"); by != nil {
			x.width = int64(*by * float64(x.width))
		}
		multiple := r.or(1, "block_multiple_of")
		x.width = (x.width + multiple - 1) / multiple * multiple
	}
	return x
}

// keys has what LFM2Model.set_gguf_parameters adds.
func (x *lfm2) keys(k *keys) {
	x.shortConvolution.keys(k)
	x.lastKeys(k)
	k.set("feed_forward_length", uint32(x.width))
}

func (x *lfm2) tensors(m mapper) {
	x.layers(m, func(_ int64, layer mapper) { x.dense(layer, x.width) })
}

// LFM2MoE is LFM2 with a mixture of experts, chosen with the help of a bias, behind the first
// layers.
var LFM2MoE = Architecture{
	Class:      "Lfm2MoeForCausalLM",
	Name:       "lfm2moe",
	Family:     "LFM 2 with experts",
	Special:    "short convolutions in most layers",
	Vocabulary: vocab.Rules{Pre: map[string]string{"llama-bpe": "lfm2"}},
	types: []modelType{{
		name: "lfm2_moe", theta: 1e6, derive: lfm2Tied,
		fields: append(lfm2Fields(2048, 7168),
			field{"moe_intermediate_size", whole, int64(1792)}, field{"num_dense_layers", whole, int64(2)},
			field{"num_experts_per_tok", whole, int64(4)}, field{"num_experts", whole, int64(32)}, field{"use_expert_bias", flag, true},
			field{"routed_scaling_factor", decimal, 1.0}, field{"norm_topk_prob", flag, true},
		),
	}},
	read: func(r *reader) family {
		x := &lfm2MoE{shortConvolution: r.shortConvolution(r.mixture("silu", "swish"), func(t string) bool { return t == "full_attention" })}
		x.width, x.denseLayers = r.needed(1, 1<<24, "moe_intermediate_size"), r.needed(0, 1<<16, "num_dense_layers")
		return x
	},
	experts: "num_experts",
	restore: func(r *restorer) {
		r.lfm2()
		r.take("expert_feed_forward_length", "moe_intermediate_size")
		r.take("leading_dense_block_count", "num_dense_layers")
		delete(r.params, "scoring_func")
	},
}

type lfm2MoE struct {
	shortConvolution
	width, denseLayers int64
}

// keys has what LFM2MoeModel.set_gguf_parameters adds.
func (x *lfm2MoE) keys(k *keys) {
	x.shortConvolution.keys(k)
	k.set("expert_feed_forward_length", uint32(x.width))
	k.set("leading_dense_block_count", uint32(x.denseLayers))
	k.set("expert_gating_func", uint32(gatingSigmoid))
	x.lastKeys(k)
}

func (x *lfm2MoE) tensors(m mapper) {
	x.layers(m, func(i int64, layer mapper) {
		if i < x.denseLayers {
			x.dense(layer, x.IntermediateSize)
			return
		}
		layer.takeAny("feed_forward.expert_bias", "exp_probs_b.bias", x.experts)
		layer.take("feed_forward.gate.weight", "ffn_gate_inp.weight", x.experts, x.HiddenSize)
		x.apart(layer, "feed_forward.experts.", mixtralParts, x.width)
	})
}
