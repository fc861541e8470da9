package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Ernie is the dense model of ERNIE 4.5: Llama, with neighbours in a head rotated together in
// checkpoints too.
var Ernie = Architecture{
	Class:      "Ernie4_5ForCausalLM",
	Others:     []string{"Ernie4_5_ForCausalLM"},
	Name:       "ernie4_5",
	Family:     "ERNIE 4.5",
	Special:    "layers that predict more tokens (`mtp_`) are left out",
	Vocabulary: vocab.Rules{SpacePrefix: true},
	types: []modelType{{
		name: "ernie4_5", theta: 500000, headDim: true,
		fields: slices.Concat(denseFields(103424, 1024, 3072, 18, 16, 131072, 1e-5), ernieFields,
			[]field{{"num_key_value_heads", whole | null, int64(2)}, {"head_dim", whole | null, int64(128)}}),
	}},
	read: func(r *reader) family {
		e := &ernie{r.dense("silu", "swish")}
		e.refuseScaling(r, "llama3")
		return e
	},
	restore: func(r *restorer) {
		r.set("use_bias", r.has("blk.0.attn_q.bias"))
	},
}

var ernieFields = []field{
	{"pad_token_id", whole | null, int64(0)}, {"bos_token_id", whole | null, int64(1)}, {"eos_token_id", whole | wholes | null, int64(2)},
	{"tie_word_embeddings", flag, true}, {"use_bias", flag | null, false},
}

type ernie struct{ Config }

func (e *ernie) keys(k *keys) { e.commonKeys(k) }

func (e *ernie) tensors(m mapper) {
	e.outside(m)
	for _, layer := range m.layers(e.Layers) {
		e.ernieAttention(layer)
		e.mlp(layer)
	}
}

func (c *Config) ernieAttention(layer mapper) {
	c.norms(layer)
	c.attention(layer, halves)
	c.attentionBiases(layer, halves)
}

// ErnieMoE is Ernie with a mixture of experts in all but the first layers, chosen with the
// help of a bias, and experts that every token uses.
var ErnieMoE = Architecture{
	Class:      "Ernie4_5_MoeForCausalLM",
	Name:       "ernie4_5-moe",
	Family:     "ERNIE 4.5 with experts",
	Special:    "layers that predict more tokens (`mtp_`) are left out",
	Vocabulary: vocab.Rules{SpacePrefix: true},
	types: []modelType{{
		name: "ernie4_5_moe", theta: 500000,
		renamed: map[string]string{"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_k"},
		fields: slices.Concat(denseFields(103424, 2560, 12288, 28, 20, 131072, 1e-5), ernieFields, []field{
			{"num_key_value_heads", whole | null, int64(4)}, {"moe_intermediate_size", whole, int64(1536)}, {"moe_k", whole | null, int64(6)},
			{"moe_num_experts", whole | null, int64(64)}, {"moe_num_shared_experts", whole | null, int64(2)},
			{"moe_layer_start_index", whole | null, int64(1)}, {"moe_layer_end_index", whole | null, int64(-1)},
			{"moe_layer_interval", whole | null, int64(1)}, {"moe_norm_min", decimal | null, 1e-12}, {"output_router_logits", flag | null, false},
			{"router_aux_loss_coef", decimal | null, 0.001},
		}),
	}},
	read:    readErnieMoE,
	experts: "moe_num_experts",
	restore: func(r *restorer) {
		r.set("use_bias", r.has("blk.0.attn_q.bias"))
		r.rename("num_experts_per_tok", "moe_k")
		r.take("leading_dense_block_count", "moe_layer_start_index")
		r.take("expert_feed_forward_length", "moe_intermediate_size")
		r.take("expert_shared_count", "moe_num_shared_experts")
		r.take("interleave_moe_layer_step", "moe_layer_interval")
	},
}

type ernieMoE struct {
	mixture
	used, expertWidth, sharedExperts, denseLayers int64
}

func readErnieMoE(r *reader) family {
	e := &ernieMoE{mixture: mixture{Config: r.dense("silu", "swish")}}
	e.experts, e.used = r.needed(1, 1<<16, "moe_num_experts"), r.needed(1, 1<<16, "moe_k")
	e.expertWidth = r.needed(1, 1<<24, "moe_intermediate_size")
	e.sharedExperts = orZero(r.whole(0, 1<<16, "moe_num_shared_experts"))
	e.denseLayers = r.needed(0, e.Layers, "moe_layer_start_index")
	last := r.whole(-1, 1<<31, "moe_layer_end_index")
	if interval := r.needed(1, 1<<31, "moe_layer_interval"); interval != 1 || last != nil && *last != -1 && *last != e.Layers-1 {
		r.fail(gguf.ErrUnsupported, "layers without experts between or after layers with them (moe_layer_interval, moe_layer_end_index)")
	}
	e.refuseScaling(r, "llama3")
	return e
}

// keys has what Ernie4_5MoeModel.set_gguf_parameters adds.
func (e *ernieMoE) keys(k *keys) {
	e.commonKeys(k)
	k.set("expert_count", uint32(e.experts))
	k.set("expert_used_count", uint32(e.used))
	k.set("interleave_moe_layer_step", uint32(1))
	k.set("leading_dense_block_count", uint32(e.denseLayers))
	k.set("expert_feed_forward_length", uint32(e.expertWidth))
	k.set("expert_shared_count", uint32(e.sharedExperts))
	if e.sharedExperts > 0 { // the number is right for published models only, and so it is in their files
		k.set("expert_shared_feed_forward_length", uint32(e.IntermediateSize/e.KVHeads))
	}
}

func (e *ernieMoE) tensors(m mapper) {
	m.ignore("model.mtp_") // layers that guess more tokens than the next
	e.outside(m)
	for i, layer := range m.layers(e.Layers) {
		e.ernieAttention(layer)
		if i < e.denseLayers {
			e.mlp(layer)
			continue
		}
		e.router(layer)
		layer.takeAny("mlp.moe_statics.e_score_correction_bias", "exp_probs_b.bias", 1, e.experts)
		e.apart(layer, "mlp.experts.", gateFirst, e.expertWidth)
		e.sharedExpert(layer, e.sharedExperts*e.expertWidth)
	}
}
