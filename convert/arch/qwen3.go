package arch

import "slices"

// Qwen3 is the dense model of Qwen 3: queries and keys have norms instead of
// biases.
var Qwen3 = Architecture{
	Class:      "Qwen3ForCausalLM",
	Others:     []string{"Qwen3Model"},
	Name:       "qwen3",
	Embeddings: true,
	Keys:       commonKeys,
	Tensors:    slices.Concat(qwen3Tensors, denseMLP),
}

// qwen3Tensors is the attention of Qwen 3.
var qwen3Tensors = slices.Concat(commonTensors, attentionBiases, []Mapping{
	{Source: "model.layers.{layer}.self_attn.q_norm.weight", Name: "blk.{layer}.attn_q_norm.weight", Shape: head},
	{Source: "model.layers.{layer}.self_attn.k_norm.weight", Name: "blk.{layer}.attn_k_norm.weight", Shape: head},
})

func head(c *Config) []int64 { return []int64{c.HeadLength()} }
