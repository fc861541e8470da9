package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// Granite is the dense model of Granite 3: Llama with numbers that embeddings, the products
// of queries and keys, what layers add and logits are scaled by.
var Granite = Architecture{
	Class:      "GraniteForCausalLM",
	Name:       "granite",
	Family:     "Granite 3",
	Special:    "multipliers of embeddings, attention, residuals and logits",
	Vocabulary: vocab.Rules{Pre: map[string]string{"starcoder": "refact"}, Llama: true},
	types: []modelType{{
		name: "granite", theta: 10000,
		fields: append(denseFields(32000, 4096, 11008, 32, 32, 2048, 1e-6),
			field{"num_key_value_heads", whole | null, nil}, field{"bos_token_id", whole | null, int64(1)},
			field{"eos_token_id", whole | wholes | null, int64(2)}, field{"attention_bias", flag, false}, field{"attention_dropout", whole | decimal, 0.0},
			field{"mlp_bias", flag, false}, field{"embedding_multiplier", whole | decimal, 1.0}, field{"logits_scaling", whole | decimal, 1.0},
			field{"residual_multiplier", whole | decimal, 1.0}, field{"attention_multiplier", whole | decimal, 1.0},
		),
	}},
	read: func(r *reader) family {
		delete(r.hparams, "head_dim") // it is not looked at
		return &granite{llama{r.dense("silu", "swish"), true}, r.multipliers()}
	},
	restore: func(r *restorer) {
		if r.hasKey("ssm.inner_size") {
			r.graniteHybrid()
			return
		}
		r.ropeFactors()
		r.multipliers()
	},
}

type granite struct {
	llama
	multipliers
}

// multipliers are what Granite scales by: nil or 0 for nothing.
type multipliers struct{ ofAttention, ofEmbedding, ofResidual, ofLogits *float64 }

func (r *reader) multipliers() multipliers {
	return multipliers{r.number("attention_multiplier"), r.number("embedding_multiplier"), r.number("residual_multiplier"), r.number("logits_scaling")}
}

// keys has what GraniteModel.set_gguf_parameters adds.
func (m *multipliers) keys(k *keys) {
	for _, by := range []struct {
		key string
		v   *float64
	}{{"attention.scale", m.ofAttention}, {"embedding_scale", m.ofEmbedding}, {"residual_scale", m.ofResidual}, {"logit_scale", m.ofLogits}} {
		if by.v != nil && *by.v != 0 {
			k.number(by.key, by.v)
		}
	}
}

// multipliers is the reverse of multipliers.keys.
func (r *restorer) multipliers() {
	for _, by := range []struct{ key, name string }{
		{"attention.scale", "attention_multiplier"}, {"embedding_scale", "embedding_multiplier"}, {"residual_scale", "residual_multiplier"},
		{"logit_scale", "logits_scaling"},
	} {
		r.take(by.key, by.name)
	}
}

func (g *granite) keys(k *keys) {
	g.llama.keys(k)
	g.multipliers.keys(k)
}

// GraniteMoE is Granite with a mixture of experts, whose gate and up projections are one
// tensor. Some have an expert that works for every token.
var GraniteMoE = Architecture{
	Class:      "GraniteMoeForCausalLM",
	Others:     []string{"GraniteMoeSharedForCausalLM"},
	Name:       "granitemoe",
	Family:     "Granite 3 with experts",
	Special:    "with a shared expert or without",
	Vocabulary: vocab.Rules{Pre: map[string]string{"starcoder": "refact"}, Llama: true},
	types: []modelType{
		{name: "granitemoe", theta: 10000, fields: graniteMoEFields()},
		{name: "granitemoeshared", theta: 10000, fields: append(graniteMoEFields(), field{"shared_intermediate_size", whole, int64(0)})},
	},
	read:    readGraniteMoE,
	experts: "num_local_experts",
	restore: func(r *restorer) {
		if r.hasKey("ssm.inner_size") {
			r.graniteHybrid()
			return
		}
		r.ropeFactors()
		r.multipliers()
		if r.hasKey("expert_shared_feed_forward_length") {
			r.set("architectures", []string{"GraniteMoeSharedForCausalLM"})
			r.set("model_type", "granitemoeshared")
			r.take("expert_shared_feed_forward_length", "shared_intermediate_size")
		}
	},
}

func graniteMoEFields() []field {
	return append(denseFields(32000, 4096, 11008, 32, 32, 2048, 1e-6),
		field{"num_key_value_heads", whole | null, nil}, field{"bos_token_id", whole | null, int64(1)},
		field{"eos_token_id", whole | wholes | null, int64(2)}, field{"attention_bias", flag, false},
		field{"attention_dropout", whole | decimal | null, 0.0}, field{"embedding_multiplier", whole | decimal | null, 1.0},
		field{"logits_scaling", whole | decimal | null, 1.0}, field{"residual_multiplier", whole | decimal | null, 1.0},
		field{"attention_multiplier", whole | decimal | null, 1.0}, field{"num_local_experts", whole | null, int64(8)},
		field{"num_experts_per_tok", whole | null, int64(2)}, field{"output_router_logits", flag | null, false},
		field{"router_aux_loss_coef", decimal | null, 0.001})
}

type graniteMoE struct {
	mixture
	multipliers
	sharedWidth int64 // 0 without a shared expert
}

func readGraniteMoE(r *reader) family {
	delete(r.hparams, "head_dim")
	return &graniteMoE{r.mixture("silu", "swish"), r.multipliers(), orZero(r.whole(0, 1<<24, "shared_intermediate_size"))}
}

func (g *graniteMoE) keys(k *keys) {
	g.commonKeys(k)
	g.llamaKeys(k)
	g.multipliers.keys(k)
	if g.sharedWidth > 0 {
		k.set("expert_shared_feed_forward_length", uint32(g.sharedWidth))
	}
}

func (g *graniteMoE) tensors(m mapper) {
	g.ropeFreqs(m)
	g.outside(m)
	for _, layer := range m.layers(g.Layers) {
		g.norms(layer)
		g.attention(layer, weights.Interleave)
		g.attentionBiases(layer, weights.Interleave)
		g.network(layer)
	}
}

// network maps the experts of a layer, and the shared one if there is one.
func (g *graniteMoE) network(layer mapper) {
	width := g.IntermediateSize
	layer.take("block_sparse_moe.router.layer.weight", "ffn_gate_inp.weight", g.experts, g.HiddenSize)
	gateUp := layer.get("block_sparse_moe.input_linear.weight", g.experts, 2*width, g.HiddenSize)
	layer.put("ffn_gate_exps.weight", weights.Slice(gateUp, 0, width))
	layer.put("ffn_up_exps.weight", weights.Slice(gateUp, width, width))
	layer.take("block_sparse_moe.output_linear.weight", "ffn_down_exps.weight", g.experts, g.HiddenSize, width)
	if g.sharedWidth > 0 {
		g.shared(layer, "_shexp")
	}
}

// shared maps the shared expert, whose gate and up projections are one matrix, to tensors whose
// names end so.
func (g *graniteMoE) shared(layer mapper, end string) {
	width := g.sharedWidth
	gateUp := layer.get("shared_mlp.input_linear.weight", 2*width, g.HiddenSize)
	layer.put("ffn_gate"+end+".weight", weights.Slice(gateUp, 0, width))
	layer.put("ffn_up"+end+".weight", weights.Slice(gateUp, width, width))
	layer.take("shared_mlp.output_linear.weight", "ffn_down"+end+".weight", g.HiddenSize, width)
}
