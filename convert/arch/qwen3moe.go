package arch

import "slices"

// Qwen3MoE is Qwen3 with a mixture of experts. llama.cpp always divides the
// weights of the experts that a token uses by their sum (norm_topk_prob).
var Qwen3MoE = Architecture{
	Class: "Qwen3MoeForCausalLM",
	Name:  "qwen3moe",
	Defaults: Config{
		VocabSize: 151936, HiddenSize: 2048, IntermediateSize: 6144, Layers: 24, Heads: 32, KVHeads: new(int64(4)),
		MaxPositions: 32768, RMSNormEps: 1e-6, RopeTheta: 10000,
		Experts: 128, ExpertsPerToken: 8, ExpertIntermediateSize: 768,
	},
	Keys:    qwenMoEKeys,
	Tensors: slices.Concat(qwen3Tensors, qwenRouter),
	Layouts: [][]Mapping{qwenExperts, qwenFused},
	Extra:   ropeFreqs,
}
