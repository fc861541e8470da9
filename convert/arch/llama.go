package arch

import (
	"math"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
)

// Llama is the dense model of Llama 1 to 3, and of many that copied it.
var Llama = Architecture{
	Class:   "LlamaForCausalLM",
	Others:  []string{"LLaMAForCausalLM", "LlamaModel", "IQuestCoderForCausalLM", "LlavaForConditionalGeneration", "VoxtralForConditionalGeneration"},
	Name:    "llama",
	Keys:    llamaKeys,
	Tensors: slices.Concat(llamaTensors, llamaMLP),
	Extra:   ropeFreqs,
}

// commonKeys is in the order of TextModel.set_gguf_parameters in llama.cpp's
// conversion/base.py.
var commonKeys = []Key{
	{"block_count", func(c *Config) any { return uint32(c.Layers) }},
	{"context_length", func(c *Config) any {
		if c.MaxPositions == 0 {
			return nil
		}
		return uint32(c.MaxPositions)
	}},
	{"embedding_length", func(c *Config) any { return uint32(c.HiddenSize) }},
	{"feed_forward_length", func(c *Config) any { return count(c.feedForward) }},
	{"attention.head_count", func(c *Config) any { return uint32(c.Heads) }},
	{"attention.head_count_kv", func(c *Config) any { return count(c.kvHeads) }},
	{"attention.causal", func(c *Config) any {
		if c.causal {
			return nil
		}
		return false
	}},
	{"rope.scaling.type", func(c *Config) any { return ropeScaling(c, c.Rope.Type) }},
	{"rope.scaling.factor", func(c *Config) any { return ropeScaling(c, float(c.Rope.Factor)) }},
	{"rope.scaling.original_context_length", func(c *Config) any { return yarn(c, uint32(c.Rope.OriginalPositions)) }},
	{"rope.scaling.yarn_truncate", func(c *Config) any {
		if c.Rope.truncate == nil {
			return nil
		}
		return *c.Rope.truncate
	}},
	{"rope.scaling.yarn_ext_factor", func(c *Config) any { return float(c.Rope.extrapolationFactor) }},
	{"rope.scaling.yarn_attn_factor", func(c *Config) any { return float(c.Rope.attentionFactor) }},
	{"rope.scaling.yarn_beta_fast", func(c *Config) any { return float(c.Rope.betaFast) }},
	{"rope.scaling.yarn_beta_slow", func(c *Config) any { return float(c.Rope.betaSlow) }},
	{"rope.dimension_sections", func(c *Config) any {
		if c.Rope.sections == nil {
			return nil
		}
		return c.Rope.sections
	}},
	{"rope.freq_base", func(c *Config) any { return float(c.Rope.Theta) }},
	{"rope.freq_base_swa", func(c *Config) any { return float(c.Rope.localTheta) }},
	{"attention.layer_norm_rms_epsilon", func(c *Config) any { return float32(c.RMSNormEps) }},
	{"attention.layer_norm_epsilon", func(c *Config) any { return float(c.layerNormEps) }},
	{"expert_count", func(c *Config) any { return count(c.experts) }},
	{"expert_used_count", func(c *Config) any { return count(c.expertsPerToken) }},
	{"expert_group_count", func(c *Config) any { return count(c.groups) }},
	{"expert_group_used_count", func(c *Config) any { return count(c.groupsPerToken) }},
	{"expert_gating_func", func(c *Config) any {
		if c.scoring == "" {
			return nil
		}
		return uint32(1) // softmax
	}},
	{"attention.key_length", func(c *Config) any { return count(c.HeadDim) }},
	{"attention.value_length", func(c *Config) any { return count(c.HeadDim) }},
	{fileType, nil},
}

// llamaKeys has what LlamaModel.set_gguf_parameters adds.
var llamaKeys = slices.Concat(commonKeys, []Key{
	{"vocab_size", func(c *Config) any { return uint32(c.VocabSize) }},
	{"rope.dimension_count", func(c *Config) any { return uint32(c.HeadLength()) }},
})

// ropeScaling returns v if the config scales positions in a way that metadata
// describes. llama3's way is a tensor instead, see ropeFreqs.
func ropeScaling(c *Config, v any) any {
	if t := c.Rope.Type; t == "linear" || t == "yarn" {
		return v
	}
	return nil
}

func yarn(c *Config, v any) any {
	if c.Rope.Type == "yarn" {
		return v
	}
	return nil
}

// count returns *n as GGUF stores it, nil if there is none.
func count(n *int64) any {
	if n == nil {
		return nil
	}
	return uint32(*n)
}

// float returns *v as GGUF stores it, nil if there is none.
func float(v *float64) any {
	if v == nil {
		return nil
	}
	return float32(*v)
}

// commonTensors is what all models here share.
var commonTensors = []Mapping{
	{Source: "model.embed_tokens.weight", Name: "token_embd.weight", Shape: vocabByHidden},
	{Source: "model.norm.weight", Name: "output_norm.weight", Shape: hidden},
	{Source: "lm_head.weight", Name: "output.weight", Shape: vocabByHidden, Required: func(c *Config) bool { return !c.TieEmbeddings && !c.headless }},

	{Source: "model.layers.{layer}.input_layernorm.weight", Name: "blk.{layer}.attn_norm.weight", Shape: hidden},
	{Source: "model.layers.{layer}.self_attn.q_proj.weight", Name: "blk.{layer}.attn_q.weight", Shape: func(c *Config) []int64 { return []int64{c.Heads * c.HeadLength(), c.HiddenSize} }},
	{Source: "model.layers.{layer}.self_attn.k_proj.weight", Name: "blk.{layer}.attn_k.weight", Shape: kvByHidden},
	{Source: "model.layers.{layer}.self_attn.v_proj.weight", Name: "blk.{layer}.attn_v.weight", Shape: kvByHidden},
	{Source: "model.layers.{layer}.self_attn.o_proj.weight", Name: "blk.{layer}.attn_output.weight", Shape: func(c *Config) []int64 { return []int64{c.HiddenSize, c.Heads * c.HeadLength()} }},
	{Source: "model.layers.{layer}.post_attention_layernorm.weight", Name: "blk.{layer}.ffn_norm.weight", Shape: hidden},
}

// attentionBiases is for models that can have biases: those that are there are taken,
// whatever attention_bias says.
var attentionBiases = []Mapping{
	{Source: "model.layers.{layer}.self_attn.q_proj.bias", Name: "blk.{layer}.attn_q.bias", Shape: queries, Required: never},
	{Source: "model.layers.{layer}.self_attn.k_proj.bias", Name: "blk.{layer}.attn_k.bias", Shape: keysOrValues, Required: never},
	{Source: "model.layers.{layer}.self_attn.v_proj.bias", Name: "blk.{layer}.attn_v.bias", Shape: keysOrValues, Required: never},
	{Source: "model.layers.{layer}.self_attn.o_proj.bias", Name: "blk.{layer}.attn_output.bias", Shape: hidden, Required: never},
}

// llamaTensors is the attention of the family.
var llamaTensors = interleaved(slices.Concat(commonTensors, attentionBiases))

// interleaved returns the table with Heads set for what makes queries and keys.
func interleaved(table []Mapping) []Mapping {
	table = slices.Clone(table)
	for i := range table {
		switch name := table[i].Name; {
		case strings.HasPrefix(name, "blk.{layer}.attn_q."):
			table[i].Heads = heads
		case strings.HasPrefix(name, "blk.{layer}.attn_k."):
			table[i].Heads = kvHeads
		}
	}
	return table
}

// llamaMLP is the feed-forward part of the dense models of the family.
var llamaMLP = slices.Concat(denseMLP, []Mapping{
	{Source: "model.layers.{layer}.mlp.gate_proj.bias", Name: "blk.{layer}.ffn_gate.bias", Shape: mlp, Required: never},
	{Source: "model.layers.{layer}.mlp.up_proj.bias", Name: "blk.{layer}.ffn_up.bias", Shape: mlp, Required: never},
	{Source: "model.layers.{layer}.mlp.down_proj.bias", Name: "blk.{layer}.ffn_down.bias", Shape: hidden, Required: never},
})

// denseMLP is a feed-forward part without biases.
var denseMLP = []Mapping{
	{Source: "model.layers.{layer}.mlp.gate_proj.weight", Name: "blk.{layer}.ffn_gate.weight", Shape: mlpByHidden},
	{Source: "model.layers.{layer}.mlp.up_proj.weight", Name: "blk.{layer}.ffn_up.weight", Shape: mlpByHidden},
	{Source: "model.layers.{layer}.mlp.down_proj.weight", Name: "blk.{layer}.ffn_down.weight", Shape: hiddenByMLP},
}

func hidden(c *Config) []int64        { return []int64{c.HiddenSize} }
func mlp(c *Config) []int64           { return []int64{c.IntermediateSize} }
func vocabByHidden(c *Config) []int64 { return []int64{c.VocabSize, c.HiddenSize} }
func queries(c *Config) []int64       { return []int64{c.Heads * c.HeadLength()} }
func keysOrValues(c *Config) []int64  { return []int64{c.KVHeads * c.HeadLength()} }
func kvByHidden(c *Config) []int64    { return []int64{c.KVHeads * c.HeadLength(), c.HiddenSize} }
func mlpByHidden(c *Config) []int64   { return []int64{c.IntermediateSize, c.HiddenSize} }
func hiddenByMLP(c *Config) []int64   { return []int64{c.HiddenSize, c.IntermediateSize} }
func heads(c *Config) int64           { return c.Heads }
func kvHeads(c *Config) int64         { return c.KVHeads }
func never(*Config) bool              { return false }

// ropeFreqs returns the factors by which Llama 3.1 divides the frequencies of
// the rotary embedding, those of long waves by factor and those of short ones
// by 1, with a smooth passage between (transformers'
// _compute_llama3_parameters). Every step is rounded to float32, as
// convert_hf_to_gguf.py's tensors do; torch divides a number by a tensor as
// number * (1 / tensor).
func ropeFreqs(c *Config) []Tensor {
	r := c.Rope
	if r.Type != "llama3" {
		return nil
	}
	or := func(v *float64, otherwise float32) float32 {
		if v == nil {
			return otherwise
		}
		return float32(*v)
	}
	base, factor, low, high := float32(r.Base()), or(r.Factor, 8), or(r.LowFreqFactor, 1), or(r.HighFreqFactor, 4)
	context := float32(r.OriginalPositions)
	dim := c.HeadLength()
	factors := make([]float32, dim/2)
	for i := range factors {
		exponent := float32(2*i) / float32(dim)
		freq := 1 / float32(math.Pow(float64(base), float64(exponent)))
		wavelength := 1 / freq * float32(2*math.Pi)
		switch {
		case wavelength < context/high:
			factors[i] = 1
		case wavelength > context/low:
			factors[i] = factor
		default:
			smooth := (float32(1/wavelength*context) - low) / (high - low)
			factors[i] = 1 / ((1-smooth)/factor + smooth)
		}
	}
	return []Tensor{{"rope_freqs.weight", weights.Values(weights.F32, factors, int64(len(factors)))}}
}
