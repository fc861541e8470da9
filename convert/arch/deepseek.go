package arch

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// DeepSeek is DeepSeekMoE 16B, with the code that comes with its checkpoint: Llama
// with a mixture of experts in all but the first layers, and experts that every
// token uses. Those are stored as one that is as wide as all of them. llama.cpp
// does not divide the weights of the others by their sum, whatever norm_topk_prob
// says, and cannot run models without shared experts.
var DeepSeek = Architecture{
	Class:   "DeepseekForCausalLM",
	Name:    "deepseek",
	Experts: true,
	Keys:    deepSeekKeys,
	Tensors: slices.Concat(llamaTensors, deepSeekNetworks),
	Check:   checkDeepSeek,
}

// deepSeekKeys has what DeepseekModel.set_gguf_parameters adds.
var deepSeekKeys = slices.Concat(commonKeys, []Key{
	{"rope.dimension_count", func(c *Config) any { return uint32(c.HeadLength()) }},
	{"rope.scaling.type", func(*Config) any { return "none" }},
	{"leading_dense_block_count", func(c *Config) any { return uint32(c.DenseLayers) }},
	{"vocab_size", func(c *Config) any { return uint32(c.VocabSize) }},
	{"expert_feed_forward_length", func(c *Config) any { return uint32(c.ExpertIntermediateSize) }},
	{"expert_weights_scale", func(*Config) any { return float32(1) }},
	{"expert_shared_count", func(c *Config) any { return uint32(c.SharedExperts) }},
})

// deepSeekNetworks is the feed-forward part of both kinds of layers.
var deepSeekNetworks = slices.Concat(
	inLayers(func(c *Config, layer int64) bool { return layer < c.DenseLayers }, denseMLP),
	inLayers(func(c *Config, layer int64) bool { return layer >= c.DenseLayers }, slices.Concat(qwenRouter, qwenExperts)),
	inLayers(func(c *Config, layer int64) bool { return layer >= c.DenseLayers && c.SharedExperts > 0 }, []Mapping{
		{Source: "model.layers.{layer}.mlp.shared_experts.gate_proj.weight", Name: "blk.{layer}.ffn_gate_shexp.weight", Shape: allSharedByHidden},
		{Source: "model.layers.{layer}.mlp.shared_experts.up_proj.weight", Name: "blk.{layer}.ffn_up_shexp.weight", Shape: allSharedByHidden},
		{Source: "model.layers.{layer}.mlp.shared_experts.down_proj.weight", Name: "blk.{layer}.ffn_down_shexp.weight", Shape: hiddenByAllShared},
	}),
)

// inLayers returns the table for those layers only.
func inLayers(which func(c *Config, layer int64) bool, table []Mapping) []Mapping {
	table = slices.Clone(table)
	for i := range table {
		table[i].InLayer = which
	}
	return table
}

// checkDeepSeek refuses scaled positions: convert_hf_to_gguf.py writes that they are
// not.
func checkDeepSeek(c *Config) error {
	if c.ExpertIntermediateSize == 0 {
		return fmt.Errorf("%w: moe_intermediate_size is missing", gguf.ErrCorrupt)
	}
	if t := c.Rope.Type; t != "" && t != "default" {
		return fmt.Errorf("%w: rope scaling %q of a DeepSeek model", gguf.ErrUnsupported, t)
	}
	return nil
}

func allSharedByHidden(c *Config) []int64 {
	return []int64{c.SharedExperts * c.ExpertIntermediateSize, c.HiddenSize}
}

func hiddenByAllShared(c *Config) []int64 {
	return []int64{c.HiddenSize, c.SharedExperts * c.ExpertIntermediateSize}
}
