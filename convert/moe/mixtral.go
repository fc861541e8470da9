package moe

import "github.com/ggufkit/ggufkit/convert/arch"

// mixtral is written with the tensor names of 2023.
var mixtral = output{
	name:         "Mixtral",
	class:        &arch.Mixtral,
	modelType:    "mixtral",
	donors:       []*arch.Architecture{&arch.Llama, &arch.Mistral},
	acceptShared: noShared,
	router:       "block_sparse_moe.gate",
	experts:      "block_sparse_moe.experts.%d",
	matrices:     map[string]string{"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"},
	config: func(r *Recipe, _ *arch.Config) map[string]any {
		return map[string]any{
			"num_local_experts": len(r.Experts), "sliding_window": nil, "output_router_logits": false, "router_aux_loss_coef": 0.001,
		}
	},
}
