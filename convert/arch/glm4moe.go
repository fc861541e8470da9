package arch

// GLM4MoE is GLM 4.5 to 4.7: a mixture of experts in all but the first layers, chosen with
// the help of a bias, experts that every token uses, half of each head rotated, and layers that
// guess more tokens than the next.
var GLM4MoE = Architecture{
	Class:      "Glm4MoeForCausalLM",
	Name:       "glm4moe",
	Family:     "GLM 4.5 to 4.7",
	Special:    "with its layers that guess more tokens; experts one by one or fused",
	Vocabulary: glmVocabulary,
	types: []modelType{{
		name: "glm4_moe", theta: 10000, partial: glmRotated,
		renamed: map[string]string{"num_local_experts": "n_routed_experts"},
		fields: append(denseFields(151552, 4096, 10944, 46, 96, 131072, 1e-5),
			field{"num_key_value_heads", whole, int64(8)}, field{"attention_bias", flag, false}, field{"attention_dropout", decimal | whole, 0.0},
			field{"moe_intermediate_size", whole, int64(1408)}, field{"num_experts_per_tok", whole, int64(8)},
			field{"n_shared_experts", whole, int64(1)}, field{"n_routed_experts", whole, int64(128)}, field{"routed_scaling_factor", decimal, 1.0},
			field{"n_group", whole, int64(1)}, field{"topk_group", whole, int64(1)}, field{"first_k_dense_replace", whole, int64(1)},
			field{"norm_topk_prob", flag, true}, field{"use_qk_norm", flag, false},
		),
	}},
	read:    readGLM4MoE,
	experts: "n_routed_experts",
	restore: func(r *restorer) {
		r.partial("partial_rotary_factor", r.glmHead(), 1)
		r.take("expert_feed_forward_length", "moe_intermediate_size")
		r.take("expert_shared_count", "n_shared_experts")
		r.take("leading_dense_block_count", "first_k_dense_replace")
		r.take("expert_weights_scale", "routed_scaling_factor")
		r.take("expert_weights_norm", "norm_topk_prob")
		r.set("use_qk_norm", r.has("blk.0.attn_q_norm.weight"))
		delete(r.params, "scoring_func") // which its configuration does not name
		r.nextLayers()
	},
}

type glm4MoE struct {
	mixture
	nextLayers
	expertWidth, sharedExperts, denseLayers *int64
	scale                                   *float64
	divided                                 *bool // the weights of a token's experts by their sum
}

func readGLM4MoE(r *reader) family {
	r.can = partialRotary | sigmoidRouter
	g := &glm4MoE{mixture: r.mixture("silu", "swish"), nextLayers: r.nextLayers()}
	g.expertWidth, g.sharedExperts = r.whole(1, 1<<24, "moe_intermediate_size"), r.whole(0, 1<<16, "n_shared_experts")
	g.denseLayers = r.whole(0, g.Layers, "first_k_dense_replace")
	g.scale, g.divided = r.number("routed_scaling_factor"), r.flag("norm_topk_prob")
	g.refuseScaling(r, "llama3")
	return g
}

// keys has what Glm4MoeModel.set_gguf_parameters adds.
func (g *glm4MoE) keys(k *keys) {
	g.commonKeys(k)
	k.set("rope.dimension_count", g.halfRotated(g.HeadLength()))
	k.count("expert_feed_forward_length", g.expertWidth)
	k.count("expert_shared_count", g.sharedExperts)
	k.count("leading_dense_block_count", g.denseLayers)
	k.set("expert_gating_func", uint32(gatingSigmoid))
	k.number("expert_weights_scale", g.scale)
	if g.divided != nil {
		k.set("expert_weights_norm", *g.divided)
	}
	g.nextKeys(k, g.Layers, g.said)
}

func (g *glm4MoE) tensors(m mapper) {
	g.outside(m)
	fused := m.areFused()
	for i, layer := range m.layers(g.Layers) {
		if i < orZero(g.denseLayers) {
			g.glm4Attention(layer)
			g.mlp(layer)
		} else {
			g.sparseLayer(layer, fused)
		}
	}
	g.next(m, &g.Config, g.sparseLayer)
}

// glm4Attention maps a layer's attention and its norms.
func (g *glm4MoE) glm4Attention(layer mapper) {
	layer.take("input_layernorm.weight", "attn_norm.weight", g.HiddenSize)
	layer.take("post_attention_layernorm.weight", "post_attention_norm.weight", g.HiddenSize)
	g.attention(layer, halves)
	g.attentionBiases(layer, halves)
	layer.takeAny("self_attn.q_norm.weight", "attn_q_norm.weight", g.HeadLength())
	layer.takeAny("self_attn.k_norm.weight", "attn_k_norm.weight", g.HeadLength())
}

// sparseLayer maps a layer with experts.
func (g *glm4MoE) sparseLayer(layer mapper, fused bool) {
	g.glm4Attention(layer)
	g.router(layer)
	layer.takeAny("mlp.gate.e_score_correction_bias", "exp_probs_b.bias", g.experts)
	g.routed(layer, fused, orZero(g.expertWidth))
	g.sharedExpert(layer, orZero(g.sharedExperts)*orZero(g.expertWidth))
}
