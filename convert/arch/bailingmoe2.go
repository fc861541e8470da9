package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// BailingMoE2 is Ling 2 and Ring 2, with the code that comes with them: queries, keys and
// values as one matrix, norms of each head of queries and keys, and a mixture of experts in
// all but the first layers, chosen by groups and with the help of a bias.
var BailingMoE2 = Architecture{
	Class:      "BailingMoeV2ForCausalLM",
	Name:       "bailingmoe2",
	Family:     "Ling 2, Ring 2",
	Special:    "with the layers that guess more tokens",
	Vocabulary: vocab.Rules{Pre: map[string]string{"bailingmoe": "bailingmoe2"}},
	read:       readBailingMoE2,
	experts:    "num_experts",
	restore: func(r *restorer) {
		r.partial("partial_rotary_factor", r.glmHead(), 1)
		r.take("leading_dense_block_count", "first_k_dense_replace")
		r.take("expert_feed_forward_length", "moe_intermediate_size")
		r.take("expert_shared_feed_forward_length", "moe_shared_expert_intermediate_size")
		r.take("expert_weights_scale", "routed_scaling_factor")
		r.take("expert_shared_count", "num_shared_experts")
		r.take("expert_weights_norm", "norm_topk_prob")
		r.rename("scoring_func", "score_function")
		r.nextLayers()
		r.set("use_qk_norm", true)
		r.set("use_qkv_bias", r.has("blk.0.attn_qkv.bias"))
		r.set("use_bias", r.has("blk.0.attn_output.bias"))
		const published = "inclusionAI/Ling-mini-2.0--" // the code that comes with it
		r.set("model_type", "bailing_moe")
		r.set("auto_map", map[string]string{
			"AutoConfig": published + "configuration_bailing_moe_v2.BailingMoeV2Config", "AutoModel": published + "modeling_bailing_moe_v2.BailingMoeV2Model",
			"AutoModelForCausalLM": published + "modeling_bailing_moe_v2.BailingMoeV2ForCausalLM",
		})
	},
}

type bailingMoE2 struct {
	mixture
	nextLayers
	denseLayers, expertWidth, sharedWidth, sharedExperts int64
	scale                                                *float64
	divided                                              bool // the weights of a token's experts by their sum
}

func readBailingMoE2(r *reader) family {
	r.can = partialRotary | sigmoidRouter
	b := &bailingMoE2{mixture: r.mixture("silu", "swish"), nextLayers: r.nextLayers()}
	b.denseLayers = r.needed(0, b.Layers, "first_k_dense_replace")
	b.expertWidth, b.sharedExperts = r.needed(1, 1<<24, "moe_intermediate_size"), r.needed(0, 1<<16, "num_shared_experts")
	b.sharedWidth = b.expertWidth * b.sharedExperts
	if width := r.whole(0, 1<<30, "moe_shared_expert_intermediate_size"); width != nil {
		b.sharedWidth = *width
	}
	if b.scale = r.number("routed_scaling_factor"); b.scale == nil {
		r.fail(gguf.ErrCorrupt, "routed_scaling_factor is missing")
	}
	b.divided = isTrue(r.hparams["norm_topk_prob"])
	b.refuseScaling(r, "llama3")
	return b
}

// keys has what BailingMoeV2Model.set_gguf_parameters adds.
func (b *bailingMoE2) keys(k *keys) {
	b.commonKeys(k)
	k.set("rope.dimension_count", b.halfRotated(b.HeadLength()))
	k.set("leading_dense_block_count", uint32(b.denseLayers))
	k.set("vocab_size", uint32(b.VocabSize))
	k.set("expert_feed_forward_length", uint32(b.expertWidth))
	k.set("expert_shared_feed_forward_length", uint32(b.sharedWidth))
	k.number("expert_weights_scale", b.scale)
	k.set("expert_shared_count", uint32(b.sharedExperts))
	k.set("expert_weights_norm", b.divided)
	b.nextKeys(k, b.Layers, b.said)
}

func (b *bailingMoE2) tensors(m mapper) {
	m.take("model.word_embeddings.weight", "token_embd.weight", b.VocabSize, b.HiddenSize)
	m.take("model.norm.weight", "output_norm.weight", b.HiddenSize)
	if m.has("lm_head.weight") || !b.TieEmbeddings {
		m.take("lm_head.weight", "output.weight", b.VocabSize, b.HiddenSize)
	}
	for i, layer := range m.layers(b.Layers) {
		if i < b.denseLayers {
			b.bailingAttention(layer)
			b.mlp(layer)
		} else {
			b.sparseLayer(layer)
		}
	}
	b.next(m, &b.Config, func(layer mapper, _ bool) {
		b.sparseLayer(layer)
		layer.takeAny("final_layernorm.weight", "layer_output_norm.weight", b.HiddenSize)
	})
}

// bailingAttention maps a layer's attention and its norms.
func (b *bailingMoE2) bailingAttention(layer mapper) {
	b.norms(layer)
	all := b.queries() + 2*b.keysOrValues()
	layer.take("attention.query_key_value.weight", "attn_qkv.weight", all, b.HiddenSize)
	layer.takeAny("attention.query_key_value.bias", "attn_qkv.bias", all)
	layer.take("attention.dense.weight", "attn_output.weight", b.HiddenSize, b.queries())
	layer.takeAny("attention.dense.bias", "attn_output.bias", b.HiddenSize)
	layer.take("attention.query_layernorm.weight", "attn_q_norm.weight", b.HeadLength())
	layer.take("attention.key_layernorm.weight", "attn_k_norm.weight", b.HeadLength())
}

// sparseLayer maps a layer with experts.
func (b *bailingMoE2) sparseLayer(layer mapper) {
	b.bailingAttention(layer)
	b.router(layer)
	layer.takeAny("mlp.gate.expert_bias", "exp_probs_b.bias", b.experts)
	b.apart(layer, "mlp.experts.", downFirst, b.expertWidth)
	b.sharedExpert(layer, b.sharedWidth)
}
