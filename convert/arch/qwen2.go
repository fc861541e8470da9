package arch

import "slices"

// Qwen2 is the dense model of Qwen 1.5 to 2.5: Llama with biases for queries,
// keys and values. Its sliding_window, which is hardly ever used, has no place in
// the metadata.
var Qwen2 = Architecture{
	Class: "Qwen2ForCausalLM",
	Name:  "qwen2",
	Defaults: Config{
		VocabSize: 151936, HiddenSize: 4096, IntermediateSize: 22016, Layers: 32, Heads: 32, KVHeads: new(int64(32)),
		MaxPositions: 32768, RMSNormEps: 1e-6, RopeTheta: 10000,
	},
	Keys:    commonKeys,
	Tensors: slices.Concat(qwen2Tensors, denseMLP),
	Extra:   ropeFreqs,
}

// qwen2Tensors is the attention of Qwen 2. Its heads stay as they are: for this
// architecture llama.cpp rotates the halves of a head together.
var qwen2Tensors = slices.Concat(commonTensors, []Mapping{
	{Source: "model.layers.{layer}.self_attn.q_proj.bias", Name: "blk.{layer}.attn_q.bias", Shape: queries},
	{Source: "model.layers.{layer}.self_attn.k_proj.bias", Name: "blk.{layer}.attn_k.bias", Shape: keysOrValues},
	{Source: "model.layers.{layer}.self_attn.v_proj.bias", Name: "blk.{layer}.attn_v.bias", Shape: keysOrValues},
})
