package arch

import "github.com/ggufkit/ggufkit/gguf"

// Dots1 is dots.llm1: the attention of Qwen3, and a mixture of experts in all but the first
// layers, with experts that every token uses. A bias helps to choose the others.
var Dots1 = Architecture{
	Class:   "Dots1ForCausalLM",
	Name:    "dots1",
	Family:  "dots.llm1",
	Special: "experts one by one or fused",
	types: []modelType{{
		name: "dots1", theta: 10000, layerTypes: "full_attention",
		renamed: map[string]string{"num_local_experts": "n_routed_experts"},
		fields: append(denseFields(152064, 4608, 10944, 62, 32, 2048, 1e-6),
			field{"moe_intermediate_size", whole, int64(1408)}, field{"num_key_value_heads", whole | null, int64(32)},
			field{"n_shared_experts", whole | null, nil}, field{"n_routed_experts", whole | null, nil}, field{"n_group", whole | null, int64(1)},
			field{"topk_group", whole | null, int64(1)}, field{"num_experts_per_tok", whole | null, nil},
			field{"first_k_dense_replace", whole | null, int64(0)}, field{"norm_topk_prob", flag | null, false}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal | null, 0.0}, field{"routed_scaling_factor", decimal, 1.0},
			field{"sliding_window", whole | null, int64(4096)}, field{"max_window_layers", whole | null, int64(62)}, field{"layer_types", texts | null, nil},
		),
	}},
	read:    readDots1,
	experts: "n_routed_experts",
	restore: func(r *restorer) {
		r.qwenMixture(false)
		r.take("expert_weights_norm", "norm_topk_prob")
		r.take("expert_weights_scale", "routed_scaling_factor")
		r.take("leading_dense_block_count", "first_k_dense_replace")
		r.take("expert_shared_count", "n_shared_experts")
	},
}

type dots1 struct {
	qwenMixture
	denseLayers, sharedExperts int64
	scale                      *float64
	divided                    bool // the weights of a token's experts by their sum
}

func readDots1(r *reader) family {
	r.can = sigmoidRouter
	d := &dots1{qwenMixture: readQwenMixture(r), scale: r.number("routed_scaling_factor"), divided: isTrue(r.hparams["norm_topk_prob"])}
	d.denseLayers = orZero(r.whole(0, d.Layers, "first_k_dense_replace"))
	d.sharedExperts = orZero(r.whole(0, 1<<16, "n_shared_experts"))
	if orZero(d.expertWidth) == 0 || d.scale == nil {
		r.fail(gguf.ErrCorrupt, "moe_intermediate_size or routed_scaling_factor is missing")
	}
	return d
}

// keys has what Dots1Model.set_gguf_parameters adds.
func (d *dots1) keys(k *keys) {
	d.qwenMixture.keys(k)
	k.set("leading_dense_block_count", uint32(d.denseLayers))
	k.set("expert_shared_count", uint32(d.sharedExperts))
	k.number("expert_weights_scale", d.scale)
	k.set("expert_weights_norm", d.divided)
}

func (d *dots1) tensors(m mapper) {
	fused := m.areFused()
	d.outside(m)
	for i, layer := range m.layers(d.Layers) {
		d.qwen3Attention(layer)
		if i < d.denseLayers {
			d.mlp(layer)
			continue
		}
		d.network(layer, fused)
		layer.takeAny("mlp.gate.e_score_correction_bias", "exp_probs_b.bias", d.experts)
		d.sharedExpert(layer, d.sharedExperts*orZero(d.expertWidth))
	}
}
