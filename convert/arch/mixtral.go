package arch

import "slices"

// Mixtral is Mistral with a mixture of experts. In the checkpoint of an expert
// w1 is the gate, w2 the down and w3 the up projection.
var Mixtral = Architecture{
	Class:   "MixtralForCausalLM",
	Name:    "llama",
	Experts: true,
	Keys:    llamaKeys,
	Tensors: llamaTensors,
	Layouts: [][]Mapping{mixtralExperts, mixtralFused},
	Extra:   ropeFreqs,
}

// mixtralExperts is how transformers 4 saved and transformers 5 saves: a tensor
// for each matrix of each expert.
var mixtralExperts = []Mapping{
	{Source: "model.layers.{layer}.block_sparse_moe.gate.weight", Name: "blk.{layer}.ffn_gate_inp.weight", Shape: expertsByHidden},
	{Source: "model.layers.{layer}.block_sparse_moe.experts.{expert}.w1.weight", Name: "blk.{layer}.ffn_gate_exps.weight", Shape: mlpByHidden},
	{Source: "model.layers.{layer}.block_sparse_moe.experts.{expert}.w2.weight", Name: "blk.{layer}.ffn_down_exps.weight", Shape: hiddenByMLP},
	{Source: "model.layers.{layer}.block_sparse_moe.experts.{expert}.w3.weight", Name: "blk.{layer}.ffn_up_exps.weight", Shape: mlpByHidden},
}

// mixtralFused is how transformers 5 computes and mergekit has saved since June
// 2026. convert_hf_to_gguf.py cannot read it.
var mixtralFused = slices.Concat(qwenRouter, fusedExperts(func(c *Config) int64 { return c.IntermediateSize }))

// fusedExperts is a layout with all experts, of the given width, in one tensor,
// the gate's rows of each before the up projection's.
func fusedExperts(width func(*Config) int64) []Mapping {
	gateUp := func(c *Config) []int64 { return []int64{c.Experts, 2 * width(c), c.HiddenSize} }
	down := func(c *Config) []int64 { return []int64{c.Experts, c.HiddenSize, width(c)} }
	return []Mapping{
		{Source: "model.layers.{layer}.mlp.experts.gate_up_proj", Name: "blk.{layer}.ffn_gate_exps.weight", Shape: gateUp,
			Part: func(c *Config) (first, n int64) { return 0, width(c) }},
		{Source: "model.layers.{layer}.mlp.experts.down_proj", Name: "blk.{layer}.ffn_down_exps.weight", Shape: down,
			Part: func(c *Config) (first, n int64) { return 0, c.HiddenSize }},
		{Source: "model.layers.{layer}.mlp.experts.gate_up_proj", Name: "blk.{layer}.ffn_up_exps.weight", Shape: gateUp,
			Part: func(c *Config) (first, n int64) { return width(c), width(c) }},
	}
}

func expertsByHidden(c *Config) []int64 { return []int64{c.Experts, c.HiddenSize} }
