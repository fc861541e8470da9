package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// Mixtral is Mistral with a mixture of experts. In the checkpoint of an expert
// w1 is the gate, w2 the down and w3 the up projection.
var Mixtral = Architecture{
	Class:      "MixtralForCausalLM",
	Name:       "llama",
	Family:     "Mixtral",
	Special:    "experts one by one or fused",
	Vocabulary: vocab.Rules{Llama: true},
	types: []modelType{{
		name:    "mixtral",
		theta:   1e6,
		renamed: map[string]string{"num_experts": "num_local_experts"},
		fields: append(denseFields(32000, 4096, 14336, 32, 32, 4096*32, 1e-5),
			field{"num_key_value_heads", whole, int64(8)}, field{"head_dim", whole | null, nil},
			field{"sliding_window", whole | null, nil}, field{"attention_dropout", decimal | whole, 0.0},
			field{"num_experts_per_tok", whole, int64(2)}, field{"num_local_experts", whole, int64(8)},
			field{"output_router_logits", flag, false}, field{"router_aux_loss_coef", decimal, 0.001}, field{"router_jitter_noise", decimal, 0.0},
		),
	}},
	read:    func(r *reader) family { return &mixtral{r.mixture("silu", "swish")} },
	experts: "num_local_experts",
	restore: func(r *restorer) { r.set("sliding_window", nil) },
}

type mixtral struct{ mixture }

func (x *mixtral) keys(k *keys) {
	x.commonKeys(k)
	x.llamaKeys(k)
}

func (x *mixtral) tensors(m mapper) {
	x.ropeFreqs(m)
	// transformers 4 saved and transformers 5 saves a tensor for each matrix of each
	// expert. Fused is how transformers 5 computes and mergekit has saved since June
	// 2026; convert_hf_to_gguf.py cannot read it.
	apart := []string{"block_sparse_moe.gate.weight", "block_sparse_moe.experts.*.w1.weight", "block_sparse_moe.experts.*.w2.weight",
		"block_sparse_moe.experts.*.w3.weight"}
	layout := m.layout(apart, append([]string{"mlp.gate.weight"}, fusedExperts...))
	x.outside(m)
	for _, layer := range m.layers(x.Layers) {
		x.norms(layer)
		x.attention(layer, weights.Interleave)
		x.attentionBiases(layer, weights.Interleave)
		if layout == 1 {
			x.router(layer)
			x.fused(layer, x.IntermediateSize)
			continue
		}
		x.blockSparse(layer)
	}
}

// blockSparse maps router and experts under Mixtral's names.
func (x *mixture) blockSparse(layer mapper) {
	layer.take("block_sparse_moe.gate.weight", "ffn_gate_inp.weight", x.experts, x.HiddenSize)
	x.apart(layer, "block_sparse_moe.experts.", mixtralParts, x.IntermediateSize)
}
