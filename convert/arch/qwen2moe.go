package arch

import "slices"

// Qwen2MoE is Qwen2 with a mixture of experts, one of which, the shared expert,
// works for every token, as much as its own gate lets it. llama.cpp does not
// divide the weights of the experts that a token uses by their sum, whatever
// norm_topk_prob says.
var Qwen2MoE = Architecture{
	Class:   "Qwen2MoeForCausalLM",
	Name:    "qwen2moe",
	Experts: true,
	Keys:    qwenMoEKeys,
	Tensors: slices.Concat(qwen2Tensors, qwenRouter, sharedExpert),
	Layouts: [][]Mapping{qwenExperts, qwenFused},
}

// qwenMoEKeys has what Qwen2MoeModel.set_gguf_parameters adds.
var qwenMoEKeys = slices.Concat(commonKeys, []Key{
	{"expert_feed_forward_length", func(c *Config) any { return count(c.expertWidth) }},
	{"expert_shared_feed_forward_length", func(c *Config) any { return count(c.sharedWidth) }},
})

var sharedExpert = []Mapping{
	{Source: "model.layers.{layer}.mlp.shared_expert.gate_proj.weight", Name: "blk.{layer}.ffn_gate_shexp.weight", Shape: sharedByHidden},
	{Source: "model.layers.{layer}.mlp.shared_expert.up_proj.weight", Name: "blk.{layer}.ffn_up_shexp.weight", Shape: sharedByHidden},
	{Source: "model.layers.{layer}.mlp.shared_expert.down_proj.weight", Name: "blk.{layer}.ffn_down_shexp.weight", Shape: hiddenByShared},
	{Source: "model.layers.{layer}.mlp.shared_expert_gate.weight", Name: "blk.{layer}.ffn_gate_inp_shexp.weight", Shape: func(c *Config) []int64 { return []int64{1, c.HiddenSize} }},
}

// qwenRouter is also that of DeepSeek, and of Mixtral where experts are fused.
var qwenRouter = []Mapping{
	{Source: "model.layers.{layer}.mlp.gate.weight", Name: "blk.{layer}.ffn_gate_inp.weight", Shape: expertsByHidden},
}

// qwenExperts is how transformers saves experts: a tensor for each matrix of
// each expert. Names and order are also those of DeepSeek.
var qwenExperts = []Mapping{
	{Source: "model.layers.{layer}.mlp.experts.{expert}.down_proj.weight", Name: "blk.{layer}.ffn_down_exps.weight", Shape: hiddenByExpert},
	{Source: "model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight", Name: "blk.{layer}.ffn_gate_exps.weight", Shape: expertByHidden},
	{Source: "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight", Name: "blk.{layer}.ffn_up_exps.weight", Shape: expertByHidden},
}

// qwenFused is how transformers 5 computes and mergekit has saved Qwen3's since
// June 2026.
var qwenFused = fusedExperts(func(c *Config) int64 { return c.ExpertIntermediateSize })

func expertByHidden(c *Config) []int64 { return []int64{c.ExpertIntermediateSize, c.HiddenSize} }
func hiddenByExpert(c *Config) []int64 { return []int64{c.HiddenSize, c.ExpertIntermediateSize} }
func sharedByHidden(c *Config) []int64 { return []int64{c.SharedIntermediateSize, c.HiddenSize} }
func hiddenByShared(c *Config) []int64 { return []int64{c.HiddenSize, c.SharedIntermediateSize} }
