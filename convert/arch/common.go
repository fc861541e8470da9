package arch

import (
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// commonKeys adds the metadata of TextModel.set_gguf_parameters in llama.cpp's
// conversion/base.py.
func (c *Config) commonKeys(k *keys) {
	k.set("block_count", uint32(c.Layers))
	if c.MaxPositions != 0 {
		k.set("context_length", uint32(c.MaxPositions))
	}
	k.set("embedding_length", uint32(c.HiddenSize))
	k.count("feed_forward_length", c.feedForward)
	k.set("attention.head_count", uint32(c.Heads))
	k.count("attention.head_count_kv", c.kvHeads)
	if !c.causal {
		k.set("attention.causal", false)
	}
	c.Rope.keys(k)
	if c.RMSNormEps != 0 {
		k.set("attention.layer_norm_rms_epsilon", float32(c.RMSNormEps))
	}
	k.number("attention.layer_norm_epsilon", c.layerNormEps)
	k.count("expert_count", c.expertCount)
	k.count("expert_used_count", c.expertsPerToken)
	k.count("expert_group_count", c.groups)
	k.count("expert_group_used_count", c.groupsPerToken)
	switch c.scoring {
	case "softmax":
		k.set("expert_gating_func", uint32(gatingSoftmax))
	case "sigmoid":
		k.set("expert_gating_func", uint32(gatingSigmoid))
	}
	k.count("attention.key_length", c.HeadDim)
	k.count("attention.value_length", c.HeadDim)
	k.setFileType()
}

// llama.cpp's numbers for what the weights of experts are.
const gatingSoftmax, gatingSigmoid = 1, 2

// keys adds how positions are encoded. llama3's way to scale them is a tensor instead,
// see Config.ropeFreqs.
func (p *Rope) keys(k *keys) {
	if p.Type == "linear" || p.Type == "yarn" {
		k.set("rope.scaling.type", p.Type)
		k.number("rope.scaling.factor", p.Factor)
	}
	if p.Type == "longrope" {
		k.set("rope.scaling.type", p.Type)
	}
	if p.Type == "yarn" {
		k.set("rope.scaling.original_context_length", uint32(p.OriginalPositions))
	}
	if p.truncate != nil {
		k.set("rope.scaling.yarn_truncate", *p.truncate)
	}
	k.number("rope.scaling.yarn_ext_factor", p.extrapolationFactor)
	k.number("rope.scaling.yarn_attn_factor", p.attentionFactor)
	k.number("rope.scaling.yarn_beta_fast", p.betaFast)
	k.number("rope.scaling.yarn_beta_slow", p.betaSlow)
	if p.sections != nil {
		k.set("rope.dimension_sections", p.sections)
	}
	k.number("rope.freq_base", p.Theta)
	k.number("rope.freq_base_swa", p.localTheta)
}

// checkFactors refuses factors of longrope that are not as many as the pairs that are rotated.
func (p *Rope) checkFactors(r *reader, pairs int64) {
	if p.Type == "longrope" && (int64(len(p.long)) != pairs || int64(len(p.short)) != pairs) {
		r.fail(gguf.ErrCorrupt, "long_factor has %d numbers and short_factor %d, of %d", len(p.long), len(p.short), pairs)
	}
}

// longFactors maps the factors of longrope.
func (p *Rope) longFactors(m mapper) {
	if p.Type != "longrope" {
		return
	}
	for _, f := range []struct {
		name   string
		values []float64
	}{{"rope_factors_long.weight", p.long}, {"rope_factors_short.weight", p.short}} {
		values := make([]float32, len(f.values))
		for i, v := range f.values {
			values[i] = float32(v)
		}
		m.put(f.name, weights.Values(weights.F32, values, int64(len(values))))
	}
}

// outside maps what is in no layer.
func (c *Config) outside(m mapper) {
	c.embeddings(m)
	m.take("model.norm.weight", "output_norm.weight", c.HiddenSize)
}

// outsideTied is outside for classes whose tied embeddings are the output, even if the
// checkpoint has another.
func (c *Config) outsideTied(m mapper) {
	if !c.TieEmbeddings {
		c.outside(m)
		return
	}
	m.ignore("lm_head.")
	m.take("model.embed_tokens.weight", "token_embd.weight", c.VocabSize, c.HiddenSize)
	m.take("model.norm.weight", "output_norm.weight", c.HiddenSize)
}

// embeddings maps those of tokens, and the output that may be a matrix of its own.
func (c *Config) embeddings(m mapper) {
	m.take("model.embed_tokens.weight", "token_embd.weight", c.VocabSize, c.HiddenSize)
	c.output(m, "lm_head.weight")
}

// output maps the output if it is a matrix of its own.
func (c *Config) output(m mapper, source string) {
	if m.has(source) || !c.TieEmbeddings && !c.headless {
		m.take(source, "output.weight", c.VocabSize, c.HiddenSize)
	}
}

// norms maps those before a layer's two parts.
func (c *Config) norms(layer mapper) {
	layer.take("input_layernorm.weight", "attn_norm.weight", c.HiddenSize)
	layer.take("post_attention_layernorm.weight", "ffn_norm.weight", c.HiddenSize)
}

// layerNorm maps a norm that may have a bias, which has the same name as the weight.
func (c *Config) layerNorm(m mapper, source, name string) {
	m.take(source+".weight", name+".weight", c.HiddenSize)
	m.takeAny(source+".bias", name+".bias", c.HiddenSize)
}

// queryKeyNorms maps those of queries and keys, which are of so many elements: of a head,
// or of all.
func (c *Config) queryKeyNorms(layer mapper, queries, keys int64) {
	layer.take("self_attn.q_norm.weight", "attn_q_norm.weight", queries)
	layer.take("self_attn.k_norm.weight", "attn_k_norm.weight", keys)
}

// attention maps the matrices of a layer's attention. Order is that of the rows of
// queries and keys, in so many heads.
func (c *Config) attention(layer mapper, order func(r weights.Rows, heads int64) weights.Rows) {
	c.attentionNamed(layer, "self_attn.o_proj", order)
}

// attentionNamed is attention with an output of another name.
func (c *Config) attentionNamed(layer mapper, output string, order func(r weights.Rows, heads int64) weights.Rows) {
	layer.put("attn_q.weight", order(layer.get("self_attn.q_proj.weight", c.queries(), c.HiddenSize), c.Heads))
	layer.put("attn_k.weight", order(layer.get("self_attn.k_proj.weight", c.keysOrValues(), c.HiddenSize), c.KVHeads))
	layer.take("self_attn.v_proj.weight", "attn_v.weight", c.keysOrValues(), c.HiddenSize)
	layer.take(output+".weight", "attn_output.weight", c.HiddenSize, c.queries())
}

// attentionBiases is for models that can have biases: those that are there are taken,
// whatever attention_bias says.
func (c *Config) attentionBiases(layer mapper, order func(r weights.Rows, heads int64) weights.Rows) {
	if layer.has("self_attn.q_proj.bias") {
		layer.put("attn_q.bias", order(layer.get("self_attn.q_proj.bias", c.queries()), c.Heads))
	}
	if layer.has("self_attn.k_proj.bias") {
		layer.put("attn_k.bias", order(layer.get("self_attn.k_proj.bias", c.keysOrValues()), c.KVHeads))
	}
	layer.takeAny("self_attn.v_proj.bias", "attn_v.bias", c.keysOrValues())
	layer.takeAny("self_attn.o_proj.bias", "attn_output.bias", c.HiddenSize)
}

// mlp maps a feed-forward part without biases.
func (c *Config) mlp(layer mapper) { c.mlpBelow(layer, "mlp.") }

// mlpBelow is mlp where names begin in another way.
func (c *Config) mlpBelow(layer mapper, start string) { c.gated(layer, start, "", c.IntermediateSize) }

// gated maps a network of the given width whose names begin and end so.
func (c *Config) gated(layer mapper, start, end string, width int64) {
	layer.take(start+"gate_proj.weight", "ffn_gate"+end+".weight", width, c.HiddenSize)
	layer.take(start+"up_proj.weight", "ffn_up"+end+".weight", width, c.HiddenSize)
	layer.take(start+"down_proj.weight", "ffn_down"+end+".weight", c.HiddenSize, width)
}

// queries returns the number of elements of all heads.
func (c *Config) queries() int64 { return c.Heads * c.HeadLength() }

// keysOrValues returns the number of elements of all heads of keys, or of values.
func (c *Config) keysOrValues() int64 { return c.KVHeads * c.HeadLength() }

// upDown maps a feed-forward part without a gate, which may have biases.
func (c *Config) upDown(layer mapper, up, down string) {
	layer.take(up+".weight", "ffn_up.weight", c.IntermediateSize, c.HiddenSize)
	layer.takeAny(up+".bias", "ffn_up.bias", c.IntermediateSize)
	layer.take(down+".weight", "ffn_down.weight", c.HiddenSize, c.IntermediateSize)
	layer.takeAny(down+".bias", "ffn_down.bias", c.HiddenSize)
}
