package arch

import "slices"

// Qwen3MoE is Qwen3 with a mixture of experts. llama.cpp always divides the
// weights of the experts that a token uses by their sum (norm_topk_prob).
var Qwen3MoE = Architecture{
	Class:   "Qwen3MoeForCausalLM",
	Name:    "qwen3moe",
	Experts: true,
	Keys:    qwenMoEKeys,
	Tensors: slices.Concat(qwen3Tensors, qwenRouter),
	Layouts: [][]Mapping{qwenExperts, qwenFused},
}
