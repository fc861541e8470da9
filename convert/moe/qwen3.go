package moe

import "github.com/ggufkit/ggufkit/convert/arch"

// qwen3MoE is Qwen3-MoE.
var qwen3MoE = output{
	name:         "Qwen3 MoE",
	class:        &arch.Qwen3MoE,
	modelType:    "qwen3_moe",
	donors:       []*arch.Architecture{&arch.Qwen3},
	acceptShared: noShared,
	router:       "mlp.gate",
	experts:      "mlp.experts.%d",
	config: func(r *Recipe, base *arch.Config) map[string]any {
		return map[string]any{
			"num_experts": len(r.Experts), "decoder_sparse_step": 1, "mlp_only_layers": []int{}, "norm_topk_prob": true,
			"moe_intermediate_size": base.IntermediateSize,
		}
	},
}
