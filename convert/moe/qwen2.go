package moe

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// qwenMoE is Qwen2-MoE. Its shared expert has a gate, whose row comes from prompts
// as those of the routers do. Unlike a router it is a weight between 0 and 1 of its
// own.
var qwenMoE = output{
	name:      "Qwen MoE",
	class:     &arch.Qwen2MoE,
	modelType: "qwen2_moe",
	donors:    []*arch.Architecture{&arch.Llama, &arch.Mistral, &arch.Qwen2},
	acceptShared: func(r *Recipe) error {
		if n := len(r.SharedExperts); n != 1 {
			return fmt.Errorf("it has one shared expert, not %d", n)
		}
		if r.GateMode != Random && len(r.SharedExperts[0].PositivePrompts) == 0 {
			return errors.New("the gate of its shared expert needs positive_prompts")
		}
		return nil
	},
	caveat:     unnormalized,
	router:     "mlp.gate",
	experts:    "mlp.experts.%d",
	shared:     "mlp.shared_expert",
	sharedGate: "mlp.shared_expert_gate",
	ownHead:    true,
	fill:       zeroBiases,
	config: func(r *Recipe, base *arch.Config) map[string]any {
		return map[string]any{
			"num_experts": len(r.Experts), "decoder_sparse_step": 1, "mlp_only_layers": []int{}, "norm_topk_prob": true,
			"moe_intermediate_size": base.IntermediateSize, "shared_expert_intermediate_size": base.IntermediateSize,
			"sliding_window": nil, "use_sliding_window": false,
		}
	},
}

// zeroBiases returns biases, which Qwen2-MoE always has, for a base without.
func zeroBiases(base *model, dtype weights.Dtype) []tensor {
	var biases []tensor
	c := base.config
	for layer := range c.Layers {
		for name, heads := range map[string]int64{"q_proj": c.Heads, "k_proj": c.KVHeads, "v_proj": c.KVHeads} {
			matrix := inLayer(layer, "self_attn."+name)
			bias := fmt.Sprintf("model.layers.%d.self_attn.%s.bias", layer, name)
			if base.tensors.Get(bias) != nil {
				continue
			}
			dtype, n := cmp.Or(dtype, base.tensors.Get(matrix).Dtype()), heads*c.HeadLength()
			biases = append(biases, tensor{bias, weights.Values(dtype, make([]float32, n), n)})
		}
	}
	return biases
}
