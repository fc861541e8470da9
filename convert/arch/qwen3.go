package arch

import "slices"

// Qwen3 is the dense model of Qwen 3: queries and keys have norms instead of
// biases.
var Qwen3 = Architecture{
	Class: "Qwen3ForCausalLM",
	Name:  "qwen3",
	Defaults: Config{
		VocabSize: 151936, HiddenSize: 4096, IntermediateSize: 22016, Layers: 32, Heads: 32, KVHeads: new(int64(32)), HeadDim: new(int64(128)),
		MaxPositions: 32768, RMSNormEps: 1e-6, RopeTheta: 10000,
	},
	Keys:    commonKeys,
	Tensors: slices.Concat(qwen3Tensors, denseMLP),
	Extra:   ropeFreqs,
}

// qwen3Tensors is the attention of Qwen 3.
var qwen3Tensors = slices.Concat(commonTensors, attentionBiases, []Mapping{
	{Source: "model.layers.{layer}.self_attn.q_norm.weight", Name: "blk.{layer}.attn_q_norm.weight", Shape: head},
	{Source: "model.layers.{layer}.self_attn.k_norm.weight", Name: "blk.{layer}.attn_k_norm.weight", Shape: head},
})

func head(c *Config) []int64 { return []int64{c.HeadLength()} }
