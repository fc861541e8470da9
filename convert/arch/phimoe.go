package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// PhiMoE is Phi 3.5 MoE: a mixture of experts, norms of which the mean is subtracted, and
// biases. llama.cpp weighs the experts that a token uses in another way than transformers.
var PhiMoE = Architecture{
	Class:   "PhiMoEForCausalLM",
	Others:  []string{"PhimoeForCausalLM"},
	Name:    "phimoe",
	Family:  "Phi 3.5 MoE",
	Special: "`short_mscale` and `long_mscale` have no place in the file",
	types: []modelType{{
		name: "phimoe", theta: 1e6,
		fields: append(denseFields(32064, 4096, 6400, 32, 32, 131072, 1e-5),
			field{"num_key_value_heads", whole, int64(8)}, field{"bos_token_id", whole | null, int64(1)},
			field{"eos_token_id", whole | wholes | null, int64(2)}, field{"sliding_window", whole | null, nil},
			field{"attention_dropout", whole | decimal, 0.0}, field{"num_experts_per_tok", whole, int64(2)}, field{"num_local_experts", whole, int64(16)},
			field{"output_router_logits", flag, false}, field{"router_aux_loss_coef", decimal, 0.001}, field{"router_jitter_noise", decimal, 0.01},
			field{"input_jitter_noise", decimal, 0.0}, field{"attention_bias", flag, false}, field{"lm_head_bias", flag, false},
		),
	}},
	read:    readPhiMoE,
	experts: "num_local_experts",
	restore: func(r *restorer) {
		r.phi3()
		for _, name := range []string{"short_mscale", "long_mscale"} { // what llama.cpp computes with instead
			r.takeScaling("rope.scaling.attn_factor", name)
		}
		r.set("lm_head_bias", r.has("output.bias"))
	},
}

type phiMoE struct {
	phi3
	experts int64
}

func readPhiMoE(r *reader) family {
	p := &phiMoE{}
	p.read(r, func(activations ...string) Config {
		m := r.mixture(activations...)
		p.experts = m.experts
		return m.Config
	})
	if !slices.Contains([]string{"", "default", "longrope"}, p.Rope.Type) {
		r.fail(gguf.ErrUnsupported, "rope scaling %q of a model of class %s", p.Rope.Type, r.class)
	}
	return p
}

// keys has what PhiMoeModel.set_gguf_parameters adds.
func (p *phiMoE) keys(k *keys) {
	p.phi3.keys(k)
	k.count("expert_used_count", p.expertsPerToken)
	k.set("expert_count", uint32(p.experts))
}

func (p *phiMoE) tensors(m mapper) {
	p.Rope.longFactors(m)
	p.embeddings(m)
	m.takeAny("lm_head.bias", "output.bias", p.VocabSize)
	p.layerNorm(m, "model.norm", "output_norm")
	x := mixture{p.Config, p.experts}
	for _, layer := range m.layers(p.Layers) {
		p.layerNorm(layer, "input_layernorm", "attn_norm")
		p.attention(layer, halves)
		p.attentionBiases(layer, halves)
		p.layerNorm(layer, "post_attention_layernorm", "ffn_norm")
		x.blockSparse(layer)
	}
}
