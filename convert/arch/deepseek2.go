package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// DeepSeek2 is DeepSeek V2 and V3, and what is made like them, such as Kimi K2: latent
// attention and a mixture of experts in all but the first layers. V3 weighs experts by the
// sigmoid, and a bias helps to choose them. Layers that guess more tokens than the next are
// left out.
var DeepSeek2 = Architecture{
	Class:   "DeepseekV3ForCausalLM",
	Others:  []string{"DeepseekV2ForCausalLM", "KimiVLForConditionalGeneration", "KimiK25ForConditionalGeneration"},
	Name:    "deepseek2",
	Family:  "DeepSeek V2, V3, R1, Kimi K2",
	Special: "tokenizer.json or tiktoken.model; also in FP8; layers that predict more tokens are left out",
	types:   []modelType{deepSeekV3Type, deepSeekV2Type},
	read:    func(r *reader) family { return &deepSeek2{r.latentMixture()} },
	experts: "n_routed_experts",
	restore: func(r *restorer) {
		r.latentMixture()
		pre, _ := gguf.Value[string](r.src.Metadata(), "tokenizer.ggml.pre")
		switch {
		case r.hasKey("nextn_predict_layers"), pre == "glm4":
			r.set("architectures", []string{GLM4MoELite.Class})
			r.set("model_type", glm4MoELiteType.name)
			r.nextLayers()
		case r.whole("expert_gating_func") != gatingSigmoid && !slices.ContainsFunc(r.src.Tensors(), func(t gguf.TensorInfo) bool {
			_, part := gguf.SplitName(t.Name)
			return part == "exp_probs_b.bias"
		}):
			r.set("architectures", []string{"DeepseekV2ForCausalLM"})
			r.set("model_type", deepSeekV2Type.name)
			r.set("topk_method", "greedy")
			if r.whole("expert_group_count") > 1 {
				r.set("topk_method", "group_limited_greedy")
			}
		default:
			r.set("topk_method", "noaux_tc")
		}
	},
}

var deepSeekV2Type = modelType{
	name: "deepseek_v2", theta: 10000,
	fields: append(denseFields(32000, 4096, 11008, 32, 32, 2048, 1e-6),
		field{"num_key_value_heads", whole | null, nil}, field{"bos_token_id", whole | null, int64(1)}, field{"eos_token_id", whole | wholes | null, int64(2)},
		field{"pretraining_tp", whole | null, int64(1)}, field{"attention_bias", flag, false}, field{"attention_dropout", decimal | null, 0.0},
		field{"mlp_bias", flag, false}, field{"head_dim", whole | null, nil}, field{"first_k_dense_replace", whole, int64(0)},
		field{"kv_lora_rank", whole, int64(512)}, field{"q_lora_rank", whole | null, int64(1536)}, field{"n_group", whole | null, nil},
		field{"n_routed_experts", whole, int64(64)}, field{"n_shared_experts", whole, int64(2)}, field{"qk_nope_head_dim", whole, int64(128)},
		field{"qk_rope_head_dim", whole, int64(64)}, field{"routed_scaling_factor", decimal, 1.0}, field{"topk_group", whole | null, nil},
		field{"topk_method", text | null, "greedy"}, field{"norm_topk_prob", flag | null, false}, field{"v_head_dim", whole, int64(128)},
		field{"num_experts_per_tok", whole | null, nil}, field{"moe_intermediate_size", whole, int64(1407)},
	),
	derive: func(h hparams) { h["head_dim"] = h["qk_rope_head_dim"] },
	check:  func(h hparams) bool { return h["hidden_size"].(int64)%h["num_attention_heads"].(int64) == 0 },
}

var deepSeekV3Type = modelType{
	name: "deepseek_v3", theta: 10000,
	renamed: map[string]string{"num_local_experts": "n_routed_experts"},
	fields: append(denseFields(129280, 7168, 18432, 61, 128, 4096, 1e-6),
		field{"moe_intermediate_size", whole, int64(2048)}, field{"num_key_value_heads", whole | null, int64(128)},
		field{"n_shared_experts", whole, int64(1)}, field{"n_routed_experts", whole, int64(256)}, field{"routed_scaling_factor", decimal, 2.5},
		field{"kv_lora_rank", whole, int64(512)}, field{"q_lora_rank", whole | null, int64(1536)}, field{"qk_rope_head_dim", whole, int64(64)},
		field{"v_head_dim", whole | null, int64(128)}, field{"qk_nope_head_dim", whole, int64(128)}, field{"n_group", whole | null, int64(8)},
		field{"topk_group", whole | null, int64(4)}, field{"num_experts_per_tok", whole | null, int64(8)},
		field{"first_k_dense_replace", whole | null, int64(3)}, field{"norm_topk_prob", flag | null, true},
		field{"bos_token_id", whole | null, int64(0)}, field{"eos_token_id", whole | wholes | null, int64(1)},
		field{"pretraining_tp", whole | null, int64(1)}, field{"rope_interleave", flag | null, true}, field{"attention_bias", flag, false},
		field{"attention_dropout", decimal | whole | null, 0.0},
	),
	derive: func(h hparams) {
		if !h.has("head_dim") {
			h["head_dim"] = h["qk_rope_head_dim"]
		}
	},
}

type deepSeek2 struct{ latentMixture }

func (d *deepSeek2) keys(k *keys) { d.latentKeys(k) }

func (d *deepSeek2) tensors(m mapper) {
	m.ignoreLayers(d.Layers)
	d.latentMixture.tensors(m)
}

// latentMixture is what mixtures of experts with multi-head latent attention have in common.
// Keys and values of all heads are made of one vector of a token, the latent one; beside it
// one key for all heads is rotated. GGUF has them as one head, and the matrices that keys and
// values are made with apart.
type latentMixture struct {
	mixture
	queryRank                      *int64 // of the latent vector of queries, nil if there is none
	rank                           int64  // of that of keys and values
	unrotated, rotated, valueWidth int64  // of a head
	expertWidth, sharedExperts     int64
	dense                          []bool // of layers, whether they have no experts
	scale                          *float64
	divided                        bool     // the weights of a token's experts by their sum
	magnitude                      *float64 // mscale_all_dim
}

// latentMixture reads the parameters of DeepSeek V2 and its kin.
func (r *reader) latentMixture() latentMixture {
	r.can |= sigmoidRouter | latentAttention
	d := latentMixture{mixture: r.mixture("silu", "swish")}
	d.experts = r.needed(1, 1<<16, "n_routed_experts")
	d.expertCount = &d.experts
	d.kvHeads = new(int64(1))
	d.queryRank = r.whole(1, 1<<24, "q_lora_rank")
	d.rank = r.needed(1, 1<<24, "kv_lora_rank")
	d.unrotated, d.rotated = r.needed(1, 1<<16, "qk_nope_head_dim"), r.needed(2, 1<<16, "qk_rope_head_dim")
	d.valueWidth = r.needed(1, 1<<16, "v_head_dim")
	d.expertWidth = r.needed(1, 1<<24, "moe_intermediate_size", "intermediate_size")
	d.sharedExperts = orZero(r.whole(0, 1<<16, "n_shared_experts"))
	d.scale, d.divided = r.number("routed_scaling_factor"), isTrue(r.hparams["norm_topk_prob"])
	d.dense = r.denseLayers(d.Layers)
	d.refuseScaling(r, "llama3")
	rope := reader{hparams: d.Rope.parameters}
	if d.magnitude = rope.number("mscale_all_dim"); rope.err != nil && r.err == nil {
		r.err = rope.err
	}
	return d
}

// denseLayers returns which layers have no experts: the first ones. The names of all are in
// the file, or the number of these.
func (r *reader) denseLayers(layers int64) []bool {
	if r.err != nil {
		return nil
	}
	dense := make([]bool, layers)
	if first := r.whole(0, 1<<16, "first_k_dense_replace"); first != nil {
		for i := range min(*first, layers) {
			dense[i] = true
		}
		return dense
	}
	for i, name := range r.texts("mlp_layer_types") {
		if int64(i) < layers {
			dense[i] = name == "dense"
		}
	}
	if first := slices.Index(dense, false); first >= 0 && slices.Contains(dense[first:], true) {
		r.fail(gguf.ErrUnsupported, "layers without experts behind layers with them (mlp_layer_types)")
	}
	return dense
}

// firstDense returns how many layers have no experts.
func (d *latentMixture) firstDense() int64 {
	if first := slices.Index(d.dense, false); first >= 0 {
		return int64(first)
	}
	return d.Layers
}

// latentKeys has what DeepseekV2Model.set_gguf_parameters adds.
func (d *latentMixture) latentKeys(k *keys) {
	d.commonKeys(k)
	k.set("leading_dense_block_count", uint32(d.firstDense()))
	k.set("vocab_size", uint32(d.VocabSize))
	k.count("attention.q_lora_rank", d.queryRank)
	k.set("attention.kv_lora_rank", uint32(d.rank))
	k.set("attention.key_length", uint32(d.rank+d.rotated))
	k.set("attention.value_length", uint32(d.rank))
	k.set("attention.key_length_mla", uint32(d.unrotated+d.rotated))
	k.set("attention.value_length_mla", uint32(d.valueWidth))
	k.set("expert_feed_forward_length", uint32(d.expertWidth))
	k.set("expert_shared_count", uint32(d.sharedExperts))
	k.number("expert_weights_scale", d.scale)
	if d.divided {
		k.set("expert_weights_norm", true)
	}
	k.set("rope.dimension_count", uint32(d.rotated))
	if d.magnitude != nil {
		k.set("rope.scaling.yarn_log_multiplier", float32(logMultiplier**d.magnitude))
	}
}

// logMultiplier is what mscale_all_dim is multiplied by in metadata.
const logMultiplier = 0.1

func (d *latentMixture) tensors(m mapper) {
	d.outsideTied(m)
	fused := m.areFused()
	for i, layer := range m.layers(d.Layers) {
		d.norms(layer)
		d.latentAttention(layer)
		if d.dense[i] {
			d.mlp(layer)
		} else {
			d.sharedMixture(layer, fused)
		}
	}
}

// latentAttention maps a layer's attention: the matrix that keys and values are made with
// has those of each head, keys first, which are transposed.
func (d *latentMixture) latentAttention(layer mapper) {
	head := d.unrotated + d.rotated
	if d.queryRank == nil {
		layer.take("self_attn.q_proj.weight", "attn_q.weight", d.Heads*head, d.HiddenSize)
	} else {
		layer.take("self_attn.q_a_proj.weight", "attn_q_a.weight", *d.queryRank, d.HiddenSize)
		layer.takeAny("self_attn.q_a_proj.bias", "attn_q_a.bias", *d.queryRank)
		layer.take("self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight", *d.queryRank)
		layer.take("self_attn.q_b_proj.weight", "attn_q_b.weight", d.Heads*head, *d.queryRank)
	}
	layer.take("self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight", d.rank+d.rotated, d.HiddenSize)
	layer.takeAny("self_attn.kv_a_proj_with_mqa.bias", "attn_kv_a_mqa.bias", d.rank+d.rotated)
	layer.take("self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight", d.rank)
	both := d.unrotated + d.valueWidth
	heads := weights.Reshape(layer.get("self_attn.kv_b_proj.weight", d.Heads*both, d.rank), d.Heads, both, d.rank)
	layer.put("attn_k_b.weight", weights.Transpose(weights.Slice(heads, 0, d.unrotated)))
	layer.put("attn_v_b.weight", weights.Slice(heads, d.unrotated, d.valueWidth))
	layer.take("self_attn.o_proj.weight", "attn_output.weight", d.HiddenSize, d.Heads*d.valueWidth)
	layer.takeAny("self_attn.o_proj.bias", "attn_output.bias", d.HiddenSize)
}

// sharedMixture maps the experts of a layer, those that all tokens use, and the bias that
// helps to choose the others.
func (d *latentMixture) sharedMixture(layer mapper, fused bool) {
	d.router(layer)
	layer.takeAny("mlp.gate.e_score_correction_bias", "exp_probs_b.bias", d.experts)
	d.routed(layer, fused, d.expertWidth)
	d.sharedExpert(layer, d.sharedExperts*d.expertWidth)
}

// latentMixture is the reverse of latentKeys.
func (r *restorer) latentMixture() {
	r.set("num_key_value_heads", r.params["num_attention_heads"])
	delete(r.params, "head_dim")
	rotated := r.whole("rope.dimension_count")
	r.set("qk_rope_head_dim", rotated)
	r.set("qk_nope_head_dim", r.whole("attention.key_length_mla")-rotated)
	r.take("attention.value_length_mla", "v_head_dim")
	r.set("q_lora_rank", nil)
	r.take("attention.q_lora_rank", "q_lora_rank")
	r.take("attention.kv_lora_rank", "kv_lora_rank")
	r.take("leading_dense_block_count", "first_k_dense_replace")
	r.take("expert_feed_forward_length", "moe_intermediate_size")
	r.take("expert_shared_count", "n_shared_experts")
	r.set("routed_scaling_factor", decimalOf(1))
	r.take("expert_weights_scale", "routed_scaling_factor")
	r.set("norm_topk_prob", false)
	r.take("expert_weights_norm", "norm_topk_prob")
	for _, name := range []string{"n_group", "topk_group"} {
		if r.params[name] == nil {
			r.set(name, nil)
		}
	}
	scaling, scaled := r.params["rope_scaling"].(map[string]any)
	if value, err := r.src.Metadata().Float(r.prefix + "rope.scaling.yarn_log_multiplier"); err == nil && scaled {
		// llama.cpp takes the two for the same.
		magnitude := rounded(value/logMultiplier, func(v float64) bool { return float32(logMultiplier*v) == float32(value) })
		scaling["mscale"], scaling["mscale_all_dim"] = magnitude, magnitude
	}
}
