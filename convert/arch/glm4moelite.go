package arch

// GLM4MoELite is GLM 4.7 Flash: DeepSeek V3 with GLM's vocabulary and layers that guess more
// tokens than the next.
var GLM4MoELite = Architecture{
	Class:      "Glm4MoeLiteForCausalLM",
	Name:       "deepseek2",
	Family:     "GLM 4.7 Flash",
	Special:    "made like DeepSeek V3",
	Vocabulary: glmVocabulary,
	types:      []modelType{glm4MoELiteType},
	read:       func(r *reader) family { return &glm4MoELite{r.latentMixture(), r.nextLayers()} },
	experts:    "n_routed_experts",
}

var glm4MoELiteType = modelType{
	name: "glm4_moe_lite", theta: 10000,
	renamed: map[string]string{"num_local_experts": "n_routed_experts", "head_dim": "qk_rope_head_dim"},
	fields: append(denseFields(154880, 2048, 10240, 47, 20, 202752, 1e-5),
		field{"moe_intermediate_size", whole, int64(1536)}, field{"num_key_value_heads", whole, int64(20)}, field{"n_shared_experts", whole, int64(1)},
		field{"n_routed_experts", whole, int64(64)}, field{"routed_scaling_factor", decimal, 1.8}, field{"kv_lora_rank", whole, int64(512)},
		field{"q_lora_rank", whole | null, int64(768)}, field{"qk_rope_head_dim", whole, int64(64)}, field{"v_head_dim", whole, int64(256)},
		field{"qk_nope_head_dim", whole, int64(192)}, field{"n_group", whole, int64(1)}, field{"topk_group", whole, int64(1)},
		field{"num_experts_per_tok", whole, int64(4)}, field{"norm_topk_prob", flag, true}, field{"bos_token_id", whole | null, int64(0)},
		field{"eos_token_id", whole | wholes | null, int64(1)}, field{"pretraining_tp", whole, int64(1)}, field{"rope_interleave", flag, true},
		field{"mlp_layer_types", texts | null, nil}, field{"attention_bias", flag, false}, field{"attention_dropout", decimal | whole, 0.0},
	),
	derive: func(h hparams) {
		if layers := h["num_hidden_layers"].(int64); h["mlp_layer_types"] == nil && layers > 0 && layers < 1<<16 {
			types := []any{"dense"}
			for range layers - 1 {
				types = append(types, "sparse")
			}
			h["mlp_layer_types"] = types
		}
	},
}

type glm4MoELite struct {
	latentMixture
	nextLayers
}

func (g *glm4MoELite) keys(k *keys) {
	g.latentKeys(k)
	g.nextKeys(k, g.Layers, g.layers > 0)
}

func (g *glm4MoELite) tensors(m mapper) {
	g.latentMixture.tensors(m)
	g.next(m, &g.Config, func(layer mapper, fused bool) {
		g.norms(layer)
		g.latentAttention(layer)
		g.sharedMixture(layer, fused)
	})
}
