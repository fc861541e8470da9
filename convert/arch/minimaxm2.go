package arch

import "github.com/ggufkit/ggufkit/convert/vocab"

// MiniMaxM2 is MiniMax M2: a mixture of experts, chosen with the help of a bias, norms of
// all queries and all keys of a token, and heads of which a part is rotated.
var MiniMaxM2 = Architecture{
	Class:      "MiniMaxM2ForCausalLM",
	Name:       "minimax-m2",
	Family:     "MiniMax M2",
	Special:    "experts one by one or fused",
	Vocabulary: vocab.Rules{Pre: map[string]string{"gpt-4o": "minimax-m2"}},
	types: []modelType{{
		name: "minimax_m2", theta: 5e6,
		renamed: map[string]string{"num_experts": "num_local_experts"},
		fields: append(denseFields(200064, 3072, 1536, 62, 48, 196608, 1e-6),
			field{"num_key_value_heads", whole, int64(8)}, field{"head_dim", whole, int64(128)}, field{"bos_token_id", whole | null, int64(200034)},
			field{"eos_token_id", whole | wholes | null, int64(200020)}, field{"attention_dropout", whole | decimal, 0.0},
			field{"num_experts_per_tok", whole, int64(8)}, field{"num_local_experts", whole, int64(256)}, field{"output_router_logits", flag, false},
			field{"router_aux_loss_coef", decimal, 0.001}, field{"router_jitter_noise", decimal, 0.0},
		),
	}},
	read:    readMiniMaxM2,
	experts: "num_local_experts",
	restore: func(r *restorer) {
		r.take("rope.dimension_count", "rotary_dim")
		r.partial("partial_rotary_factor", r.whole("attention.key_length"), 1)
	},
}

type miniMaxM2 struct {
	mixture
	rotated int64
}

func readMiniMaxM2(r *reader) family {
	r.can = partialRotary | sigmoidRouter
	m := &miniMaxM2{mixture: r.mixture("silu", "swish")}
	if n := r.whole(2, m.HeadLength(), "rotary_dim"); n != nil {
		m.rotated = *n
	} else {
		m.rotated = m.Rotated()
	}
	m.refuseScaling(r, "llama3")
	return m
}

// keys has what MiniMaxM2Model.set_gguf_parameters adds.
func (x *miniMaxM2) keys(k *keys) {
	x.commonKeys(k)
	k.set("expert_feed_forward_length", uint32(x.IntermediateSize))
	k.set("rope.dimension_count", uint32(x.rotated))
}

func (x *miniMaxM2) tensors(m mapper) {
	x.outside(m)
	for _, layer := range m.layers(x.Layers) {
		x.norms(layer)
		x.attention(layer, halves)
		x.queryKeyNorms(layer, x.queries(), x.keysOrValues())
		x.blockSparse(layer)
		layer.takeAny("block_sparse_moe.e_score_correction_bias", "exp_probs_b.bias", x.experts)
	}
}
