package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// OLMoE is a mixture of experts with norms of all queries and all keys of a token. llama.cpp
// does not divide the weights of the experts that a token uses by their sum.
var OLMoE = Architecture{
	Class:      "OlmoeForCausalLM",
	Name:       "olmoe",
	Family:     "OLMoE",
	Special:    "experts one by one or fused",
	Vocabulary: vocab.Rules{Pre: map[string]string{"gpt-2": "olmo"}},
	types: []modelType{{
		name: "olmoe", theta: 10000,
		renamed: map[string]string{"num_local_experts": "num_experts"},
		fields: slices.Concat(denseFields(50304, 2048, 2048, 16, 16, 4096, 1e-5), olmoFields, []field{
			{"clip_qkv", decimal | null, nil}, {"num_experts_per_tok", whole, int64(8)}, {"num_experts", whole, int64(64)},
			{"output_router_logits", flag, false}, {"router_aux_loss_coef", decimal, 0.01}, {"norm_topk_prob", flag, false},
		}),
	}},
	read:    readOLMoE,
	experts: "num_experts",
	restore: func(r *restorer) {
		r.set("norm_topk_prob", false)
	},
}

type olmoE struct{ mixture }

func readOLMoE(r *reader) family {
	o := &olmoE{r.mixture("silu", "swish")}
	if isTrue(r.hparams["clip_qkv"]) || isTrue(r.hparams["norm_topk_prob"]) || o.AttentionBias {
		r.fail(gguf.ErrUnsupported, "%s with clip_qkv, norm_topk_prob or attention_bias", r.class)
	}
	o.refuseScaling(r, "llama3")
	return o
}

// keys has what OlmoeModel.set_gguf_parameters adds.
func (o *olmoE) keys(k *keys) {
	o.commonKeys(k)
	k.set("attention.layer_norm_rms_epsilon", float32(1e-5))
}

func (o *olmoE) tensors(m mapper) {
	fused := m.areFused()
	o.outside(m)
	for _, layer := range m.layers(o.Layers) {
		o.norms(layer)
		o.attention(layer, halves)
		o.queryKeyNorms(layer, o.queries(), o.keysOrValues())
		o.router(layer)
		o.routed(layer, fused, o.IntermediateSize)
	}
}
