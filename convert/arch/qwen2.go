package arch

import "slices"

// Qwen2 is the dense model of Qwen 1.5 to 2.5: Llama with biases for queries,
// keys and values. Its sliding_window, which is hardly ever used, has no place in
// the metadata.
var Qwen2 = Architecture{
	Class:      "Qwen2ForCausalLM",
	Others:     []string{"Qwen2Model", "KORMoForCausalLM", "Qwen2AudioForConditionalGeneration", "AudioFlamingo3ForConditionalGeneration", "DotsOCRForCausalLM"},
	Name:       "qwen2",
	Embeddings: true,
	Keys:       commonKeys,
	Tensors:    slices.Concat(qwen2Tensors, denseMLP),
}

// qwen2Tensors is the attention of Qwen 2. Its heads stay as they are: for this
// architecture llama.cpp rotates the halves of a head together.
var qwen2Tensors = slices.Concat(commonTensors, []Mapping{
	{Source: "model.layers.{layer}.self_attn.q_proj.bias", Name: "blk.{layer}.attn_q.bias", Shape: queries},
	{Source: "model.layers.{layer}.self_attn.k_proj.bias", Name: "blk.{layer}.attn_k.bias", Shape: keysOrValues},
	{Source: "model.layers.{layer}.self_attn.v_proj.bias", Name: "blk.{layer}.attn_v.bias", Shape: keysOrValues},
})
